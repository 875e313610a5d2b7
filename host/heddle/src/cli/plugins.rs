//! `heddle plugins`.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use super::TargetArgs;
use super::fault::Code;
use super::table::Table;
use crate::print::{self, say, visible};
use heddle_broker::Broker;
use heddle_flow::acquire::members;
use heddle_values::member::TrialProgress;
use heddle_values::names::Names;
use heddle_values::plugin::short;
use heddle_values::rollout::{Rollout, Version};
use heddle_values::settings::Settings;
use heddle_values::text::rfc3339;

/// The longest reason in the table, in characters.
const MAX_REASON: usize = 100;

/// Show which versions of the plugins run, and those that came before.
///
/// A version is verified, compiled, checked and, with `shadow`, run in the shadow of the live one; then it is on trial
/// (`canary`) and goes live, or is rolled back. With a HANDLER, every version in its rollout record is shown, the newest
/// first, with the reason why it was refused or rolled back. With --json, all versions of every handler are.
#[derive(Debug, Args)]
pub(super) struct Command {
    /// Show all versions of this handler.
    handler: Option<String>,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Serialize)]
struct Row {
    handler: String,
    /// Where its plugin comes from; none: the file no longer has the handler.
    source: Option<String>,
    #[serde(flatten)]
    rollout: Rollout,
    /// How far the version on trial has come, as its host last said.
    trial: Option<TrialProgress>,
}

impl Command {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<()> {
        let mut rows = self.target.read(async |settings, broker| read(broker, settings).await).await?;
        if let Some(name) = &self.handler {
            rows.retain(|row| row.handler == *name);
            if rows.is_empty() {
                let message =
                    format!("no version of handler `{}` is known: it has not run yet", visible(name));
                return Err(Code::NotFound.fault(message).into());
            }
        }
        rows.sort_by(|a, b| a.handler.cmp(&b.handler));
        match (json, self.handler) {
            (true, _) => print::json(&rows)?,
            (false, Some(_)) => rows.iter().try_for_each(print_history)?,
            (false, None) => print_overview(&rows)?,
        }
        Ok(())
    }
}

async fn read(broker: &Broker, settings: &Settings) -> anyhow::Result<Vec<Row>> {
    let names = Names::new(&settings.app);
    let stream = &settings.stream.name;
    if broker.stream_facts(stream).await?.is_none() {
        let message = format!("stream `{stream}` does not exist: the application has not run yet");
        return Err(Code::NoStream.fault(message).into());
    }
    let mut trials: BTreeMap<String, TrialProgress> = BTreeMap::new();
    for (_, member) in members(broker, stream, &names).await? {
        let trial =
            |(name, activity): (String, heddle_values::member::Activity)| Some((name, activity.canary?));
        trials.extend(member.handlers.into_iter().filter_map(trial));
    }
    let mut rows = Vec::new();
    for message in broker.last_of_each(stream, &names.rollouts()).await? {
        let Some(name) = names.parse_rollout(&message.subject) else { continue };
        let rollout: Rollout = serde_json::from_slice(&message.payload)?;
        let trial = trials.remove(name).filter(|trial| Some(&trial.digest) == rollout.canary.as_ref());
        let source = settings.handler(name).map(|handler| handler.plugin.to_string());
        // One that is written meanwhile comes again.
        rows.retain(|row: &Row| row.handler != name);
        rows.push(Row { handler: name.to_owned(), source, rollout, trial });
    }
    Ok(rows)
}

fn print_overview(rows: &[Row]) -> Result<(), print::Error> {
    let mut table = Table::new(["handler", "live", "version", "since", "trial", "source"]);
    let line = |row: &Row| {
        let live = row.rollout.live.as_deref();
        let version = live.and_then(|live| row.rollout.version(live));
        let pinned = if row.rollout.pinned { " (pinned)" } else { "" };
        [
            row.handler.clone(),
            format!("{}{pinned}", live.map_or("-", short)),
            version.and_then(|version| version.version.clone()).unwrap_or_else(|| "-".to_owned()),
            version.map_or_else(|| "-".to_owned(), |version| time(version.since)),
            trial(row),
            row.source.clone().unwrap_or_else(|| "not in the file".to_owned()),
        ]
    };
    rows.iter().try_for_each(|row| table.push(line(row)))?;
    table.finish()?;
    for row in rows {
        let handler = visible(&row.handler);
        if let Some(fault) = &row.rollout.fault {
            say!("{handler}: nothing can be had of its source: {}", visible(fault))?;
        }
        // What came last was not taken: that is what somebody wants to know.
        let last = row.rollout.versions.last().filter(|last| Some(&last.digest) != row.rollout.live.as_ref());
        if let Some((last, reason)) = last.and_then(|last| Some((last, last.reason.as_ref()?))) {
            say!("{handler}: {} {}: {}", short(&last.digest), last.stage.as_str(), visible(reason))?;
        }
    }
    Ok(())
}

fn trial(row: &Row) -> String {
    let Some(canary) = &row.rollout.canary else { return "-".to_owned() };
    match &row.trial {
        None => short(canary).to_owned(),
        Some(TrialProgress { events, failures, wanted, .. }) => {
            format!("{} {events}/{wanted} events, {failures} failed", short(canary))
        }
    }
}

fn print_history(row: &Row) -> Result<(), print::Error> {
    let mut table = Table::new(["digest", "version", "stage", "since", "reason"]);
    let line = |version: &Version| {
        let reason = version.reason.clone().unwrap_or_default();
        let again =
            version.again.map(|again| format!("; tried again at {}", time(again))).unwrap_or_default();
        [
            short(&version.digest).to_owned(),
            version.version.clone().unwrap_or_else(|| "-".to_owned()),
            version.stage.as_str().to_owned(),
            time(version.since),
            reason.chars().take(MAX_REASON).collect::<String>() + &again,
        ]
    };
    row.rollout.versions.iter().rev().try_for_each(|version| table.push(line(version)))?;
    table.finish()?;
    if row.rollout.pinned {
        let handler = visible(&row.handler);
        say!("pinned: no version that the source offers is accepted before `heddle unpin {handler}`")?;
    }
    if let Some(fault) = &row.rollout.fault {
        say!("nothing can be had of the source: {}", visible(fault))?;
    }
    Ok(())
}

/// Milliseconds since 1970, to the second.
fn time(milliseconds: u64) -> String {
    rfc3339(milliseconds / 1000 * 1_000_000_000)
}
