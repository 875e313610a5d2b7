//! The best that one can write by hand with acks: events of a key go through one queue, one after the other;
//! publishing is made idempotent by a message id, the counter changes only from the revision that was read, and
//! the ack is confirmed before the next event of the queue.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use anyhow::{Context as _, Result};
use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::kv::Store;
use async_nats::jetstream::{Context, Message};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{BUCKET, Job, acked, connect, echo, say_running};

/// Events that wait in one queue.
const QUEUE: usize = 256;

/// The counters of one queue's keys, with their revisions.
type Counters = HashMap<String, (u64, u64)>;

pub(super) async fn run(job: Job) -> Result<()> {
    let jetstream = connect(&job.url).await?;
    let bucket = jetstream.get_key_value(BUCKET).await?;
    let consumer = acked(&jetstream, "careful").await?;
    let mut queues = Vec::new();
    let mut tasks = JoinSet::new();
    for _ in 0..job.concurrency.max(1) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        queues.push(sender);
        tasks.spawn(work(jetstream.clone(), bucket.clone(), receiver));
    }
    say_running();
    let mut messages = consumer.stream().max_messages_per_batch(500).messages().await?;
    for _ in 0..job.events {
        let message = messages.next().await.context("reading ended")??;
        let (_, key) = echo(&message.subject)?;
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let index = usize::try_from(hasher.finish() % queues.len() as u64)?;
        let queue = queues.get(index).context("there is no queue")?;
        queue.send(message).await.context("a queue has ended")?;
    }
    drop(queues);
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

async fn work(jetstream: Context, bucket: Store, mut events: mpsc::Receiver<Message>) -> Result<()> {
    let mut counters = Counters::new();
    while let Some(message) = events.recv().await {
        handle(&jetstream, &bucket, &mut counters, &message).await?;
    }
    Ok(())
}

async fn handle(
    jetstream: &Context,
    bucket: &Store,
    counters: &mut Counters,
    message: &Message,
) -> Result<()> {
    let (subject, key) = echo(&message.subject)?;
    let (count, revision) = match counters.get(key) {
        Some(known) => *known,
        None => match bucket.entry(key).await? {
            Some(entry) => (u64::from_le_bytes(entry.value.as_ref().try_into()?), entry.revision),
            None => (0, 0),
        },
    };
    let mut headers = HeaderMap::new();
    let info = message.info().map_err(anyhow::Error::from_boxed)?;
    headers.insert(NATS_MESSAGE_ID, info.stream_sequence.to_string());
    jetstream.publish_with_headers(subject, headers, message.payload.clone()).await?.await?;
    let value = (count + 1).to_le_bytes().to_vec();
    let revision = bucket.update(key, value.into(), revision).await?;
    counters.insert(key.to_owned(), (count + 1, revision));
    message.double_ack().await.map_err(anyhow::Error::from_boxed)
}
