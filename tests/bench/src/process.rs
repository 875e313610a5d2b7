//! Processes under measurement: how they are started and ended, and what they use.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::Instant;

/// What a worker writes to its log when it is about to read its first event.
pub const RUNNING: &str = " running";

/// How long a worker may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Of all cores together.
    pub cpu: Duration,
    /// The most memory that was resident at once, in bytes.
    pub peak: u64,
    /// What is resident now, in bytes.
    pub resident: u64,
}

impl Usage {
    /// The CPU seconds since an earlier look.
    pub fn cpu_since(&self, earlier: Usage) -> f64 {
        self.cpu.saturating_sub(earlier.cpu).as_secs_f64()
    }
}

/// What a process has used so far.
pub fn usage(pid: u32) -> Result<Usage> {
    let gone = || format!("process {pid} is gone");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).with_context(gone)?;
    // The name, in parentheses, may contain anything.
    let (_, rest) = stat.rsplit_once(')').context("`stat` has no name")?;
    let fields: Vec<u64> = rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    let ticks = fields.get(11).zip(fields.get(12)).map(|(user, system)| user + system);
    let ticks = ticks.context("`stat` has no times")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).with_context(gone)?;
    let bytes = |name: &str| {
        let text = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        1024 * text.trim().trim_end_matches(" kB").parse().unwrap_or(0)
    };
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Usage {
        cpu: Duration::from_secs_f64(ticks as f64 / per_second as f64),
        peak: bytes("VmHWM:"),
        resident: bytes("VmRSS:"),
    })
}

/// A process that does the work. It is killed when it is dropped.
pub struct Worker {
    child: Child,
    log: PathBuf,
}

impl Worker {
    /// Starts a command and waits until it is about to read. Its log goes to a file in `folder`.
    pub async fn start(mut command: Command, folder: &Path, name: &str) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("failed to create `{}`", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).kill_on_drop(true);
        let child = command.spawn().context("failed to start a worker")?;
        let mut worker = Worker { child, log };
        let began = Instant::now();
        while !worker.said(RUNNING) {
            worker.check().await?;
            ensure!(began.elapsed() < PATIENCE, "worker did not start: {}", worker.log());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(worker)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether its log contains a text.
    pub fn said(&self, text: &str) -> bool {
        self.log().contains(text)
    }

    /// Its process id.
    pub fn pid(&self) -> Result<u32> {
        self.child.id().context("the worker has ended")
    }

    /// Fails if it has ended.
    pub async fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("worker ended with {status}: {}", self.log()),
            None => Ok(()),
        }
    }

    /// Waits until it ends by itself.
    pub async fn ended(mut self) -> Result<String> {
        let status = self.child.wait().await?;
        ensure!(status.success(), "worker ended with {status}: {}", self.log());
        Ok(self.log())
    }

    /// Stops it.
    pub async fn stop(mut self) -> Result<()> {
        let id = i32::try_from(self.pid()?).ok().and_then(Pid::from_raw).context("no process id")?;
        kill_process(id, Signal::TERM)?;
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = ended.with_context(|| format!("worker does not stop: {}", self.log()))??;
        ensure!(status.success(), "worker ended with {status}: {}", self.log());
        Ok(())
    }
}
