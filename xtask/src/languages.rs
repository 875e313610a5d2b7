//! The guests and example handlers that are written in other languages than Rust: built with the program itself, as users
//! build theirs.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};

use crate::setup::toolchains::{Toolchains, find_or_install};
use crate::shell::{Profile, command, root, run, step};

/// Folders of projects: those below the first are in folders by language.
const FOLDERS: [&str; 2] = ["tests/guests/languages", "examples/polyglot"];

/// What all guests are made from, besides their own files.
const COMMON: [&str; 3] = ["sdk", "wit", "host/project/src"];

/// Folders in which nothing is written by hand.
const MADE: [&str; 6] = ["node_modules", "dist", ".heddle", "target", "__pycache__", "heddle.egg-info"];

/// Installs the toolchains and builds every project whose component is missing or older than its sources.
pub(crate) fn build(profile: Profile) -> Result<Toolchains> {
    let toolchains = find_or_install()?;
    step("guests in other languages");
    let common = newest(COMMON.map(|folder| root().join(folder)))?;
    let left = Mutex::new(projects()?);
    let failed = Mutex::new(Vec::new());
    let worker = || {
        // The lock is free again before the build begins.
        while let Some(project) = { lock(&left).pop() } {
            if let Err(error) = build_one(&project, &toolchains, common, profile) {
                lock(&failed).push(format!("{}: {error:#}", project.display()));
            }
        }
    };
    // Every other second of such a build is waited for a disk, or for a tool that uses one core.
    let workers = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(worker))));
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    ensure!(failed.is_empty(), "{}", failed.join("; "));
    Ok(toolchains)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn build_one(project: &Path, toolchains: &Toolchains, common: SystemTime, profile: Profile) -> Result<()> {
    let name = project.file_name().unwrap_or_default();
    let component = project.join("dist").join(name).with_extension("wasm");
    let made = fs::metadata(&component).and_then(|facts| facts.modified());
    let sources = newest([project.to_owned()])?.max(common);
    if made.is_ok_and(|made| made > sources) {
        return Ok(());
    }
    if project.join("package.json").is_file() {
        link_packages(project, &toolchains.node_modules)?;
    }
    let mut build = command(profile.program("heddle"));
    build
        .arg("build")
        .arg(project)
        .env("PATH", toolchains.path()?)
        .env("PYTHONPATH", root().join("sdk/python"));
    run(&mut build)
}

/// Gives a project the packages that are installed once for all.
fn link_packages(project: &Path, node_modules: &Path) -> Result<()> {
    let link = project.join("node_modules");
    if link.exists() {
        return Ok(());
    }
    std::os::unix::fs::symlink(node_modules, &link)
        .with_context(|| format!("failed to link `{}`", link.display()))
}

/// Every folder of a project, sorted.
fn projects() -> Result<Vec<PathBuf>> {
    let [languages, examples] = FOLDERS.map(|folder| root().join(folder));
    let mut found = folders(&examples)?;
    for language in folders(&languages)? {
        found.extend(folders(&language)?);
    }
    let is_project = |folder: &PathBuf| {
        let files =
            ["Cargo.toml", "package.json", "go.mod", "requirements.txt", "pyproject.toml", "src/handler.c"];
        files.iter().any(|file| folder.join(file).is_file())
    };
    found.retain(is_project);
    found.sort();
    Ok(found)
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("failed to list `{}`", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("failed to list `{}`", folder.display()))?.path();
        if path.is_dir() && !MADE.iter().any(|made| path.ends_with(made)) {
            found.push(path);
        }
    }
    Ok(found)
}

/// When the newest of all files in some folders was written.
fn newest(roots: impl IntoIterator<Item = PathBuf>) -> Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    let mut left: Vec<PathBuf> = roots.into_iter().collect();
    while let Some(folder) = left.pop() {
        left.extend(folders(&folder)?);
        for entry in fs::read_dir(&folder)?.flatten() {
            if let Ok(facts) = entry.metadata()
                && facts.is_file()
            {
                newest = newest.max(facts.modified()?);
            }
        }
    }
    Ok(newest)
}
