//! The languages at one job: the credit handler in each, in a sandbox without a server.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use clap::Parser;
use heddle::host::everything;
use heddle_sandbox::{Call, Plugin, Policy, Run, Sandbox, SandboxSettings};
use heddle_tests::{heddle, plugin, workspace};
use heddle_values::event::{Event, Headers, Source};
use heddle_values::key::Key;
use heddle_values::policy::{Instances, Limits};
use heddle_values::secret::Secret;
use heddle_values::verdict::Verdict;
use serde::Serialize;

/// Name, and the folder of its guests; none: it is one of the plugins.
const LANGUAGES: [(&str, Option<&str>); 5] = [
    ("Rust", None),
    ("C", Some("c")),
    ("Go", Some("go")),
    ("TypeScript", Some("js")),
    ("Python", Some("python")),
];

/// How many instances are made to see what one takes.
const CROWD: usize = 20;

/// Events that are made ready at a time.
const BATCH: usize = 100;

/// How often each figure is taken; the least counts.
const ROUNDS: usize = 5;

/// Compare the languages: the credit handler in each, in a sandbox without a server.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask bench languages")]
struct Options {
    /// Events of a round in a reused instance
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    events: u32,
    /// Events of a round in new instances
    #[arg(long, default_value_t = 500, value_name = "N")]
    fresh: u32,
    /// Write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What was measured of one language.
#[derive(Debug, Serialize)]
struct Row {
    language: &'static str,
    /// Of the component, in bytes.
    bytes: usize,
    /// Until it is compiled by a process of its own, in milliseconds.
    compile_ms: f64,
    /// Until it is loaded from the artifact store, in milliseconds.
    load_ms: f64,
    /// For each event in a reused instance, in microseconds.
    reused_us: f64,
    /// For each event in an instance of its own, in microseconds.
    fresh_us: f64,
    /// Linear memory of an instance, in KiB.
    linear_kib: u64,
    /// What an instance adds to the process's resident memory, in KiB.
    resident_kib: u64,
}

/// The program.
pub fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Runtime::new().map_err(anyhow::Error::from);
    match runtime.and_then(|runtime| runtime.block_on(run(options))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures, and prints a table.
async fn run(options: Options) -> Result<()> {
    let mut rows = Vec::new();
    for (language, folder) in LANGUAGES {
        eprintln!("{language}");
        rows.push(measure(language, component(folder)?, &options).await.with_context(|| language)?);
    }
    println!("{}", table(&rows));
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&rows)?;
        std::fs::write(path, text).with_context(|| format!("failed to write `{}`", path.display()))?;
    }
    Ok(())
}

fn component(folder: Option<&str>) -> Result<PathBuf> {
    let Some(folder) = folder else { return Ok(plugin("credit")) };
    let file = workspace().join(format!("tests/guests/languages/{folder}/credit/dist/credit.wasm"));
    ensure!(file.is_file(), "`{}` is missing: run `cargo xtask languages`", file.display());
    Ok(file)
}

async fn measure(language: &'static str, component: PathBuf, options: &Options) -> Result<Row> {
    let wasm = std::fs::read(&component)?;
    let bytes = wasm.len();
    let artifacts = tempfile::tempdir()?;
    let sandbox = || {
        let settings = SandboxSettings {
            instances: 64,
            max_memory: 64 << 20,
            artifacts: artifacts.path().to_owned(),
            compiler: heddle(),
        };
        Sandbox::new(settings)
    };
    let began = Instant::now();
    sandbox()?.load(wasm.clone()).await?;
    let compile_ms = milliseconds(began.elapsed());
    let mut load_ms = f64::MAX;
    for _ in 0..ROUNDS {
        let sandbox = sandbox()?;
        let began = Instant::now();
        sandbox.load(wasm.clone()).await?;
        load_ms = load_ms.min(milliseconds(began.elapsed()));
    }
    let sandbox = sandbox()?;
    let reused = admit(&sandbox, &component, Instances::Reuse(NonZeroU32::MAX)).await?;
    let fresh = admit(&sandbox, &component, Instances::Fresh).await?;
    let mut linear_kib = 0;
    // Memory settles, and so do the caches of the language's runtime.
    for sequence in 0..1_000 {
        linear_kib = one(&reused, sequence).await? / 1024;
    }
    let reused_us = best(&reused, options.events).await?;
    let fresh_us = best(&fresh, options.fresh).await?;
    let before = resident_kib()?;
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let plugin = admit(&sandbox, &component, Instances::Reuse(NonZeroU32::MAX)).await?;
        one(&plugin, 1).await?;
        crowd.push(plugin);
    }
    let resident_kib = resident_kib()?.saturating_sub(before) / CROWD as u64;
    drop(crowd);
    Ok(Row { language, bytes, compile_ms, load_ms, reused_us, fresh_us, linear_kib, resident_kib })
}

