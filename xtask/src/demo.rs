//! The demo: the order saga on a real server, from an empty data folder to a checked stream.

use anyhow::{Context as _, Result, ensure};

use crate::DemoSize;
use crate::heddle::{Heddle, tail};
use crate::setup::Machine;
use crate::shell::{Profile, cargo, command, ending, run as run_command, step};

/// The application.
const CONFIG: &str = "examples/order-saga/heddle.toml";

/// What the demo is built with.
const PROFILE: Profile = Profile::Quick;

/// Builds all programs of the workspace. Only the one with fail points must not share its features.
pub(crate) fn build_all(profile: Profile) -> Result<()> {
    step("all programs");
    let workspace = ["--workspace", "--bins", "--exclude", FAILPOINTS];
    run_command(cargo(&["build", "--profile", profile.name()]).args(workspace))
}

/// The program whose features nothing else shares.
pub(crate) const FAILPOINTS: &str = "heddle-failpoints";

/// Builds what is needed and no more, runs the saga and prints its summary.
pub(crate) fn run(machine: &Machine, size: &DemoSize) -> Result<()> {
    step("host and driver (some minutes, the first time)");
    // Of the whole workspace, so that their features are those of the tests, which then build no dependency a second time.
    let programs = ["--workspace", "--exclude", FAILPOINTS, "--bin", "heddle", "--bin", "order-saga"];
    run_command(cargo(&["build", "--profile", PROFILE.name()]).args(programs))?;
    show(machine, size)
}

/// Runs the saga with programs that are built, and prints its summary.
pub(crate) fn show(machine: &Machine, size: &DemoSize) -> Result<()> {
    step(&format!("the order saga: {} orders of {} customers", size.orders, size.customers));
    let mut heddle = Heddle::start(CONFIG, machine)?;
    let log = heddle.log().to_owned();
    eprintln!("log: {}", log.display());
    let result = saga(&mut heddle, size);
    let stopped = heddle.stop();
    let result = result.and(stopped);
    if result.is_err() {
        eprintln!("--- the last lines of {}\n{}\n---", log.display(), tail(&log));
    }
    result.context("the demo failed")
}

/// Runs the saga beside heddle.
fn saga(heddle: &mut Heddle, size: &DemoSize) -> Result<()> {
    let url = heddle.ready()?;
    eprintln!("server: {url}");
    let mut driver = command(PROFILE.program("order-saga"));
    let (orders, customers) = (size.orders.to_string(), size.customers.to_string());
    driver.args(["demo", "--url", &url, "--orders", &orders, "--customers", &customers]);
    let status = heddle.beside(driver)?;
    if size.keep {
        eprint!("{}", invitation(&url));
        heddle.until_signal()?;
    }
    ensure!(status.success(), "the driver {}", ending(status));
    Ok(())
}

/// What can be tried while the application runs.
fn invitation(url: &str) -> String {
    let folder = format!("target/{}", PROFILE.name());
    format!(
        "
the application goes on at {url} until Ctrl-C; try in another terminal:
  {folder}/heddle status -c {CONFIG} --url {url}
  {folder}/heddle tail -c {CONFIG} --url {url} 'order.>'
  {folder}/heddle state get -c {CONFIG} --url {url} credit c1
  {folder}/order-saga load --url {url} --seed 2 --rate 100
  {folder}/order-saga check --url {url}
"
    )
}
