//! The rig: a server of its own, an input stream that is filled, and an output stream that is recreated for each run.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::{self, Context, kv, stream};
use bytes::Bytes;
use futures::StreamExt;
use heddle_tests::{MEMORY, Server};
use heddle_values::checkpoint::Checkpoint;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::native::BUCKET;
use crate::process::{Usage, usage};
use crate::workload::{INPUT, OUTPUT, Store, Workload};

/// Messages that are sent before the server is waited for.
const FILL_CHUNK: u64 = 2_000;

/// How long anything that must come may take.
pub const PATIENCE: Duration = Duration::from_secs(1_800);

/// How often it is looked for. What is measured is the time that the server wrote down, not when it was found.
pub const LOOK: Duration = Duration::from_millis(50);

/// How long the server keeps a consumer that nobody uses.
const UNUSED: Duration = Duration::from_secs(30);

/// A server that uses no more than this share of a core does nothing of note.
const QUIET: f64 = 0.06;

/// How long a quiet server is looked at.
const QUIET_LOOK: Duration = Duration::from_millis(150);

/// A server and its streams.
pub struct Rig {
    server: Server,
    /// The benchmark's own connection to the server, which no worker shares.
    pub jetstream: Context,
    /// For what a run needs beside the server.
    pub folder: TempDir,
    filled: Option<Workload>,
}

impl Rig {
    /// Starts a server.
    pub async fn start(store: Store) -> Result<Self> {
        let memory = Path::new(MEMORY);
        let folder = match store {
            Store::Ram if memory.is_dir() => tempfile::tempdir_in(memory),
            Store::Ram => anyhow::bail!("no file system in memory at {MEMORY}; try `--store disk`"),
            Store::Disk => tempfile::tempdir(),
        };
        let server = Server::start_in(folder.context("no folder for the server")?).await;
        let jetstream = jetstream::new(server.client().await);
        let folder = tempfile::tempdir().context("no folder for the runs")?;
        Ok(Rig { server, jetstream, folder, filled: None })
    }

    /// Where the server listens.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// What the server has used.
    pub fn server_usage(&self) -> Result<Usage> {
        usage(self.server.pid())
    }

    /// Lets the input stream hold these events and no others. `progress` is told how many are there.
    pub async fn fill(&mut self, workload: &Workload, progress: impl Fn(u64)) -> Result<()> {
        if self.filled == Some(*workload) {
            return Ok(());
        }
        let (template, last) = (Bytes::from(workload.template()), Bytes::from(workload.last()));
        let event = |number| {
            let is_last = number + workload.handlers >= workload.events;
            (workload.subject(number), if is_last { last.clone() } else { template.clone() })
        };
        self.fill_with(workload.events, event, progress).await?;
        self.filled = Some(*workload);
        Ok(())
    }

    /// Lets the input stream hold N events and no others: subjects and payloads by their numbers from 0.
    pub async fn fill_with(
        &mut self,
        events: u64,
        event: impl Fn(u64) -> (String, Bytes),
        progress: impl Fn(u64),
    ) -> Result<()> {
        self.forget();
        self.jetstream.delete_stream(INPUT).await.ok();
        let config =
            stream::Config { name: INPUT.into(), subjects: vec!["in.>".into()], ..Default::default() };
        self.jetstream.create_stream(config).await?;
        self.publish(events, event, progress).await
    }

