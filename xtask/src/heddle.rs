//! A running `heddle dev`. Whatever happens, it does not outlive the value that stands for it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::setup::Machine;
use crate::shell::{Profile, command, empty, ending, target};

/// A slow machine compiles three plugins in a fraction of this.
const TO_START: Duration = Duration::from_secs(120);

/// `heddle` drains what runs when it is told to stop; after this it is killed.
const TO_STOP: Duration = Duration::from_secs(30);

/// What a program wrote before it ended is read within this.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How much of the log is shown when something fails.
const SHOWN_LINES: usize = 40;

/// A running `heddle dev`.
pub(crate) struct Heddle {
    pid: Pid,
    log: PathBuf,
    sender: SyncSender<News>,
    news: Receiver<News>,
    ended: Option<ExitStatus>,
}

/// What there is to react to.
enum News {
    /// `heddle` wrote a line to standard output.
    Line(String),
    /// `heddle` ended.
    HeddleEnded(ExitStatus),
    /// The program beside it ended.
    OtherEnded(ExitStatus),
    /// We are asked to end.
    Signal,
}

impl Heddle {
    /// Starts an application with an empty data folder below `target/demo`.
    pub(crate) fn start(config: &str, machine: &Machine) -> Result<Self> {
        let folder = target().join("demo");
        let (data, log) = (folder.join("data"), folder.join("heddle.log"));
        empty(&data)?;
        let file = File::create(&log).with_context(|| format!("failed to create `{}`", log.display()))?;
        let (sender, news) = sync_channel(16);
        report_signals(sender.clone())?;
        let mut heddle = command(Profile::Quick.program("heddle"));
        heddle
            .args(["dev", "--config", config, "--data"])
            .arg(&data)
            .env("HEDDLE_NATS_SERVER", &machine.nats_server);
        // A process group of its own: Ctrl-C reaches us alone, and we stop it in good order.
        heddle.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file).process_group(0);
        let mut child = heddle.spawn().context("failed to start `heddle`")?;
        let heddle = Self { pid: Pid::from_child(&child), log, sender, news, ended: None };
        let said = child.stdout.take().map(|output| report_lines(output, heddle.sender.clone()));
        report_end(child, said, heddle.sender.clone(), News::HeddleEnded);
        Ok(heddle)
    }

    /// Where the log is written.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Waits until the application runs, and says where.
    pub(crate) fn ready(&mut self) -> Result<String> {
        let deadline = Instant::now() + TO_START;
        loop {
            match self.next(deadline)? {
                Some(News::Line(line)) => match line.strip_prefix("ready: ") {
                    Some(url) => return Ok(url.to_owned()),
                    None => println!("{line}"),
                },
                Some(News::OtherEnded(_)) => {}
                Some(News::HeddleEnded(status)) => bail!("heddle {} before it was ready", ending(status)),
                Some(News::Signal) => bail!("interrupted"),
                None => bail!("heddle was not ready within {TO_START:?}"),
            }
        }
    }

    /// Runs a program to its end, while heddle runs.
    pub(crate) fn beside(&mut self, mut program: Command) -> Result<ExitStatus> {
        let child = program.spawn().context("failed to start the program beside heddle")?;
        let pid = Pid::from_child(&child);
        report_end(child, None, self.sender.clone(), News::OtherEnded);
        let error = loop {
            match self.news.recv().context("no news will come")? {
                News::Line(line) => println!("{line}"),
                News::OtherEnded(status) => return Ok(status),
                News::HeddleEnded(status) => {
                    self.ended = Some(status);
                    break anyhow::anyhow!("heddle {} while it was needed", ending(status));
                }
                News::Signal => break anyhow::anyhow!("interrupted"),
            }
        };
        // It may have ended of itself, which is as good.
        kill_process(pid, Signal::TERM).ok();
        Err(error)
    }

    /// Waits until we are asked to end.
    pub(crate) fn until_signal(&mut self) -> Result<()> {
        loop {
            match self.news.recv().context("no news will come")? {
                News::Line(line) => println!("{line}"),
                News::OtherEnded(_) => {}
                News::Signal => return Ok(()),
                News::HeddleEnded(status) => {
                    self.ended = Some(status);
                    bail!("heddle {}", ending(status));
                }
            }
        }
    }

    /// Asks heddle to stop, waits until it has, and fails unless it ended well.
    pub(crate) fn stop(mut self) -> Result<()> {
        let status = self.end()?;
        ensure!(status.success(), "heddle {} when it was stopped", ending(status));
        Ok(())
    }

    fn end(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        // If it has ended of itself there is nothing to signal, and its end is among the news.
        kill_process(self.pid, Signal::TERM).ok();
        let deadline = Instant::now() + TO_STOP;
        loop {
            match self.next(deadline)? {
                Some(News::Line(line)) => println!("{line}"),
                Some(News::HeddleEnded(status)) => return Ok(status),
                Some(News::OtherEnded(_) | News::Signal) => {}
                None => {
                    // The server is of its group and must not be left behind.
                    kill_process_group(self.pid, Signal::KILL).context("failed to kill heddle")?;
                    self.ended = Some(ExitStatus::default());
                    bail!("heddle did not stop within {TO_STOP:?} and was killed");
                }
            }
        }
    }

    /// The next news, if there is any before the deadline. Notes the end of heddle.
    fn next(&mut self, deadline: Instant) -> Result<Option<News>> {
        match self.news.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(news) => {
                if let News::HeddleEnded(status) = news {
                    self.ended = Some(status);
                }
                Ok(Some(news))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("no news will come"),
        }
    }
}

impl Drop for Heddle {
    fn drop(&mut self) {
        if self.ended.is_none()
            && let Err(error) = self.end()
        {
            eprintln!("{error:#}");
        }
    }
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let Ok(bytes) = fs::read(log) else { return "there is no log".to_owned() };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    let shown = lines.get(lines.len().saturating_sub(SHOWN_LINES)..).unwrap_or_default();
    shown.join("\n")
}

/// From now on, signals that would end us are news instead.
fn report_signals(sender: SyncSender<News>) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("failed to listen for signals")?;
    thread::spawn(move || {
        for signal in signals.forever() {
            if sender.send(News::Signal).is_err() {
                // Nobody waits for news any more: it ends us, as it would have.
                signal_hook::low_level::emulate_default_handler(signal).ok();
            }
        }
    });
    Ok(())
}

/// Every line of a child is news. What is returned is disconnected when there are no more.
fn report_lines(output: ChildStdout, sender: SyncSender<News>) -> Receiver<()> {
    let (done, said) = sync_channel(0);
    thread::spawn(move || {
        // Dropped when the thread ends.
        let _done: SyncSender<()> = done;
        for line in BufReader::new(output).split(b'\n') {
            let Ok(line) = line else { return };
            let line = String::from_utf8_lossy(&line).into_owned();
            if sender.send(News::Line(line)).is_err() {
                return;
            }
        }
    });
    said
}

/// The end of a child is news, and comes after its last line.
fn report_end(
    mut child: Child,
    said: Option<Receiver<()>>,
    sender: SyncSender<News>,
    news: fn(ExitStatus) -> News,
) {
    thread::spawn(move || {
        let status = child.wait()?;
        if let Some(said) = said {
            // A child of the child may hold the output open for longer than we care.
            said.recv_timeout(LAST_WORDS).ok();
        }
        // If nobody listens any more, nobody needs to know.
        sender.send(news(status)).ok();
        std::io::Result::Ok(())
    });
}
