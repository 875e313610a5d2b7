//! Builds: from a project to a component that a host takes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Context;

use crate::admission::{Place, Users};
use crate::host::Workshop;
use heddle_project::{Project, make};
use heddle_sandbox::Digest;
use heddle_values::settings::Settings;

/// What a build has made.
#[derive(Debug)]
pub(super) struct Built {
    /// Where the component was put.
    pub(super) file: PathBuf,
    /// In bytes.
    pub(super) size: usize,
    /// The component's digest, by which hosts know the version.
    pub(super) digest: Digest,
    /// The interfaces that it imports, without their functions.
    pub(super) imports: BTreeSet<String>,
    /// What a handler will have to grant, in words, if none uses it yet.
    pub(super) missing: Option<String>,
}

/// Builds a project's component, checks it as a host would for the handlers that use it, and puts it where it belongs.
///
/// # Errors
/// A tool is missing, a step fails, or no host would accept the component.
pub(super) async fn build(
    project: &Project,
    output: Option<PathBuf>,
    settings: Option<&Settings>,
    workshop: Workshop,
) -> anyhow::Result<Built> {
    let wasm = make(project)?;
    let size = wasm.len();
    let file = output.unwrap_or_else(|| project.output());
    let users = Users::of(settings, &[Place::File(&file)]);
    let sandbox = users.sandbox(workshop)?;
    let refused = "a host would reject the component";
    let code = sandbox.load(wasm.clone()).await.context(refused)?;
    users.check(&sandbox, &code).await.context(refused)?;
    let folder = file.parent().context("the component has no folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("failed to create `{}`", folder.display()))?;
    // In one step: a host that watches the file must not see half of it.
    let partial = file.with_extension("wasm.part");
    std::fs::write(&partial, &wasm).with_context(|| format!("failed to write `{}`", partial.display()))?;
    std::fs::rename(&partial, &file).with_context(|| format!("failed to write `{}`", file.display()))?;
    let imports = code.imports().iter().cloned().collect();
    Ok(Built { file, size, digest: code.digest(), imports, missing: users.missing(&code) })
}
