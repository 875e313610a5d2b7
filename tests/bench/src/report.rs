//! What was measured, as tables and as JSON.

use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::native::Latency;
use crate::plan::{Entry, Group};
use crate::variant::Sample;
use crate::workload::Store;

/// One line of the tables: the medians of the rounds.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The name of the group: see [`Group::name`].
    pub group: &'static str,
    /// The name of the entry, as `--only` takes it.
    pub name: String,
    /// Where the server kept its streams.
    pub store: Store,
    /// How many keys the events have, all handlers together.
    pub keys: u64,
    /// How many handlers there are, each with its own subjects and an equal share of the events.
    pub handlers: u64,
    /// The size of each event, in bytes.
    pub payload: usize,
    /// How many events each round has, all handlers together.
    pub events: u64,
    /// What native code had under way at once: the best of several.
    pub concurrency: Option<usize>,
    /// How many runs the figures are taken from.
    pub rounds: usize,
    /// Throughput: the median of the rounds.
    pub events_per_s: f64,
    /// Throughput of the slowest round.
    pub slowest_per_s: f64,
    /// Throughput of the fastest round.
    pub fastest_per_s: f64,
    /// The share of the throughput that was offered, where latency was measured.
    pub load: Option<f64>,
    /// Median latency, from when an event was due until its echo arrived; none: it was not measured.
    pub p50_ms: Option<f64>,
    /// 99th percentile of that latency; none: it was not measured.
    pub p99_ms: Option<f64>,
    /// 99.9th percentile of that latency; none: it was not measured.
    pub p999_ms: Option<f64>,
    /// CPU seconds of the worker for a million events.
    pub cpu_s_per_m: f64,
    /// CPU seconds of nats-server for a million events.
    pub server_cpu_s_per_m: f64,
    /// The most memory that the worker had resident at once, in units of 1,000,000 bytes.
    pub rss_mb: f64,
    /// Events for each commit, in the round with the most commits; none: the commits were not counted.
    pub events_per_batch: Option<f64>,
    /// Counts that were lost in the end, in the worst round.
    pub miscounted: u64,
}

/// The middle of the values.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Row {
    /// The line of an entry.
    pub fn new(group: &Group, entry: &Entry, samples: &[Sample]) -> Self {
        let events = entry.workload.events as f64;
        let of = |value: &dyn Fn(&Sample) -> f64| samples.iter().map(value).collect::<Vec<_>>();
        let rates = of(&|sample| events / sample.seconds);
        Row {
            group: group.name,
            name: entry.name.to_owned(),
            store: group.store,
            keys: entry.workload.keys,
            handlers: entry.workload.handlers,
            payload: entry.workload.payload,
            events: entry.workload.events,
            concurrency: entry.variant.concurrency(),
            rounds: samples.len(),
            slowest_per_s: rates.iter().copied().fold(f64::INFINITY, f64::min),
            fastest_per_s: rates.iter().copied().fold(0.0, f64::max),
            events_per_s: median(rates),
            load: None,
            p50_ms: None,
            p99_ms: None,
            p999_ms: None,
            cpu_s_per_m: median(of(&|sample| sample.worker_cpu / events * 1e6)),
            server_cpu_s_per_m: median(of(&|sample| sample.server_cpu / events * 1e6)),
            rss_mb: median(of(&|sample| sample.peak as f64 / 1e6)),
            miscounted: samples.iter().map(|sample| sample.miscounted).max().unwrap_or(0),
            events_per_batch: samples
                .iter()
                .filter_map(|sample| sample.batches)
                .max()
                .map(|batches| events / batches.max(1) as f64),
        }
    }

    /// The same with the latency at a share of the throughput.
    pub fn with_latency(self, load: f64, latency: Latency) -> Self {
        Row {
            load: Some(load),
            p50_ms: Some(latency.p50_ms),
            p99_ms: Some(latency.p99_ms),
            p999_ms: Some(latency.p999_ms),
            ..self
        }
    }
}

/// A ratio that is promised.
#[derive(Debug, Clone, Serialize)]
pub struct Ratio {
    /// The name in the table and in the JSON file.
    pub name: &'static str,
    /// A quotient; or a figure in the unit that the name ends with, such as `_ms`.
    pub value: f64,
    /// What it must reach, or stay below; none: it is only shown.
    pub target: Option<f64>,
    /// Whether the value meets the target; none: there is no target.
    pub met: Option<bool>,
}

impl Ratio {
    /// Compares a value with its target.
    pub fn new(name: &'static str, value: f64, target: Target) -> Self {
        let (target, met) = match target {
            Target::AtLeast(target) => (Some(target), Some(value >= target)),
            Target::AtMost(target) => (Some(target), Some(value <= target)),
            Target::None => (None, None),
        };
        Ratio { name, value, target, met }
    }

