//! Builds plugins while they are developed, as `[handlers.NAME.build]` says: at the start those that are missing or older
//! than their sources, then what changes.
//!
//! One build runs at a time, beside the events and behind them. None outlives `heddle dev`. What a build makes is found
//! by whoever watches the plugins' files.

mod process;

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

use super::{complain, say};
use heddle_source::watch::{Watch, newer_than};
use heddle_values::settings::{BuildCommand, HandlerSettings, Settings};
use process::{Group, Outcome, Output};

/// How many lines of a failed build are shown.
const SHOWN_LINES: usize = 40;

/// Why a build is needed before the application starts.
enum Need {
    /// There is nothing to start with.
    Missing(PathBuf),
    /// There is one from before the last change.
    Stale { plugin: PathBuf, source: PathBuf },
}

/// Every build of an application.
pub(super) struct Builds {
    folder: PathBuf,
    jobs: Vec<Job>,
    watch: Watch,
}

/// One command, for one handler or several.
struct Job {
    /// The names of the handlers.
    name: String,
    command: BuildCommand,
    watch: Vec<PathBuf>,
    plugins: Vec<PathBuf>,
}

impl Builds {
    /// None if nothing is to be built. Changes from now on call for builds.
    pub(super) fn of(settings: &Settings) -> anyhow::Result<Option<Self>> {
        let mut jobs: Vec<Job> = Vec::new();
        for handler in &settings.handlers {
            add(&mut jobs, handler);
        }
        if jobs.is_empty() {
            return Ok(None);
        }
        let watch = Watch::trees(jobs.iter().flat_map(|job| job.watch.iter().cloned()))?;
        Ok(Some(Builds { folder: settings.folder.clone(), jobs, watch }))
    }

    /// Builds the plugins that are missing or older than their sources, in the order of the file. It is an error if one is
    /// still missing then; one that cannot be built again stays as it is. Cancelling it ends the build under way.
    pub(super) async fn make_current(&self) -> anyhow::Result<()> {
        let made: Vec<PathBuf> = self.jobs.iter().flat_map(|job| job.plugins.iter().cloned()).collect();
        for job in &self.jobs {
            match job.need(&self.folder, &made) {
                Some(need @ Need::Missing(_)) => self.make_missing(job, &need).await?,
                Some(need @ Need::Stale { .. }) => {
                    say(&format!("building {}: {need}", job.name));
                    job.report(job.build(&self.folder, Output::Kept(SHOWN_LINES)).await);
                }
                None => {}
            }
        }
        Ok(())
    }

    async fn make_missing(&self, job: &Job, need: &Need) -> anyhow::Result<()> {
        say(&format!("building {}: {need}", job.name));
        let outcome = job.build(&self.folder, Output::Live).await;
        let Outcome { status, elapsed, .. } = outcome.with_context(|| job.unable())?;
        if !status.success() {
            bail!("build of {} failed after {} ({status})", job.name, seconds(elapsed));
        }
        say(&job.success(elapsed));
        if let Some(missing) = job.missing() {
            bail!("build of {} has succeeded, but `{}` is not there", job.name, missing.display());
        }
        Ok(())
    }

    /// Builds what changes, one after the other. Cancelling it ends the build under way; it never ends by itself.
    pub(super) async fn run(mut self) {
        let mut due: VecDeque<usize> = VecDeque::new();
        loop {
            let Some(next) = due.pop_front() else {
                note(&self.jobs, &self.watch.changed().await, &mut due);
                continue;
            };
            let Some(job) = self.jobs.get(next) else { continue };
            let building = job.build(&self.folder, Output::Kept(SHOWN_LINES));
            tokio::pin!(building);
            let outcome = loop {
                // Cancel-safe: the build is only borrowed, and the watch keeps what is not taken.
                tokio::select! {
                    outcome = &mut building => break outcome,
                    changed = self.watch.changed() => note(&self.jobs, &changed, &mut due),
                }
            };
            job.report(outcome);
        }
    }
}

/// Adds a handler's build; to that of another handler, if the command is the same.
fn add(jobs: &mut Vec<Job>, handler: &HandlerSettings) {
    let Some(build) = &handler.build else { return };
    let made = || handler.plugin.path().map(Path::to_owned).into_iter();
    match jobs.iter_mut().find(|job| job.command == build.command) {
        Some(job) => {
            job.name = format!("{}, {}", job.name, handler.name);
            job.watch.extend(build.watch.iter().cloned());
            job.plugins.extend(made());
        }
        None => jobs.push(Job {
            name: handler.name.to_string(),
            command: build.command.clone(),
            watch: build.watch.clone(),
            plugins: made().collect(),
        }),
    }
}

