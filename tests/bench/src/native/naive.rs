//! As tutorials write it: a durable consumer; for each event publish, put the counter into a bucket, await both,
//! ack. Many events at once. Neither ordered nor exactly once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use async_nats::jetstream::Message;
use futures::{StreamExt, TryStreamExt};

use super::{BUCKET, Job, acked, connect, echo, say_running};

pub(super) async fn run(job: Job) -> Result<()> {
    let jetstream = connect(&job.url).await?;
    let bucket = jetstream.get_key_value(BUCKET).await?;
    let consumer = acked(&jetstream, "naive").await?;
    let counts: Mutex<HashMap<String, u64>> = Mutex::default();
    let handle = async |message: Message| -> Result<()> {
        let (subject, key) = echo(&message.subject)?;
        let count = {
            // The last value is kept in memory only: a restart would begin at 0.
            let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(key.to_owned()).or_default();
            *count += 1;
            *count
        };
        let published =
            async { anyhow::Ok(jetstream.publish(subject, message.payload.clone()).await?.await?) };
        let put = async { anyhow::Ok(bucket.put(key, count.to_le_bytes().to_vec().into()).await?) };
        futures::try_join!(published, put)?;
        message.ack().await.map_err(anyhow::Error::from_boxed)
    };
    say_running();
    let messages = consumer.stream().max_messages_per_batch(500).messages().await?;
    let events = messages.take(usize::try_from(job.events)?).map_err(anyhow::Error::from);
    events.try_for_each_concurrent(job.concurrency, handle).await?;
    jetstream.client().flush().await?;
    Ok(())
}
