//! `heddle dead-letters list`.

use std::collections::{BTreeMap, VecDeque};
use std::process::ExitCode;

use clap::Args;
use futures::{Stream, StreamExt, TryStreamExt};
use serde::Serialize;

use super::select::Filter;
use crate::cli::TargetArgs;
use crate::cli::table::Table;
use crate::print::{self, JsonList, say};
use heddle_broker::{Broker, Part};
use heddle_values::dead_letter::DeadLetter;
use heddle_values::names::dead;
use heddle_values::settings::Settings;
use heddle_values::text::{header_text, rfc3339};

/// The longest message that is shown, in bytes.
const MAX_MESSAGE: usize = 70;

/// What is said where a table would be empty.
const NONE: &str = "no dead letters";

/// List dead letters, those with the same cause together.
///
/// A group is a handler, its plugin and a fingerprint: what failures of the same cause have in common. With --each the
/// dead letters are listed one by one, the oldest first.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    filter: Filter,
    /// One line for each dead letter.
    #[arg(long)]
    each: bool,
    /// With --each: at most N, the newest.
    #[arg(short = 'n', long, value_name = "N", requires = "each")]
    number: Option<usize>,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Serialize)]
struct Group {
    handler: String,
    cause: String,
    fingerprint: String,
    plugin: String,
    /// The message of the latest dead letter.
    message: String,
    count: u64,
    first: String,
    last: String,
    first_sequence: u64,
    last_sequence: u64,
}

#[derive(Debug, Serialize)]
struct Line {
    sequence: u64,
    stored: String,
    handler: String,
    cause: String,
    fingerprint: String,
    subject: String,
    key: String,
    event: String,
    attempts: u32,
    message: String,
}

impl Command {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<ExitCode> {
        self.target.read(async |settings, broker| self.list(broker, settings, json).await).await
    }

    async fn list(&self, broker: &Broker, settings: &Settings, json: bool) -> anyhow::Result<ExitCode> {
        let dead_letters = self.filter.read(broker, settings, Part::Headers).await?;
        if self.each {
            let lines = dead_letters.map_ok(|dead_letter| line(&dead_letter));
            match self.number {
                None => Box::pin(print_lines(lines, json)).await?,
                Some(number) => {
                    let lines = futures::stream::iter(Box::pin(last(lines, number)).await?).map(Ok);
                    print_lines(lines, json).await?;
                }
            }
            return Ok(ExitCode::SUCCESS);
        }
        let mut groups: BTreeMap<[String; 3], Group> = BTreeMap::new();
        let mut dead_letters = std::pin::pin!(dead_letters);
        while let Some(dead_letter) = dead_letters.try_next().await? {
            add(&mut groups, &dead_letter);
        }
        let mut groups: Vec<Group> = groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        if json {
            print::json(&groups)?;
        } else if groups.is_empty() {
            say!("{NONE}")?;
        } else {
            print_groups(&groups)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The last ones, in their order.
async fn last(
    lines: impl Stream<Item = anyhow::Result<Line>>,
    number: usize,
) -> anyhow::Result<VecDeque<Line>> {
    let (mut kept, mut lines) = (VecDeque::new(), std::pin::pin!(lines));
    while let Some(line) = lines.try_next().await? {
        kept.push_back(line);
        if kept.len() > number {
            kept.pop_front();
        }
    }
    Ok(kept)
}

fn add(groups: &mut BTreeMap<[String; 3], Group>, dead_letter: &DeadLetter) {
    let of = |header: &str| dead_letter.text(header).to_owned();
    let id = [of(dead::HANDLER), of(dead::PLUGIN), of(dead::FINGERPRINT)];
    let time = rfc3339(dead_letter.stored);
    let group = groups.entry(id).or_insert_with(|| Group {
        handler: of(dead::HANDLER),
        cause: cause(dead_letter),
        fingerprint: of(dead::FINGERPRINT),
        plugin: of(dead::PLUGIN),
        message: String::new(),
        count: 0,
        first: time.clone(),
        last: String::new(),
        first_sequence: dead_letter.sequence,
        last_sequence: 0,
    });
    group.count += 1;
    group.last = time;
    group.last_sequence = dead_letter.sequence;
    group.message = of(dead::MESSAGE);
}

/// The class, with the limit if one was breached.
pub(super) fn cause(dead_letter: &DeadLetter) -> String {
    let class = dead_letter.text(dead::CAUSE_CLASS);
    match dead_letter.text(dead::LIMIT) {
        "" => class.to_owned(),
        limit => format!("{class}:{limit}"),
    }
}

fn line(dead_letter: &DeadLetter) -> Line {
    let of = |header: &str| dead_letter.text(header).to_owned();
    Line {
        sequence: dead_letter.sequence,
        stored: rfc3339(dead_letter.stored),
        handler: of(dead::HANDLER),
        cause: cause(dead_letter),
        fingerprint: of(dead::FINGERPRINT),
        subject: of(dead::SUBJECT),
        key: of(dead::KEY),
        event: dead_letter.event_id(),
        attempts: of(dead::ATTEMPTS).parse().unwrap_or(0),
        message: of(dead::MESSAGE),
    }
}

/// A time to the second.
pub(super) fn short(time: &str) -> String {
    format!("{}Z", time.chars().take(19).collect::<String>())
}

fn print_groups(groups: &[Group]) -> Result<(), print::Error> {
    let mut table =
        Table::new(["count", "handler", "cause", "fingerprint", "plugin", "first", "last", "message"]);
    for group in groups {
        table.push([
            group.count.to_string(),
            group.handler.clone(),
            group.cause.clone(),
            group.fingerprint.clone(),
            group.plugin.trim_start_matches("sha256:").chars().take(12).collect(),
            short(&group.first),
            short(&group.last),
            header_text(&group.message, MAX_MESSAGE),
        ])?;
    }
    table.finish()
}

/// Prints lines as they come: there may be any number of them.
async fn print_lines(lines: impl Stream<Item = anyhow::Result<Line>>, json: bool) -> anyhow::Result<()> {
    let mut lines = std::pin::pin!(lines);
    if json {
        let mut list = JsonList::default();
        while let Some(line) = lines.try_next().await? {
            list.push(&line)?;
        }
        return Ok(list.finish()?);
    }
    let Some(mut line) = lines.try_next().await? else { return Ok(say!("{NONE}")?) };
    let mut table =
        Table::new(["sequence", "dead since", "handler", "cause", "subject", "key", "attempts", "message"]);
    loop {
        table.push(row(line))?;
        line = match lines.try_next().await? {
            Some(next) => next,
            None => return Ok(table.finish()?),
        };
    }
}

fn row(line: Line) -> [String; 8] {
    [
        line.sequence.to_string(),
        short(&line.stored),
        line.handler,
        line.cause,
        line.subject,
        line.key,
        line.attempts.to_string(),
        header_text(&line.message, MAX_MESSAGE),
    ]
}
