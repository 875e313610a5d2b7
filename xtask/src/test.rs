//! Everything that is run: all tests of the workspace, then a small demo and the benchmark with few events. One that
//! fails does not stop the others.

use anyhow::{Result, bail};

use crate::setup::Machine;
use crate::shell::{cargo, run as run_command, step};
use crate::{DemoSize, bench, demo, languages};

/// Runs everything.
pub(crate) fn run(machine: &Machine, arguments: &[String]) -> Result<()> {
    // The journeys run the program itself.
    demo::build()?;
    step("host with fail points");
    run_command(&mut cargo(&["build", "--release", "-p", demo::FAILPOINTS]))?;
    let languages = languages::build();
    step("tests");
    let mut cargo = cargo(&["test", "--release", "--no-fail-fast"]);
    if !chooses_packages(arguments) {
        cargo.args(["--workspace", "--exclude", demo::FAILPOINTS]);
    }
    cargo.args(arguments).env("HEDDLE_NATS_SERVER", &machine.nats_server);
    if let Some(registry) = &machine.oci_registry {
        cargo.env("HEDDLE_OCI_REGISTRY", registry);
    }
    let tests = run_command(&mut cargo);
    let demo = demo::run(machine, &DemoSize { orders: 1_000, customers: 100, keep: false });
    let bench = bench::run(machine, &["--quick".to_owned()]);
    let failed: Vec<_> =
        [languages.map(drop), tests, demo, bench].into_iter().filter_map(Result::err).collect();
    if failed.is_empty() {
        return Ok(());
    }
    bail!(failed.iter().map(|error| format!("{error:#}")).collect::<Vec<_>>().join("; "))
}

/// Whether arguments for cargo name packages, which `--workspace` would overrule without a word.
fn chooses_packages(arguments: &[String]) -> bool {
    let for_cargo = arguments.iter().take_while(|argument| *argument != "--");
    for_cargo.into_iter().any(|argument| argument.starts_with("-p") || argument.starts_with("--package"))
}
