//! The OCI registry that tests talk to: the one that is named, the one in PATH, or one from Debian's package below
//! `target/registry`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::shell::{command, empty, output, run, target};

/// Debian's name of the package and of the program in it.
const PACKAGE: &str = "docker-registry";

/// The full path of a registry. None if there is none and none can be had, which only the tests of registries mind;
/// why is printed. One that is named must do.
pub(super) fn find_or_install(named: Option<&Path>) -> Result<Option<PathBuf>> {
    if let Some(registry) = named {
        let checked = registry.canonicalize().map_err(anyhow::Error::from).and_then(|registry| {
            verify(&registry)?;
            Ok(Some(registry))
        });
        return checked.with_context(|| {
            format!(
                "`{}`, named by `HEDDLE_OCI_REGISTRY` or `--oci-registry`, will not do",
                registry.display()
            )
        });
    }
    if let Some(registry) = in_path(PACKAGE).filter(|registry| verify(registry).is_ok()) {
        return Ok(Some(registry));
    }
    let installed = target().join("registry/usr/bin").join(PACKAGE);
    if verify(&installed).is_ok() {
        return Ok(Some(installed));
    }
    if in_path("apt-get").is_none() {
        eprintln!(
            "none: `{PACKAGE}` is not in PATH, and without apt it cannot be had; tests that need it are skipped"
        );
        return Ok(None);
    }
    match install().and_then(|()| verify(&installed)) {
        Ok(()) => Ok(Some(installed)),
        Err(error) => {
            eprintln!(
                "none: Debian's package `{PACKAGE}` cannot be had, so tests that need it fail: {error:#}"
            );
            Ok(None)
        }
    }
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Fails unless a registry runs.
fn verify(registry: &Path) -> Result<()> {
    output(command(registry).arg("--version")).map(drop)
}

/// Unpacks the package without installing it: that needs no root.
fn install() -> Result<()> {
    let folder = target().join("registry");
    eprintln!("getting `{PACKAGE}` from Debian below `{}`", folder.display());
    empty(&folder)?;
    output(command("apt-get").args(["download", "--quiet", PACKAGE]).current_dir(&folder))
        .context("apt may have no lists yet: `apt-get update`, as root, gets them")?;
    let archive = fs::read_dir(&folder)?.flatten().map(|entry| entry.path()).find(|path| is_archive(path));
    let archive = archive.context("apt-get has downloaded nothing")?;
    run(command("dpkg").arg("-x").arg(archive).arg(&folder))
}

fn is_archive(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "deb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_registry_that_is_missing_is_refused_rather_than_passed_over() {
        let error = find_or_install(Some(Path::new("no/such/registry"))).unwrap_err();
        assert!(format!("{error:#}").contains("HEDDLE_OCI_REGISTRY"));
    }
}
