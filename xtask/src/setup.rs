//! What the other chores need: the wasm target, a nats-server, an OCI registry, and the guests. What is there already is
//! left alone, and a chore gets no more than it needs.

mod guests;
pub(crate) mod pypi;
mod registry;
mod server;
pub(crate) mod toolchains;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::Environment;
use crate::shell::{self, command, empty, output, step};

/// The target that plugins are built for.
const WASM: &str = "wasm32-wasip2";

/// What a chore needs, besides the wasm target and a nats-server.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Needs<'a> {
    /// All guests and an OCI registry: this one, if it is named.
    All { oci_registry: Option<&'a Path> },
    /// The guests in the folders of these names.
    Guests(&'static [&'static str]),
}

/// A machine on which a chore can be run.
#[derive(Debug)]
pub(crate) struct Machine {
    /// The nats-server, by its full path.
    pub(crate) nats_server: PathBuf,
    /// The OCI registry, by its full path, if one is needed and can be had.
    pub(crate) oci_registry: Option<PathBuf>,
}

/// Sets up what a chore needs and is missing.
pub(crate) fn run(environment: &Environment, needs: Needs<'_>) -> Result<Machine> {
    step(&format!("wasm target {WASM}"));
    wasm_target()?;
    step("nats-server");
    let nats_server = server::find_or_install(environment.nats_server.as_deref())?;
    eprintln!("{}", nats_server.display());
    let oci_registry = match needs {
        Needs::All { oci_registry } => find_registry(oci_registry)?,
        Needs::Guests(_) => None,
    };
    step("guests");
    match needs {
        Needs::All { .. } => guests::build_all(WASM)?,
        Needs::Guests(guests) => guests::build_some(WASM, guests)?,
    }
    Ok(Machine { nats_server, oci_registry })
}

fn find_registry(named: Option<&Path>) -> Result<Option<PathBuf>> {
    step("OCI registry");
    let registry = registry::find_or_install(named)?;
    if let Some(registry) = &registry {
        eprintln!("{}", registry.display());
    }
    Ok(registry)
}

/// Adds the wasm target to the toolchain, unless it has it.
fn wasm_target() -> Result<()> {
    let libraries = output(command("rustc").args(["--print", "target-libdir", "--target", WASM]))?;
    if Path::new(libraries.trim()).is_dir() {
        return Ok(());
    }
    shell::run(command("rustup").args(["target", "add", WASM])).with_context(|| {
        format!(
            "the Rust toolchain lacks the target `{WASM}`; add it with `rustup target add {WASM}` or from where \
             Rust was installed"
        )
    })
}

/// Installs into a folder, which is emptied first, unless a note in it says that this is there already.
pub(crate) fn install_once(folder: &Path, wanted: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let note = folder.join("installed.txt");
    if fs::read_to_string(&note).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    empty(folder)?;
    install()?;
    fs::write(&note, wanted).with_context(|| format!("failed to write `{}`", note.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_left_alone_and_anything_else_is_installed_into_an_empty_folder() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("tools");
        let install = |wanted: &str| {
            let mut count = None;
            let filled = install_once(&folder, wanted, || {
                count = Some(fs::read_dir(&folder).unwrap().count());
                fs::write(folder.join("program"), wanted)?;
                anyhow::ensure!(wanted != "broken", "no network");
                Ok(())
            });
            (filled.is_ok(), count)
        };
        assert_eq!(install("one"), (true, Some(0)));
        assert_eq!(install("one"), (true, None));
        assert_eq!(install("broken"), (false, Some(0)));
        assert_eq!(install("one"), (true, Some(0)));
    }
}
