//! Latency under load: from the time an event was due to be sent until its echo has arrived at a reader.

use anyhow::{Context, Result};
use tokio::time::Instant;

use crate::native::Latency;
use crate::process::{Worker, usage};
use crate::rig::Rig;
use crate::variant::{Sample, Variant, native};
use crate::workload::Workload;

/// The share of the echoes that is not counted: the beginning.
const WARM_UP: f64 = 0.2;

/// The shares of the throughput that are offered: of what can be published, handled and read at once.
pub const LOADS: [f64; 3] = [0.25, 0.5, 0.75];

impl Rig {
    /// The latency of a Heddle variant while `rate` events a second are published, or as many as the server takes, until
    /// there are as many as the workload has.
    pub async fn latency(
        &mut self,
        variant: Variant,
        workload: &Workload,
        rate: Option<f64>,
    ) -> Result<(Sample, Latency)> {
        self.fill(&Workload { events: 0, ..*workload }, |_| {}).await?;
        self.clear().await?;
        let (url, events) = (self.url(), workload.events.to_string());
        let mut worker = self.start_heddle(variant, workload.handlers).await?;
        let warm_up = ((workload.events as f64 * WARM_UP) as u64).to_string();
        let keys = workload.keys.to_string();
        let watch = native("watch", &url, &["--events", &events, "--keys", &keys, "--warm-up", &warm_up])?;
        let watch = Worker::start(watch, self.folder.path(), "watch").await?;
        let payload = workload.payload.to_string();
        let (before, server_before) = (usage(worker.pid()?)?, self.server_usage()?);
        let mut options = vec!["--keys", &keys, "--payload", &payload, "--events", &events];
        let rate = rate.map(|rate| rate.to_string());
        options.extend(rate.iter().flat_map(|rate| ["--rate", rate]));
        let began = Instant::now();
        let load = Worker::start(native("load", &url, &options)?, self.folder.path(), "load").await?;
        load.ended().await?;
        let said = watch.ended().await?;
        let seconds = began.elapsed().as_secs_f64();
        worker.check().await?;
        let (after, server_after) = (usage(worker.pid()?)?, self.server_usage()?);
        worker.stop().await?;
        let said = said.lines().last().context("the reader says nothing")?;
        let sample = Sample {
            seconds,
            worker_cpu: after.cpu_since(before),
            server_cpu: server_after.cpu_since(server_before),
            peak: after.peak,
            batches: None,
            miscounted: 0,
        };
        // The input now holds what was sent, and is not to be taken for a filled one.
        self.forget();
        Ok((sample, serde_json::from_str(said)?))
    }
}
