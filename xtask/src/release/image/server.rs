//! Servers for a trial, on free ports of the loopback interface, and programs that have a deadline.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use super::layout::write;
use crate::shell::{command, ending};

/// A running server. Whatever happens, it does not outlive the value that stands for it.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    /// Host and port.
    pub(super) address: String,
}

impl Server {
    /// Starts a nats-server with JetStream, with its data in a folder.
    pub(super) fn nats(program: &Path, data: &Path) -> Result<Self> {
        let mut server = command(program);
        server.args(["--jetstream", "--addr", "127.0.0.1", "--port", "-1", "--store_dir"]).arg(data);
        Self::start(server, "Listening for client connections on ", "Server is ready")
    }

    /// Starts an OCI registry, with its data in a folder that is there.
    pub(super) fn registry(mut program: Command, folder: &Path) -> Result<Self> {
        let config = folder.join("registry.json");
        let data = folder.join("data");
        let settings = json!({
            "version": "0.1",
            "storage": { "filesystem": { "rootdirectory": data } },
            "http": { "addr": "127.0.0.1:0" },
        });
        write(&config, &settings)?;
        program.arg("serve").arg(config);
        Self::start(program, "listening on ", "listening on ")
    }

    /// Starts a server that logs its address behind some words, and then, or in the same line, that it is ready.
    fn start(mut program: Command, before: &str, ready: &str) -> Result<Self> {
        let name = program.get_program().display().to_string();
        program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = program.spawn().with_context(|| format!("failed to start `{name}`"))?;
        let log = child.stderr.take().context("standard error is piped")?;
        let mut server = Server { child, address: String::new() };
        let mut lines = BufReader::new(log).lines();
        loop {
            let line = lines.next().with_context(|| format!("`{name}` ended before it was ready"))??;
            if let Some((_, address)) = line.split_once(before) {
                let end = address.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(address.len());
                address.get(..end).unwrap_or_default().clone_into(&mut server.address);
            }
            if line.contains(ready) {
                break;
            }
        }
        ensure!(!server.address.is_empty(), "`{name}` did not say where it listens");
        // Read on, or it would stand still once the pipe is full.
        thread::spawn(move || lines.map_while(std::io::Result::ok).count());
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended of itself, which is as good.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What a program writes to standard output, if it ends in time.
pub(super) fn within(mut program: Command, time: Duration) -> Result<String> {
    let mut child = program
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start `{}`", program.get_program().display()))?;
    let mut output = child.stdout.take().context("standard output is piped")?;
    let (sender, said) = sync_channel(1);
    thread::spawn(move || {
        let mut text = String::new();
        let read = output.read_to_string(&mut text).map(|_| text);
        sender.send(read).ok();
    });
    let Ok(text) = said.recv_timeout(time) else {
        child.kill().ok();
        child.wait().ok();
        bail!("`{}` did not end within {time:?}", program.get_program().display());
    };
    let status = child.wait().context("failed to wait for a program")?;
    ensure!(status.success(), "`{}` {}", program.get_program().display(), ending(status));
    Ok(text?)
}