    /// Publishes events to an input stream that is empty, as many as the server takes.
    pub async fn publish(
        &self,
        events: u64,
        event: impl Fn(u64) -> (String, Bytes),
        progress: impl Fn(u64),
    ) -> Result<()> {
        let mut input = self.jetstream.get_stream(INPUT).await?;
        let client = self.jetstream.client();
        for number in 0..events {
            let (subject, payload) = event(number);
            client.publish(subject, payload).await?;
            if number % FILL_CHUNK == FILL_CHUNK - 1 || number + 1 == events {
                // What the server has not stored yet waits in its memory: no more than a chunk.
                let began = Instant::now();
                while input.info().await?.state.messages <= number {
                    ensure!(began.elapsed() < PATIENCE, "the input stream takes no more events");
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                progress(number + 1);
            }
        }
        Ok(())
    }

    /// The input holds something else now.
    pub fn forget(&mut self) {
        self.filled = None;
    }

    /// Takes away what the last run wrote, and waits until the server has nothing to do any more.
    pub async fn clear(&self) -> Result<()> {
        for stream in [OUTPUT, &format!("KV_{BUCKET}")] {
            self.jetstream.delete_stream(stream).await.ok();
        }
        let input = self.jetstream.get_stream(INPUT).await?;
        let names: Vec<_> = input.consumer_names().collect().await;
        for name in names {
            input.delete_consumer(&name?).await?;
        }
        self.quiet().await
    }

    /// Waits until the server has nothing to do any more.
    pub async fn quiet(&self) -> Result<()> {
        let began = Instant::now();
        loop {
            let before = self.server_usage()?.cpu;
            tokio::time::sleep(QUIET_LOOK).await;
            let used = self.server_usage()?.cpu.saturating_sub(before);
            if used.as_secs_f64() <= QUIET * QUIET_LOOK.as_secs_f64() {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "the server does not come to rest");
        }
    }

    /// What native code writes to: a stream like the one that Heddle makes, and a bucket of counters.
    pub async fn make_native_output(&self) -> Result<()> {
        let subjects = vec!["out.>".into(), "state.>".into()];
        let config = stream::Config {
            name: OUTPUT.into(),
            subjects,
            allow_atomic_publish: true,
            ..Default::default()
        };
        self.jetstream.create_stream(config).await?;
        let bucket = kv::Config { bucket: BUCKET.into(), history: 1, ..Default::default() };
        self.jetstream.create_key_value(bucket).await?;
        Ok(())
    }

    /// How many messages of a stream match.
    pub async fn count(&self, stream: &str, filter: &str) -> Result<u64> {
        Ok(self.consumer(stream, filter, DeliverPolicy::All, UNUSED).await?.cached_info().num_pending)
    }

    /// A consumer that only counts: what it has pending is what matches. Nobody reads from it, so it has to outlast the
    /// longest wait.
    pub async fn tally(&self, stream: &str, filter: &str) -> Result<PullConsumer> {
        self.consumer(stream, filter, DeliverPolicy::All, PATIENCE).await
    }

    /// How far into the input a reader has come.
    pub async fn delivered(&self) -> Result<u64> {
        let input = self.jetstream.get_stream(INPUT).await?;
        let mut consumers = input.consumers();
        let mut delivered = 0;
        while let Some(consumer) = consumers.next().await {
            delivered = delivered.max(consumer?.delivered.stream_sequence);
        }
        Ok(delivered)
    }

    /// The sum of the last counter of each key.
    pub async fn sum(&self, stream: &str, filter: &str) -> Result<u64> {
        let consumer = self.consumer(stream, filter, DeliverPolicy::LastPerSubject, UNUSED).await?;
        let keys = consumer.cached_info().num_pending;
        let mut messages = consumer.stream().messages().await?;
        let mut sum = 0;
        for _ in 0..keys {
            let message = messages.next().await.context("reading ended")??;
            sum += u64::from_le_bytes(message.payload.as_ref().try_into().context("not a counter")?);
        }
        Ok(sum)
    }

    async fn consumer(
        &self,
        stream: &str,
        filter: &str,
        deliver_policy: DeliverPolicy,
        inactive_threshold: Duration,
    ) -> Result<PullConsumer> {
        let config = pull::Config {
            ack_policy: AckPolicy::None,
            deliver_policy,
            filter_subject: filter.into(),
            memory_storage: true,
            inactive_threshold,
            ..Default::default()
        };
        Ok(self.jetstream.get_stream_no_info(stream).await?.create_consumer(config).await?)
    }

    /// When the last echo was stored, in nanoseconds since 1970.
    pub async fn last_echo(&self) -> Result<u64> {
        let output = self.jetstream.get_stream_no_info(OUTPUT).await?;
        let last = output.get_last_raw_message_by_subject("out.>").await?;
        Ok(u64::try_from(last.time.unix_timestamp_nanos())?)
    }

    /// The checkpoint of a shard, if it is there.
    pub async fn checkpoint(&self, subject: &str) -> Option<Checkpoint> {
        let output = self.jetstream.get_stream_no_info(OUTPUT).await.ok()?;
        let message = output.get_last_raw_message_by_subject(subject).await.ok()?;
        Checkpoint::decode(&message.payload).ok()
    }
}
