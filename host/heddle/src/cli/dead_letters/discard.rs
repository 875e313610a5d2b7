//! `heddle dead-letters discard`.

use std::collections::HashSet;
use std::process::ExitCode;

use clap::Args;
use futures::{StreamExt, TryStreamExt};
use serde_json::json;

use super::held::{closed, request_release};
use super::select::{Handlers, Picked, Selection};
use super::wait::Outcomes;
use super::{dead_letters, progress};
use crate::cli::audit::audit;
use crate::cli::consent::Consent;
use crate::cli::fault::Code;
use crate::cli::{TargetArgs, check_host};
use crate::print::{self, say, visible};
use heddle_broker::{Broker, Part};
use heddle_values::names::{Names, dead};
use heddle_values::settings::Settings;

/// Removals under way at once.
const PARALLEL: usize = 64;

/// Remove dead letters for good.
///
/// Why is written into the audit of the application. A dead letter that holds its key back is not removed unless the key
/// is released too: then the events that were held back behind it run, in order.
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
    consent: Consent,
    #[command(flatten)]
    target: TargetArgs,
}

/// What is selected.
#[derive(Debug, Default)]
struct Selected {
    /// They hold no key back.
    free: Vec<u64>,
    holding: Vec<Picked>,
    /// The key that the first of these holds.
    first_key: String,
}

impl Selected {
    fn len(&self) -> usize {
        self.free.len() + self.holding.len()
    }
}

impl Command {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<ExitCode> {
        let (settings, broker) = self.target.connect().await?;
        let names = Names::new(&settings.app);
        let selected = self.select(&broker, &settings, &names).await?;
        if let (false, Some(dead_letter)) = (self.release, selected.holding.first()) {
            let message = format!(
                "dead letter {} holds key `{}` back: replay it, or add --release so that the key's other events run without it ({} of {} selected hold a key)",
                dead_letter.sequence,
                visible(&selected.first_key),
                selected.holding.len(),
                selected.len()
            );
            return Err(Code::HoldsKey.fault(message).into());
        }
        if selected.len() == 0 || self.consent.dry_run {
            return self.say(&selected, json);
        }
        if !selected.holding.is_empty() && !self.no_wait {
            check_host(&broker, &settings, &names).await?;
        }
        self.consent.yes.confirm(&format!("discarding {}", dead_letters(selected.len())))?;
        let details = json!({
            "selection": self.selection.describe(),
            "count": selected.len(),
            "reason": self.reason,
            "released": selected.holding.len(),
        });
        audit(&broker, &settings, "discard", details).await?;
        self.discard(&broker, &settings, &names, &selected).await?;
        self.say(&selected, json)
    }

    async fn select(&self, broker: &Broker, settings: &Settings, names: &Names) -> anyhow::Result<Selected> {
        let gates = closed_gates(broker, settings, names).await?;
        let (mut selected, mut handlers) = (Selected::default(), Handlers::default());
        let mut dead_letters = self.selection.dead_letters(broker, settings, Part::Headers).await?;
        while let Some(dead_letter) = dead_letters.try_next().await? {
            if !gates.contains(&(dead_letter.handler().to_owned(), dead_letter.event_id())) {
                selected.free.push(dead_letter.sequence);
                continue;
            }
            if selected.holding.is_empty() {
                dead_letter.text(dead::KEY).clone_into(&mut selected.first_key);
            }
            selected.holding.push(handlers.pick(&dead_letter));
        }
        Ok(selected)
    }

    async fn discard(
        &self,
        broker: &Broker,
        settings: &Settings,
        names: &Names,
        selected: &Selected,
    ) -> anyhow::Result<()> {
        let bar = progress("discarding", selected.len());
        let (stream, bar_ref) = (&settings.stream.name, &bar);
        let removed = futures::stream::iter(&selected.free).map(|sequence| async move {
            let result = broker.delete(stream, *sequence).await;
            bar_ref.inc(1);
            result
        });
        removed.buffer_unordered(PARALLEL).try_collect::<()>().await?;
        let mut outcomes = Outcomes::listen(broker, settings).await?;
        for dead_letter in &selected.holding {
            let subject = names.replay(&dead_letter.handler, &dead_letter.sequence.to_string());
            if let Some(request) = request_release(broker, settings, &subject, None).await? {
                outcomes.expect(request, subject);
            }
        }
        if !self.no_wait {
            outcomes.wait(&bar).await?;
        }
        bar.finish_and_clear();
        Ok(())
    }

    fn say(&self, selected: &Selected, json: bool) -> anyhow::Result<ExitCode> {
        let dry_run = self.consent.dry_run;
        if json {
            let (discarded, released) = (selected.len(), selected.holding.len());
            print::json(&json!({ "dry_run": dry_run, "discarded": discarded, "released": released }))?;
        } else if selected.len() == 0 {
            say!("no dead letter is selected")?;
        } else {
            say!(
                "{} {}",
                dead_letters(selected.len()),
                if dry_run { "would be discarded" } else { "discarded" }
            )?;
        }
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
