//! The application: one handler with the plugin `contrary`, its events, and the commands of an operator.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use async_nats::jetstream::consumer::PullConsumer;
use bytes::Bytes;
use heddle_tests::{heddle, plugin};
use tokio::process::Command;
use tokio::time::Instant;

use crate::process::Worker;
use crate::rig::{LOOK, PATIENCE, Rig};
use crate::workload::{INPUT, OUTPUT};

/// The application's name, its handler and its number of shards.
const APP: &str = "bench";
const HANDLER: &str = "h";
const SHARDS: u16 = 16;

/// What a message of a handler carries behind the time of sending, in bytes.
const PADDING: usize = 130;

/// What is told apart by the handler's settings: whether the events that can fail do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Well,
    Ill,
}

/// An event that counts and publishes. With `can_fail` it asks for a retry first, unless the handler is well.
pub(super) fn event(key: u64, can_fail: bool, sent: u64) -> (String, Bytes) {
    let guard = if can_fail { r#"{"fail_unless":{"name":"well"}},"# } else { "" };
    let payload = format!(
        r#"{{"do":[{guard}{{"count":null}},{{"publish":{{"subject":"out.k{key}","payload":"{sent:020}{:x<PADDING$}"}}}}]}}"#,
        ""
    );
    (format!("in.k{key}"), payload.into())
}

/// The time of sending in what the event published, in nanoseconds since 1970.
pub(super) fn sent(payload: &[u8]) -> Option<u64> {
    std::str::from_utf8(payload.get(..20)?).ok()?.parse().ok()
}

/// The file of the application. `more` belongs to the handler.
fn file(health: Health, more: &str) -> String {
    let well = if health == Health::Well { "well = \"yes\"" } else { "" };
    let plugin = plugin("contrary");
    format!(
        "app = \"{APP}\"\nshards = {SHARDS}\n[stream]\nname = \"{OUTPUT}\"\nsubjects = [\"out.>\"]\n\
         [handlers.{HANDLER}]\nplugin = {plugin:?}\nstream = \"{INPUT}\"\nsubscribe = [\"in.*\"]\n\
         key = \"{{subject.1}}\"\npublishes = [\"out.>\"]\ninstances = {{ reuse = 1000 }}\n\
         config = {{ {well} }}\n{more}\n"
    )
}

/// Starts a host.
pub(super) async fn start(rig: &Rig, health: Health, more: &str) -> Result<Worker> {
    rig.start_host(&file(health, more)).await
}

/// Starts a host that has nothing to go on from.
pub(super) async fn start_anew(rig: &Rig, health: Health, more: &str) -> Result<Worker> {
    rig.clear().await?;
    start(rig, health, more).await
}

/// Runs `heddle dead-letters` to its end: how many seconds it took, and what it printed.
pub(super) async fn dead_letters(rig: &Rig, arguments: &[&str]) -> Result<(f64, String)> {
    let mut command = Command::new(heddle());
    command.arg("dead-letters").args(arguments).args(["--url", &rig.url(), "--config"]).arg(config(rig));
    let began = Instant::now();
    let output = command.env("HEDDLE_LOG", "error").kill_on_drop(true).output().await?;
    let seconds = began.elapsed().as_secs_f64();
    let (said, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "`dead-letters {arguments:?}` failed: {said}{complaint}");
    Ok((seconds, said.into_owned()))
}

fn config(rig: &Rig) -> PathBuf {
    rig.folder.path().join("heddle.toml")
}

/// How many messages of the output match.
pub(super) struct Tally(PullConsumer);

impl Tally {
    /// To be asked for while a host runs: it makes the stream.
    pub(super) async fn of(rig: &Rig, filter: &str) -> Result<Self> {
        Ok(Tally(rig.tally(OUTPUT, filter).await?))
    }

    /// How many there are now, if none of them was removed.
    pub(super) async fn now(&mut self) -> Result<u64> {
        Ok(self.0.info().await.context("the stream is gone")?.num_pending)
    }

    /// Waits until there are N.
    pub(super) async fn reach(&mut self, count: u64, worker: &mut Worker) -> Result<()> {
        let began = Instant::now();
        loop {
            let found = self.now().await?;
            if found >= count {
                ensure!(found == count, "{found} messages instead of {count}");
                return Ok(());
            }
            worker.check().await?;
            ensure!(began.elapsed() < PATIENCE, "only {found} of {count} messages came");
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Everything that was held back, every dead letter, everything that was published.
pub(super) const HELD: &str = "_heddle.bench.held.>";
pub(super) const DEAD: &str = "dead.bench.>";
pub(super) const PUBLISHED: &str = "out.>";
