//! `heddle test`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use serde_json::json;

use super::build::tell_of_sdks_of;
use super::fault::Code;
use super::stale::Stale;
use super::{CacheArgs, FileArgs, maybe_empty};
use crate::print::{self, complain, say};
use crate::server;
use crate::testing::junit::{self, Tested};
use crate::testing::{Modes, Options, Stage, Suite, case};
use heddle_config::Needs;

/// Where tests stand, beside the application's file.
pub(super) const FOLDER: &str = "tests";

/// Test handlers, or a whole application, without a server
///
/// Runs the tests in `tests/*.toml` beside heddle.toml. Each publishes events and says what is expected:
///
///   name = "every third order earns a gift"
///   handler = "loyalty"               # the only one that takes part; default: all
///   state = "2"                       # of the first event's key
///
///   [[events]]
///   subject = "order.placed.ada"
///   json = { order = "o-3" }          # or payload, payload-base64; also headers, key, time, after
///   [events.expect]
///   verdict = "done"                  # or the cause of the dead letter: reject, decode, limit:time, …
///   messages = [{ subject = "gift.earned.ada", json = { order = "o-3", number = 1 } }]
///   state = { json = 3 }
///
/// Handlers run in the real sandbox, under the policy of heddle.toml, and what they publish goes to the handlers that
/// subscribe to it. Time is virtual: retries, deferrals and delayed messages take none. Every test is run in new and in
/// reused instances, which must make no difference, and again with keys that take their turns in other orders. docs/testing.md
/// explains every key of a test.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Command {
    /// Test files, or folders of them. Default: `tests` beside the application's file.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only tests with this in their name.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// In which instances tests are run.
    #[arg(long, value_enum, default_value_t)]
    instances: Modes,
    /// How often each test is run again with keys that take their turns in another order.
    #[arg(long, value_name = "N", default_value_t = 5)]
    shuffles: u32,
    /// What the first of these orders comes from; the next ones count up from it.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Run each test once over a real server instead: the whole host, in real time. What leaves no trace in the stream (runs,
    /// log lines, replies) is not compared.
    #[arg(long, conflicts_with_all = ["instances", "shuffles", "seed"])]
    server: bool,
    /// The nats-server to start for `--server`.
    #[arg(long, value_name = "FILE", env = "HEDDLE_NATS_SERVER", value_parser = maybe_empty())]
    nats_server: Option<PathBuf>,
    /// Also write the results to this file, in JUnit's form.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    #[command(flatten)]
    file: FileArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

impl Command {
    pub(super) async fn run(self, threads: tokio::runtime::Handle, json: bool) -> anyhow::Result<ExitCode> {
        let mut settings = self.file.load(Needs::Everything)?;
        tell_of_sdks_of(&settings);
        let stale: Vec<String> = Stale::all(&settings).iter().map(Stale::note).collect();
        for note in &stale {
            complain!("note: {note}");
        }
        if self.server {
            server::tell_left_out(&settings.use_own_server(String::new()));
        }
        let files = self.files(&settings.folder)?;
        let workshop = self.cache.workshop()?;
        let stage = match self.server {
            false => None,
            true => Some(Stage {
                file: self.file.config.clone(),
                program: server::find(self.nats_server.as_deref())?,
                workshop: workshop.clone(),
                threads,
            }),
        };
        let suite = Suite::load(settings, &workshop).await?;
        let options = Options { modes: self.instances, shuffles: self.shuffles, seed: self.seed };
        let mut tested = Vec::new();
        for path in &files {
            let file = path.display().to_string();
            let cases = case::read(path).map_err(|error| Code::TestFile.fault(format!("{error:#}")))?;
            let count = cases.len();
            for (index, case) in cases.into_iter().enumerate() {
                let name = name(&case, path, index, count);
                if self.filter.as_ref().is_some_and(|part| !name.contains(part.as_str())) {
                    continue;
                }
                let outcome = match &stage {
                    None => suite.run(&case, options).await,
                    Some(stage) => suite.run_on_server(&case, stage).await,
                };
                let test = Tested { file: file.clone(), name, outcome };
                if !json {
                    print_text(&test)?;
                }
                tested.push(test);
            }
        }
        if let Some(path) = &self.junit {
            junit::write(path, &tested)?;
        }
        let failed = tested.iter().filter(|test| !test.outcome.faults.is_empty()).count();
        let passed = tested.len() - failed;
        if json {
            let tests: Vec<_> = tested.iter().map(document).collect();
            print::json(&json!({ "passed": passed, "failed": failed, "stale": stale, "tests": tests }))?;
        } else {
            say!("{passed} passed, {failed} failed")?;
        }
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The test files, in the order of their names.
    fn files(&self, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
        let usual = [folder.strip_prefix(".").unwrap_or(folder).join(FOLDER)];
        let paths = if self.paths.is_empty() { &usual[..] } else { &self.paths };
        let mut files = Vec::new();
        for path in paths {
            if path.is_dir() {
                let entries = std::fs::read_dir(path)
                    .with_context(|| format!("failed to list `{}`", path.display()))?;
                for entry in entries {
                    let path = entry.with_context(|| format!("failed to list `{}`", path.display()))?.path();
                    if path.extension().is_some_and(|extension| extension == "toml") {
                        files.push(path);
                    }
                }
            } else if path.is_file() {
                files.push(path.clone());
            } else if !self.paths.is_empty() {
                return Err(Code::Usage.fault(format!("`{}` does not exist", path.display())).into());
            }
        }
        files.sort();
        if files.is_empty() {
            let first = usual[0].join("first.toml");
            let message =
                format!("no test files: write one as `{}`; see `heddle test --help`", first.display());
            return Err(Code::TestFile.fault(message).into());
        }
        Ok(files)
    }
}

fn name(case: &case::Case, path: &Path, index: usize, count: usize) -> String {
    if let Some(name) = &case.name {
        return name.clone();
    }
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    if count == 1 { stem } else { format!("{stem} {}", index + 1) }
}

fn document(test: &Tested) -> serde_json::Value {
    json!({
        "file": test.file,
        "name": test.name,
        "passed": test.outcome.faults.is_empty(),
        "faults": test.outcome.faults,
        "runs": test.outcome.runs,
        "milliseconds": test.outcome.elapsed.as_millis() as u64,
    })
}

fn print_text(test: &Tested) -> Result<(), print::Error> {
    let word = if test.outcome.faults.is_empty() { "ok  " } else { "FAIL" };
    let (runs, time) = (test.outcome.runs, test.outcome.elapsed.as_millis());
    say!("{word}  {}  {} ({runs} runs, {time} ms)", test.file, test.name)?;
    for fault in &test.outcome.faults {
        for line in fault.lines() {
            say!("        {line}")?;
        }
    }
    Ok(())
}
