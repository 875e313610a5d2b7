//! `heddle dead-letters discard`.

use std::collections::{HashMap, HashSet};
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use futures::{StreamExt, TryStreamExt};
use serde_json::json;

use super::release::request_release;
use super::select::Selection;
use super::wait::Outcomes;
use super::{letters, progress};
use crate::assembly::cli::audit::audit;
use crate::assembly::cli::{TargetArgs, check_host};
use crate::broker::{Broker, Part};
use crate::flow::gates;
use crate::values::gate::{Gate, Phase};
use crate::values::key::Key;
use crate::values::letter::Letter;
use crate::values::names::{Names, dead};
use crate::values::settings::Settings;

/// Removals under way at once.
const PARALLEL: usize = 64;

/// Remove dead letters for good.
///
/// Why is written into the audit of the application. A dead letter that holds its key back is not removed unless the key
/// is released too: then the events that were set aside behind it run, in order.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    selection: Selection,
    /// Why, for the audit.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Release the keys that they hold back.
    #[arg(long)]
    release: bool,
    /// Do not wait for the host, where keys are released.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    target: TargetArgs,
}

impl Command {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let (settings, broker) = self.target.connect().await?;
        let names = Names::new(&settings.app);
        let selected = self.selection.read(&broker, &settings, Part::Headers).await?;
        if selected.is_empty() {
            println!("no dead letter is selected");
            return Ok(ExitCode::SUCCESS);
        }
        let gates = closed_gates(&broker, &settings, &names).await?;
        let holds = |letter: &Letter| gates.contains(&(letter.handler().to_owned(), letter.event_id()));
        let (holding, free): (Vec<_>, Vec<_>) = selected.iter().partition(|letter| holds(letter));
        if let (false, Some(letter)) = (self.release, holding.first()) {
            bail!(
                "dead letter {} holds key `{}` back: replay it, or add --release so that the key's other events run without it ({} of {} selected hold a key)",
                letter.sequence,
                letter.text(dead::KEY),
                holding.len(),
                selected.len()
            );
        }
        if !holding.is_empty() && !self.no_wait {
            check_host(&broker, &settings, &names).await?;
        }
        let details = json!({
            "selection": self.selection.describe(),
            "count": selected.len(),
            "reason": self.reason,
            "released": holding.len(),
        });
        audit(&broker, &settings, "discard", details).await?;
        let bar = progress("discarding", selected.len());
        let (stream, bar_ref, broker_ref) = (&settings.stream.name, &bar, &broker);
        let removed = futures::stream::iter(free).map(|letter| async move {
            let result = broker_ref.delete(stream, letter.sequence).await;
            bar_ref.inc(1);
            result
        });
        removed.buffer_unordered(PARALLEL).try_collect::<()>().await?;
        let mut outcomes = Outcomes::listen(&broker, &settings).await?;
        for letter in holding {
            let subject = names.replay(letter.handler(), &letter.sequence.to_string());
            if let Some(request) = request_release(&broker, &settings, &subject, None).await? {
                outcomes.expect(request, subject);
            }
        }
        if !self.no_wait {
            outcomes.wait(&bar).await?;
        }
        bar.finish_and_clear();
        println!("{} discarded", letters(selected.len()));
        Ok(ExitCode::SUCCESS)
    }
}

/// Handler and event of every gate that is closed.
async fn closed_gates(
    broker: &Broker,
    settings: &Settings,
    names: &Names,
) -> anyhow::Result<HashSet<(String, String)>> {
    Ok(closed(broker, settings, names)
        .await?
        .into_iter()
        .map(|((handler, _), gate)| (handler, gate.event))
        .collect())
}

/// Every gate that is closed, by handler and key.
pub(super) async fn closed(
    broker: &Broker,
    settings: &Settings,
    names: &Names,
) -> anyhow::Result<HashMap<(String, Key), Gate>> {
    let held = gates::read(broker, &settings.stream.name, names).await?.into_iter();
    let closed = held.filter(|stored| stored.gate.phase == Phase::Closed);
    Ok(closed.map(|stored| ((stored.handler, Key::new(&stored.gate.key)), stored.gate)).collect())
}
