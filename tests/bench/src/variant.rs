//! The variants: who does the job, and one measured run of each.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use heddle_tests::{heddle, plugin, workspace};
use heddle_values::names::Names;
use tokio::process::Command;
use tokio::time::Instant;

use crate::native::{BUCKET, now};
use crate::process::{Worker, usage};
use crate::rig::{LOOK, PATIENCE, Rig};
use crate::workload::{INPUT, Job, OUTPUT, Workload};

/// The application's name and its number of shards.
const APP: &str = "bench";
const SHARDS: u16 = 16;

/// How many events an instance sees under `reuse`.
const REUSE: u32 = 1_000;

/// Who does the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Variant {
    /// Nobody: it is only read.
    Cursor,
    /// Nobody: the server is given the same messages, as many batches at once.
    Limit(usize),
    /// Native code as tutorials have it, with this many events at once.
    Naive(usize),
    /// Native code that keeps the order and repeats no effect, with this many queues.
    Careful(usize),
    /// Heddle, with a new instance for each event.
    Fresh,
    /// Heddle, with instances that serve 1,000 events each.
    Reuse,
}

impl Variant {
    /// What the tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Variant::Cursor => "bare cursor",
            Variant::Limit(_) => "limit",
            Variant::Naive(_) => "naive native",
            Variant::Careful(_) => "careful native",
            Variant::Fresh => "heddle fresh",
            Variant::Reuse => "heddle reuse",
        }
    }

    /// The same with another concurrency, where it has one.
    pub fn choices(self) -> Vec<Variant> {
        match self {
            Variant::Limit(_) => [1, 2, 4].map(Variant::Limit).to_vec(),
            Variant::Naive(_) => [64, 256, 1_024].map(Variant::Naive).to_vec(),
            Variant::Careful(_) => [64, 256, 1_024].map(Variant::Careful).to_vec(),
            Variant::Cursor | Variant::Fresh | Variant::Reuse => vec![self],
        }
    }

    /// How much it has under way at once, where that was chosen.
    pub fn concurrency(self) -> Option<usize> {
        match self {
            Variant::Limit(n) | Variant::Naive(n) | Variant::Careful(n) => Some(n),
            Variant::Cursor | Variant::Fresh | Variant::Reuse => None,
        }
    }

    fn is_heddle(self) -> bool {
        matches!(self, Variant::Fresh | Variant::Reuse)
    }
}

/// One run.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// From when the worker is about to read until its last effect is stored; for latency, from the first event sent
    /// until the last echo was read.
    pub seconds: f64,
    /// CPU seconds of the worker during the run.
    pub worker_cpu: f64,
    /// CPU seconds of nats-server during the run.
    pub server_cpu: f64,
    /// Bytes.
    pub peak: u64,
    /// Commits, for Heddle.
    pub batches: Option<u64>,
    /// Counts that were lost in the end.
    pub miscounted: u64,
}

impl Rig {
    /// One run of a variant over a workload that the input holds, and a check of what it wrote.
    pub async fn run(&self, variant: Variant, workload: &Workload) -> Result<Sample> {
        self.clear().await?;
        let what = || format!("{} at {workload:?}", variant.name());
        let sample = if variant.is_heddle() {
            self.run_heddle(variant, workload).await
        } else {
            self.run_native(variant, workload).await
        };
        sample.with_context(what)
    }

    async fn run_native(&self, variant: Variant, workload: &Workload) -> Result<Sample> {
        self.make_native_output().await?;
        let (name, concurrency) = match variant {
            Variant::Cursor | Variant::Fresh | Variant::Reuse => ("cursor", 1),
            Variant::Limit(n) => ("limit", n),
            Variant::Naive(n) => ("naive", n),
            Variant::Careful(n) => ("careful", n),
        };
        let events = workload.events.to_string();
        let command =
            native(name, &self.url(), &["--events", &events, "--concurrency", &concurrency.to_string()])?;
        let mut worker = Worker::start(command, self.folder.path(), name).await?;
        let (pid, began, before) = (worker.pid()?, Instant::now(), self.server_usage()?);
        let mut used = usage(pid)?;
        let at_start = used;
        // What it has used is known as long as it lives.
        while worker.check().await.is_ok()
            && let Ok(now) = usage(pid)
        {
            (used, _) = (now, tokio::time::sleep(Duration::from_millis(5)).await);
        }
        let seconds = began.elapsed().as_secs_f64();
        worker.ended().await?;
        let server_cpu = self.server_usage()?.cpu_since(before);
        let (bucket, counters) = (format!("KV_{BUCKET}"), "$KV.>");
        let miscounted = match variant {
            // The last counts of keys whose events overtook each other are too low.
            Variant::Limit(_) => self.verify(workload, OUTPUT, "state.>").await?,
            Variant::Naive(_) => self.verify(workload, &bucket, counters).await?,
            Variant::Careful(_) => exact(self.verify(workload, &bucket, counters).await?)?,
            Variant::Cursor | Variant::Fresh | Variant::Reuse => 0,
        };
        let worker_cpu = used.cpu_since(at_start);
        Ok(Sample { seconds, worker_cpu, server_cpu, peak: used.peak, batches: None, miscounted })
    }

