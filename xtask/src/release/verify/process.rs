//! A program that runs beside the test until it is stopped. It does not outlive the value that stands for it.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::shell::ending;

/// A slow machine does whatever is waited for in a fraction of this.
const PATIENCE: Duration = Duration::from_secs(60);

/// More than a program of the test logs.
const LINES: usize = 4_096;

/// A running program.
pub(super) struct Running {
    name: String,
    pid: Pid,
    news: Receiver<News>,
    /// What it has logged so far.
    log: String,
    has_ended: bool,
}

enum News {
    Line(String),
    /// It ended, and so did everything that held its standard error.
    Ended(ExitStatus),
}

impl Running {
    /// Starts a program in a process group of its own.
    pub(super) fn start(name: &str, command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().with_context(|| format!("failed to start {name}"))?;
        let pid = Pid::from_child(&child);
        let errors = child.stderr.take().context("a child has a standard error")?;
        let (sender, news) = sync_channel(LINES);
        thread::spawn(move || report(child, errors, &sender));
        Ok(Self { name: name.to_owned(), pid, news, log: String::new(), has_ended: false })
    }

    /// Waits until it logs a line with this text.
    pub(super) fn wait_for(&mut self, text: &str) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.next(deadline)? {
                News::Line(line) if line.contains(text) => return Ok(line),
                News::Line(_) => {}
                News::Ended(status) => {
                    bail!("{} {} before it said `{text}`:\n{}", self.name, ending(status), self.log)
                }
            }
        }
    }

    /// Sends SIGTERM, waits for its end, and fails unless that is good. What it has logged.
    pub(super) fn stop(mut self) -> Result<String> {
        kill_process(self.pid, Signal::TERM).with_context(|| format!("failed to signal {}", self.name))?;
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let News::Ended(status) = self.next(deadline)? {
                break status;
            }
        };
        ensure!(status.success(), "{} {} at SIGTERM:\n{}", self.name, ending(status), self.log);
        Ok(std::mem::take(&mut self.log))
    }

    fn next(&mut self, deadline: Instant) -> Result<News> {
        match self.news.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(news) => {
                match &news {
                    News::Line(line) => self.log = format!("{}{line}\n", self.log),
                    News::Ended(_) => self.has_ended = true,
                }
                Ok(news)
            }
            Err(RecvTimeoutError::Timeout) => {
                bail!("{} did not do what was waited for within {PATIENCE:?}:\n{}", self.name, self.log)
            }
            Err(RecvTimeoutError::Disconnected) => bail!("nothing will be known of {} any more", self.name),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended {
            // With all that it has started. It may have ended of itself, which is as good.
            kill_process_group(self.pid, Signal::KILL).ok();
            // Until it has ended, it may write into the folder that is removed next.
            while self.news.recv_timeout(PATIENCE).is_ok() {}
        }
    }
}

/// Tells what a program logs, and then how it ended.
fn report(mut child: Child, errors: ChildStderr, sender: &SyncSender<News>) {
    for line in BufReader::new(errors).split(b'\n') {
        let Ok(line) = line else { break };
        // Nobody may listen any more; the program still must not find its standard error closed.
        sender.send(News::Line(String::from_utf8_lossy(&line).into_owned())).ok();
    }
    if let Ok(status) = child.wait() {
        sender.send(News::Ended(status)).ok();
    }
}
