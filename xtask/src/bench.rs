//! The benchmark: builds what it needs and hands its options on.

use anyhow::Result;

use crate::setup::Machine;
use crate::shell::{Profile, command, run as run_command, step};
use crate::{demo, languages};

/// The benchmark that compares languages, and needs their toolchains.
const LANGUAGES: &str = "languages";

/// Runs the benchmark.
pub(crate) fn run(machine: &Machine, options: &[String]) -> Result<()> {
    let profile = Profile::Release;
    demo::build_all(profile)?;
    if options.first().is_some_and(|what| what == LANGUAGES) {
        languages::build(profile)?;
        step("the benchmark of the languages");
        let mut bench = command(profile.program("heddle-bench-languages"));
        return run_command(bench.args(options.iter().skip(1)));
    }
    measure(machine, options, profile)
}

/// Runs the benchmark with programs that are built.
pub(crate) fn measure(machine: &Machine, options: &[String], profile: Profile) -> Result<()> {
    step("the benchmark");
    let mut bench = command(profile.program("heddle-bench"));
    run_command(bench.arg("run").args(options).env("HEDDLE_NATS_SERVER", &machine.nats_server))
}