    async fn run_heddle(&self, variant: Variant, workload: &Workload) -> Result<Sample> {
        let mut worker = self.start_heddle(variant, workload.handlers).await?;
        let (pid, began) = (worker.pid()?, now());
        let (before, server_before) = (usage(pid)?, self.server_usage()?);
        let batches = self.until_done(&mut worker, workload).await?;
        let (after, server_after) = (usage(pid)?, self.server_usage()?);
        worker.stop().await?;
        let seconds = self.last_echo().await?.saturating_sub(began) as f64 / 1e9;
        let miscounted = exact(self.verify(workload, OUTPUT, &Names::new(APP).states()).await?)?;
        Ok(Sample {
            seconds,
            worker_cpu: after.cpu_since(before),
            server_cpu: server_after.cpu_since(server_before),
            peak: after.peak,
            batches: Some(batches),
            miscounted,
        })
    }

    /// Starts a host whose handlers read the input.
    pub async fn start_heddle(&self, variant: Variant, handlers: u64) -> Result<Worker> {
        self.start_host(&config(variant, handlers)).await
    }

    /// Starts a host of the application in a `heddle.toml`.
    pub async fn start_host(&self, config: &str) -> Result<Worker> {
        let file = self.folder.path().join("heddle.toml");
        std::fs::write(&file, config).context("failed to write `heddle.toml`")?;
        let mut command = Command::new(heddle());
        command
            .args(["run", "--url", &self.url(), "--config"])
            .arg(&file)
            .arg("--cache")
            .arg(workspace().join("target/test-artifacts"))
            .env("HEDDLE_LOG", "info");
        Worker::start(command, self.folder.path(), "heddle").await
    }

    /// Waits until every shard has written down that all is done; how many commits there were.
    async fn until_done(&self, worker: &mut Worker, workload: &Workload) -> Result<u64> {
        let names = Names::new(APP);
        let (began, mut commits) = (Instant::now(), 0);
        for shard in 0..SHARDS {
            let subject = names.checkpoint(shard);
            loop {
                let found = self.checkpoint(&subject).await.filter(|checkpoint| {
                    let mut lows = checkpoint.handlers.values().map(|progress| progress.low);
                    lows.all(|low| low > workload.events)
                });
                if let Some(checkpoint) = found {
                    commits = commits.max(checkpoint.commit);
                    break;
                }
                worker.check().await?;
                ensure!(began.elapsed() < PATIENCE, "the events are not handled");
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(commits)
    }

    /// Fails unless every event was echoed once. How far the counters are from the truth.
    async fn verify(&self, workload: &Workload, stream: &str, filter: &str) -> Result<u64> {
        let echoes = self.count(OUTPUT, "out.>").await?;
        ensure!(echoes == workload.echoes(), "{echoes} echoes of {} events", workload.echoes());
        Ok(self.sum(stream, filter).await?.abs_diff(workload.echoes()))
    }
}

/// Fails unless the counters are right.
fn exact(miscounted: u64) -> Result<u64> {
    ensure!(miscounted == 0, "the counters are {miscounted} from the truth");
    Ok(0)
}

/// This program, doing native work.
pub fn native(work: &str, url: &str, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["native", work, "--url", url]).args(arguments);
    Ok(command)
}

fn config(variant: Variant, handlers: u64) -> String {
    let instances = match variant {
        Variant::Reuse => format!("{{ reuse = {REUSE} }}"),
        _ => "\"fresh\"".to_owned(),
    };
    let plugin = plugin("echo");
    let mut file = format!(
        "app = \"{APP}\"\nshards = {SHARDS}\n[stream]\nname = \"{OUTPUT}\"\nsubjects = [\"out.>\"]\n"
    );
    for handler in 0..handlers {
        file.push_str(&format!(
            "[handlers.h{handler}]\nplugin = {plugin:?}\nstream = \"{INPUT}\"\nsubscribe = [\"in.{handler}.*\"]\n\
             key = \"{{subject.2}}\"\npublishes = [\"out.>\"]\ninstances = {instances}\n"
        ));
    }
    file
}

/// Rounds of work that keep a plugin busy for `time`.
pub fn rounds(time: Duration, nanos_per_round: f64) -> Job {
    Job::Work((time.as_nanos() as f64 / nanos_per_round) as u32)
}
