//! One look at a host and its server.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use heddle_tests::{App, Host, Server};
use serde::{Deserialize, Serialize};

use crate::streams::{INPUT, OUTPUT};

/// What was measured at a time.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Sample {
    /// Since the first event, in seconds.
    pub(super) after: u64,
    /// The host's memory, in MiB.
    pub(super) memory: u64,
    pub(super) descriptors: u64,
    pub(super) threads: u64,
    pub(super) tasks: u64,
    /// Instances that wait for an event.
    pub(super) instances: u64,
    /// Consumers of both streams.
    pub(super) consumers: u64,
    /// Messages in both streams.
    pub(super) messages: u64,
    /// Events that are not done.
    pub(super) lag: u64,
}

/// What `heddle status --json` says, as far as it is looked at.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    hosts: Vec<Tasks>,
    pub(super) handlers: BTreeMap<String, Row>,
}

#[derive(Debug, Deserialize)]
struct Tasks {
    tasks: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Row {
    lag: Option<u64>,
    in_flight: u64,
    retrying: u64,
    instances: u64,
    pub(super) lost: u64,
}

impl Row {
    /// Whether the handler has nothing left to do.
    pub(super) fn is_done(&self) -> bool {
        self.lag == Some(0) && self.in_flight + self.retrying == 0
    }
}

/// Asks the application how it is.
pub(super) async fn status(app: &App, server: &Server) -> Result<Status> {
    let output = app.output(&["status", "--json", "--url", &server.url()]).await;
    ensure!(output.status.success(), "no status: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("the status has another form")
}

impl Sample {
    pub(super) async fn take(began: Instant, app: &App, host: &Host, server: &Server) -> Result<Self> {
        let Status { hosts, handlers } = status(app, server).await?;
        let jetstream = server.jetstream().await;
        let (mut consumers, mut messages) = (0, 0);
        for name in [INPUT, OUTPUT] {
            let mut stream = jetstream.get_stream(name).await?;
            let state = &stream.info().await?.state;
            consumers += state.consumer_count as u64;
            messages += state.messages;
        }
        Ok(Sample {
            after: began.elapsed().as_secs(),
            memory: host.memory() >> 20,
            descriptors: entries(host, "fd")?,
            threads: entries(host, "task")?,
            tasks: hosts.iter().map(|host| host.tasks).sum(),
            instances: handlers.values().map(|row| row.instances).sum(),
            consumers,
            messages,
            lag: handlers.values().filter_map(|row| row.lag).sum(),
        })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sample { memory, descriptors, tasks, messages, lag, .. } = self;
        write!(f, "{memory} MiB, {descriptors} descriptors, {tasks} tasks, {messages} messages, lag {lag}")
    }
}

/// How many entries a folder of the host's process has.
fn entries(host: &Host, folder: &str) -> Result<u64> {
    let folder = format!("/proc/{}/{folder}", host.id());
    Ok(std::fs::read_dir(&folder).with_context(|| folder.clone())?.count() as u64)
}
