//! `heddle dead-letters export`, `import` and `fixture`.

use std::collections::HashSet;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::select::{Filter, Selection};
use super::{letters, progress, state_of, whole_event};
use crate::assembly::cli::TargetArgs;
use crate::assembly::cli::audit::audit;
use crate::assembly::cli::fixture::{self, Fixture};
use crate::broker::Part;
use crate::values::event::Headers;
use crate::values::key::Key;
use crate::values::letter::Letter;
use crate::values::names::{NATS_PREFIX, Names, dead};
use crate::values::refusal::unreadable;
use crate::values::subject;

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
struct Row {
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
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let (settings, broker) = self.target.connect().await?;
        let selected = self.selection.read(&broker, &settings, Part::Whole).await?;
        let mut output: Box<dyn Write> = match &self.output {
            None => Box::new(std::io::stdout().lock()),
            Some(path) => {
                let file = std::fs::File::create(path);
                Box::new(std::io::BufWriter::new(
                    file.with_context(|| format!("failed to create `{}`", path.display()))?,
                ))
            }
        };
        for letter in &selected {
            writeln!(output, "{}", serde_json::to_string(&row(letter))?)?;
        }
        output.flush()?;
        if self.output.is_some() {
            println!("{} exported", letters(selected.len()));
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
    fn letter(self) -> anyhow::Result<Letter> {
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

impl Import {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let imported = read(&self.file)?;
        let (settings, broker) = self.target.connect().await?;
        let names = Names::new(&settings.app);
        let everything = Filter::default();
        let there = everything.read(&broker, &settings, Part::Headers).await?;
        let identity = |letter: &Letter| (letter.handler().to_owned(), letter.event_id());
        let mut there: HashSet<(String, String)> =
            there.map_ok(|letter| identity(&letter)).try_collect().await?;
        let total = imported.len();
        let new: Vec<Letter> = imported.into_iter().filter(|letter| there.insert(identity(letter))).collect();
        let details = json!({ "file": self.file, "count": new.len(), "left_out": total - new.len() });
        audit(&broker, &settings, "import", details).await?;
        let bar = progress("importing", new.len());
        let publish = |letter: &Letter| {
            let of_event = letter.text(dead::SUBJECT);
            let of_event = if subject::check(of_event).is_ok() { of_event } else { "_unfit-subject" };
            let target = names.dead_letter(letter.handler(), of_event);
            let (headers, payload, broker) = (letter.headers.clone(), letter.payload.clone(), &broker);
            async move { broker.send_kept(&target, &headers, payload, None).await }
        };
        let mut stored = std::pin::pin!(futures::stream::iter(&new).then(publish).try_buffered(PARALLEL));
        while stored.try_next().await?.is_some() {
            bar.inc(1);
        }
        bar.finish_and_clear();
        println!("{} imported, {} there already", letters(new.len()), total - new.len());
        Ok(ExitCode::SUCCESS)
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<Letter>> {
    let open = || format!("failed to read `{}`", path.display());
    let reader: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::io::BufReader::new(std::fs::File::open(path).with_context(open)?))
    };
    let mut letters = Vec::new();
    for (number, line) in (1_u64..).zip(reader.lines()) {
        let line = line.with_context(open)?;
        if line.trim().is_empty() {
            continue;
        }
        let place = || format!("`{}`, line {number}", path.display());
        let row: Row = serde_json::from_str(&line).with_context(place)?;
        letters.push(row.letter().with_context(place)?);
    }
    Ok(letters)
}

impl ToFixture {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let (settings, broker) = self.target.connect().await?;
        let selection = Selection::of(self.sequence);
        let selected = selection.read(&broker, &settings, Part::Whole).await?;
        let letter = selected.first().context("checked when it was read")?;
        let event = whole_event(&broker, letter).await?;
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
        println!("written: {}", path.display());
        Ok(ExitCode::SUCCESS)
    }
}
