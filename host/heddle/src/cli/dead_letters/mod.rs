//! `heddle dead-letters`: what failed for good, and what can be done about it.

mod discard;
mod dry_run;
mod edit;
mod files;
mod held;
mod list;
mod release;
mod replay;
mod row;
mod select;
mod show;
mod transfer;
mod wait;

use std::process::ExitCode;

use anyhow::Context;
use bytes::Bytes;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use heddle_broker::{Broker, Stored};
use heddle_values::dead_letter::DeadLetter;
use heddle_values::event::Event;
use heddle_values::key::Key;
use heddle_values::names::Names;
use heddle_values::settings::Settings;

/// List, show, replay or discard dead letters.
///
/// A dead letter is an event that a handler failed on for good. It stays in the application's stream, payload and
/// headers as they were, until it is replayed or discarded.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    List(list::Command),
    Show(show::Command),
    Replay(replay::Command),
    Discard(discard::Command),
    Release(release::Command),
    Export(transfer::Export),
    Import(transfer::Import),
    Fixture(transfer::ToFixture),
}

impl Command {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::List(command) => Box::pin(command.run(json)).await,
            Action::Show(command) => command.run(json).await,
            Action::Replay(command) => Box::pin(command.run(json)).await,
            Action::Discard(command) => Box::pin(command.run(json)).await,
            Action::Release(command) => command.run(json).await,
            Action::Export(command) => command.run(json).await,
            Action::Import(command) => command.run(json).await,
            Action::Fixture(command) => command.run(json).await,
        }
    }
}

/// The event of a dead letter. What did not fit into it is read from the event's stream.
async fn whole_event(broker: &Broker, dead_letter: &DeadLetter) -> anyhow::Result<Event> {
    let mut event = dead_letter.event().context("dead letter does not say what its event was")?;
    if dead_letter.is_partial() {
        let whole = broker.at(&event.stream, event.sequence).await?;
        let whole = whole.with_context(|| format!("event {} is no longer in the stream", event.id()))?;
        (event.headers, event.payload) = (whole.headers, whole.payload);
    }
    Ok(event)
}

/// The state that a key of a handler has now.
async fn state_of(
    broker: &Broker,
    settings: &Settings,
    handler: &str,
    key: &Key,
) -> anyhow::Result<Option<Bytes>> {
    let subject = Names::new(&settings.app).state(key.shard(settings.shards.get()), handler, key);
    Ok(broker.last(&settings.stream.name, &subject).await?.and_then(Stored::into_state))
}

/// `1 dead letter`, `2 dead letters`.
fn dead_letters(count: usize) -> String {
    if count == 1 { "1 dead letter".to_owned() } else { format!("{count} dead letters") }
}

/// A bar on standard error, if that is a terminal.
fn progress(what: &'static str, total: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} {per_sec} {eta}");
    let bar = ProgressBar::new(total as u64).with_message(what);
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}
