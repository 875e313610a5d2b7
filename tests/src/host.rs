//! An application in a folder of its own, and `heddle run` as a process.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{failing_heddle, heddle, wait_for, workspace};

/// A `heddle.toml` in a folder of its own.
pub struct App {
    folder: TempDir,
    hosts: std::cell::Cell<u32>,
}

/// A running host. It is killed when it is dropped.
pub struct Host {
    child: Child,
    log: PathBuf,
}

impl App {
    /// Writes the application's file.
    pub fn new(toml: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the application");
        std::fs::write(folder.path().join("heddle.toml"), toml).expect("the file is written");
        App { folder, hosts: std::cell::Cell::new(0) }
    }

    /// The application that most tests use: events on `in.>`, effects on `out.>`, the plugin `contrary`, keys from
    /// the second token. `more` is added to the handler's section.
    pub fn contrary(more: &str) -> Self {
        App::of(&crate::plugin("contrary"), more)
    }

    /// The same with another plugin.
    pub fn of(plugin: &std::path::Path, more: &str) -> Self {
        App::new(&format!(
            r#"
app = "t"
shards = 4
[stream]
name = "T"
subjects = ["in.>", "out.>"]
[handlers.h]
plugin = {plugin:?}
subscribe = ["in.*"]
key = "{{subject.1}}"
publishes = ["out.>"]
{more}
"#
        ))
    }

    /// The same with the guest `caller`, which calls out over HTTP.
    pub fn caller(more: &str) -> Self {
        let app = App::of(std::path::Path::new("caller.wasm"), more);
        let component = crate::assemble(&crate::guest_text("caller")).expect("the guest is a component");
        std::fs::write(app.folder().join("caller.wasm"), component).expect("the plugin is written");
        app
    }

    /// Its folder.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// With a part of its file replaced.
    pub fn with(self, old: &str, new: &str) -> Self {
        self.rewrite(|text| {
            assert!(text.contains(old), "{old:?} is not in the file");
            text.replace(old, new)
        })
    }

    /// With something added to its file.
    pub fn append(self, more: &str) -> Self {
        self.rewrite(|text| text + more)
    }

    fn rewrite(self, change: impl FnOnce(String) -> String) -> Self {
        let path = self.folder.path().join("heddle.toml");
        let text = std::fs::read_to_string(&path).expect("the file is there");
        crate::component::replace(&path, change(text).as_bytes());
        self
    }

    /// A command of `heddle` for this application.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.prepared(Command::new(heddle()), arguments)
    }

    fn prepared(&self, mut command: Command, arguments: &[&str]) -> Command {
        command
            .args(arguments)
            .current_dir(self.folder.path())
            // One store for all tests: every plugin is compiled once.
            .env("HEDDLE_CACHE", workspace().join("target/test-artifacts"))
            .env("HEDDLE_LOG", "info,async_nats=error,heddle::plugin=trace,heddle_flow::compact=debug")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs a command to its end.
    pub async fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().await.expect("heddle runs")
    }

    /// Starts `heddle run` and waits until it runs.
    pub async fn start(&self, url: &str) -> Host {
        let mut host = self.spawn(url);
        host.wait_for_line(" running").await;
        host
    }

    /// Starts `heddle run` so that it is killed at a place of the code, when it comes by for the nth time.
    pub fn doomed(&self, url: &str, failpoint: &str, times: u32) -> Host {
        let mut command = Command::new(failing_heddle());
        command.env("HEDDLE_FAILPOINT", format!("{failpoint}={times}"));
        self.spawn_as(self.prepared(command, &["run", "--url", url]))
    }

    /// Starts `heddle run`.
    pub fn spawn(&self, url: &str) -> Host {
        self.spawn_as(self.command(&["run", "--url", url]))
    }

    /// Starts `heddle run` of a program that is not the one beside the tests.
    pub async fn start_program(&self, program: &std::path::Path, url: &str) -> Host {
        let mut host = self.spawn_as(self.prepared(Command::new(program), &["run", "--url", url]));
        host.wait_for_line(" running").await;
        host
    }

    /// Starts `heddle dev`. What it says on standard output stands in its log, too.
    pub fn dev(&self) -> Host {
        let (mut command, file) = (self.command(&["dev"]), self.log_file());
        command.stdout(file.1.try_clone().expect("a second handle of the log file"));
        self.spawn_with(command, file)
    }

    /// Starts a command of this application as a host.
    pub fn spawn_as(&self, mut command: Command) -> Host {
        command.stdout(Stdio::null());
        self.spawn_with(command, self.log_file())
    }

    /// A new log file.
    fn log_file(&self) -> (PathBuf, File) {
        let number = self.hosts.get();
        self.hosts.set(number + 1);
        let log = self.folder.path().join(format!("host-{number}.log"));
        let file = File::create(&log).expect("a log file");
        (log, file)
    }

    fn spawn_with(&self, mut command: Command, (log, file): (PathBuf, File)) -> Host {
        let child = command.stderr(file).spawn().expect("heddle starts");
        Host { child, log }
    }

    /// The logs of all hosts so far.
    pub fn logs(&self) -> String {
        let read =
            |n| std::fs::read_to_string(self.folder.path().join(format!("host-{n}.log"))).unwrap_or_default();
        (0..self.hosts.get()).map(read).collect()
    }
}

impl Host {
    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until a line of the log contains `text`.
    pub async fn wait_for_line(&mut self, text: &str) {
        let log = self.log.clone();
        let child = std::cell::RefCell::new(&mut self.child);
        wait_for(&format!("the host logs {text:?}"), || {
            let found = std::fs::read_to_string(&log).is_ok_and(|log| log.contains(text));
            let ended = child.borrow_mut().try_wait().ok().flatten();
            let log = &log;
            async move {
                let shown = || std::fs::read_to_string(log).unwrap_or_default();
                assert!(found || ended.is_none(), "the host ended with {ended:?}: {}", shown());
                found.then_some(())
            }
        })
        .await;
    }

    fn pid(&self) -> Pid {
        let id = i32::try_from(self.id()).ok();
        id.and_then(Pid::from_raw).expect("a process has an id above 0")
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id().expect("the host has not been awaited")
    }

    /// Its memory at present, in bytes.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the host is there");
    }

    /// Waits until it has been killed.
    pub async fn killed(&mut self) {
        let status = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await;
        assert!(status.is_ok(), "the host is not killed: {}", self.log());
        let status = status.expect("checked just now").expect("the host can be awaited");
        assert_eq!(status.code(), None, "the host ended by itself: {}", self.log());
    }

    /// Ends it with SIGKILL.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("the host can be killed");
    }

    /// Waits until it has ended; its exit code.
    pub async fn ended(&mut self) -> i32 {
        let status = tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await;
        assert!(status.is_ok(), "the host does not end: {}", self.log());
        let status = status.expect("checked just now");
        status.expect("the host can be awaited").code().expect("the host ended by itself")
    }

    /// Stops it with SIGTERM; its exit code.
    pub async fn stop(mut self) -> i32 {
        self.signal(Signal::TERM);
        self.ended().await
    }
}
