//! The server's own limit: a cursor, and full atomic batches of the same messages. No handler, no lanes, no
//! checkpoint, nothing that is looked up, and no more headers than a batch needs.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use async_nats::header::{NATS_BATCH_COMMIT, NATS_BATCH_ID, NATS_BATCH_SEQUENCE};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures::StreamExt;
use tokio::task::JoinSet;

use super::{Job, connect, cursor, echo, say_running};
use crate::workload::INPUT;

/// The most messages in one atomic batch.
const MAX_MESSAGES: usize = 1000;

/// The most that a batch carries, in bytes.
const MAX_BYTES: usize = 8 << 20;

struct Batch {
    messages: Vec<(String, Bytes)>,
    bytes: usize,
    /// Where the count of each key is.
    counts: HashMap<String, usize>,
}

impl Batch {
    fn new() -> Self {
        Batch { messages: Vec::with_capacity(MAX_MESSAGES), bytes: 0, counts: HashMap::new() }
    }

    fn is_full(&self) -> bool {
        self.messages.len() + 2 > MAX_MESSAGES || self.bytes > MAX_BYTES
    }

    /// The last count of a key wins, as in a batch of Heddle.
    fn add(&mut self, subject: String, payload: Bytes, key: &str, count: u64) {
        self.bytes += payload.len();
        self.messages.push((subject, payload));
        let count = Bytes::copy_from_slice(&count.to_le_bytes());
        match self.counts.get(key).and_then(|index| self.messages.get_mut(*index)) {
            Some((_, slot)) => *slot = count,
            None => {
                self.counts.insert(key.to_owned(), self.messages.len());
                self.messages.push((format!("state.{key}"), count));
            }
        }
    }

    async fn store(self, client: Client, id: String) -> Result<()> {
        let count = self.messages.len();
        for (index, (subject, payload)) in self.messages.into_iter().enumerate() {
            let mut headers = HeaderMap::new();
            headers.insert(NATS_BATCH_ID, id.as_str());
            headers.insert(NATS_BATCH_SEQUENCE, (index + 1).to_string());
            if index + 1 < count {
                client.publish_with_headers(subject, headers, payload).await?;
            } else {
                headers.insert(NATS_BATCH_COMMIT, "1");
                let answer = client.request_with_headers(subject, headers, payload).await?;
                let answer: serde_json::Value = serde_json::from_slice(&answer.payload)?;
                ensure!(answer.get("error").is_none(), "batch was refused: {answer}");
            }
        }
        Ok(())
    }
}

pub(super) async fn run(job: Job) -> Result<()> {
    let jetstream = connect(&job.url).await?;
    let writing = async_nats::connect(&job.url).await?;
    let consumer = cursor(&jetstream, INPUT, "").await?;
    say_running();
    let mut messages = consumer.stream().max_messages_per_batch(256).messages().await?;
    let mut counts: HashMap<String, u64> = HashMap::new();
    let mut under_way = JoinSet::new();
    let mut batch = Batch::new();
    let mut number = 0;
    for left in (0..job.events).rev() {
        let message = messages.next().await.context("reading ended")??;
        let (subject, key) = echo(&message.subject)?;
        let count = counts.entry(key.to_owned()).or_default();
        *count += 1;
        batch.add(subject, message.payload.clone(), key, *count);
        if batch.is_full() || left == 0 {
            if under_way.len() >= job.concurrency {
                under_way.join_next().await.context("no batch is under way")???;
            }
            number += 1;
            let full = std::mem::replace(&mut batch, Batch::new());
            under_way.spawn(full.store(writing.clone(), format!("limit-{number}")));
        }
    }
    while let Some(stored) = under_way.join_next().await {
        stored??;
    }
    Ok(())
}
