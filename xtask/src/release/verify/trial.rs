//! What every installed program must do: tell its version, check an application, and run it until SIGTERM.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::super::running::Running;
use super::super::server::Server;
use super::tool;
use crate::shell::output;

/// An application with three handlers, whose plugins `cargo xtask setup` builds.
const APPLICATION: &str = "examples/order-saga/heddle.toml";

/// A real server, and what an application needs beside it.
pub(super) struct Trial {
    /// Dropped first: it writes below the scratch folder.
    server: Server,
    version: String,
    /// Compiled plugins, for all programs: they are of one version.
    cache: PathBuf,
}

impl Trial {
    /// Starts a server on a free port.
    pub(super) fn start(nats_server: &Path, version: &str, scratch: &Path) -> Result<Self> {
        let (data, cache) = (scratch.join("server"), scratch.join("cache"));
        fs::create_dir(&cache).context("failed to create a folder for compiled plugins")?;
        let server = Server::nats(nats_server, &data)?;
        Ok(Self { server, version: version.to_owned(), cache })
    }

    /// Fails unless a program does all that.
    pub(super) fn passes(&self, heddle: &Path) -> Result<()> {
        let version = output(self.heddle(heddle).arg("--version"))?;
        ensure!(version.trim() == format!("heddle {}", self.version), "its version is `{}`", version.trim());
        output(self.heddle(heddle).args(["check", "--offline", "--config", APPLICATION]))
            .context("the example needs its plugins; `cargo xtask setup` builds them")?;
        let mut run = self.heddle(heddle);
        run.args(["run", "--config", APPLICATION, "--url", &format!("nats://{}", self.server.address)]);
        let mut host = Running::start("heddle run", &mut run)?;
        host.wait_for(" running")?;
        let log = host.stop()?;
        ensure!(log.contains(" stopped"), "it did not finish what runs:\n{log}");
        Ok(())
    }

    /// A program with the settings of the trial.
    pub(super) fn heddle(&self, heddle: &Path) -> Command {
        let mut command = tool(heddle);
        command.env("HEDDLE_CACHE", &self.cache).env("HEDDLE_LOG", "info");
        for variable in ["HEDDLE_CONFIG", "HEDDLE_NATS_URL", "HEDDLE_LOG_FORMAT", "NOTIFY_SOCKET"] {
            command.env_remove(variable);
        }
        command
    }
}
