//! The archive, unpacked.

use anyhow::Result;

use super::super::archive::folder;
use super::{Outcome, Subject, all_there};
use crate::shell::{command, run};

/// What a user looks for.
const FILES: [&str; 9] = [
    "README.md",
    "LICENSE",
    "THIRD-PARTY-LICENSES.txt",
    "CHANGELOG.md",
    "systemd/heddle@.service",
    "completions/bash/heddle",
    "completions/zsh/_heddle",
    "completions/fish/heddle.fish",
    "man/man1/heddle-run.1",
];

pub(super) fn runs(subject: &Subject<'_>) -> Result<Outcome> {
    let root = subject.folder("archive")?;
    run(command("tar").arg("-xzf").arg(subject.package(".tar.gz")?).current_dir(&root))?;
    let root = root.join(folder(subject.inputs));
    all_there(&root, &FILES)?;
    subject.trial.passes(&root.join("heddle"))?;
    Ok(Outcome::Holds)
}
