//! `heddle doctor`.

mod application;
mod machine;
mod server;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::{CacheArgs, TargetArgs};
use crate::print::{self, say, visible};
use crate::server as nats_server;
use heddle_project::Project;

/// Find what keeps Heddle from working here, and say what to do.
///
/// Checks this machine (can plugins be compiled and run, is there room for them, limits of this process), the tools of
/// the project beside heddle.toml, the nats-server that `heddle dev` starts, heddle.toml, and the server: can it be
/// reached, how far is it away, is it new enough, what may this user do, do the streams suit the application, does its
/// clock agree with the one here, which hosts run.
/// What is not there is passed over. Writes into its cache of compiled plugins only. `heddle check` checks the plugins
/// and the choreography.
///
/// Ends with 1 if something is wrong.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    cache: CacheArgs,
    /// The nats-server that `heddle dev` is to start.
    #[arg(long, value_name = "FILE", env = "HEDDLE_NATS_SERVER")]
    nats_server: Option<PathBuf>,
    /// Do not ask the server.
    #[arg(long)]
    offline: bool,
}

/// How good a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Grade {
    Ok,
    /// Worth checking; may be intended.
    Note,
    Error,
}

/// One thing that was checked.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// What it is about: `machine`, `tools`, `file`, `server`, `stream`, `permissions`, `hosts`.
    about: &'static str,
    grade: Grade,
    text: String,
}

/// Everything that was found, in its order.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, about: &'static str, text: impl Into<String>) {
        self.0.push(Finding { about, grade: Grade::Ok, text: text.into() });
    }

    fn note(&mut self, about: &'static str, text: impl Into<String>) {
        self.0.push(Finding { about, grade: Grade::Note, text: text.into() });
    }

    fn error(&mut self, about: &'static str, text: impl Into<String>) {
        self.0.push(Finding { about, grade: Grade::Error, text: text.into() });
    }

    fn errors(&self) -> usize {
        self.0.iter().filter(|finding| finding.grade == Grade::Error).count()
    }
}

impl Command {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<ExitCode> {
        let mut findings = Findings::default();
        machine::check(&self.cache, &mut findings).await;
        look_for_tools(self.target.folder(), &mut findings);
        look_for_server(self.nats_server.as_deref(), &mut findings);
        if let Some((settings, origin)) = application::check(&self.target, &mut findings) {
            match self.offline {
                true => findings.note("server", "not asked (--offline)"),
                false => server::check(&settings, &origin, &mut findings).await,
            }
        }
        let errors = findings.errors();
        if json {
            print::json(&json!({ "ok": errors == 0, "findings": findings.0 }))?;
        } else {
            print_text(&findings)?;
        }
        Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn print_text(findings: &Findings) -> Result<(), print::Error> {
    for Finding { about, grade, text } in &findings.0 {
        let mark = match grade {
            Grade::Ok => "ok   ",
            Grade::Note => "note ",
            Grade::Error => "error",
        };
        say!("{mark}  {about:<11}  {}", visible(text))?;
    }
    match findings.errors() {
        0 => say!("\nnothing is wrong"),
        1 => say!("\n1 thing is wrong"),
        errors => say!("\n{errors} things are wrong"),
    }
}

/// The tools of the project in a folder, if there is one.
fn look_for_tools(folder: &Path, findings: &mut Findings) {
    let Ok(project) = Project::open(folder) else {
        return findings.note("tools", "no handler's project beside heddle.toml, so no tools are looked for");
    };
    match heddle_project::look_for_tools(&project) {
        Ok(()) => findings
            .ok("tools", format!("`{}` can be built: it is written in {}", project.name, project.language)),
        Err(error) => findings.error("tools", format!("{error:#}")),
    }
}

/// The program that `heddle dev` starts. Whoever has a server already can do without.
fn look_for_server(named: Option<&Path>, findings: &mut Findings) {
    match nats_server::find(named) {
        Ok(program) => findings.ok("tools", format!("`heddle dev` starts `{}`", program.display())),
        Err(error) => findings
            .note("tools", format!("`heddle dev` and `heddle test --server` need a server: {error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_project_lacks_is_wrong_and_no_project_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut findings = Findings::default();
        look_for_tools(folder.path(), &mut findings);
        assert_eq!((findings.errors(), findings.0.len()), (0, 1));
        std::fs::write(folder.path().join("package.json"), "{\"name\": \"x\"}").unwrap();
        look_for_tools(folder.path(), &mut findings);
        let said = &findings.0.last().unwrap().text;
        assert_eq!(findings.errors(), 1);
        assert!(said.contains("npm install") || said.contains("node"), "{said}");
    }

    #[test]
    fn a_server_that_dev_cannot_start_is_worth_a_note_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("nats-server");
        let mut findings = Findings::default();
        look_for_server(Some(&program), &mut findings);
        std::fs::write(&program, "").unwrap();
        look_for_server(Some(&program), &mut findings);
        let grades: Vec<Grade> = findings.0.iter().map(|finding| finding.grade).collect();
        assert_eq!(grades, [Grade::Note, Grade::Ok], "{findings:?}");
        assert!(findings.0.iter().all(|finding| finding.text.contains("heddle dev")), "{findings:?}");
    }
}
