//! `heddle rollback`, `heddle pin`, `heddle unpin` and `heddle reload`: commands to the host that runs.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::audit::audit;
use super::consent::Consent;
use super::fault::Code;
use super::{TargetArgs, check_host};
use crate::print::{self, complain, say, visible};
use heddle_broker::Broker;
use heddle_values::command::{Answer, OperatorCommand};
use heddle_values::event::Headers;
use heddle_values::names::Names;
use heddle_values::rollout::Rollout;
use heddle_values::settings::Settings;

/// The interval at which a command polls for its answer.
const POLL: Duration = Duration::from_millis(50);

/// After N polls without an answer, the command checks whether a host still runs.
const POLLS: u32 = 100;

/// What all commands have in common.
#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    target: TargetArgs,
    /// Do not wait for the host; it may be one that starts later.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    consent: Consent,
}

/// Go back to an earlier version of a handler's plugin.
///
/// If a version is on trial, the trial ends and the live version stays. Otherwise the version that was live before takes
/// over, or the one that is named. Events go on in order. The version that leaves does not come back by itself, even if
/// its source still offers it: `heddle pin HANDLER DIGEST` goes back to it, and a new version is tried as ever.
#[derive(Debug, Args)]
pub(super) struct RollBack {
    /// The handler.
    handler: String,
    /// The first digits of a digest, as `heddle plugins HANDLER` shows them.
    #[arg(long, value_name = "DIGEST")]
    to: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Keep a handler at a version, whatever its source offers.
///
/// Without DIGEST it stays with the live version; a trial that is under way ends. With one, it goes there at once,
/// without shadow run and trial.
#[derive(Debug, Args)]
pub(super) struct Pin {
    /// The handler.
    handler: String,
    /// The first digits of a digest, as `heddle plugins HANDLER` shows them.
    digest: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// Let a handler follow its source again.
#[derive(Debug, Args)]
pub(super) struct Unpin {
    /// The handler.
    handler: String,
    #[command(flatten)]
    common: Common,
}

/// Make the running host reload its file.
///
/// It does so by itself when the file changes, and on SIGHUP; this waits for the outcome. A file with a fault changes
/// nothing.
///
/// A handler that the file no longer has keeps its progress and its states, for the case that it comes back. With --forget
/// they are removed, which cannot be undone; its dead letters stay.
///
/// A handler is stopped when the stream of others that it reads was recreated, deleted or cut off. With --restart it begins
/// again in the stream as it is now, where `start` of the file says; its states stay.
#[derive(Debug, Args)]
pub(super) struct Reload {
    /// Remove the progress and the states of a handler that the file no longer has; may be given several times.
    #[arg(long, value_name = "HANDLER")]
    forget: Vec<String>,
    /// Let a handler begin again that is stopped because of its stream; may be given several times.
    #[arg(long, value_name = "HANDLER")]
    restart: Vec<String>,
    #[command(flatten)]
    common: Common,
}

impl RollBack {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<()> {
        self.common.give(Some(&self.handler), OperatorCommand::RollBack { to: self.to }, json).await
    }
}

impl Pin {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<()> {
        self.common.give(Some(&self.handler), OperatorCommand::Pin { to: self.digest }, json).await
    }
}

impl Unpin {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<()> {
        self.common.give(Some(&self.handler), OperatorCommand::Unpin, json).await
    }
}

impl Reload {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<()> {
        self.common
            .give(None, OperatorCommand::Reload { forget: self.forget, restart: self.restart }, json)
            .await
    }
}

impl Common {
    async fn give(self, handler: Option<&str>, command: OperatorCommand, json: bool) -> anyhow::Result<()> {
        let (settings, broker) = self.target.connect().await?;
        let names = Names::new(&settings.app);
        if let Some(name) = handler.filter(|name| settings.handler(name).is_none()) {
            return Err(Code::NotFound.fault(format!("the file has no handler `{}`", visible(name))).into());
        }
        if !self.no_wait {
            check_host(&broker, &settings, &names).await?;
        }
        let who = handler.map_or_else(|| "host".to_owned(), |handler| format!("handler `{handler}`"));
        let say = |what: &str, text: &str| {
            if json {
                print::json(
                    &json!({ "handler": handler, "command": &command, "outcome": what, "text": text }),
                )
            } else {
                Ok(say!("{who}: {}", visible(text))?)
            }
        };
        if self.consent.dry_run {
            return say("dry-run", &foreseen(&broker, &settings, &names, handler, &command).await?);
        }
        if let OperatorCommand::Reload { forget, .. } = &command
            && !forget.is_empty()
        {
            let what = format!("removing the progress and the states of {}", forget.join(", "));
            self.consent.yes.confirm(&what)?;
        }
        audit(&broker, &settings, "command", json!({ "handler": handler, "command": &command })).await?;
        let payload = serde_json::to_vec(&command)?.into();
        let sent = broker.send_kept(&names.command(handler), &Headers::default(), payload, None).await?;
        let sequence = sent.await?.context("the server has not stored the command")?;
        if self.no_wait {
            return say(
                "stored",
                "command is stored; it is carried out by the host that runs, or by the next one",
            );
        }
        let Answer { done, text } = wait(&broker, &settings, &names, sequence).await?;
        if !done {
            return Err(Code::Refused.fault(format!("{who}: {text}")).into());
        }
        say("done", &text)?;
        if let (OperatorCommand::RollBack { .. }, Some(name), false) = (&command, handler, json) {
            complain!(
                "note: the version that left does not come back by itself: `heddle pin {name} DIGEST` goes back to it, with the digest that `heddle plugins {name}` shows"
            );
        }
        Ok(())
    }
}

/// The outcome that a command would have now, in words.
async fn foreseen(
    broker: &Broker,
    settings: &Settings,
    names: &Names,
    handler: Option<&str>,
    command: &OperatorCommand,
) -> anyhow::Result<String> {
    let Some(name) = handler else {
        let OperatorCommand::Reload { forget, restart } = command else { return Ok("nothing".to_owned()) };
        if let Some(known) = forget.iter().find(|name| settings.handler(name).is_some()) {
            let message =
                format!("handler `{known}` is in the file: only what is no longer there can be forgotten");
            return Err(Code::Refused.fault(message).into());
        }
        let mut text = "would read the file again".to_owned();
        if !forget.is_empty() {
            text += &format!(", remove the progress and the states of {}", forget.join(", "));
        }
        if !restart.is_empty() {
            text += &format!(", and let {} begin again", restart.join(", "));
        }
        return Ok(text);
    };
    let stored = broker.last(&settings.stream.name, &names.rollout(name)).await?;
    let stored = stored.ok_or_else(|| {
        Code::NotFound.fault(format!("no version of handler `{name}` is known: it has not run yet"))
    })?;
    let rollout: Rollout = serde_json::from_slice(&stored.payload)?;
    match rollout.commanded(command, 0) {
        Ok((_, text)) => Ok(format!("afterwards: {text}")),
        Err(why) => Err(Code::Refused.fault(format!("handler `{name}`: {why}")).into()),
    }
}

/// Waits for the answer as long as a host runs.
async fn wait(broker: &Broker, settings: &Settings, names: &Names, sequence: u64) -> anyhow::Result<Answer> {
    loop {
        for _ in 0..POLLS {
            if let Some(stored) = broker.last(&settings.stream.name, &names.answer(sequence)).await? {
                return Ok(serde_json::from_slice(&stored.payload)?);
            }
            tokio::time::sleep(POLL).await;
        }
        let Err(gone) = check_host(broker, settings, names).await else { continue };
        // Nobody is there to carry it out, and the next host must not do so unasked. One that did so meanwhile has answered.
        let stream = &settings.stream.name;
        broker.delete(stream, sequence).await?;
        return match broker.last(stream, &names.answer(sequence)).await? {
            Some(stored) => Ok(serde_json::from_slice(&stored.payload)?),
            None => Err(gone.context("the command was withdrawn")),
        };
    }
}
