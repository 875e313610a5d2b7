//! The command line, and the benchmark from its first run to its last table.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use heddle_tests::workspace;
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure;
use crate::latency::LOADS;
use crate::native::{self, Work};
use crate::parts::{self, nanos_per_round};
use crate::plan::{Entry, GROUPS, Group, Size, groups};
use crate::plot;
use crate::report::{Report, Row};
use crate::rig::Rig;
use crate::variant::{Sample, Variant};
use crate::workload::{Job, Store, Workload};

/// What is measured beside the groups.
const EXTRAS: [&str; 3] = ["latency", "parts", "failure"];

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure Heddle against native code and against the server's own limit.
    Run(Options),
    /// The work of one variant, as a process of its own.
    #[command(hide = true)]
    Native {
        #[command(subcommand)]
        work: Work,
    },
}

#[derive(Debug, Args)]
#[command(bin_name = "cargo xtask bench")]
struct Options {
    /// Where the server keeps its streams. Without it: in memory, and one group on disk as well
    #[arg(long)]
    store: Option<Store>,
    /// Few events, one round, at most three minutes: shows that everything works. The figures mean little
    #[arg(long)]
    quick: bool,
    /// Only these groups (job, disk, payload, keys, handlers, overwrite, backlog, latency, parts, failure), parts of
    /// `failure` (storm, dead letters, stuck) or variants of the groups ("heddle reuse")
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// How often each variant runs, in every group [default: as many as the group needs]
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw throughput over keys and latency over load, as SVG, into `docs/`
    #[arg(long)]
    plot: bool,
}

