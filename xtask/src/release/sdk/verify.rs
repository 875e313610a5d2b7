//! Installs what was packed, as the users of each language do, and tries it: a new project takes the SDK from the package, its unit
//! tests pass, its component is built, and the component answers events.
//!
//! Everything happens outside of the repository, so that nothing is found there which the package lacks. Nothing is skipped: the
//! toolchains are those of `cargo xtask languages`.

mod project;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::Packing;
use crate::release::inputs::last_commit;
use crate::setup::toolchains::Toolchains;
use crate::shell::step;
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
pub(crate) fn verify(binary: &Path, toolchains: &Toolchains) -> Result<()> {
    let root = tempfile::Builder::new().prefix("heddle-sdks-").tempdir().context("no folder for projects")?;
    let packed = root.path().join("packed");
    let version = env!("CARGO_PKG_VERSION");
    let pack = |out: &Path| -> Result<Vec<PathBuf>> {
        fs::create_dir_all(out).with_context(|| format!("failed to create `{}`", out.display()))?;
        Packing { version, binary, out, epoch: last_commit()?, toolchains }.pack()
    };
    let started = Instant::now();
    let files = pack(&packed)?;
    let again = pack(&root.path().join("again"))?;
    same_bytes(&files, &again)?;
    say("sdks", "packed twice, they have the same bytes", started);
    step("projects with the packed SDKs");
    let left = Mutex::new(TRIES.into_iter());
    let failed = Mutex::new(Vec::new());
    let worker = || {
        // The lock is free again before the project is made.
        while let Some((language, promise, attempt)) =
            { left.lock().unwrap_or_else(PoisonError::into_inner).next() }
        {
            let started = Instant::now();
            let tried = Project::new(root.path(), language, &packed, binary, toolchains)
                .and_then(|project| attempt(&project).and_then(|()| project.build_and_ask()));
            match tried {
                Ok(()) => say(language, &format!("{promise}; tests pass; the component answers"), started),
                Err(error) => failed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(format!("{language}: not so: {promise}: {error:#}")),
            }
        }
    };
    std::thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(worker))));
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

fn say(what: &str, promise: &str, started: Instant) {
    println!("ok  {what:<6}  {promise} ({:.1} s)", started.elapsed().as_secs_f64());
}

fn same_bytes(files: &[PathBuf], again: &[PathBuf]) -> Result<()> {
    for (one, other) in files.iter().zip(again) {
        let read =
            |path: &Path| fs::read(path).with_context(|| format!("failed to read `{}`", path.display()));
        ensure!(read(one)? == read(other)?, "`{}` has other bytes when it is packed again", one.display());
    }
    Ok(())
}
