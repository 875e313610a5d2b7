//! What users install, packed into one folder. Every kind of package is one function; this file knows no kind's content.

pub(crate) mod sdk;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::setup::toolchains;
use crate::shell::{command, output, step};

/// What packages are made from.
pub(crate) struct Inputs {
    /// The version of the release.
    pub(crate) version: String,
    /// The program, built for the release.
    pub(crate) binary: PathBuf,
    /// Where packages are put.
    pub(crate) out: PathBuf,
    /// The time in all files, in seconds since 1970.
    pub(crate) epoch: u64,
}

/// Packs one kind, and names the files that it made.
type Pack = fn(&Inputs) -> Result<Vec<PathBuf>>;

const KINDS: [(&str, Pack); 1] = [("sdk", sdk::pack)];

/// The names of all kinds.
pub(crate) fn kinds() -> Vec<&'static str> {
    KINDS.iter().map(|(name, _)| *name).collect()
}

/// Packs every kind, or one.
pub(crate) fn run(only: Option<&str>, out: &Path, binary: &Path, verify: bool) -> Result<()> {
    ensure!(
        binary.is_file(),
        "there is no program `{}`: build it, or name one with --binary",
        binary.display()
    );
    fs::create_dir_all(out).with_context(|| format!("failed to create `{}`", out.display()))?;
    let absolute =
        |path: &Path| path.canonicalize().with_context(|| format!("failed to open `{}`", path.display()));
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let inputs = Inputs { version, binary: absolute(binary)?, out: absolute(out)?, epoch: last_commit()? };
    for (name, pack) in KINDS.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        step(&format!("packages: {name}"));
        for file in pack(&inputs)? {
            println!("{}", file.display());
        }
    }
    if verify {
        sdk::verify(&inputs.binary, &toolchains::find_or_install()?)?;
    }
    Ok(())
}

/// When the last commit was made.
pub(crate) fn last_commit() -> Result<u64> {
    let text = output(command("git").args(["log", "-1", "--format=%ct"]))
        .context("no repository says when the sources were last changed")?;
    text.trim().parse().with_context(|| format!("git answers `{}` instead of a time", text.trim()))
}
