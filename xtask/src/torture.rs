//! Torture: builds what a campaign needs and hands its options on.

use anyhow::Result;

use crate::setup::Machine;
use crate::shell::{Profile, command, run as run_command, step};
use crate::{demo, languages};

/// The campaign with handlers in all languages.
const MIX: &str = "mix";

/// Runs a campaign.
pub(crate) fn run(machine: &Machine, options: &[String]) -> Result<()> {
    demo::build_all(Profile::Release)?;
    if options.first().is_some_and(|campaign| campaign == MIX) {
        languages::build(Profile::Release)?;
    }
    step("the campaign");
    let mut torture = command(Profile::Release.program("heddle-torture"));
    run_command(torture.args(options).env("HEDDLE_NATS_SERVER", &machine.nats_server))
}
