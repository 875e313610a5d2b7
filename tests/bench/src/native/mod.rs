//! The same job without Heddle, each as a process of its own.
//!
//! A worker says `running` when it is about to read, and ends once every event is handled.

mod careful;
mod cursor;
mod limit;
mod load;
mod naive;
mod watch;

pub use watch::Latency;

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::{self, Context};
use clap::{Args, Subcommand};

use crate::workload::INPUT;

/// The bucket of the counters.
pub const BUCKET: &str = "COUNTERS";

/// Work to be measured.
#[derive(Debug, Subcommand)]
pub enum Work {
    /// Read every event, and do nothing else.
    Cursor(Job),
    /// Store the same messages in full atomic batches, several at once: the most that the server can do.
    Limit(Job),
    /// Publish, put the counter and ack, many events at once: neither ordered nor exactly once.
    Naive(Job),
    /// Keep the order with queues and repeat no effect: the best that one writes by hand with acks.
    Careful(Job),
    /// Publish events at a steady rate, or as fast as the server takes them.
    Load(load::Load),
    /// Read the echoes of some keys, and print their latency as JSON to standard error.
    Watch(watch::Watch),
}

/// How much of it there is.
#[derive(Debug, Args)]
pub struct Job {
    /// URL of the server, without a login.
    #[arg(long)]
    pub url: String,
    /// How many events are handled before the worker ends.
    #[arg(long)]
    pub events: u64,
    /// How much is under way at once.
    #[arg(long, default_value_t = 1)]
    pub concurrency: usize,
}

/// Does it.
pub async fn run(work: Work) -> Result<()> {
    match work {
        Work::Cursor(job) => cursor::run(job).await,
        Work::Limit(job) => limit::run(job).await,
        Work::Naive(job) => naive::run(job).await,
        Work::Careful(job) => careful::run(job).await,
        Work::Load(load) => load::run(load).await,
        Work::Watch(watch) => watch::run(watch).await,
    }
}

async fn connect(url: &str) -> Result<Context> {
    Ok(jetstream::new(async_nats::connect(url).await?))
}

/// Says that reading begins.
fn say_running() {
    eprintln!("{}", crate::process::RUNNING);
}

/// Nanoseconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A consumer without acks from the first event on.
pub(crate) async fn cursor(jetstream: &Context, stream: &str, filter: &str) -> Result<PullConsumer> {
    let config = pull::Config {
        ack_policy: AckPolicy::None,
        filter_subject: filter.to_owned(),
        memory_storage: true,
        ..pull::Config::default()
    };
    Ok(jetstream.get_stream_no_info(stream).await?.create_consumer(config).await?)
}

/// A durable consumer with acks.
async fn acked(jetstream: &Context, name: &str) -> Result<PullConsumer> {
    let config = pull::Config {
        durable_name: Some(name.to_owned()),
        ack_policy: AckPolicy::Explicit,
        // The default of 1,000 would hold the higher concurrencies back.
        max_ack_pending: 20_000,
        ..pull::Config::default()
    };
    Ok(jetstream.get_stream_no_info(INPUT).await?.create_consumer(config).await?)
}

/// The subject of an echo, and the key.
fn echo(subject: &str) -> Result<(String, &str)> {
    let rest = subject.strip_prefix("in.").context("an event has another subject")?;
    let (_, key) = rest.split_once('.').context("an event has no key")?;
    Ok((format!("out.{rest}"), key))
}
