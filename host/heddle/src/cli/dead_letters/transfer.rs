//! `heddle dead-letters export`, `import` and `fixture`.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::files::{Lines, Sink};
use super::select::{Filter, Selection, letter};
use super::{letters, progress, state_of, whole_event};
use crate::cli::TargetArgs;
use crate::cli::audit::audit;
use crate::cli::consent::Consent;
use crate::cli::fault::Code;
use crate::cli::fixture::{self, Fixture};
use crate::print::{self, say, visible_json};
use heddle_broker::{Broker, Part};
use heddle_values::event::Headers;
use heddle_values::key::Key;
use heddle_values::letter::Letter;
use heddle_values::names::{NATS_PREFIX, Names, dead};
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

/// Write a dead letter as a test case: its event, its key's state, and the wish that it is done.
///
/// The file can be given to `heddle invoke --event`.
#[derive(Debug, Args)]
pub(super) struct ToFixture {
    /// The dead letter's sequence.
    sequence: u64,
    /// Where to. Default: `tests/<handler>-<sequence>.toml`.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    target: TargetArgs,
}

/// One line of an export.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    /// Where it was; it gets another one when it is imported.
    sequence: u64,
    headers: Vec<(String, String)>,
    /// If it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl Export {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<ExitCode> {
        let (settings, broker) = self.target.connect().await?;
        let mut letters = self.selection.letters(&broker, &settings, Part::Whole).await?;
        let mut sink = Sink::open(self.output.as_deref())?;
        let mut count = 0;
        while let Some(letter) = letters.try_next().await? {
            sink.line(&visible_json(&serde_json::to_string(&row(&letter))?))?;
            count += 1;
        }
        sink.finish()?;
        if let Some(output) = &self.output {
            if json {
                print::json(&json!({ "exported": count, "file": output }))?;
            } else {
                say!("{} exported", super::letters(count))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn row(letter: &Letter) -> Row {
    let (payload, payload_base64) = fixture::encode(&letter.payload);
    let headers = letter.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    Row { sequence: letter.sequence, headers: headers.collect(), payload, payload_base64 }
}

impl Row {
    pub(super) fn letter(self) -> anyhow::Result<Letter> {
        let payload = fixture::decode(self.payload, self.payload_base64).context("`payload`")?;
        let payload = payload.context("one of `payload` and `payload_base64` is needed")?;
        if let Some((name, _)) = self.headers.iter().find(|(name, _)| name.starts_with(NATS_PREFIX)) {
            bail!("header `{name}` belongs to the server");
        }
        let headers = Headers::from_pairs(self.headers);
        let letter = Letter { sequence: self.sequence, stored: 0, headers, payload };
        if letter.event().is_none() || letter.handler().is_empty() {
            bail!("not a dead letter: headers that say what the event was are missing");
        }
        Ok(letter)
    }
}

/// What makes a dead letter the one it is: its handler and its event. A digest, for there may be any number of them.
type Identity = [u8; 16];

fn identity(letter: &Letter) -> Identity {
    let mut hasher = blake3::Hasher::new();
    hasher.update(letter.handler().as_bytes()).update(&[0]).update(letter.event_id().as_bytes());
    let mut identity = Identity::default();
    hasher.finalize_xof().fill(&mut identity);
    identity
}

impl Import {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<ExitCode> {
        let mut lines = Lines::open(&self.file)?;
        let imported: Vec<Identity> =
            lines.letters()?.map(|letter| Ok(identity(&letter?))).collect::<anyhow::Result<_>>()?;
        let (settings, broker) = self.target.connect().await?;
        let everything = Filter::default();
        let there = everything.read(&broker, &settings, Part::Headers).await?;
        let mut there: HashSet<Identity> = there.map_ok(|letter| identity(&letter)).try_collect().await?;
        let is_new: Vec<bool> = imported.into_iter().map(|identity| there.insert(identity)).collect();
        drop(there);
        let new = is_new.iter().filter(|is_new| **is_new).count();
        let left_out = is_new.len() - new;
        if !self.consent.dry_run {
            let details = json!({ "file": self.file, "count": new, "left_out": left_out });
            audit(&broker, &settings, "import", details).await?;
            let letters =
                lines.letters()?.zip(is_new).filter(|(_, is_new)| *is_new).map(|(letter, _)| letter);
            publish(letters, new, &broker, &settings).await?;
        }
        if json {
            let dry_run = self.consent.dry_run;
            print::json(&json!({ "dry_run": dry_run, "imported": new, "left_out": left_out }))?;
        } else {
            let imported = if self.consent.dry_run { "would be imported" } else { "imported" };
            say!("{} {imported}, {left_out} there already", letters(new))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn publish(
    letters: impl Iterator<Item = anyhow::Result<Letter>>,
    count: usize,
    broker: &Broker,
    settings: &Settings,
) -> anyhow::Result<()> {
    let names = Names::new(&settings.app);
    let bar = progress("importing", count);
    let publish = |letter: Letter| {
        let of_event = letter.text(dead::SUBJECT);
        let of_event = if subject::check(of_event).is_ok() { of_event } else { "_unfit-subject" };
        let target = names.dead_letter(letter.handler(), of_event);
        async move {
            let sent = broker.send_kept(&target, &letter.headers, letter.payload, None).await?;
            Ok(async move { anyhow::Ok(sent.await?) })
        }
    };
    let sent = futures::stream::iter(letters).and_then(publish);
    let mut stored = std::pin::pin!(sent.try_buffered(PARALLEL));
    while stored.try_next().await?.is_some() {
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

impl ToFixture {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<ExitCode> {
        let (settings, broker) = self.target.connect().await?;
        let letter = letter(&broker, &settings, self.sequence).await?;
        let none = || Code::NotFound.fault(format!("there is no dead letter {}", self.sequence));
        let letter = letter.ok_or_else(none)?;
        let event = whole_event(&broker, &letter).await?;
        if let Some(reason) = unreadable(&event) {
            bail!("dead letter {} cannot be a test case: {reason}", letter.sequence);
        }
        let key = Key::new(letter.text(dead::KEY));
        let state = state_of(&broker, &settings, letter.handler(), &key).await?;
        let fixture = Fixture::of(letter.handler(), &key, &event, state);
        let path = self.output.unwrap_or_else(|| {
            settings.folder.join("tests").join(format!("{}-{}.toml", letter.handler(), letter.sequence))
        });
        let about = format!(
            "Dead letter {} of handler `{}`: {}, {}",
            letter.sequence,
            letter.handler(),
            letter.text(dead::CAUSE_CLASS),
            letter.text(dead::MESSAGE)
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
