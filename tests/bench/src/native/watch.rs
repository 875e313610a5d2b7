//! A reader of the echoes: how long after its event was due did each of them arrive?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use super::{connect, cursor, now, say_running};
use crate::workload::{OUTPUT, stamped};

/// How long it waits for the next echo before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub struct Watch {
    #[arg(long)]
    url: String,
    #[arg(long)]
    events: u64,
    /// So many at the beginning are not counted.
    #[arg(long)]
    warm_up: usize,
}

/// In milliseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Latency {
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

impl Latency {
    fn of(mut nanos: Vec<u64>) -> Option<Self> {
        nanos.sort_unstable();
        let at = |share: f64| {
            let index = (nanos.len().saturating_sub(1)) as f64 * share;
            nanos.get(index.round() as usize).map(|nanos| *nanos as f64 / 1e6)
        };
        Some(Latency { p50_ms: at(0.5)?, p99_ms: at(0.99)?, p999_ms: at(0.999)?, max_ms: at(1.0)? })
    }
}

pub(super) async fn run(watch: Watch) -> Result<()> {
    let jetstream = connect(&watch.url).await?;
    let consumer = cursor(&jetstream, OUTPUT, "out.>").await?;
    let mut messages = consumer.stream().messages().await?;
    say_running();
    let mut latencies = Vec::with_capacity(usize::try_from(watch.events)?);
    for seen in 0..watch.events {
        let next = tokio::time::timeout(PATIENCE, messages.next()).await;
        let next = next.with_context(|| format!("only {seen} of {} echoes came", watch.events))?;
        let message = next.context("reading ended")??;
        let sent = stamped(&message.payload).context("an echo carries no time")?;
        latencies.push(now().saturating_sub(sent));
    }
    ensure!(latencies.len() > watch.warm_up, "the warm-up is all there is");
    let latency = Latency::of(latencies.split_off(watch.warm_up)).context("no echo came")?;
    eprintln!("{}", serde_json::to_string(&latency)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_times() {
        let latency = Latency::of((1..=1001).rev().map(|ms| ms * 1_000_000).collect()).unwrap();
        assert_eq!((latency.p50_ms, latency.p99_ms, latency.max_ms), (501.0, 991.0, 1001.0));
        assert!(Latency::of(Vec::new()).is_none());
    }
}