/// The program.
pub fn main() -> ExitCode {
    let result = tokio::runtime::Runtime::new().map_err(anyhow::Error::from).and_then(|runtime| {
        runtime.block_on(async {
            match Cli::parse().command {
                // What was started ends with the future that started it.
                Command::Run(options) => tokio::select! {
                    result = run(options) => result,
                    () = interrupted() => bail!("interrupted"),
                },
                Command::Native { work } => native::run(work).await,
            }
        })
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Comes to its end when the program is to end.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

async fn run(options: Options) -> Result<()> {
    let size = if options.quick { Size::Quick } else { Size::Full };
    let groups = chosen(&options, size, nanos_per_round().await?)?;
    let with_latency = options.wants("latency");
    let runs: usize = groups.iter().map(|group| group.rounds * group.entries.len()).sum();
    let bar = progress(runs + if with_latency { LOADS.len() } else { 0 });
    let mut report = Report::default();
    for group in &groups {
        measure(group, &bar, &mut report).await?;
    }
    if with_latency {
        latency(size, options.store.unwrap_or(Store::Ram), &bar, &mut report).await?;
    }
    failures(&options, size, &bar, &mut report).await?;
    if options.wants("parts") {
        bar.set_message("parts · each alone on one thread");
        report.parts = parts::all().await?;
        show(&bar, &format!("\n## Where a microsecond goes\n\n{}", report.part_table()));
    }
    bar.finish_and_clear();
    println!("\n## Ratios\n\n{}", report.ratio_table());
    if let Some(path) = &options.json {
        report.write(path)?;
    }
    if options.plot {
        plot::draw(&report, &workspace().join("docs"))?;
    }
    Ok(())
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

/// The groups that are to be run, with the variants that are.
fn chosen(options: &Options, size: Size, nanos_per_round: f64) -> Result<Vec<Group>> {
    let mut groups = groups(size, options.store.unwrap_or(Store::Ram), nanos_per_round);
    let known: Vec<&str> = groups
        .iter()
        .flat_map(|group| std::iter::once(group.name).chain(group.entries.iter().map(|entry| entry.name)))
        .chain(EXTRAS)
        .chain(failure::PARTS)
        .collect();
    if let Some(unknown) = options.only.iter().find(|name| !known.contains(&name.as_str())) {
        let known: std::collections::BTreeSet<&str> = known.into_iter().collect();
        let known: Vec<&str> = known.into_iter().collect();
        bail!("there is no `{unknown}`; there are {}", known.join(", "));
    }
    let named_group = options.only.iter().any(|name| GROUPS.iter().any(|(known, _)| known == name));
    for group in &mut groups {
        let variants = options.only.iter().any(|name| group.entries.iter().any(|entry| entry.name == name));
        if variants {
            group.entries.retain(|entry| options.wants(entry.name));
        }
        if !options.only.is_empty() && !options.wants(group.name) && (named_group || !variants) {
            group.entries.clear();
        }
        group.rounds = options.rounds.unwrap_or(group.rounds);
    }
    groups.retain(|group| !group.entries.is_empty());
    groups.retain(|group| options.store.is_none_or(|store| store == group.store));
    Ok(groups)
}

fn progress(runs: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} runs · {elapsed} · {wide_msg}");
    ProgressBar::new(runs as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Shows a table above the progress bar; where there is no terminal, too.
fn show(bar: &ProgressBar, text: &str) {
    bar.suspend(|| println!("{text}"));
}

async fn measure(group: &Group, bar: &ProgressBar, report: &mut Report) -> Result<()> {
    let mut rig = Rig::start(group.store).await?;
    let mut entries = group.entries.clone();
    for entry in &mut entries {
        choose(&mut rig, entry, bar).await?;
    }
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); entries.len()];
    for round in 1..=group.rounds {
        for (entry, samples) in entries.iter().zip(&mut samples) {
            let what = format!("{} · {} · round {round} of {}", group.name, entry.name, group.rounds);
            fill(&mut rig, &entry.workload, bar, &what).await?;
            bar.set_message(what);
            samples.push(rig.run(entry.variant, &entry.workload).await?);
            bar.inc(1);
        }
    }
    report.rows.extend(entries.iter().zip(&samples).map(|(entry, samples)| Row::new(group, entry, samples)));
    show(bar, &format!("\n## {} ({})\n\n{}", group.title, group.name, report.table(group.name)));
    Ok(())
}

async fn fill(rig: &mut Rig, workload: &Workload, bar: &ProgressBar, what: &str) -> Result<()> {
    let progress =
        |filled| bar.set_message(format!("{what} · {filled} of {} events written", workload.events));
    rig.fill(workload, progress).await
}

/// Finds out which concurrency suits a variant best, with fewer events.
async fn choose(rig: &mut Rig, entry: &mut Entry, bar: &ProgressBar) -> Result<()> {
    let choices = entry.variant.choices();
    if choices.len() < 2 {
        return Ok(());
    }
    let workload = Workload { events: (entry.workload.events / 4).max(1), ..entry.workload };
    let mut best = (f64::INFINITY, entry.variant);
    for choice in choices {
        let what = format!("{} · trying {:?} at once", entry.name, choice.concurrency().unwrap_or(1));
        fill(rig, &workload, bar, &what).await?;
        bar.set_message(what);
        let sample = rig.run(choice, &workload).await?;
        if sample.seconds < best.0 {
            best = (sample.seconds, choice);
        }
    }
    entry.variant = best.1;
    Ok(())
}

async fn failures(options: &Options, size: Size, bar: &ProgressBar, report: &mut Report) -> Result<()> {
    let wanted = |part: &str| options.wants("failure") || options.wants(part);
    if failure::PARTS.into_iter().any(wanted) {
        let store = options.store.unwrap_or(Store::Ram);
        report.failure = failure::measure(size, store, wanted, &|what| bar.set_message(what)).await?;
        show(bar, &format!("\n## When events fail\n\n{}", report.failure_table()));
    }
    Ok(())
}

async fn latency(size: Size, store: Store, bar: &ProgressBar, report: &mut Report) -> Result<()> {
    let mut rig = Rig::start(store).await?;
    let seconds = if size == Size::Quick { 3.0 } else { 20.0 };
    let workload = Workload { keys: 1_000, handlers: 1, payload: 256, events: 100_000, job: Job::Echo };
    let variant = Variant::Reuse;
    bar.set_message("latency · measuring the throughput while events are published");
    let most = Workload { events: if size == Size::Quick { 30_000 } else { 500_000 }, ..workload };
    let (sample, latency) = rig.latency(variant, &most, None).await?;
    let group = Group { name: "latency", title: "Latency", store, rounds: 1, entries: Vec::new() };
    let row = |workload, load, sample, latency| {
        let entry = Entry { name: variant.name(), variant, workload };
        Row::new(&group, &entry, &[sample]).with_latency(load, latency)
    };
    let all = row(most, 1.0, sample, latency);
    let throughput = all.events_per_s;
    report.rows.push(Row { p50_ms: None, p99_ms: None, p999_ms: None, ..all });
    for load in LOADS {
        bar.set_message(format!("latency · {:.0} % of {throughput:.0} events/s", load * 100.0));
        let rate = throughput * load;
        let workload = Workload { events: (rate * seconds) as u64, ..workload };
        let (sample, latency) = rig.latency(variant, &workload, Some(rate)).await?;
        report.rows.push(row(workload, load, sample, latency));
        bar.inc(1);
    }
    show(bar, &format!("\n## Latency under load\n\n{}", report.latencies()));
    Ok(())
}