    /// Whether the target is met, as the tables say it.
    fn met(&self) -> &'static str {
        match self.met {
            Some(true) => "met",
            Some(false) => "missed",
            None => "",
        }
    }

    fn target(&self) -> String {
        self.target.map(|target| format!("{target:.1}")).unwrap_or_default()
    }
}

/// All that a run of the benchmark found.
#[derive(Debug, Default)]
pub struct Report {
    /// A row for each entry that was run, group by group; those of latency come last.
    pub rows: Vec<Row>,
    /// What each part of an event's journey takes; empty if that was not measured.
    pub parts: Vec<crate::parts::Part>,
    /// What failure handling costs; empty if that was not measured.
    pub failure: Vec<crate::failure::Figure>,
}

/// What a ratio must reach or stay below.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// Met by this value and by every higher one.
    AtLeast(f64),
    /// Met by this value and by every lower one.
    AtMost(f64),
    /// Nothing is promised: the value is only shown.
    None,
}

impl Report {
    fn find(&self, group: &str, name: &str, keys: Option<u64>, handlers: Option<u64>) -> Option<&Row> {
        self.rows.iter().find(|row| {
            row.group == group
                && row.name == name
                && keys.is_none_or(|keys| row.keys == keys)
                && handlers.is_none_or(|handlers| row.handlers == handlers)
        })
    }

    fn rate(&self, group: &str, name: &str) -> Option<f64> {
        self.find(group, name, None, None).map(|row| row.events_per_s)
    }

    fn keys(&self, keys: u64) -> Option<f64> {
        self.find("keys", "heddle reuse", Some(keys), None).map(|row| row.events_per_s)
    }

    fn ends(&self, group: &str, ends: impl Fn(&Row) -> u64) -> Option<f64> {
        let mut rows: Vec<&Row> =
            self.rows.iter().filter(|row| row.group == group && row.name == "heddle reuse").collect();
        rows.sort_by_key(|row| ends(row));
        Some(rows.first()?.events_per_s / rows.last()?.events_per_s)
    }

    /// Every promised ratio that was measured.
    pub fn ratios(&self) -> Vec<Ratio> {
        use Target::{AtLeast, AtMost};
        let of = |a: Option<f64>, b: Option<f64>| Some(a? / b?);
        let (reuse, fresh) = (self.rate("job", "heddle reuse"), self.rate("job", "heddle fresh"));
        let (naive, limit) = (self.rate("job", "naive native"), self.rate("job", "limit"));
        let latency = self.rows.iter().find(|row| row.load == Some(0.5)).and_then(|row| row.p99_ms);
        let backlog = self.rows.iter().filter(|row| row.group == "backlog").map(|row| row.rss_mb);
        let all: [(&'static str, Option<f64>, Target); 15] = [
            ("heddle_vs_naive", of(reuse, naive), AtLeast(1.2)),
            ("heddle_vs_careful", of(reuse, self.rate("job", "careful native")), AtLeast(5.0)),
            ("heddle_vs_limit", of(reuse, limit), AtLeast(0.6)),
            ("fresh_vs_naive", of(fresh, naive), AtLeast(1.0)),
            ("fresh_vs_limit", of(fresh, limit), AtLeast(0.6)),
            ("fresh_vs_reuse", of(fresh, reuse), Target::None),
            (
                "read_vs_cursor",
                of(self.rate("job", "heddle reuse reading only"), self.rate("job", "bare cursor")),
                AtLeast(0.6),
            ),
            (
                "fresh_read_vs_cursor",
                of(self.rate("job", "heddle fresh reading only"), self.rate("job", "bare cursor")),
                AtLeast(0.6),
            ),
            ("keys_20_vs_100k", of(self.keys(20), self.keys(100_000)), AtLeast(0.9)),
            ("keys_1_vs_100k", of(self.keys(1), self.keys(100_000)), AtLeast(0.3)),
            ("keys_1m_vs_1k", self.ends("overwrite", |row| row.keys), AtMost(1.3)),
            ("handlers_64_vs_1", self.ends("handlers", |row| row.handlers), AtMost(1.3)),
            (
                "disk_vs_limit",
                of(self.rate("disk", "heddle reuse"), self.rate("disk", "limit")),
                AtLeast(0.7),
            ),
            ("p99_ms_at_half_load", latency, AtMost(10.0)),
            ("backlog_rss_mb", backlog.reduce(f64::max), AtMost(300.0)),
        ];
        let measured = all.into_iter().filter_map(|(name, value, target)| Some((name, value?, target)));
        let ratios = measured.map(|(name, value, target)| Ratio::new(name, value, target));
        ratios.chain(self.failure.iter().filter_map(crate::failure::Figure::ratio)).collect()
    }

    /// The table of a group.
    pub fn table(&self, group: &str) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header([
            "variant",
            "keys",
            "handlers",
            "payload",
            "events/s",
            "(min–max)",
            "CPU s/M",
            "server",
            "RSS MB",
            "per batch",
            "lost counts",
        ]);
        for row in self.rows.iter().filter(|row| row.group == group && row.load.is_none()) {
            let name = match row.concurrency {
                Some(concurrency) => format!("{} ({concurrency} at once)", row.name),
                None => row.name.clone(),
            };
            table.add_row([
                name,
                thousands(row.keys as f64),
                row.handlers.to_string(),
                bytes(row.payload),
                thousands(row.events_per_s),
                format!("{}–{}", thousands(row.slowest_per_s), thousands(row.fastest_per_s)),
                format!("{:.1}", row.cpu_s_per_m),
                format!("{:.1}", row.server_cpu_s_per_m),
                format!("{:.0}", row.rss_mb),
                row.events_per_batch.map(|events| format!("{events:.0}")).unwrap_or_default(),
                row.miscounted.to_string(),
            ]);
        }
        right_aligned(table)
    }

