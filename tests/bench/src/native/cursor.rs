//! The bare cursor: reads, and does nothing at all.

use anyhow::{Context, Result};
use futures::StreamExt;

use super::{Job, connect, cursor, say_running};
use crate::workload::INPUT;

pub(super) async fn run(job: Job) -> Result<()> {
    let jetstream = connect(&job.url).await?;
    let consumer = cursor(&jetstream, INPUT, "").await?;
    say_running();
    let mut messages = consumer.stream().max_messages_per_batch(256).messages().await?;
    for _ in 0..job.events {
        messages.next().await.context("reading ended")??;
    }
    Ok(())
}
