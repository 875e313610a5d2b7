//! `heddle dead-letters list`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use futures::TryStreamExt;
use serde::Serialize;

use super::select::Filter;
use crate::assembly::cli::TargetArgs;
use crate::broker::Part;
use crate::values::dead_letter::{header_text, rfc3339};
use crate::values::letter::Letter;
use crate::values::names::dead;

/// The longest message that is shown, in bytes.
const MAX_MESSAGE: usize = 70;

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
    /// With --each: no more than so many, the newest.
    #[arg(short = 'n', long, value_name = "NUMBER", requires = "each")]
    number: Option<usize>,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Serialize)]
struct Group {
    handler: String,
    cause: String,
    fingerprint: String,
    plugin: String,
    /// Of the latest one.
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
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let (settings, broker) = self.target.connect().await?;
        let letters = self.filter.read(&broker, &settings, Part::Headers).await?;
        if self.each {
            let mut lines: Vec<Line> = letters.map_ok(|letter| line(&letter)).try_collect().await?;
            let skipped = lines.len().saturating_sub(self.number.unwrap_or(usize::MAX));
            lines.drain(..skipped);
            return print(&lines, self.json, print_lines);
        }
        let mut groups: BTreeMap<[String; 3], Group> = BTreeMap::new();
        let mut letters = std::pin::pin!(letters);
        while let Some(letter) = letters.try_next().await? {
            add(&mut groups, &letter);
        }
        let mut groups: Vec<Group> = groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        print(&groups, self.json, print_groups)
    }
}

fn add(groups: &mut BTreeMap<[String; 3], Group>, letter: &Letter) {
    let of = |header: &str| letter.text(header).to_owned();
    let id = [of(dead::HANDLER), of(dead::PLUGIN), of(dead::FINGERPRINT)];
    let time = rfc3339(letter.stored);
    let group = groups.entry(id).or_insert_with(|| Group {
        handler: of(dead::HANDLER),
        cause: cause(letter),
        fingerprint: of(dead::FINGERPRINT),
        plugin: of(dead::PLUGIN),
        message: String::new(),
        count: 0,
        first: time.clone(),
        last: String::new(),
        first_sequence: letter.sequence,
        last_sequence: 0,
    });
    group.count += 1;
    group.last = time;
    group.last_sequence = letter.sequence;
    group.message = of(dead::MESSAGE);
}

/// The class, with the limit if one was breached.
pub(super) fn cause(letter: &Letter) -> String {
    let class = letter.text(dead::CAUSE_CLASS);
    match letter.text(dead::LIMIT) {
        "" => class.to_owned(),
        limit => format!("{class}:{limit}"),
    }
}

fn line(letter: &Letter) -> Line {
    let of = |header: &str| letter.text(header).to_owned();
    Line {
        sequence: letter.sequence,
        stored: rfc3339(letter.stored),
        handler: of(dead::HANDLER),
        cause: cause(letter),
        fingerprint: of(dead::FINGERPRINT),
        subject: of(dead::SUBJECT),
        key: of(dead::KEY),
        event: letter.event_id(),
        attempts: of(dead::ATTEMPTS).parse().unwrap_or(0),
        message: of(dead::MESSAGE),
    }
}

fn print<T: Serialize>(rows: &[T], json: bool, text: impl Fn(&[T])) -> anyhow::Result<ExitCode> {
    if json {
        println!("{}", serde_json::to_string_pretty(rows)?);
    } else if rows.is_empty() {
        println!("no dead letters");
    } else {
        text(rows);
    }
    Ok(ExitCode::SUCCESS)
}

/// A time to the second.
pub(super) fn short(time: &str) -> String {
    format!("{}Z", time.chars().take(19).collect::<String>())
}

fn print_groups(groups: &[Group]) {
    let rows = groups.iter().map(|group| {
        [
            group.count.to_string(),
            group.handler.clone(),
            group.cause.clone(),
            group.fingerprint.clone(),
            group.plugin.trim_start_matches("sha256:").chars().take(12).collect(),
            short(&group.first),
            short(&group.last),
            header_text(&group.message, MAX_MESSAGE),
        ]
    });
    table(["count", "handler", "cause", "fingerprint", "plugin", "first", "last", "message"], rows.collect());
}

fn print_lines(lines: &[Line]) {
    let rows = lines.iter().map(|line| {
        [
            line.sequence.to_string(),
            short(&line.stored),
            line.handler.clone(),
            line.cause.clone(),
            line.subject.clone(),
            line.key.clone(),
            line.attempts.to_string(),
            header_text(&line.message, MAX_MESSAGE),
        ]
    });
    table(
        ["sequence", "dead since", "handler", "cause", "subject", "key", "attempts", "message"],
        rows.collect(),
    );
}

/// Columns as wide as what is in them.
fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) {
    let head = head.map(str::to_owned);
    let width = |column: usize| {
        let cells = rows.iter().chain([&head]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in [&head].into_iter().chain(&rows) {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
