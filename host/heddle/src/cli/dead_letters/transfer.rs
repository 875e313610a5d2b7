//! `heddle dead-letters export`, `import` and `fixture`.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use futures::TryStreamExt;
use serde_json::json;

use super::files::{Lines, Sink};
use super::row::Row;
use super::select::{Filter, Selection, dead_letter, not_found};
use super::{dead_letters, progress, state_of, whole_event};
use crate::cli::TargetArgs;
use crate::cli::audit::audit;
use crate::cli::consent::Consent;
use crate::cli::fixture::{self, Fixture};
use crate::print::{self, say, visible_json};
use heddle_broker::{Broker, Part};
use heddle_values::dead_letter::DeadLetter;
use heddle_values::names::{Names, dead};
use heddle_values::refusal::unreadable;
use heddle_values::settings::Settings;
use heddle_values::subject;

/// Messages that are published at once.
const PARALLEL: usize = 256;

/// Write dead letters as JSON, one a line.
#[derive(Debug, Args)]
pub(super) struct Export {
    #[command(flatten)]
    selection: Selection,
    /// Where to; without it, standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    target: TargetArgs,
}

/// Store exported dead letters in an application's stream.
///
/// The whole file is checked before anything is stored. A dead letter whose handler and event are there already is left
/// out, so that importing twice repeats nothing.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// What `export` wrote; `-` reads standard input.
    file: PathBuf,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    target: TargetArgs,
}

/// Write a dead letter as a test case: its event, the state of its key, and `done` as what is expected.
///
/// The file can be given to `heddle invoke --event`.
#[derive(Debug, Args)]
pub(super) struct ToFixture {
    /// The dead letter's sequence.
    sequence: u64,
    /// The file to write. Default: `tests/<handler>-<sequence>.toml`.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    target: TargetArgs,
}

impl Export {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<ExitCode> {
        self.target.read(async |settings, broker| self.export(settings, broker, json).await).await
    }

    async fn export(&self, settings: &Settings, broker: &Broker, json: bool) -> anyhow::Result<ExitCode> {
        let mut dead_letters = self.selection.dead_letters(broker, settings, Part::Whole).await?;
        let mut sink = Sink::open(self.output.as_deref())?;
        let mut count = 0;
        while let Some(dead_letter) = dead_letters.try_next().await? {
            sink.line(&visible_json(&serde_json::to_string(&Row::of(&dead_letter))?))?;
            count += 1;
        }
        sink.finish()?;
        if let Some(output) = &self.output {
            if json {
                print::json(&json!({ "exported": count, "file": output }))?;
            } else {
                say!("{} exported", super::dead_letters(count))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What makes a dead letter the one it is: its handler and its event. A digest, for there may be any number of them.
type Identity = [u8; 16];

fn identity(dead_letter: &DeadLetter) -> Identity {
    let mut hasher = blake3::Hasher::new();
    hasher.update(dead_letter.handler().as_bytes()).update(&[0]).update(dead_letter.event_id().as_bytes());
    let mut identity = Identity::default();
    hasher.finalize_xof().fill(&mut identity);
    identity
}

impl Import {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<ExitCode> {
        let mut lines = Lines::open(&self.file)?;
        let imported: Vec<Identity> = lines
            .dead_letters()?
            .map(|dead_letter| Ok(identity(&dead_letter?)))
            .collect::<anyhow::Result<_>>()?;
        let (settings, broker) = self.target.connect().await?;
        let everything = Filter::default();
        let there = everything.read(&broker, &settings, Part::Headers).await?;
        let mut there: HashSet<Identity> =
            there.map_ok(|dead_letter| identity(&dead_letter)).try_collect().await?;
        let is_new: Vec<bool> = imported.into_iter().map(|identity| there.insert(identity)).collect();
        drop(there);
        let new = is_new.iter().filter(|is_new| **is_new).count();
        let left_out = is_new.len() - new;
        if !self.consent.dry_run {
            let details = json!({ "file": self.file, "count": new, "left_out": left_out });
            audit(&broker, &settings, "import", details).await?;
            let dead_letters = lines
                .dead_letters()?
                .zip(is_new)
                .filter(|(_, is_new)| *is_new)
                .map(|(dead_letter, _)| dead_letter);
            publish(dead_letters, new, &broker, &settings).await?;
        }
        if json {
            let dry_run = self.consent.dry_run;
            print::json(&json!({ "dry_run": dry_run, "imported": new, "left_out": left_out }))?;
        } else {
            let imported = if self.consent.dry_run { "would be imported" } else { "imported" };
            say!("{} {imported}, {left_out} there already", dead_letters(new))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn publish(
    dead_letters: impl Iterator<Item = anyhow::Result<DeadLetter>>,
    count: usize,
    broker: &Broker,
    settings: &Settings,
) -> anyhow::Result<()> {
    let names = Names::new(&settings.app);
    let bar = progress("importing", count);
    let publish = |dead_letter: DeadLetter| {
        let of_event = dead_letter.text(dead::SUBJECT);
        let of_event = if subject::check(of_event).is_ok() { of_event } else { "_unfit-subject" };
        let target = names.dead_letter(dead_letter.handler(), of_event);
        async move {
            let sent = broker.send_kept(&target, &dead_letter.headers, dead_letter.payload, None).await?;
            Ok(async move { anyhow::Ok(sent.await?) })
        }
    };
    let sent = futures::stream::iter(dead_letters).and_then(publish);
    let mut stored = std::pin::pin!(sent.try_buffered(PARALLEL));
    while stored.try_next().await?.is_some() {
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

impl ToFixture {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<ExitCode> {
        self.target.read(async |settings, broker| self.write(settings, broker, json).await).await
    }

    async fn write(&self, settings: &Settings, broker: &Broker, json: bool) -> anyhow::Result<ExitCode> {
        let dead_letter = dead_letter(broker, settings, self.sequence).await?;
        let dead_letter = dead_letter.ok_or_else(|| not_found(self.sequence))?;
        let event = whole_event(broker, &dead_letter).await?;
        if let Some(reason) = unreadable(&event) {
            bail!("dead letter {} cannot be a test case: {reason}", dead_letter.sequence);
        }
        let Some(key) = dead_letter.key() else {
            bail!(
                "dead letter {} cannot be a test case: it does not say the key of its event",
                dead_letter.sequence
            );
        };
        let state = state_of(broker, settings, dead_letter.handler(), &key).await?;
        let fixture = Fixture::of(dead_letter.handler(), &key, &event, state);
        let path = self.output.clone().unwrap_or_else(|| {
            settings.folder.join("tests").join(format!(
                "{}-{}.toml",
                dead_letter.handler(),
                dead_letter.sequence
            ))
        });
        let about = format!(
            "Dead letter {} of handler `{}`: {}, {}",
            dead_letter.sequence,
            dead_letter.handler(),
            dead_letter.text(dead::CAUSE_CLASS),
            dead_letter.text(dead::MESSAGE)
        );
        fixture::write(&path, &about, &fixture)?;
        if json {
            print::json(&json!({ "file": path }))?
        } else {
            say!("written: {}", path.display())?
        }
        Ok(ExitCode::SUCCESS)
    }
}
