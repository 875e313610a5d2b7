//! A reader of some of the echoes: how long after its event was due did each of them arrive?

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use futures::StreamExt;
use futures::stream::SelectAll;
use serde::{Deserialize, Serialize};

use super::{connect, cursor, echo, now, say_running};
use crate::workload::{Job, OUTPUT, Workload, stamped};

/// How long it waits for the next echo before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub struct Watch {
    #[arg(long)]
    url: String,
    #[arg(long)]
    events: u64,
    /// Of N keys.
    #[arg(long)]
    keys: u64,
    /// N events at the beginning are not counted.
    #[arg(long)]
    warm_up: u64,
}

/// In milliseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Latency {
    /// Half of the echoes took no longer.
    pub p50_ms: f64,
    /// 99 of 100 echoes took no longer.
    pub p99_ms: f64,
    /// 999 of 1,000 echoes took no longer.
    pub p999_ms: f64,
    /// The slowest echo.
    pub max_ms: f64,
}

impl Latency {
    /// Of these times in nanoseconds; none: there are none.
    pub(crate) fn of(mut nanos: Vec<u64>) -> Option<Self> {
        nanos.sort_unstable();
        let at = |share: f64| {
            let index = (nanos.len().saturating_sub(1)) as f64 * share;
            nanos.get(index.round() as usize).map(|nanos| *nanos as f64 / 1e6)
        };
        Some(Latency { p50_ms: at(0.5)?, p99_ms: at(0.99)?, p999_ms: at(0.999)?, max_ms: at(1.0)? })
    }
}

/// The keys that are watched. To read everything would be as much work for the server as the job itself.
const WATCHED: u64 = 8;

pub(super) async fn run(watch: Watch) -> Result<()> {
    let jetstream = connect(&watch.url).await?;
    let workload =
        Workload { keys: watch.keys, handlers: 1, payload: 0, events: watch.events, job: Job::Echo };
    let watched: Vec<String> = (0..WATCHED.min(watch.keys)).map(|key| workload.subject_of(0, key)).collect();
    let mut readers = SelectAll::new();
    for subject in &watched {
        let (echo, _) = echo(subject)?;
        readers.push(cursor(&jetstream, OUTPUT, &echo).await?.stream().messages().await?);
    }
    say_running();
    let due = |number: &u64| watched.contains(&workload.subject(*number));
    let (warm_up, wanted) = ((0..watch.warm_up).filter(due).count(), (0..watch.events).filter(due).count());
    let mut latencies = Vec::with_capacity(wanted);
    while latencies.len() < wanted {
        let next = tokio::time::timeout(PATIENCE, readers.next()).await;
        let next = next.with_context(|| format!("only {} of {wanted} echoes came", latencies.len()))?;
        let message = next.context("reading ended")??;
        let sent = stamped(&message.payload).context("an echo carries no time")?;
        latencies.push(now().saturating_sub(sent));
    }
    ensure!(latencies.len() > warm_up, "the warm-up is all there is");
    let latency = Latency::of(latencies.split_off(warm_up)).context("no echo came")?;
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
