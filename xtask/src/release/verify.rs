//! Whether the packages of the program are good: each is built, installed as users install it, and run against a real server.
//!
//! What cannot be tried on this machine is passed over with the reason; nothing is left on it.

mod trial;

mod documents;

mod archive;

mod debian;

mod wheel;

mod npm;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use minisign::KeyPair;
use tempfile::TempDir;

use super::folder::Folder;
use super::inputs::Inputs;
use super::promise::{self, Outcome, hold_or_skip};
use super::sign::Key;
use crate::shell::{command, output, step, target};
use trial::Trial;

/// The kinds that are judged here. SDKs, image and chart are no packages of the program, and have promises of their own.
const KINDS: [&str; 5] = ["archive", "deb", "wheel", "npm", "sbom"];

/// Whether packages of a kind are judged on this machine.
fn is_judged(kind: &str) -> bool {
    KINDS.contains(&kind) && (kind != "deb" || lacks("dpkg-deb").is_none())
}

/// A promise, and what tells whether it holds.
type Promise = (&'static str, fn(&Subject<'_>) -> Result<Outcome>);

const PROMISES: [Promise; 12] = [
    ("the checksums are those of the files", documents::checksums),
    ("every file is signed, and no signature fits another file", documents::signatures),
    ("a second run gives the same bytes", documents::reproduced),
    ("the bill of materials names every crate of the program", documents::bill),
    ("tar.gz: unpacked, the program runs", archive::runs),
    ("deb: unpacked, the program runs", debian::runs),
    ("deb: installed, verified, removed and purged, nothing is left", debian::installs),
    ("deb: lintian finds no fault", debian::lintian),
    ("wheel: installed by pip, the program runs; uninstalled, it is gone", wheel::installs),
    ("npm: installed offline, the program runs behind the launcher", npm::installs),
    ("npm: the launcher ends with the program's exit code", npm::exit_code),
    ("npm: the launcher says what is missing", npm::missing_platform),
];

/// A release that is judged.
struct Subject<'a> {
    inputs: &'a Inputs,
    /// The folder of the release.
    out: PathBuf,
    files: Vec<PathBuf>,
    key: Key,
    trial: Trial,
    scratch: TempDir,
}

/// Builds the packages of the program, and fails unless all that can be tried of them is good.
pub(super) fn verify(inputs: &Inputs, nats_server: &Path) -> Result<()> {
    step("packages of the program");
    let subject = Subject::build(inputs, nats_server).context("failed to build the release")?;
    promise::all(PROMISES.map(|(promise, holds)| hold_or_skip(promise, || holds(&subject))))
}

impl<'a> Subject<'a> {
    fn build(inputs: &'a Inputs, nats_server: &Path) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("packages-").tempdir_in(target())?;
        let key = Key::of(KeyPair::generate_unencrypted_keypair().context("failed to make a key")?.sk)?;
        let out = scratch.path().join("packages");
        let files = super::build(inputs, Folder::open(&out)?, is_judged, Some(&key))?;
        let trial = Trial::start(nats_server, &inputs.version, scratch.path())?;
        Ok(Self { inputs, out, files, key, trial, scratch })
    }

    /// An empty folder.
    fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.scratch.path().join(name);
        fs::create_dir(&folder).with_context(|| format!("failed to create `{}`", folder.display()))?;
        Ok(folder)
    }

    /// The packages whose names end so.
    fn packages(&self, ending: &str) -> Vec<&Path> {
        self.files.iter().map(PathBuf::as_path).filter(|file| super::name(file).ends_with(ending)).collect()
    }

    /// The package whose name ends so.
    fn package(&self, ending: &str) -> Result<&Path> {
        match self.packages(ending).as_slice() {
            [package] => Ok(package),
            other => anyhow::bail!("{} packages end with `{ending}`, not one", other.len()),
        }
    }
}

/// A program of this machine, or of the toolchains that are installed below the target folder.
fn tool(program: impl AsRef<Path>) -> Command {
    let mut tool = command(program);
    tool.env("PATH", path());
    tool
}

fn path() -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let toolchains = target().join("toolchains/python/bin");
    env::join_paths(env::split_paths(&path).chain([toolchains])).unwrap_or(path)
}

/// Why something is passed over, if it needs a program that is not there.
fn lacks(program: &str) -> Option<Outcome> {
    let answer = output(tool(program).arg("--version"));
    answer.err().map(|_| Outcome::Skipped(format!("this machine has no `{program}`")))
}

/// Fails if one of these files is not there.
fn all_there(folder: &Path, files: &[&str]) -> Result<()> {
    let missing: Vec<_> = files.iter().filter(|file| !folder.join(file).is_file()).copied().collect();
    ensure!(missing.is_empty(), "missing: {}", missing.join(", "));
    Ok(())
}
