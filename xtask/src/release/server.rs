//! Servers for a trial, on free ports of the loopback interface.
//!
//! Knows nothing of what is tried with them.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::running::Running;
use crate::shell::command;

/// A server that is ready. It does not outlive the value that stands for it.
#[derive(Debug)]
pub(super) struct Server {
    _running: Running,
    /// Host and port.
    pub(super) address: String,
}

impl Server {
    /// Starts a nats-server with JetStream, with its data in a folder.
    pub(super) fn nats(program: &Path, data: &Path) -> Result<Self> {
        let mut server = command(program);
        server.args(["--jetstream", "--addr", "127.0.0.1", "--port", "-1", "--store_dir"]).arg(data);
        let mut running = Running::start("nats-server", &mut server)?;
        let address = listening(&mut running, "Listening for client connections on ")?;
        running.wait_for("Server is ready")?;
        Ok(Self { _running: running, address })
    }

    /// Starts an OCI registry, with its data in a folder that is there.
    pub(super) fn registry(mut program: Command, folder: &Path) -> Result<Self> {
        let config = folder.join("registry.json");
        let settings = json!({
            "version": "0.1",
            "storage": { "filesystem": { "rootdirectory": folder.join("data") } },
            "http": { "addr": "127.0.0.1:0" },
        });
        fs::write(&config, settings.to_string())
            .with_context(|| format!("failed to write `{}`", config.display()))?;
        let mut running = Running::start("the registry", program.arg("serve").arg(config))?;
        let address = listening(&mut running, "listening on ")?;
        Ok(Self { _running: running, address })
    }
}

/// The address that a server says behind some words.
fn listening(running: &mut Running, before: &str) -> Result<String> {
    let line = running.wait_for(before)?;
    let address = address(&line, before).to_owned();
    ensure!(!address.is_empty(), "`{line}` does not say where the server listens");
    Ok(address)
}

fn address<'a>(line: &'a str, before: &str) -> &'a str {
    let (_, after) = line.split_once(before).unwrap_or_default();
    after.split(|c: char| c.is_whitespace() || c == '"').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_the_logs_of_both_servers() {
        let nats = "[7] 2026/01/02 [INF] Listening for client connections on 127.0.0.1:4222";
        assert_eq!(address(nats, "Listening for client connections on "), "127.0.0.1:4222");
        let registry = r#"level=info msg="listening on 127.0.0.1:5000" go.version=go1.24"#;
        assert_eq!(address(registry, "listening on "), "127.0.0.1:5000");
    }
}
