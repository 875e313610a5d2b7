//! Torture: builds what a campaign needs and hands its options on.

use anyhow::Result;

use crate::setup::{Machine, Needs};
use crate::shell::{Profile, command, run as run_command, step};
use crate::{demo, languages};

/// The campaign with handlers in all languages.
const MIX: &str = "mix";

/// What is set up for every campaign; guests in other languages are built after it.
pub(crate) const NEEDS: Needs<'_> = Needs::Guests(&["contrary", "echo"]);

/// Runs a campaign.
pub(crate) fn run(machine: &Machine, options: &[String]) -> Result<()> {
    demo::build(Profile::Release, &["heddle", "heddle-torture"])?;
    if options.first().is_some_and(|campaign| campaign == MIX) {
        languages::build(Profile::Release)?;
    }
    step("the campaign");
    let mut torture = command(Profile::Release.program("heddle-torture"));
    run_command(torture.args(options).env("HEDDLE_NATS_SERVER", &machine.nats_server))
}
