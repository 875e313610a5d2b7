//! The application's file.

use super::super::TargetArgs;
use super::super::target::Origin;
use super::Findings;
use heddle_config::Needs;
use heddle_values::settings::Settings;

const ABOUT: &str = "file";

/// The settings, if there are any that can be worked with, and who says which server is meant.
pub(super) fn check(target: &TargetArgs, findings: &mut Findings) -> Option<(Settings, Origin)> {
    if !target.is_there() {
        findings.note(
            ABOUT,
            "no heddle.toml here: `heddle new` makes a project with one, --config names another",
        );
        return None;
    }
    match target.load(Needs::File) {
        Ok((settings, origin)) => {
            let handlers = settings.handlers.len();
            findings.ok(ABOUT, format!("application `{}`, handlers: {handlers}", settings.app));
            Some((settings, origin))
        }
        Err(error) => {
            error.to_string().lines().for_each(|line| findings.error(ABOUT, line));
            None
        }
    }
}
