//! The demo: the order saga on a real server, from an empty data folder to a checked stream.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::DemoSize;
use crate::heddle::{Heddle, tail};
use crate::setup::{Machine, Needs};
use crate::shell::{Profile, cargo, command, ending, run as run_command, step, target};

/// The application.
const CONFIG: &str = "examples/order-saga/heddle.toml";

/// What is set up for it: the plugins of the application.
pub(crate) const NEEDS: Needs<'_> = Needs::Guests(&["credit", "notify", "order"]);

/// What the demo is built with.
const PROFILE: Profile = Profile::Quick;

/// The program whose features nothing else shares.
pub(crate) const FAILPOINTS: &str = "heddle-failpoints";

/// Builds all programs of the workspace but the one with fail points.
pub(crate) fn build_all(profile: Profile) -> Result<()> {
    step("all programs");
    run_command(of_workspace(profile).arg("--bins"))
}

/// Builds these programs of the workspace.
pub(crate) fn build(profile: Profile, programs: &[&str]) -> Result<()> {
    step(&format!("{} (some minutes, the first time)", programs.join(", ")));
    run_command(of_workspace(profile).args(programs.iter().flat_map(|program| ["--bin", program])))
}

/// A build in which every crate has the features that it has in the whole workspace, so that none is built a second time for
/// another chore or the tests.
fn of_workspace(profile: Profile) -> Command {
    cargo(&["build", "--profile", profile.name(), "--workspace", "--exclude", FAILPOINTS])
}

/// Builds what is needed and no more, runs the saga and prints its summary.
pub(crate) fn run(machine: &Machine, size: &DemoSize) -> Result<()> {
    build(PROFILE, &["heddle", "order-saga"])?;
    show(machine, size)?;
    if !size.keep {
        eprint!("{}", what_next(&machine.nats_server));
    }
    Ok(())
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

/// What can be done after the demo.
fn what_next(nats_server: &Path) -> String {
    let programs = target().join(PROFILE.name());
    // One in the PATH is found without help.
    let server = if nats_server.starts_with(target()) {
        format!("  export HEDDLE_NATS_SERVER=\"{}\"\n", nats_server.display())
    } else {
        String::new()
    };
    format!(
        "
what next? Put `heddle` on the PATH of this shell, and make a handler of your own:
  export PATH=\"{}:$PATH\"
{server}  heddle new loyalty --lang rust

README.md goes on from there; docs/SUMMARY.md lists all documents.
`cargo xtask demo --keep` leaves the application of the demo running, to look at.
",
        programs.display()
    )
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::shell::root;

    #[test]
    fn a_server_that_was_installed_for_the_demo_is_named_and_one_in_the_path_is_not() {
        let installed = what_next(&target().join("nats/bin/nats-server"));
        assert!(
            installed.contains("  export HEDDLE_NATS_SERVER=\"")
                && installed.contains("nats/bin/nats-server\"\n")
        );
        assert!(!what_next(Path::new("/usr/bin/nats-server")).contains("HEDDLE_NATS_SERVER"));
    }

    #[test]
    fn the_plugins_that_are_built_are_those_of_the_application() {
        let Needs::Guests(built) = NEEDS else { unreachable!("it needs no registry") };
        let config: toml::Table = fs::read_to_string(root().join(CONFIG)).unwrap().parse().unwrap();
        let handlers = config.get("handlers").and_then(toml::Value::as_table).unwrap();
        let mut named: Vec<_> = handlers
            .values()
            .map(|handler| Path::new(handler.get("plugin").unwrap().as_str().unwrap()).file_stem().unwrap())
            .collect();
        named.sort();
        assert_eq!(named, built);
    }
}
