//! The benchmark: builds what it needs and hands its options on.

use anyhow::Result;

use crate::setup::{Machine, Needs};
use crate::shell::{Profile, command, run as run_command, step};
use crate::{demo, languages};

/// The benchmark that compares languages, and needs their toolchains.
const LANGUAGES: &str = "languages";

/// What is set up for it.
pub(crate) fn needs(options: &[String]) -> Needs<'static> {
    // Those in other languages are built after it.
    if compares_languages(options) {
        Needs::Guests(&["credit"])
    } else {
        Needs::Guests(&["contrary", "echo"])
    }
}

fn compares_languages(options: &[String]) -> bool {
    options.first().is_some_and(|what| what == LANGUAGES)
}

/// Runs the benchmark.
pub(crate) fn run(machine: &Machine, options: &[String]) -> Result<()> {
    let profile = Profile::Release;
    if compares_languages(options) {
        demo::build(profile, &["heddle", "heddle-bench-languages"])?;
        languages::build(profile)?;
        step("the benchmark of the languages");
        let mut bench = command(profile.program("heddle-bench-languages"));
        return run_command(bench.args(options.iter().skip(1)));
    }
    demo::build(profile, &["heddle", "heddle-bench"])?;
    measure(machine, options, profile)
}

/// Runs the benchmark with programs that are built.
pub(crate) fn measure(machine: &Machine, options: &[String], profile: Profile) -> Result<()> {
    step("the benchmark");
    let mut bench = command(profile.program("heddle-bench"));
    run_command(bench.arg("run").args(options).env("HEDDLE_NATS_SERVER", &machine.nats_server))
}
