//! The wheel, installed by pip into a new virtual environment.

use anyhow::{Result, ensure};

use super::{Outcome, Subject, lacks};
use crate::shell::{command, output, run};

pub(super) fn installs(subject: &Subject<'_>) -> Result<Outcome> {
    if let Some(outcome) = lacks("python3") {
        return Ok(outcome);
    }
    let venv = subject.folder("venv")?;
    if let Err(error) = output(command("python3").args(["-m", "venv"]).arg(&venv)) {
        return Ok(Outcome::Skipped(format!("python3 lacks the module venv: {error:#}")));
    }
    let pip = |arguments: &[&str]| {
        let mut pip = command(venv.join("bin/python"));
        pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check", "--no-cache-dir"]).args(arguments);
        pip
    };
    run(pip(&["install", "--no-index"]).arg(subject.package(".whl")?))?;
    run(&mut pip(&["check"]))?;
    let heddle = venv.join("bin/heddle");
    subject.trial.passes(&heddle)?;
    run(&mut pip(&["uninstall", "--yes", "heddle-bin"]))?;
    ensure!(!heddle.exists(), "`{}` is still there", heddle.display());
    Ok(Outcome::Holds)
}
