//! Commands: what operators want of a host, and of the versions of a handler's plugin.

use serde::{Deserialize, Serialize};

use super::plugin::short;
use super::rollout::{Rollout, Stage, Version};

/// What an operator wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "command")]
pub enum OperatorCommand {
    /// Go back to a version, by default the one before, and leave the present one. A trial that is under way ends.
    RollBack {
        /// The first digits of a digest, `sha256:` or not, that only one remembered version has.
        to: Option<String>,
    },
    /// Stay with a version, by default the present one.
    Pin {
        /// The first digits of a digest, `sha256:` or not, that only one remembered version has.
        to: Option<String>,
    },
    /// Follow the source again.
    Unpin,
    /// Read `heddle.toml` again, forget handlers that it no longer has, and let others that are stopped begin again.
    Reload {
        /// Their progress and states are removed for good; one that is still in the file has the command refused.
        forget: Vec<String>,
        /// They begin where `start` says; one that is not stopped for its stream has the command refused.
        #[serde(default)]
        restart: Vec<String>,
    },
}

/// The outcome of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it was carried out; else it was refused.
    pub done: bool,
    /// What was done, or why it was not.
    pub text: String,
}

impl Rollout {
    /// What is remembered once a command is carried out, and that in words; or why it cannot be. `now` is in milliseconds
    /// since 1970.
    pub fn commanded(&self, command: &OperatorCommand, now: u64) -> Result<(Rollout, String), String> {
        let mut next = self.clone();
        let text = match command {
            OperatorCommand::RollBack { to: None } if self.canary.is_some() => next.abandon(now),
            OperatorCommand::RollBack { to } => {
                let target = match to {
                    Some(digits) => self.find(digits)?,
                    None => self.previous().ok_or("has no earlier version to go back to")?,
                };
                if self.live.as_ref() == Some(&target.digest) {
                    return Err(format!("runs {} already", short(&target.digest)));
                }
                next.go_to(&target.digest, Stage::RolledBack, now)
            }
            OperatorCommand::Pin { to } => {
                let target = match to {
                    Some(digits) => self.find(digits)?.digest.clone(),
                    None => self.live.clone().ok_or("has no live version")?,
                };
                next.pinned = true;
                let text = next.go_to(&target, Stage::Retired, now);
                format!("{text} and stays with it")
            }
            OperatorCommand::Unpin => {
                next.pinned = false;
                "follows its source again".to_owned()
            }
            OperatorCommand::Reload { .. } => {
                return Err("is a command to the host, not to a handler".to_owned());
            }
        };
        Ok((next, text))
    }

    fn abandon(&mut self, now: u64) -> String {
        let canary = self.canary.clone().unwrap_or_default();
        self.leave(&canary, Stage::RolledBack, Some("taken off trial by command".to_owned()), now);
        let live = self.live.as_deref().map(short).unwrap_or_default();
        format!("took {} off trial; {live} stays live", short(&canary))
    }

    /// Every key gets a version; the live one and the one on trial leave for `stage`.
    fn go_to(&mut self, digest: &str, stage: Stage, now: u64) -> String {
        let others = [self.canary.take(), self.live.clone()];
        if self.live.as_deref() != Some(digest) {
            self.leave(digest, Stage::Live, None, now);
        }
        for other in others.into_iter().flatten().filter(|other| other != digest) {
            self.leave(&other, stage, Some("another version was ordered".to_owned()), now);
        }
        format!("runs {}", short(digest))
    }

    /// The one version whose digest begins with these digits, `sha256:` or not.
    fn find(&self, digits: &str) -> Result<&Version, String> {
        let wanted = digits.strip_prefix("sha256:").unwrap_or(digits);
        let begins = |version: &&Version| {
            version.digest.strip_prefix("sha256:").is_some_and(|hex| hex.starts_with(wanted))
        };
        let mut found = self.versions.iter().filter(begins);
        match (found.next(), found.next()) {
            (Some(version), None) if !wanted.is_empty() => Ok(version),
            (Some(_), _) => Err(format!("knows more than one version `{digits}`: give more digits")),
            (None, _) => {
                Err(format!("knows no version `{digits}`: `heddle plugins` shows those that it knows"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::{Found, Welcome};

    /// `a` was live, then `b`; `c` is on trial.
    fn rollout(trial: bool) -> Rollout {
        let mut rollout = Rollout::default();
        for (digest, stage) in
            [("sha256:aa", Stage::Live), ("sha256:bb", Stage::Live), ("sha256:cc", Stage::Canary)]
        {
            if stage == Stage::Live || trial {
                let found = Found { digest: digest.into(), ..Found::default() };
                rollout.enter(&found, stage, None, 0);
            }
        }
        rollout
    }

    fn commanded(rollout: &Rollout, command: OperatorCommand) -> Rollout {
        rollout.commanded(&command, 1).unwrap().0
    }

    #[test]
    fn a_roll_back_ends_a_trial_or_goes_to_the_version_before() {
        let ended = commanded(&rollout(true), OperatorCommand::RollBack { to: None });
        assert_eq!((ended.live.as_deref(), ended.canary.as_deref()), (Some("sha256:bb"), None));
        let back = commanded(&rollout(false), OperatorCommand::RollBack { to: None });
        assert_eq!(back.live.as_deref(), Some("sha256:aa"));
        assert!(
            matches!(back.welcome("sha256:bb", u64::MAX), Welcome::Refused(_)),
            "it does not come back by itself"
        );
        assert!(back.commanded(&OperatorCommand::RollBack { to: None }, 2).is_err(), "there is none before");
        let there = commanded(&rollout(true), OperatorCommand::RollBack { to: Some("a".into()) });
        assert_eq!((there.live.as_deref(), there.canary.as_deref()), (Some("sha256:aa"), None));
        let error = |to: &str| {
            rollout(true).commanded(&OperatorCommand::RollBack { to: Some(to.into()) }, 1).unwrap_err()
        };
        assert!(error("d").contains("knows no version"));
        assert!(error("").contains("more than one"));
        assert!(error("bb").contains("already"));
    }

    #[test]
    fn a_pinned_version_stays_until_it_is_unpinned() {
        let pinned = commanded(&rollout(true), OperatorCommand::Pin { to: None });
        assert_eq!((pinned.live.as_deref(), pinned.canary.as_deref()), (Some("sha256:bb"), None));
        assert_eq!(pinned.welcome("sha256:dd", 1), Welcome::Pinned);
        let elsewhere = commanded(&pinned, OperatorCommand::Pin { to: Some("cc".into()) });
        assert_eq!(elsewhere.live.as_deref(), Some("sha256:cc"));
        assert_eq!(commanded(&elsewhere, OperatorCommand::Unpin).welcome("sha256:dd", 1), Welcome::Take);
    }
}
