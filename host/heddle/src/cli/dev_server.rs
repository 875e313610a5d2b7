//! The file by which the commands in a folder find the server of the `heddle dev` that runs there.
//!
//! A process that is killed leaves its file behind, and its port may be a stranger's by then. So the file names the
//! process, and is removed when that is gone; and it names the server, which is asked before anything is done there.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::fault::Code;
use crate::host::this_host;
use heddle_broker::Broker;
use heddle_flow::acquire::started;
use heddle_values::member::Process;

/// Where `heddle dev` keeps what it needs, beside `heddle.toml`.
pub(super) const DEV_FOLDER: &str = ".heddle";

/// The file in it.
const FILE: &str = "url";

/// The server of a `heddle dev`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct DevServer {
    pub(super) url: String,
    /// Its id, which is another one for every start of a server.
    server: String,
    /// The `heddle dev`.
    process: Process,
}

fn path(folder: &Path) -> PathBuf {
    folder.join(DEV_FOLDER).join(FILE)
}

impl DevServer {
    /// The server of this process.
    pub(super) fn of_this_process(url: String, broker: &Broker) -> Self {
        DevServer { url, server: broker.server_id(), process: this_host().process }
    }

    /// Lets the commands in an application's folder find it.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let file = path(folder);
        let failed = || format!("failed to write `{}`", file.display());
        // In one step: a command must not read half of it.
        let partial = file.with_extension("part");
        std::fs::write(&partial, serde_json::to_vec_pretty(self)?).with_context(failed)?;
        std::fs::rename(&partial, &file).with_context(failed)
    }

    /// Nobody is to find it any more.
    pub(super) fn remove(folder: &Path) {
        std::fs::remove_file(path(folder)).ok();
    }

    /// The server of the `heddle dev` that runs in an application's folder. What a process has left behind that is gone is
    /// removed.
    pub(super) fn find(folder: &Path) -> Option<Self> {
        let found: DevServer = serde_json::from_slice(&std::fs::read(path(folder)).ok()?).ok()?;
        let process = &found.process;
        if process.machine != this_host().process.machine {
            // Of another machine or container: its loopback interface is not this one.
            return None;
        }
        if started(process.pid) != Some(process.started) {
            DevServer::remove(folder);
            return None;
        }
        Some(found)
    }

    /// Where it was found, for errors.
    pub(super) fn origin(&self) -> String {
        format!("`{DEV_FOLDER}/{FILE}` of the `heddle dev` that is process {}", self.process.pid)
    }

    /// Whether a connection has led to it.
    pub(super) fn check(&self, broker: &Broker) -> anyhow::Result<()> {
        if broker.server_id() == self.server {
            return Ok(());
        }
        let message =
            format!("another server answers there than the one in {}: nothing was done", self.origin());
        Err(Code::Server.fault(message).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path, change: impl FnOnce(&mut DevServer)) -> bool {
        std::fs::create_dir_all(folder.join(DEV_FOLDER)).unwrap();
        let process = this_host().process;
        let mut server = DevServer { url: "nats://127.0.0.1:1".into(), server: "N1".into(), process };
        change(&mut server);
        server.write(folder).unwrap();
        let found = DevServer::find(folder).is_some();
        assert!(found || !path(folder).exists() || server.process.machine == "elsewhere");
        found
    }

    #[test]
    fn what_a_dead_process_left_behind_is_removed_and_not_used() {
        let folder = tempfile::tempdir().unwrap();
        assert!(DevServer::find(folder.path()).is_none());
        assert!(written(folder.path(), |_| {}));
        assert!(!written(folder.path(), |server| server.process.started += 1), "the id was used again");
        assert!(!written(folder.path(), |server| server.process.pid = u32::MAX));
        assert!(!written(folder.path(), |server| server.process.machine = "elsewhere".into()));
        assert!(path(folder.path()).exists(), "another machine's file is not ours to remove");
    }
}
