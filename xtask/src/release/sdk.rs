//! The SDKs as the users of each language install them: a crate, a package for npm, a wheel with its source distribution, a Go
//! module in the folders of a module proxy, an archive of C.
//!
//! The same commit gives the same bytes. Nothing is published from here.

mod packages;
mod stage;
mod vendored;
mod verify;

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::inputs::Inputs;
use crate::setup::toolchains::{self, Toolchains};
use crate::shell::step;

pub(super) use verify::verify;

/// What the packages are made from, and where they go.
struct Packing<'a> {
    inputs: &'a Inputs,
    out: &'a Path,
    toolchains: &'a Toolchains,
}

/// Packs all SDKs.
pub(super) fn build(inputs: &Inputs, out: &Path) -> Result<Vec<PathBuf>> {
    let toolchains = toolchains::find_or_install()?;
    Packing { inputs, out, toolchains: &toolchains }.pack()
}

impl Packing<'_> {
    fn pack(&self) -> Result<Vec<PathBuf>> {
        stage::check_versions(&self.inputs.version)?;
        let mut files = Vec::new();
        step("the SDK for Rust, as a crate");
        files.push(packages::krate(self)?);
        step("the SDK for JavaScript, as a package of npm");
        files.push(packages::npm(self)?);
        step("the SDK for Python, as a wheel and a source distribution");
        files.extend(packages::python(self)?);
        step("the SDK for Go, as a module proxy serves it");
        files.push(vendored::go(self)?);
        step("the SDK for C, as an archive");
        files.push(vendored::c(self)?);
        Ok(files)
    }
}
