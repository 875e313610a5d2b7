//! Installs what was packed, as the users of each language do, and tries it: a new project takes the SDK from the package, its unit
//! tests pass, its component is built, and the component answers events.
//!
//! Everything happens outside of the repository, so that nothing is found there which the package lacks. Nothing is skipped: the
//! toolchains are those of `cargo xtask languages`.

mod project;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, ensure};

use super::Packing;
use crate::release::inputs::Inputs;
use crate::release::promise::{self, hold};
use crate::release::sums;
use crate::setup::toolchains::Toolchains;
use crate::shell::{empty, step};
use project::Project;

/// Projects that are tried at once.
const AT_ONCE: usize = 2;

/// Brings the packed SDK of a language into a new project, which has none, and runs the unit tests.
type Try = fn(&Project<'_>) -> Result<()>;

/// What is tried, by the names that `heddle new` has for the languages. Those that take longest come first.
const TRIES: [(&str, &str, Try); 6] = [
    ("python", "the wheel is installed by pip", project::python),
    ("rust", "the crate is built by cargo", project::rust),
    ("ts", "the package is installed by npm, with its types", project::javascript),
    ("js", "the package is installed by npm", project::javascript),
    ("go", "the module comes from a proxy of files", project::go),
    ("c", "the archive is unpacked into a project", project::c),
];

/// Packs the SDKs, and tries each.
pub(crate) fn verify(inputs: &Inputs, toolchains: &Toolchains) -> Result<()> {
    let root = tempfile::Builder::new().prefix("heddle-sdks-").tempdir().context("no folder for projects")?;
    let packed = root.path().join("packed");
    hold("sdk: packed twice, they have the same bytes", || {
        let pack = |out: &Path| {
            empty(out)?;
            Packing { inputs, out, toolchains }.pack()
        };
        same_bytes(&pack(&packed)?, &pack(&root.path().join("again"))?)
    })?;
    step("projects with the packed SDKs");
    let left = Mutex::new(TRIES.into_iter());
    let tried = Mutex::new(Vec::new());
    let worker = || {
        // The lock is free again before the project is made.
        while let Some((language, promise, attempt)) = { lock(&left).next() } {
            let held = hold(&format!("sdk {language}: {promise}; tests pass; the component answers"), || {
                let project = Project::new(root.path(), language, &packed, &inputs.binary, toolchains)?;
                attempt(&project)?;
                project.build_and_ask()
            });
            lock(&tried).push(held);
        }
    };
    std::thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(worker))));
    promise::all(tried.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn same_bytes(files: &[PathBuf], again: &[PathBuf]) -> Result<()> {
    ensure!(files.len() == again.len(), "there are other files when they are packed again");
    for (one, other) in files.iter().zip(again) {
        ensure!(
            sums::of(one)? == sums::of(other)?,
            "`{}` has other bytes when it is packed again",
            one.display()
        );
    }
    Ok(())
}
