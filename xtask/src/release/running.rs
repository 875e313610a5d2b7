//! A program that runs beside the test until it is stopped. It does not outlive the value that stands for it, and nothing waits for it
//! without a deadline.

use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::shell::ending;

/// A slow machine does whatever is waited for in a fraction of this.
const PATIENCE: Duration = Duration::from_secs(90);

/// More than a program of the test logs.
const LINES: usize = 4_096;

/// How much of a log is shown when something fails.
const SHOWN_LINES: usize = 40;

/// A running program.
#[derive(Debug)]
pub(super) struct Running {
    name: String,
    pid: Pid,
    news: Receiver<News>,
    /// What it has said so far.
    said: Vec<String>,
    ended: Option<ExitStatus>,
    patience: Duration,
}

#[derive(Debug)]
enum News {
    Line(String),
    /// It ended, and so did everything that held its output.
    Ended(ExitStatus),
}

impl Running {
    /// Starts a program in a process group of its own. What it says is what it writes to standard error.
    pub(super) fn start(name: &str, command: &mut Command) -> Result<Self> {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = spawn(name, command)?;
        let errors = child.stderr.take().context("a child has a standard error")?;
        Ok(Self::of(name, child, errors))
    }

    /// Runs a program to its end, which must be good; what it writes to standard output.
    pub(super) fn output(name: &str, command: &mut Command) -> Result<String> {
        command.stdout(Stdio::piped());
        let mut child = spawn(name, command)?;
        let output = child.stdout.take().context("a child has a standard output")?;
        let (status, said) = Self::of(name, child, output).end()?;
        ensure!(status.success(), "{name} {}:\n{said}", ending(status));
        Ok(said)
    }

    fn of(name: &str, child: Child, output: impl Read + Send + 'static) -> Self {
        let pid = Pid::from_child(&child);
        let (sender, news) = sync_channel(LINES);
        thread::spawn(move || report(child, output, &sender));
        Self { name: name.to_owned(), pid, news, said: Vec::new(), ended: None, patience: PATIENCE }
    }

    /// Waits until it says a line with this text.
    pub(super) fn wait_for(&mut self, text: &str) -> Result<String> {
        self.wait_for_line(text, |line| line.contains(text))
    }

    /// Waits until it says a certain line, which is described for the case that it does not.
    pub(super) fn wait_for_line(&mut self, what: &str, is_it: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + self.patience;
        loop {
            match self.next(deadline, what)? {
                News::Line(line) if is_it(&line) => return Ok(line),
                News::Line(_) => {}
                News::Ended(status) => {
                    bail!("{} {} before it said `{what}`:\n{}", self.name, ending(status), self.shown())
                }
            }
        }
    }

    /// Waits until it has ended: how, and all that it has said.
    pub(super) fn end(mut self) -> Result<(ExitStatus, String)> {
        let deadline = Instant::now() + self.patience;
        loop {
            if let News::Ended(status) = self.next(deadline, "its end")? {
                return Ok((status, self.said.join("\n")));
            }
        }
    }

    /// Sends SIGTERM, waits for its end, and fails unless that is good. All that it has said.
    pub(super) fn stop(self) -> Result<String> {
        kill_process(self.pid, Signal::TERM).with_context(|| format!("failed to signal {}", self.name))?;
        let name = self.name.clone();
        let (status, said) = self.end()?;
        ensure!(status.success(), "{name} {} at SIGTERM:\n{said}", ending(status));
        Ok(said)
    }

    fn next(&mut self, deadline: Instant, awaited: &str) -> Result<News> {
        match self.news.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(news) => {
                match &news {
                    News::Line(line) => self.said.push(line.clone()),
                    News::Ended(status) => self.ended = Some(*status),
                }
                Ok(news)
            }
            Err(RecvTimeoutError::Timeout) => {
                let patience = self.patience;
                bail!("{}: no sign of `{awaited}` within {patience:?}:\n{}", self.name, self.shown())
            }
            Err(RecvTimeoutError::Disconnected) => bail!("nothing will be known of {} any more", self.name),
        }
    }

    /// The last lines of what it has said.
    fn shown(&self) -> String {
        self.said.get(self.said.len().saturating_sub(SHOWN_LINES)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // With all that it has started. It may have ended of itself, which is as good.
            kill_process_group(self.pid, Signal::KILL).ok();
            // Until it has ended, it may write into the folder that is removed next.
            while self.news.recv_timeout(self.patience).is_ok() {}
        }
    }
}

fn spawn(name: &str, command: &mut Command) -> Result<Child> {
    let spawned = command.stdin(Stdio::null()).process_group(0).spawn();
    spawned.with_context(|| format!("failed to start {name}"))
}

/// Tells what a program says, and then how it ended.
fn report(mut child: Child, output: impl Read, sender: &SyncSender<News>) {
    for line in BufReader::new(output).split(b'\n') {
        let Ok(line) = line else { break };
        // Nobody may listen any more; the program still must not find its output closed.
        sender.send(News::Line(String::from_utf8_lossy(&line).into_owned())).ok();
    }
    if let Ok(status) = child.wait() {
        sender.send(News::Ended(status)).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::command;

    fn shell(script: &str) -> Command {
        let mut shell = command("sh");
        shell.args(["-c", script]);
        shell
    }

    #[test]
    fn a_program_that_does_not_say_what_is_waited_for_is_given_up_and_ended() {
        let mut silent = Running::start("silent", &mut shell("echo hello >&2; exec sleep 600")).unwrap();
        silent.wait_for("hello").unwrap();
        silent.patience = Duration::from_millis(50);
        let error = silent.wait_for("ready").unwrap_err().to_string();
        assert_eq!(error, "silent: no sign of `ready` within 50ms:\nhello");
        silent.patience = PATIENCE;
        let pid = silent.pid;
        drop(silent);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }

    #[test]
    fn a_program_that_ends_first_is_no_riddle() {
        let mut brief = Running::start("brief", &mut shell("echo broken >&2; exit 3")).unwrap();
        let error = brief.wait_for("ready").unwrap_err().to_string();
        assert_eq!(error, "brief ended with 3 before it said `ready`:\nbroken");
    }

    #[test]
    fn a_program_is_stopped_in_good_order_and_its_output_is_whole() {
        let script = "trap 'echo stopped >&2; exit 0' TERM; echo up >&2; while :; do sleep 0.05; done";
        let mut host = Running::start("host", &mut shell(script)).unwrap();
        host.wait_for("up").unwrap();
        assert_eq!(host.stop().unwrap(), "up\nstopped");
        assert_eq!(Running::output("rows", &mut shell("echo a; echo b")).unwrap(), "a\nb");
        assert!(Running::output("rows", &mut shell("echo a; exit 1")).is_err());
    }
}
