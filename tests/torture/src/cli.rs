//! The command line.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use crate::swap::{self, Plan};
use crate::{mix, soak};

#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask torture")]
struct Cli {
    #[command(subcommand)]
    campaign: Campaign,
}

#[derive(Debug, Subcommand)]
enum Campaign {
    /// Replace a plugin's file again and again under load, also by what is no good.
    Swap(Options),
    /// Let every mix of good and bad events come to its end: a matrix of shares, keys and instances, with real outages.
    Mix(MixOptions),
    /// Let events flow for long, and look whether everything stays level: memory, descriptors, tasks, instances,
    /// consumers, messages.
    Soak(SoakOptions),
}

#[derive(Debug, Args)]
struct MixOptions {
    /// Events of each cell of the matrix
    #[arg(long, default_value_t = 10_000)]
    events: u64,
    /// Events a second
    #[arg(long, default_value_t = 1_000)]
    rate: u64,
    /// Only cells whose name contains this: flaky, "few bad", poison, rejected, "all kinds", outage, HTTP, languages
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// What everything is drawn from [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Debug, Args)]
struct SoakOptions {
    /// Minutes
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// Events a second
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    /// What everything is drawn from [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// Keep the server's data on disk
    #[arg(long)]
    disk: bool,
}

#[derive(Debug, Args)]
struct Options {
    /// How often the file is replaced
    #[arg(long, default_value_t = 10_000)]
    swaps: usize,
    /// Events a second
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    /// The share of the files that are no good
    #[arg(long, default_value_t = 0.1)]
    bad: f64,
    /// Different good versions
    #[arg(long, default_value_t = 64)]
    versions: u64,
    /// Seconds without swaps, before and after those with them
    #[arg(long, default_value_t = 60)]
    quiet: u64,
    /// What everything is drawn from [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// Keep the server's data on disk: the full size writes more than fits in memory
    #[arg(long)]
    disk: bool,
}

/// The program.
pub fn main() -> ExitCode {
    let campaign = async {
        match Cli::parse().campaign {
            Campaign::Swap(options) => run(options).await,
            Campaign::Mix(options) => run_mix(options).await,
            Campaign::Soak(options) => run_soak(options).await,
        }
    };
    let result = tokio::runtime::Runtime::new()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(campaign));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<()> {
    let plan = Plan {
        swaps: options.swaps,
        rate: options.rate,
        bad: options.bad,
        versions: options.versions,
        keys: 1_000,
        quiet: Duration::from_secs(options.quiet),
        seed: options.seed.unwrap_or_else(rand::random),
        disk: options.disk,
    };
    let bar = bar(plan.swaps, "swaps");
    let report = swap::run(&plan, &|swaps, what| {
        bar.set_position(swaps as u64);
        bar.set_message(what);
    })
    .await?;
    bar.finish_and_clear();
    judged(&report, report.is_sound(), plan.seed)
}

async fn run_mix(options: MixOptions) -> Result<()> {
    let MixOptions { events, rate, only, seed } = options;
    let mut cells = mix::matrix();
    cells.retain(|cell| only.as_ref().is_none_or(|only| cell.name.contains(&**only)));
    ensure!(!cells.is_empty(), "no cell has such a name");
    let plan = mix::Plan { events, rate, cells, seed: seed.unwrap_or_else(rand::random) };
    let bar = bar(plan.cells.len(), "cells");
    let report = mix::run(&plan, &|cells, what| {
        bar.set_position(cells as u64);
        bar.set_message(what);
    })
    .await?;
    bar.finish_and_clear();
    judged(&report, report.is_sound(), plan.seed)
}

async fn run_soak(options: SoakOptions) -> Result<()> {
    let SoakOptions { minutes, rate, seed, disk } = options;
    ensure!(minutes > 0 && rate > 0, "a soak takes at least a minute and an event a second");
    let length = Duration::from_secs(60 * minutes);
    // An eighth at most: streams are to be full before the second quarter.
    let kept = Duration::from_secs(120).min(length / 8);
    let seed = seed.unwrap_or_else(rand::random);
    let plan = soak::Plan { length, rate, keys: 1_000, kept, seed, disk };
    let bar = bar(usize::try_from(length.as_secs())?, "s");
    let report = soak::run(&plan, &|seconds, what| {
        bar.set_position(seconds);
        bar.set_message(what);
    })
    .await?;
    bar.finish_and_clear();
    judged(&report, report.is_sound(), plan.seed)
}

/// How far a campaign has come.
fn bar(length: usize, unit: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(&format!(
        "{{bar:30}} {{pos}}/{{len}} {unit} · {{elapsed}} · {{wide_msg}}"
    ));
    let bar = ProgressBar::new(length as u64);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// Prints what a campaign has found.
fn judged(report: &impl serde::Serialize, is_sound: bool, seed: u64) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(report)?);
    ensure!(is_sound, "the campaign with seed {seed} found faults");
    Ok(())
}
