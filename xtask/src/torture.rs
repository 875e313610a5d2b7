//! Torture: builds what a campaign needs and hands its options on.

use anyhow::Result;

use crate::demo;
use crate::setup::Machine;
use crate::shell::{command, run as run_command, step, target};

/// Runs a campaign.
pub(crate) fn run(machine: &Machine, options: &[String]) -> Result<()> {
    demo::build()?;
    step("the campaign");
    let mut torture = command(target().join("release/heddle-torture"));
    run_command(torture.args(options).env("HEDDLE_NATS_SERVER", &machine.nats_server))
}
