//! The benchmark: builds what it needs and hands its options on.

use anyhow::Result;

use crate::setup::Machine;
use crate::shell::{command, run as run_command, step, target};
use crate::{demo, languages};

/// The benchmark that compares languages, and needs their toolchains.
const LANGUAGES: &str = "languages";

/// Runs the benchmark.
pub(crate) fn run(machine: &Machine, options: &[String]) -> Result<()> {
    demo::build()?;
    if options.first().is_some_and(|what| what == LANGUAGES) {
        languages::build()?;
        step("the benchmark of the languages");
        let mut bench = command(target().join("release/heddle-bench-languages"));
        return run_command(bench.args(options.iter().skip(1)));
    }
    step("the benchmark");
    let mut bench = command(target().join("release/heddle-bench"));
    run_command(bench.arg("run").args(options).env("HEDDLE_NATS_SERVER", &machine.nats_server))
}
