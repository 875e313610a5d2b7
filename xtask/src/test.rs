//! Everything that is run: all tests of the workspace, then a small demo, the benchmark with few events, and the packages of a
//! release. One that fails does not stop the others.

use std::fs;
use std::num::NonZeroUsize;
use std::process::Command;

use anyhow::{Result, bail};

use crate::setup::Machine;
use crate::shell::{Profile, cargo, run as run_command, step, target};
use crate::{DemoSize, bench, demo, languages, release};

/// What everything is built with.
const PROFILE: Profile = Profile::Quick;

/// Tests that run at once, for each core: most wait for a server most of the time.
const FOR_EACH_CORE: usize = 2;

/// Sets the number of threads of the test harness.
const THREADS: &str = "RUST_TEST_THREADS";

/// Names the file into which tests write how long they took.
const TIMES: &str = "HEDDLE_TEST_TIMES";

/// Tells the simulation how many worlds it runs, and the seed of the first.
const WORLDS: &str = "HEDDLE_WORLDS";

/// Worlds between two words on how far the simulation is.
const WORLDS_AT_ONCE: u64 = 5_000;

/// How many of the slowest tests are named.
const SLOWEST: usize = 10;

/// Runs everything.
pub(crate) fn run(machine: &Machine, arguments: &[String]) -> Result<()> {
    // The journeys run the program itself.
    demo::build_all(PROFILE)?;
    step("host with fail points");
    // Of the whole workspace, so that its dependencies are those of all others.
    let failpoints = run_command(&mut cargo(&[
        "build",
        "--profile",
        PROFILE.name(),
        "--workspace",
        "--bin",
        demo::FAILPOINTS,
    ]));
    let languages = languages::build(PROFILE);
    step("tests");
    let mut tests = tests();
    if !chooses_packages(arguments) {
        tests.args(["--workspace", "--exclude", demo::FAILPOINTS]);
    }
    tests.args(arguments).env("HEDDLE_NATS_SERVER", &machine.nats_server);
    if let Some(registry) = &machine.oci_registry {
        tests.env("HEDDLE_OCI_REGISTRY", registry);
    }
    let times = target().join("test-times");
    // What an earlier run has left.
    fs::remove_file(&times).ok();
    let tests = run_command(tests.env(TIMES, &times));
    print!("{}", slowest(&fs::read_to_string(&times).unwrap_or_default()));
    let demo = demo::show(machine, &DemoSize { orders: 1_000, customers: 100, keep: false });
    let bench = bench::measure(machine, &["--quick".to_owned()], PROFILE);
    let release = release::verify(&PROFILE.program("heddle"), &machine.nats_server, languages);
    let failed: Vec<_> =
        [failpoints, tests, demo, bench, release].into_iter().filter_map(Result::err).collect();
    if failed.is_empty() {
        return Ok(());
    }
    bail!(failed.iter().map(|error| format!("{error:#}")).collect::<Vec<_>>().join("; "))
}

/// Runs the tests beside the code, the simulation and the walls.
pub(crate) fn fast() -> Result<()> {
    step("tests that need nothing but the code");
    // The whole workspace, so that features, and with them builds, are shared with the other tests.
    let packages = ["--workspace", "--exclude", demo::FAILPOINTS];
    run_command(tests().args(packages).args([
        "--lib",
        "--bins",
        "--test",
        "simulation",
        "--test",
        "cluster",
        "--test",
        "walls",
    ]))
}

/// Runs the simulation over so many worlds, piece by piece, and says how far it is.
pub(crate) fn simulate(worlds: u64, first: u64) -> Result<()> {
    let mut done = 0;
    while done < worlds {
        let piece = WORLDS_AT_ONCE.min(worlds - done);
        let mut tests = tests();
        tests.args(["--workspace", "--quiet", "--test", "simulation", "--"]);
        // What is not of these worlds is among the tests.
        tests.args(["--skip", "mix::", "--skip", "a_host_that_does_one_thing_wrong", "--skip", "eventful"]);
        tests.env(WORLDS, format!("{piece}@{}", first.saturating_add(done)));
        run_command(&mut tests)?;
        done += piece;
        step(&format!("{done} of {worlds} worlds keep all promises"));
    }
    Ok(())
}

/// A call of cargo that runs tests.
fn tests() -> Command {
    let mut tests = cargo(&["test", "--profile", PROFILE.name(), "--no-fail-fast"]);
    if std::env::var_os(THREADS).is_none() {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        tests.env(THREADS, (cores * FOR_EACH_CORE).to_string());
    }
    tests
}

/// The slowest tests, by what they wrote: seconds and name, a line each.
fn slowest(times: &str) -> String {
    let read = |line: &str| {
        let (seconds, name) = line.split_once(' ')?;
        Some((seconds.parse::<f64>().ok()?, name.to_owned()))
    };
    let mut tests: Vec<(f64, String)> = times.lines().filter_map(read).collect();
    if tests.is_empty() {
        return String::new();
    }
    tests.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let rows = tests.iter().take(SLOWEST).map(|(seconds, name)| format!("{seconds:>8.1} s  {name}\n"));
    format!("\nthe slowest tests:\n{}", rows.collect::<String>())
}

/// Whether arguments for cargo name packages, which `--workspace` would overrule without a word.
fn chooses_packages(arguments: &[String]) -> bool {
    let for_cargo = arguments.iter().take_while(|argument| *argument != "--");
    for_cargo.into_iter().any(|argument| argument.starts_with("-p") || argument.starts_with("--package"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_tests_come_first_and_what_is_no_time_is_passed_over() {
        assert_eq!(slowest(""), "");
        let said = slowest("1.5 a::b\nnonsense\n61.0 c::d\n0.2 e::f\n");
        assert_eq!(said, "\nthe slowest tests:\n    61.0 s  c::d\n     1.5 s  a::b\n     0.2 s  e::f\n");
    }
}
