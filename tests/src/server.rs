//! A nats-server of a test's own.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use async_nats::jetstream;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{free_port, wait_for};

/// A file system in memory, where the machine offers one.
pub const MEMORY: &str = "/dev/shm";

/// A running server. It can be killed and started again, on the same port with the same data.
pub struct Server {
    child: Child,
    folder: TempDir,
    port: u16,
}

/// The program: `HEDDLE_NATS_SERVER` or the first on the PATH.
#[expect(clippy::disallowed_methods, reason = "how the tests are told where the server is")]
pub(crate) fn program() -> PathBuf {
    std::env::var("HEDDLE_NATS_SERVER").map_or_else(|_| PathBuf::from("nats-server"), PathBuf::from)
}

/// What a server logs once it listens.
const READY: &str = "Server is ready";

/// The server's log, in its folder.
const LOG: &str = "server.log";

/// A file of this name in the server's folder is its configuration.
pub const CONFIG: &str = "server.conf";

fn spawn(folder: &Path, port: u16) -> Child {
    let config = folder.join(CONFIG);
    let mut command = Command::new(program());
    if config.is_file() {
        command.arg("--config").arg(config);
    }
    command
        .args(["--jetstream", "--addr", "127.0.0.1", "--port", &port.to_string()])
        .arg("--store_dir")
        .arg(folder.join("data"))
        .arg("--log")
        .arg(folder.join(LOG))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("nats-server starts: run `cargo xtask test`, which brings one")
}

impl Server {
    /// Starts a server on a free port, with its data in memory where the machine offers that.
    pub async fn start() -> Self {
        Self::start_in(Self::prepare()).await
    }

    /// A folder for a server, in memory where the machine offers that.
    pub fn prepare() -> TempDir {
        let memory = Path::new(MEMORY);
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        folder.expect("a folder for the server")
    }

    /// Starts a server on a free port, with its data in `folder`.
    pub async fn start_in(folder: TempDir) -> Self {
        let port = free_port();
        let child = spawn(folder.path(), port);
        let mut server = Server { child, folder, port };
        server.ready(1).await;
        server
    }

    /// Waits until it says for the nth time that it is ready. Nobody else does who may listen on its port.
    async fn ready(&mut self, times: usize) {
        let (child, log) = (RefCell::new(&mut self.child), self.folder.path().join(LOG));
        wait_for("the server is ready", || {
            let ended = child.borrow_mut().try_wait().ok().flatten();
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            assert!(ended.is_none(), "the server ended with {ended:?}: {said}");
            let is_ready = said.matches(READY).count() >= times;
            async move { is_ready.then_some(()) }
        })
        .await;
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the server runs")
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends the server with SIGKILL.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("the server can be killed");
    }

    /// Starts it again after [`kill`](Self::kill).
    pub async fn restart(&mut self) {
        let said = std::fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default();
        self.child = spawn(self.folder.path(), self.port);
        self.ready(said.matches(READY).count() + 1).await;
        let url = self.url();
        wait_for("the server is back", || async { async_nats::connect(&url).await.ok() }).await;
    }

    /// A client of its own.
    pub async fn client(&self) -> async_nats::Client {
        let url = self.url();
        wait_for("a client connects", || async {
            let options = async_nats::ConnectOptions::new().request_timeout(Some(Duration::from_secs(20)));
            options.connect(&url).await.ok()
        })
        .await
    }

    /// Its JetStream.
    pub async fn jetstream(&self) -> jetstream::Context {
        jetstream::new(self.client().await)
    }
}
