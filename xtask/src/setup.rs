//! What the other chores need: the wasm target, a nats-server, an OCI registry, and the guests. What is there already is
//! left alone.

mod guests;
mod registry;
mod server;
pub(crate) mod toolchains;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::Environment;
use crate::shell::{self, command, output, step};

/// The target that plugins are built for.
const WASM: &str = "wasm32-wasip2";

/// A machine on which everything can be run.
#[derive(Debug)]
pub(crate) struct Machine {
    /// The nats-server, by its full path.
    pub(crate) nats_server: PathBuf,
    /// The OCI registry, by its full path, if one can be had.
    pub(crate) oci_registry: Option<PathBuf>,
}

/// Sets up all that is missing.
pub(crate) fn run(environment: &Environment) -> Result<Machine> {
    step(&format!("wasm target {WASM}"));
    wasm_target()?;
    step("nats-server");
    let nats_server = server::find_or_install(environment.nats_server.as_deref())?;
    eprintln!("{}", nats_server.display());
    step("OCI registry");
    let oci_registry = registry::find_or_install(environment.oci_registry.as_deref())?;
    if let Some(registry) = &oci_registry {
        eprintln!("{}", registry.display());
    }
    step("guests");
    guests::build(WASM)?;
    Ok(Machine { nats_server, oci_registry })
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