    /// The table of latencies.
    pub fn latencies(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table
            .set_header(["variant", "load", "events/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU s/M", "server"]);
        for row in self.rows.iter().filter(|row| row.load.is_some()) {
            let ms = |value: Option<f64>| value.map(|ms| format!("{ms:.1}")).unwrap_or_default();
            table.add_row([
                row.name.clone(),
                row.load.map(|load| format!("{:.0} %", load * 100.0)).unwrap_or_default(),
                thousands(row.events_per_s),
                ms(row.p50_ms),
                ms(row.p99_ms),
                ms(row.p999_ms),
                format!("{:.1}", row.cpu_s_per_m),
                format!("{:.1}", row.server_cpu_s_per_m),
            ]);
        }
        right_aligned(table)
    }

    /// The table of parts, and what is left of the host's time for an event.
    pub fn part_table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["part", "µs for each event"]);
        let mut row = |name: &str, nanos: f64| {
            table.add_row([name.to_owned(), format!("{:.2}", nanos / 1e3)]);
        };
        for part in &self.parts {
            row(part.name, part.nanos);
        }
        for variant in ["heddle reuse", "heddle fresh"] {
            if let Some(measured) = self.find("job", variant, None, None) {
                row(&format!("all that {variant} takes, over all threads"), measured.cpu_s_per_m * 1e3);
            }
        }
        right_aligned(table)
    }

    /// The table of failure handling.
    pub fn failure_table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["measured", "value", "(min–max)", "target", ""]);
        for figure in &self.failure {
            let number = |value: f64| if value < 100.0 { format!("{value:.2}") } else { thousands(value) };
            let ratio = Ratio::new(figure.name, figure.value, figure.target);
            let range = format!("{}–{}", number(figure.lowest), number(figure.highest));
            let value = number(figure.value);
            table.add_row([&figure.what, &value, &range, &ratio.target(), ratio.met()]);
        }
        right_aligned(table)
    }

    /// The table of ratios.
    pub fn ratio_table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["ratio", "value", "target", ""]);
        for ratio in self.ratios() {
            let value = format!("{:.2}", ratio.value);
            table.add_row([ratio.name, &value, &ratio.target(), ratio.met()]);
        }
        right_aligned(table)
    }

    /// Writes everything as JSON.
    pub fn write(&self, path: &Path) -> Result<()> {
        let ratios: serde_json::Map<String, serde_json::Value> =
            self.ratios().iter().map(|ratio| (ratio.name.to_owned(), ratio.value.into())).collect();
        let document = serde_json::json!({
            "rows": self.rows,
            "ratios": ratios,
            "targets": self.ratios(),
            "parts": self.parts,
            "failure": self.failure,
        });
        let text = serde_json::to_string_pretty(&document)?;
        std::fs::write(path, text).with_context(|| format!("failed to write `{}`", path.display()))
    }
}

fn right_aligned(mut table: Table) -> String {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.round());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bytes(bytes: usize) -> String {
    if bytes >= 1024 { format!("{} KiB", bytes / 1024) } else { format!("{bytes} B") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_to_be_read() {
        assert_eq!([0.4, 999.6, 1_234_567.0].map(thousands), ["0", "1,000", "1,234,567"]);
        assert_eq!([256, 16 << 10].map(bytes), ["256 B", "16 KiB"]);
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 5.0]), 5.0);
        assert!(median(Vec::new()).is_nan());
    }
}
