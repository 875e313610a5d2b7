//! Programs of Debian that make and run an image, and the packages that an image is made from, below `target/packaging`. What is there
//! already is left alone.
//!
//! Nothing is installed on the machine, and no root is needed.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::release::tools_folder;
use crate::setup::install_once;
use crate::shell::{command, empty, output, run};

/// Programs of Debian. Their libraries are taken along: a machine may lack some.
const DEBIAN: [&str; 4] = ["umoci", "runc", "skopeo", "docker-registry"];

/// How far libraries of libraries are followed: beyond that are programs that a library may start.
const DEPTH: usize = 2;

/// Libraries that are left out: every machine with apt has the first two, and the third stands in for one that is taken.
const LEFT_OUT: [&str; 3] = ["libc6", "libgcc-s1", "libelogind0"];

/// The programs of Debian.
#[derive(Debug)]
pub(super) struct Debian {
    root: PathBuf,
    libraries: OsString,
}

impl Debian {
    /// Unpacks what is missing. None where there is no apt.
    pub(super) fn find_or_install() -> Result<Option<Self>> {
        if output(command("apt-get").arg("--version")).is_err() {
            return Ok(None);
        }
        let root = tools_folder().join("debian");
        install_once(&root, &DEBIAN.join("\n"), || install_debian(&root)).with_context(|| {
            format!("failed to get {} from Debian, as packages that are not installed", DEBIAN.join(", "))
        })?;
        let libraries = fs::read_dir(root.join("usr/lib")).into_iter().flatten().flatten();
        let libraries =
            libraries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains("-linux-gnu"));
        let libraries = env::join_paths(libraries).context("a path cannot be listed")?;
        Ok(Some(Debian { root, libraries }))
    }

    /// One of the programs.
    pub(super) fn program(&self, name: &str) -> Command {
        let places = ["usr/bin", "usr/sbin"].map(|folder| self.root.join(folder).join(name));
        let mut program =
            command(places.iter().find(|place| place.is_file()).unwrap_or(&PathBuf::from(name)));
        program.env("LD_LIBRARY_PATH", &self.libraries);
        program
    }
}

/// Downloads the packages, whatever is installed, and unpacks them.
fn install_debian(root: &Path) -> Result<()> {
    eprintln!("getting {} from Debian", DEBIAN.join(", "));
    run(command("apt-get").args(apt_options()?).args(["-qq", "update"]))?;
    let mut packages: BTreeSet<String> = DEBIAN.map(str::to_owned).into();
    for _ in 0..DEPTH {
        let mut depends = command("apt-cache");
        depends.args(apt_options()?).args(["depends", "--important"]).args(&packages);
        packages.extend(output(&mut depends)?.lines().filter_map(library));
    }
    let archives = root.join("archives");
    fs::create_dir_all(&archives).with_context(|| format!("failed to create `{}`", archives.display()))?;
    let mut download = command("apt-get");
    run(download.args(apt_options()?).args(["-qq", "download"]).args(packages).current_dir(&archives))?;
    for entry in
        fs::read_dir(&archives).with_context(|| format!("failed to list `{}`", archives.display()))?
    {
        run(command("dpkg-deb").arg("--extract").arg(entry?.path()).arg(root))?;
    }
    fs::remove_dir_all(&archives).context("failed to remove what was downloaded")
}

/// The library in a line of what `apt-cache depends` says.
fn library(line: &str) -> Option<String> {
    let (kind, name) = line.trim_start_matches([' ', '|']).split_once(": ")?;
    let wanted = kind.ends_with("Depends") && name.starts_with("lib") && !LEFT_OUT.contains(&name);
    wanted.then(|| name.to_owned())
}

/// Packages that an image is made from.
pub(super) fn packages() -> PathBuf {
    tools_folder().join("packages")
}

/// Forgets them, so that what is released has Debian's latest.
pub(super) fn renew_packages() -> Result<()> {
    run(command("apt-get").args(apt_options()?).args(["-qq", "update"]))?;
    empty(&packages())
}

/// Lists and downloads of our own: the machine's may be missing, and only root may renew them.
pub(super) fn apt_options() -> Result<Vec<String>> {
    let apt = tools_folder().join("apt");
    let (lists, cache) = (apt.join("lists"), apt.join("cache"));
    for folder in [lists.join("partial"), cache.join("archives/partial")] {
        fs::create_dir_all(&folder).with_context(|| format!("failed to create `{}`", folder.display()))?;
    }
    let options = [
        format!("Dir::State::Lists={}", lists.display()),
        format!("Dir::Cache={}", cache.display()),
        // As root, apt downloads as a user who may have no right to write here.
        "APT::Sandbox::User=root".to_owned(),
    ];
    Ok(options.into_iter().flat_map(|option| ["-o".to_owned(), option]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libraries_that_a_package_needs_are_taken_and_nothing_else() {
        assert_eq!(library("  Depends: libyajl2"), Some("libyajl2".to_owned()));
        assert_eq!(library(" |PreDepends: libsystemd0"), Some("libsystemd0".to_owned()));
        for other in ["libyajl2", "  Depends: libc6", "  Depends: gnupg", "  Recommends: libfoo1"] {
            assert_eq!(library(other), None, "{other}");
        }
    }
}
