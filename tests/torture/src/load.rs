//! The load: events at a steady pace, each with the time at which it was due, so that a late one counts as late.

use std::time::Duration;

use anyhow::{Context as _, Result};
use async_nats::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::streams::now;

/// How often some are sent.
const TICK: Duration = Duration::from_millis(2);

/// What the guest `echo` is told: to publish and to count.
const ECHO: u8 = b'e';

/// Bytes of an event.
const SIZE: usize = 64;

/// An event as its payload has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    /// When it was due to be sent, in nanoseconds since 1970.
    pub(crate) due: u64,
    /// Its number among those of its key, from 1.
    pub(crate) number: u64,
}

impl Event {
    fn encode(self) -> Vec<u8> {
        let mut payload = self.due.to_le_bytes().to_vec();
        payload.extend([ECHO, 0, 0, 0, 0]);
        payload.extend(self.number.to_le_bytes());
        payload.resize(SIZE, b'.');
        payload
    }

    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u64::from_le_bytes(payload.get(at..at + 8)?.try_into().ok()?));
        Some(Event { due: number(0)?, number: number(13)? })
    }
}

/// A load. It ends when it is dropped.
pub(crate) struct Load {
    stop: watch::Sender<bool>,
    task: JoinSet<Result<Vec<u64>>>,
}

impl Load {
    /// Begins to send N events a second for N keys.
    pub(crate) fn start(client: Client, keys: u64, rate: u64) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut task = JoinSet::new();
        task.spawn(send(client, keys, rate, stopped));
        Load { stop, task }
    }

    /// Ends it; how many events each key got.
    pub(crate) async fn end(mut self) -> Result<Vec<u64>> {
        self.stop.send_replace(true);
        self.task.join_next().await.context("there is no load")??
    }
}

async fn send(client: Client, keys: u64, rate: u64, stopped: watch::Receiver<bool>) -> Result<Vec<u64>> {
    let mut sent = vec![0; usize::try_from(keys)?];
    let mut ticks = tokio::time::interval(TICK);
    let began = now();
    let mut event = 0_u64;
    while !*stopped.borrow() {
        ticks.tick().await;
        loop {
            let due = began + event * 1_000_000_000 / rate;
            if due > now() {
                break;
            }
            // Keys are not in turn, but every run has the same order.
            let key = event.wrapping_mul(0x9E37_79B9_7F4A_7C15) % keys;
            let number = sent.get_mut(usize::try_from(key)?).context("a key is below their number")?;
            *number += 1;
            let payload = Event { due, number: *number }.encode();
            client.publish(format!("in.0.k{key}"), payload.into()).await?;
            event += 1;
        }
    }
    client.flush().await?;
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_as_it_was_written() {
        let event = Event { due: 77, number: 513 };
        assert_eq!(Event::decode(&event.encode()), Some(event));
        assert_eq!(event.encode().get(8), Some(&ECHO));
        assert_eq!(Event::decode(b"short"), None);
    }
}
