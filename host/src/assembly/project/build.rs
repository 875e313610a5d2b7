//! Builds: from a project to a component that a host takes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;

use super::{Project, recipes};
use crate::assembly::host::{Workshop, everything};
use crate::sandbox::Digest;
use crate::values::policy::Limits;

/// What a build has made.
#[derive(Debug)]
pub struct Built {
    pub file: PathBuf,
    /// In bytes.
    pub size: usize,
    pub digest: Digest,
    /// The interfaces that it imports, without their functions.
    pub imports: BTreeSet<String>,
}

/// Builds a project's component, checks it as a host would, and puts it where it belongs.
///
/// # Errors
/// A tool is missing, a step fails, or no host would take what came of it.
pub async fn build(project: &Project, output: Option<PathBuf>, workshop: Workshop) -> anyhow::Result<Built> {
    let wasm = recipes::make(project)?;
    let size = wasm.len();
    let file = output.unwrap_or_else(|| project.output());
    let limits = Limits::default();
    let sandbox = workshop.sandbox(limits.memory)?;
    let code = sandbox.load(wasm.clone()).await.context("a host would not take the component")?;
    // What else it needs, a handler's grants give: only an instance shows whether it fits.
    sandbox.plugin(Arc::clone(&code), Arc::new(everything("build", limits))).await?;
    let folder = file.parent().context("the component has no folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("failed to create `{}`", folder.display()))?;
    // In one step: a host that watches the file must not see half of it.
    let partial = file.with_extension("wasm.part");
    std::fs::write(&partial, &wasm).with_context(|| format!("failed to write `{}`", partial.display()))?;
    std::fs::rename(&partial, &file).with_context(|| format!("failed to write `{}`", file.display()))?;
    Ok(Built { file, size, digest: code.digest(), imports: code.imports().iter().cloned().collect() })
}
