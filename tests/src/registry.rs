//! An OCI registry of a test's own.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{wait_for, workspace};

/// A running registry on a free port, with its data in a folder of its own.
pub struct OciRegistry {
    _child: Child,
    folder: TempDir,
    port: u16,
}

/// The program: `HEDDLE_OCI_REGISTRY`, the one that `cargo xtask setup` has put below `target`, or the first on the PATH.
#[expect(clippy::disallowed_methods, reason = "how the tests are told where the registry is")]
fn program() -> Option<PathBuf> {
    if let Ok(named) = std::env::var("HEDDLE_OCI_REGISTRY") {
        return Some(named.into());
    }
    let installed = workspace().join("target/registry/usr/bin/docker-registry");
    if installed.is_file() { Some(installed) } else { in_path("docker-registry") }
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

impl OciRegistry {
    /// Starts a registry. With a line of `htpasswd`, only that user may read and write.
    ///
    /// None on a machine where it cannot be had: without apt. The reason is printed.
    pub async fn start(user: Option<&str>) -> Option<Self> {
        let Some(program) = program() else {
            assert!(
                in_path("apt-get").is_none(),
                "no OCI registry: run `cargo xtask setup`, which brings one"
            );
            eprintln!("skipped: there is no `docker-registry`, and no apt to get it with");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder for the registry");
        let config = configuration(folder.path(), user);
        let log = folder.path().join("registry.log");
        let child = Command::new(program)
            .arg("serve")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).expect("a log file"))
            .kill_on_drop(true)
            .spawn()
            .expect("docker-registry starts: run `cargo xtask setup`, which brings one");
        let port = wait_for("the registry listens", || {
            let port = read_port(&log);
            async move { port }
        })
        .await;
        Some(OciRegistry { _child: child, folder, port })
    }

    /// Its address, as a reference begins with.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The file in which it keeps what has a digest.
    pub fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        let blobs = self.folder.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }
}

fn configuration(folder: &Path, user: Option<&str>) -> PathBuf {
    let mut text = format!(
        "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {:?}}}}}\nhttp: {{addr: \"127.0.0.1:0\"}}\n",
        folder.join("data")
    );
    if let Some(user) = user {
        let users = folder.join("users");
        std::fs::write(&users, user).expect("the users are written");
        text.push_str(&format!("auth: {{htpasswd: {{realm: test, path: {users:?}}}}}\n"));
    }
    let config = folder.join("config.yml");
    std::fs::write(&config, text).expect("the configuration is written");
    config
}

fn read_port(log: &Path) -> Option<u16> {
    let log = std::fs::read_to_string(log).ok()?;
    let (_, after) = log.split_once("listening on 127.0.0.1:")?;
    let digits: &str = after.split(|c: char| !c.is_ascii_digit()).next()?;
    // The line may be half written.
    after.get(digits.len()..).filter(|rest| !rest.is_empty())?;
    digits.parse().ok()
}
