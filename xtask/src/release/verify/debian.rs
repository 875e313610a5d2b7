//! The package for Debian, in a root and with a database of dpkg of its own, so that the machine's are left alone.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use rustix::process::geteuid;

use super::{Outcome, Subject, all_there, lacks};
use crate::shell::{command, output, run};

/// What a user looks for.
const FILES: [&str; 7] = [
    "usr/lib/systemd/system/heddle@.service",
    "usr/share/bash-completion/completions/heddle",
    "usr/share/zsh/vendor-completions/_heddle",
    "usr/share/fish/vendor_completions.d/heddle.fish",
    "usr/share/man/man1/heddle-run.1.gz",
    "usr/share/doc/heddle/copyright",
    "usr/share/doc/heddle/changelog.gz",
];

/// What the program is linked with: dpkg compares the versions of this machine with what the package demands.
const LIBRARIES: [&str; 2] = ["libc6", "libgcc-s1"];

pub(super) fn runs(subject: &Subject<'_>) -> Result<Outcome> {
    if let Some(outcome) = lacks("dpkg-deb") {
        return Ok(outcome);
    }
    let (root, package) = (subject.folder("deb")?, subject.package(".deb")?);
    run(command("dpkg-deb").arg("-x").arg(package).arg(&root))?;
    all_there(&root, &FILES)?;
    let depends = output(command("dpkg-deb").arg("-f").arg(package).arg("Depends"))?;
    let needs = subject.inputs.needs.debian();
    ensure!(depends.trim() == needs, "it depends on `{}`, but the program needs `{needs}`", depends.trim());
    subject.trial.passes(&root.join("usr/bin/heddle"))?;
    Ok(Outcome::Holds)
}

pub(super) fn installs(subject: &Subject<'_>) -> Result<Outcome> {
    if let Some(outcome) = lacks("dpkg-deb").or_else(|| lacks("dpkg")) {
        return Ok(outcome);
    }
    if !geteuid().is_root() {
        return Ok(Outcome::Skipped("dpkg installs for root only".to_owned()));
    }
    let Ok(known) = output(command("dpkg-query").arg("--status").args(LIBRARIES)) else {
        return Ok(Outcome::Skipped("this machine has its libraries from elsewhere than dpkg".to_owned()));
    };
    let root = subject.folder("deb-root")?;
    database(&root, &known)?;
    run(dpkg(&root).arg("--install").arg(subject.package(".deb")?).stdout(Stdio::null()))?;
    all_there(&root, &FILES)?;
    let differing = output(dpkg(&root).args(["--verify", "heddle"]))?;
    ensure!(differing.is_empty(), "installed files differ from the package: {differing}");
    run(command(root.join("usr/bin/heddle")).arg("--version").stdout(Stdio::null()))?;
    run(dpkg(&root).args(["--remove", "heddle"]).stdout(Stdio::null()))?;
    // All is gone with the removal: there are no files of configuration to purge.
    let unknown = output(dpkg(&root).args(["--status", "heddle"]));
    ensure!(unknown.is_err(), "dpkg still knows heddle: {}", unknown.unwrap_or_default());
    run(dpkg(&root).args(["--purge", "heddle"]).stdout(Stdio::null()).stderr(Stdio::null()))?;
    let left = output(command("find").arg(&root).args([
        "-mindepth",
        "1",
        "-path",
        "*/var",
        "-prune",
        "-o",
        "-print",
    ]))?;
    ensure!(left.is_empty(), "left behind: {left}");
    Ok(Outcome::Holds)
}

/// A database that knows the libraries only.
fn database(root: &Path, known: &str) -> Result<()> {
    let admin = root.join("var/lib/dpkg");
    let write = || {
        fs::create_dir_all(admin.join("info"))?;
        fs::create_dir_all(admin.join("updates"))?;
        fs::write(admin.join("info/format"), "1\n")?;
        for library in LIBRARIES {
            fs::write(admin.join(format!("info/{library}:amd64.list")), "/.\n")?;
        }
        fs::write(admin.join("status"), known)
    };
    write().context("failed to make a database for dpkg")
}

fn dpkg(root: &Path) -> Command {
    let mut dpkg = command("dpkg");
    // The machine may be set to leave out documents.
    dpkg.arg("--root").arg(root).arg("--log").arg(root.join("var/dpkg.log")).arg("--path-include=*");
    dpkg
}

pub(super) fn lintian(subject: &Subject<'_>) -> Result<Outcome> {
    if let Some(outcome) = lacks("lintian") {
        return Ok(outcome);
    }
    run(command("lintian")
        .args(["--allow-root", "--fail-on", "error,warning"])
        .arg(subject.package(".deb")?))?;
    Ok(Outcome::Holds)
}
