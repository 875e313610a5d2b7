//! The benchmark: builds what it needs and hands its options on.

use anyhow::Result;

use crate::demo;
use crate::setup::Machine;
use crate::shell::{command, run as run_command, step, target};

/// Runs the benchmark.
pub(crate) fn run(machine: &Machine, options: &[String]) -> Result<()> {
    demo::build()?;
    step("the benchmark");
    let mut bench = command(target().join("release/heddle-bench"));
    run_command(bench.arg("run").args(options).env("HEDDLE_NATS_SERVER", &machine.nats_server))
}