/// Notes the jobs that a change calls for. One that is under way is called for once more.
fn note(jobs: &[Job], changed: &[PathBuf], due: &mut VecDeque<usize>) {
    // Where a plugin lies below what is watched, its build must not call for the next one.
    let is_made = |path: &PathBuf| jobs.iter().any(|job| job.plugins.contains(path));
    for (number, job) in jobs.iter().enumerate() {
        let concerns = |path: &PathBuf| job.watch.iter().any(|watched| path.starts_with(watched));
        let called = changed.iter().any(|path| concerns(path) && !is_made(path));
        if called && !due.contains(&number) {
            due.push_back(number);
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Need::Missing(plugin) => write!(f, "`{}` is not there", plugin.display()),
            Need::Stale { plugin, source } => {
                write!(f, "`{}` is older than `{}`", plugin.display(), source.display())
            }
        }
    }
}

impl Job {
    /// The first plugin that is not there.
    fn missing(&self) -> Option<&Path> {
        self.plugins.iter().find(|plugin| !plugin.exists()).map(PathBuf::as_path)
    }

    /// `made` is what any build makes: no plugin is a source of another. Paths are said as seen from the folder.
    fn need(&self, folder: &Path, made: &[PathBuf]) -> Option<Need> {
        let short = |path: &Path| path.strip_prefix(folder).unwrap_or(path).to_owned();
        if let Some(missing) = self.missing() {
            return Some(Need::Missing(short(missing)));
        }
        let stale = |plugin: &PathBuf| {
            let source = newer_than(plugin, &self.watch, made)?;
            Some(Need::Stale { plugin: short(plugin), source: short(&source) })
        };
        self.plugins.iter().find_map(stale)
    }

    async fn build(&self, folder: &Path, output: Output) -> std::io::Result<Outcome> {
        Group::start(&self.command, folder, output)?.outcome().await
    }

    fn report(&self, outcome: std::io::Result<Outcome>) {
        match outcome {
            Ok(Outcome { status, elapsed, .. }) if status.success() => say(&self.success(elapsed)),
            Ok(Outcome { status, elapsed, lines }) => {
                let heading = format!("build of {} failed after {} ({status})", self.name, seconds(elapsed));
                complain(&if lines.is_empty() { heading } else { format!("{heading}:\n{lines}") });
            }
            Err(error) => complain(&format!("{}: {error}", self.unable())),
        }
    }

    fn success(&self, elapsed: Duration) -> String {
        format!("built {} in {}", self.name, seconds(elapsed))
    }

    fn unable(&self) -> String {
        let program = match &self.command {
            BuildCommand::Shell(_) => "sh",
            BuildCommand::Program { program, .. } => program,
        };
        format!("build of {} failed: `{program}` cannot be run", self.name)
    }
}

fn seconds(elapsed: Duration) -> String {
    format!("{:.1} s", elapsed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str, watch: &[&str]) -> Job {
        Job {
            name: name.to_owned(),
            command: BuildCommand::Shell(name.to_owned()),
            watch: watch.iter().map(PathBuf::from).collect(),
            plugins: vec![PathBuf::from(format!("/app/{name}.wasm"))],
        }
    }

    #[test]
    fn a_change_calls_once_for_each_job_that_it_concerns() {
        let jobs = [job("a", &["/app/a", "/app/both"]), job("b", &["/app"])];
        let check = |before: &[usize], changed: &[&str], expected: &[usize]| {
            let mut due = VecDeque::from(before.to_vec());
            note(&jobs, &changed.iter().map(PathBuf::from).collect::<Vec<_>>(), &mut due);
            assert_eq!(due, expected, "{changed:?}");
        };
        check(&[], &["/app/a/src/lib.rs", "/app/both"], &[0, 1]);
        check(&[1], &["/app/a/x"], &[1, 0]);
        check(&[], &["/app/b.rs"], &[1]);
        check(&[], &["/app/ab", "/other"], &[1]);
        check(&[], &["/app/a.wasm", "/app/b.wasm"], &[]);
    }
}
