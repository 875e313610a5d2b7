//! `heddle doctor`.

mod application;
mod machine;
mod server;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::{CacheArgs, TargetArgs, maybe_empty};
use crate::print::{self, say, visible};
use crate::server as nats_server;
use heddle_project::Project;

/// Diagnose this machine, the file and the server, and say what to do.
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
    #[arg(long, value_name = "FILE", env = "HEDDLE_NATS_SERVER", value_parser = maybe_empty())]
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

/// What `heddle dev` is to an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dev {
    /// It has another server, or nobody knows whether it has.
    Optional,
    /// Nothing else gives it a server.
    Needed,
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
        let mut others = Findings::default();
        let mut dev = Dev::Optional;
        if let Some((settings, origin)) = application::check(&self.target, &mut others) {
            match self.offline {
                true => others.note("server", "not asked (--offline)"),
                false => dev = server::check(&settings, &origin, &mut others).await,
            }
        }
        look_for_server(self.nats_server.as_deref(), dev, &mut findings);
        findings.0.append(&mut others.0);
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
fn look_for_server(named: Option<&Path>, dev: Dev, findings: &mut Findings) {
    match (nats_server::find(named), dev) {
        (Ok(program), _) => findings.ok("tools", format!("`heddle dev` starts `{}`", program.display())),
        (Err(error), Dev::Optional) => findings.note(
            "tools",
            format!("`heddle dev` and `heddle test --server` cannot run without a nats-server: {error:#}"),
        ),
        (Err(error), Dev::Needed) => findings.error(
            "tools",
            format!("the application cannot run: there is no server, and `heddle dev` has none to start: {error:#}"),
        ),
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
    fn a_server_that_dev_cannot_start_is_wrong_where_there_is_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("nats-server");
        let mut findings = Findings::default();
        look_for_server(Some(&program), Dev::Optional, &mut findings);
        look_for_server(Some(&program), Dev::Needed, &mut findings);
        std::fs::write(&program, "").unwrap();
        look_for_server(Some(&program), Dev::Needed, &mut findings);
        let grades: Vec<Grade> = findings.0.iter().map(|finding| finding.grade).collect();
        assert_eq!(grades, [Grade::Note, Grade::Error, Grade::Ok], "{findings:?}");
        assert!(findings.0.iter().all(|finding| finding.text.contains("heddle dev")), "{findings:?}");
    }
}
