//! What the forge reads below `.github`: whether its keys are those that the forge knows, and whether a workflow lets a
//! stranger do what they should not. What the chores do that a workflow calls is not known here.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::shell::{command, root, run};
use crate::tools;

/// The folder of the workflows.
const WORKFLOWS: &str = ".github/workflows";

/// Has both linters read every file, without asking the forge.
pub(crate) fn check() -> Result<()> {
    let (Some(zizmor), Some(schema)) =
        (tools::find_or_install("zizmor"), tools::find_or_install("check-jsonschema"))
    else {
        eprintln!("skipped: the workflows are not checked");
        return Ok(());
    };
    let entries =
        fs::read_dir(root().join(WORKFLOWS)).with_context(|| format!("failed to list `{WORKFLOWS}`"))?;
    let workflows: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    let known = |kind: &str| {
        let mut command = command(&schema);
        command.args(["--quiet", "--builtin-schema", kind]);
        command
    };
    run(known("vendor.github-workflows").args(workflows))?;
    run(known("vendor.dependabot").arg(".github/dependabot.yml"))?;
    run(command(zizmor).args(["--offline", "--no-progress", "--quiet", ".github"]))
}
