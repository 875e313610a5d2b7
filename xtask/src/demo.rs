//! The demo: the order saga on a real server, from an empty data folder to a checked stream.

use anyhow::{Context as _, Result, ensure};

use crate::DemoSize;
use crate::heddle::{Heddle, tail};
use crate::setup::Machine;
use crate::shell::{cargo, command, ending, run as run_command, step, target};

/// The application.
const CONFIG: &str = "examples/order-saga/heddle.toml";

/// Builds the programs.
pub(crate) fn build() -> Result<()> {
    step("host and driver");
    // The whole workspace rather than two packages, so that features, and with them builds, are shared with
    // the tests. Only the program with fail points must not share its features.
    run_command(&mut cargo(&["build", "--release", "--workspace", "--bins", "--exclude", FAILPOINTS]))
}

/// The program whose features nothing else shares.
pub(crate) const FAILPOINTS: &str = "heddle-failpoints";

/// Builds what is needed, runs the saga and prints its summary.
pub(crate) fn run(machine: &Machine, size: &DemoSize) -> Result<()> {
    build()?;
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
    let mut driver = command(target().join("release/order-saga"));
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
    format!(
        "
the application goes on at {url} until Ctrl-C; try in another terminal:
  target/release/heddle status -c {CONFIG} --url {url}
  target/release/heddle tail -c {CONFIG} --url {url} 'order.>'
  target/release/heddle state get -c {CONFIG} --url {url} credit c1
  target/release/order-saga load --url {url} --seed 2 --rate 100
  target/release/order-saga check --url {url}
"
    )
}
