//! The packages for npm, installed into new projects without a registry and without running scripts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::{Outcome, Subject, lacks, tool};
use crate::shell::run;

/// The command of an installed package.
const COMMAND: &str = "node_modules/.bin/heddle";

/// Where the first of the tests installs, and the second looks.
const PROJECT: &str = "npm";

/// What `heddle` ends with if a file is faulty.
const FAULTY: i32 = 2;

pub(super) fn installs(subject: &Subject<'_>) -> Result<Outcome> {
    if let Some(outcome) = lacks("npm").or_else(|| lacks("node")) {
        return Ok(outcome);
    }
    let project = install(subject, PROJECT, &subject.packages(".tgz"), &[])?;
    subject.trial.passes(&project.join(COMMAND))?;
    Ok(Outcome::Holds)
}

pub(super) fn exit_code(subject: &Subject<'_>) -> Result<Outcome> {
    let heddle = subject.scratch.path().join(PROJECT).join(COMMAND);
    if !heddle.exists() {
        return Ok(Outcome::Skipped("the packages are not installed".to_owned()));
    }
    let output = subject.trial.heddle(&heddle).args(["check", "--config", "missing.toml"]).output()?;
    ensure!(output.status.code() == Some(FAULTY), "it ended with {:?}, not {FAULTY}", output.status.code());
    Ok(Outcome::Holds)
}

pub(super) fn missing_platform(subject: &Subject<'_>) -> Result<Outcome> {
    if let Some(outcome) = lacks("npm").or_else(|| lacks("node")) {
        return Ok(outcome);
    }
    let packages = subject.packages(".tgz");
    let main: Vec<_> =
        packages.into_iter().filter(|file| !super::super::name(file).contains("linux")).collect();
    let project = install(subject, "npm-missing", &main, &["--omit=optional"])?;
    let output = subject.trial.heddle(&project.join(COMMAND)).arg("--version").output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let expected = "the package @heddle/cli-linux-x64-gnu is not installed";
    ensure!(output.status.code() == Some(1) && said.contains(expected), "it says `{}`", said.trim());
    Ok(Outcome::Holds)
}

/// Installs packages into a new project.
fn install(subject: &Subject<'_>, name: &str, packages: &[&Path], options: &[&str]) -> Result<PathBuf> {
    let project = subject.folder(name)?;
    fs::write(project.join("package.json"), r#"{ "name": "trial", "private": true }"#)
        .context("failed to write a project for npm")?;
    let cache = subject.scratch.path().join("npm-cache");
    let quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"];
    let mut npm = tool("npm");
    npm.args(["install", "--offline", "--ignore-scripts"]).args(quiet).args(options);
    run(npm
        .arg("--cache")
        .arg(cache)
        .args(packages)
        .current_dir(&project)
        .stdout(std::process::Stdio::null()))?;
    Ok(project)
}
