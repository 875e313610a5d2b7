//! A steady load: events at a rate, whatever the rest of the system does.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use clap::Args;
use futures::{StreamExt, TryStreamExt};
use tokio::time::{Instant, MissedTickBehavior};

use super::{now, say_running};
use crate::workload::{Job, Workload, stamp};

/// How often events are sent.
const TICK: Duration = Duration::from_millis(1);

#[derive(Debug, Args)]
pub struct Load {
    #[arg(long)]
    url: String,
    #[arg(long)]
    keys: u64,
    #[arg(long)]
    payload: usize,
    /// Events a second; none: as many as the server takes.
    #[arg(long)]
    rate: Option<f64>,
    #[arg(long)]
    events: u64,
}

/// N events wait for the server at most.
const UNDER_WAY: usize = 1_000;

async fn as_fast_as_possible(client: async_nats::Client, workload: &Workload, events: u64) -> Result<()> {
    let jetstream = async_nats::jetstream::new(client);
    let payload = Bytes::from(workload.template());
    let publish = |number| {
        let (subject, payload) = (workload.subject(number), payload.clone());
        let jetstream = &jetstream;
        async move { anyhow::Ok(jetstream.publish(subject, payload).await?.await?) }
    };
    let acks = futures::stream::iter(0..events).map(publish).buffer_unordered(UNDER_WAY);
    acks.try_for_each(|_| std::future::ready(Ok(()))).await
}

/// An event carries the time at which it was due: a late sender is part of what its reader waits for.
pub(super) async fn run(load: Load) -> Result<()> {
    let client = async_nats::connect(&load.url).await?;
    let workload =
        Workload { keys: load.keys, handlers: 1, payload: load.payload, events: 0, job: Job::Echo };
    let mut payload = workload.template();
    say_running();
    let Some(rate) = load.rate else { return as_fast_as_possible(client, &workload, load.events).await };
    let (began, began_nanos) = (Instant::now(), now());
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sent = 0_u64;
    while sent < load.events {
        ticks.tick().await;
        let due = (began.elapsed().as_secs_f64() * rate) as u64;
        while sent < due.min(load.events) {
            stamp(&mut payload, began_nanos + (sent as f64 / rate * 1e9) as u64);
            client.publish(workload.subject(sent), Bytes::copy_from_slice(&payload)).await?;
            sent += 1;
        }
    }
    client.flush().await?;
    Ok(())
}
