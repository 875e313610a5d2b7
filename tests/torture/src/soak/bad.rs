//! Events of which some are bad: what fails for a while, for good, is rejected or slow, among what succeeds.

use std::time::Duration;

use anyhow::{Context as _, Result};
use async_nats::Client;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How often some are sent.
const TICK: Duration = Duration::from_millis(10);

/// A load. It ends when it is dropped.
pub(super) struct Bad {
    stop: watch::Sender<bool>,
    task: JoinSet<Result<u64>>,
}

impl Bad {
    /// Begins to send N events a second for N keys.
    pub(super) fn start(client: Client, seed: u64, keys: u64, rate: u64) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut task = JoinSet::new();
        task.spawn(send(client, StdRng::seed_from_u64(seed), (keys, rate), stopped));
        Bad { stop, task }
    }

    /// Ends it; how many events were sent.
    pub(super) async fn end(mut self) -> Result<u64> {
        self.stop.send_replace(true);
        self.task.join_next().await.context("there is no load")??
    }
}

async fn send(
    client: Client,
    mut random: StdRng,
    (keys, rate): (u64, u64),
    stopped: watch::Receiver<bool>,
) -> Result<u64> {
    let mut ticks = tokio::time::interval(TICK);
    let (mut sent, mut due) = (0, 0.0);
    while !*stopped.borrow() {
        ticks.tick().await;
        due += rate as f64 * TICK.as_secs_f64();
        while (sent as f64) < due {
            let key = random.random_range(0..keys);
            let payload = instructions(key, &mut random);
            client.publish(format!("in.1.k{key}"), payload.into()).await?;
            sent += 1;
        }
    }
    client.flush().await?;
    Ok(sent)
}

/// What the guest `contrary` is asked to do.
fn instructions(key: u64, random: &mut StdRng) -> String {
    let first = match random.random_range(0..1_000) {
        0..100 => Some(json!({"retry_until": {"attempt": random.random_range(2..=3)}})),
        100..120 => Some(json!({"retry": {"reason": "poison"}})),
        120..130 => Some(json!({"trap": null})),
        130..140 => Some(json!({"reject": {"reason": "rejected"}})),
        140..150 => Some(json!({"sleep_ms": {"ms": 20}})),
        _ => None,
    };
    let mut all: Vec<_> = first.into_iter().collect();
    all.push(json!({"count": null}));
    all.push(json!({"publish": {"subject": format!("mixed.k{key}"), "payload": "done"}}));
    json!({ "do": all }).to_string()
}
