//! A project made by `heddle new`, without the copy of the SDK that it was made with.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use super::super::vendored::{GO_MODULE, GO_PROXY};
use crate::release::files;
use crate::setup::toolchains::Toolchains;
use crate::shell::target;

/// The version of all packages.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where `heddle new` puts its copy of the SDK.
const COPY: &str = "heddle-sdk";

pub(super) struct Project<'a> {
    folder: PathBuf,
    /// Where the packages are.
    packed: &'a Path,
    binary: &'a Path,
    path: OsString,
}

impl<'a> Project<'a> {
    /// A new project, without an SDK.
    pub(super) fn new(
        root: &Path,
        language: &str,
        packed: &'a Path,
        binary: &'a Path,
        toolchains: &Toolchains,
    ) -> Result<Self> {
        let above = root.join(language);
        fs::create_dir(&above).with_context(|| format!("failed to create `{}`", above.display()))?;
        let path = toolchains.path()?;
        let new = Project { folder: above, packed, binary, path };
        new.run(binary, &["new", "loyalty", "--lang", language])?;
        let project = Project { folder: new.folder.join("loyalty"), ..new };
        fs::remove_dir_all(project.folder.join(COPY)).context("the new project has no copy of the SDK")?;
        Ok(project)
    }

    fn packed(&self, name: &str) -> PathBuf {
        self.packed.join(name)
    }

    /// Replaces a part of a file, which must be there.
    fn edit(&self, file: &str, part: &str, by: &str) -> Result<()> {
        let path = self.folder.join(file);
        let text =
            fs::read_to_string(&path).with_context(|| format!("failed to read `{}`", path.display()))?;
        ensure!(text.contains(part), "`{file}` of a new project does not say `{part}`");
        fs::write(&path, text.replace(part, by))
            .with_context(|| format!("failed to write `{}`", path.display()))
    }

    /// Runs a program in the project's folder; what it prints is shown if it fails.
    fn run(&self, program: impl AsRef<Path>, arguments: &[&str]) -> Result<String> {
        let proxy = self.packed.with_file_name("go").join(GO_PROXY);
        let mut command = Command::new(program.as_ref());
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env("PATH", &self.path)
            .env("HEDDLE_CACHE", target().join("test-artifacts"))
            .env("CARGO_TARGET_DIR", target().join("release-check"))
            .env("GOPROXY", format!("file://{}", proxy.display()))
            .env("GONOSUMDB", "heddle.internal")
            .env("GOMODCACHE", self.folder.join(".modules"))
            .env("GOFLAGS", "-mod=mod -modcacherw")
            .env("GOTOOLCHAIN", "local")
            .env_remove("HEDDLE_CONFIG")
            .env_remove("PYTHONPATH");
        let line = format!("{} {}", program.as_ref().display(), arguments.join(" "));
        let output = command.output().with_context(|| format!("failed to start `{line}`"))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("`{line}`: {}\n{said}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(said)
    }

    /// Builds the component, and has it handle the events of the project's test.
    pub(super) fn build_and_ask(&self) -> Result<()> {
        self.run(self.binary, &["build"])?;
        let said = self.run(self.binary, &["test"])?;
        ensure!(said.contains("1 passed, 0 failed"), "`heddle test` says:\n{said}");
        Ok(())
    }
}

/// The crate, unpacked into the project, and named as `cargo add --path` does.
pub(super) fn rust(project: &Project<'_>) -> Result<()> {
    files::unpack(&project.packed(&format!("heddle-sdk-{VERSION}.crate")), &project.folder)?;
    project.edit(
        "Cargo.toml",
        "heddle-sdk = { path = \"heddle-sdk/sdk/rust\" }",
        &format!("heddle-sdk = {{ version = \"{VERSION}\", path = \"heddle-sdk-{VERSION}\" }}"),
    )?;
    project.run("cargo", &["test", "--quiet"]).map(drop)
}

pub(super) fn javascript(project: &Project<'_>) -> Result<()> {
    let package = format!("file:{}", project.packed(&format!("heddle-sdk-{VERSION}.tgz")).display());
    project.edit("package.json", "file:heddle-sdk/sdk/js", &package)?;
    project.run("npm", &["install", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel", "error"])?;
    let installed = project.folder.join("node_modules/@heddle/sdk");
    ensure!(installed.is_dir() && !installed.is_symlink(), "npm has not installed the package");
    project.run("npm", &["test"]).map(drop)
}

pub(super) fn python(project: &Project<'_>) -> Result<()> {
    let wheel = project.packed(&format!("heddle_sdk-{VERSION}-py3-none-any.whl"));
    project.edit("requirements.txt", "./heddle-sdk/sdk/python", &wheel.display().to_string())?;
    project.run("python3", &["-m", "venv", ".venv"])?;
    let python = project.folder.join(".venv/bin/python");
    let install =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"];
    project.run(&python, &install)?;
    project.run(&python, &["-m", "unittest", "discover", "-s", "tests", "-t", "."]).map(drop)
}

pub(super) fn go(project: &Project<'_>) -> Result<()> {
    let to = project.packed.with_file_name("go");
    files::unpack(&project.packed(&format!("heddle-sdk-go-{VERSION}.tar.gz")), &to)?;
    let replacement = format!("heddle => {GO_MODULE} v{VERSION}");
    project.edit("go.mod", "heddle => ./heddle-sdk/sdk/go", &replacement)?;
    project.run("go", &["test", "./..."]).map(drop)
}

pub(super) fn c(project: &Project<'_>) -> Result<()> {
    let to = project.folder.with_file_name("unpacked");
    files::unpack(&project.packed(&format!("heddle-sdk-c-{VERSION}.tar.gz")), &to)?;
    fs::rename(to.join(format!("heddle-sdk-c-{VERSION}")), project.folder.join(COPY))
        .context("the archive has no folder of its name")?;
    project.run("make", &["test"]).map(drop)
}