async fn admit(sandbox: &Sandbox, component: &std::path::Path, instances: Instances) -> Result<Plugin> {
    let config = BTreeMap::from([("limit".to_owned(), Secret::new("1000"))]);
    let policy = Policy { instances, config, ..everything("credit", Limits::default()) };
    Ok(sandbox.admit(component, Arc::new(policy)).await?)
}

/// The least time for an event, of all rounds, in microseconds.
async fn best(plugin: &Plugin, events: u32) -> Result<f64> {
    let mut best = f64::MAX;
    for round in 0..ROUNDS as u64 {
        let mut took = Duration::ZERO;
        for batch in (0..u64::from(events)).step_by(BATCH) {
            // What reads an event from the wire is the same for all languages, and not measured.
            let calls: Vec<Call> = (batch..batch + BATCH as u64)
                .map(|event| call(round * u64::from(events) + event + 1))
                .collect();
            let mut runs = Vec::with_capacity(BATCH);
            let began = Instant::now();
            for call in calls {
                runs.push(plugin.run(call).await);
            }
            took += began.elapsed();
            runs.into_iter().try_for_each(|run| check(run).map(drop))?;
        }
        let batches = u64::from(events).div_ceil(BATCH as u64);
        best = best.min(took.as_secs_f64() * 1e6 / (batches * BATCH as u64) as f64);
    }
    Ok(best)
}

/// One order of a customer who has three already.
fn call(sequence: u64) -> Call {
    let payload = format!(r#"{{"order":"o-{sequence}","item":"loom","amount":15}}"#);
    let event = Event {
        stream: "SHOP".into(),
        sequence,
        subject: "order.created.c1".into(),
        time: 1_700_000_000_000_000_000,
        headers: Headers::from_pairs([("Heddle-Correlation", "SHOP/1"), ("Heddle-Hops", "1")]),
        payload: payload.into(),
        source: Source::Stream,
    };
    let state = Bytes::from_static(br#"{"a-1":120,"a-2":30,"a-3":7}"#);
    Call { event: Arc::new(event), key: Key::new("c1"), attempt: 1, state: Some(state) }
}

/// Runs one order. What memory the instance has, in bytes.
async fn one(plugin: &Plugin, sequence: u64) -> Result<u64> {
    check(plugin.run(call(sequence)).await)
}

/// Fails unless the order is reserved. What memory the instance has, in bytes.
fn check(run: Run) -> Result<u64> {
    match run.verdict {
        Verdict::Done(effects) => {
            ensure!(effects.messages.len() == 1, "the order is not reserved: {effects:?}");
            Ok(run.usage.memory)
        }
        Verdict::Failed(failure) => bail!("the guest failed: {}", failure.message),
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What the process holds in memory, in KiB.
fn resident_kib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn table(rows: &[Row]) -> String {
    let mut table = comfy_table::Table::new();
    table.set_header([
        "language",
        "component",
        "compile ms",
        "load ms",
        "reused µs/event",
        "fresh µs/event",
        "memory KiB",
        "resident KiB",
    ]);
    for row in rows {
        table.add_row([
            row.language.to_owned(),
            row.bytes.to_string(),
            format!("{:.0}", row.compile_ms),
            format!("{:.1}", row.load_ms),
            format!("{:.1}", row.reused_us),
            format!("{:.0}", row.fresh_us),
            row.linear_kib.to_string(),
            row.resident_kib.to_string(),
        ]);
    }
    table.to_string()
}
