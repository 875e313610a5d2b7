//! Rollout: how a new version of a handler's plugin takes over, and what is remembered of each.
//!
//! A version is *found*, *verified*, *compiled*, *checked* and, if the handler asks for it, *compared*. Then it is on trial
//! with a share of the keys (*canary*), goes *live*, and is *retired* by the next one. At every step it can be *refused*.
//! What is remembered is the last message on `_heddle.<app>.plugin.<handler>`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::claims::Release;

/// Versions of a handler that are remembered.
const REMEMBERED: usize = 32;

/// How long a version that was rolled back by itself waits before it is tried again; each time twice as long.
const FIRST_REST: Duration = Duration::from_secs(60);

/// The longest such wait.
const LONGEST_REST: Duration = Duration::from_secs(3600);

/// How a new version is tried before every key gets it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CanaryPolicy {
    /// The share of the keys that it gets, above 0 and at most 1. Default 1.
    pub share: f64,
    /// How many events it handles on trial. Default 100.
    pub events: u32,
    /// The share of its events that may fail, beyond the share of the live version's. Default 0.5.
    pub max_failures: f64,
    /// How often as long as the live version its runs may take, in the median. None, the default: as long as they like.
    pub max_slowdown: Option<f64>,
}

impl Default for CanaryPolicy {
    fn default() -> Self {
        CanaryPolicy { share: 1.0, events: 100, max_failures: 0.5, max_slowdown: None }
    }
}

/// How a new version is compared with the live one before it handles anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShadowPolicy {
    /// How many of the handler's last events both versions run.
    pub events: u32,
    /// Whether a difference refuses the new version.
    pub must_match: bool,
}

/// How far a version has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// It is being verified, compiled, checked and compared.
    Preparing,
    /// It handles a share of the keys.
    Canary,
    /// It handles every key that no version on trial has.
    Live,
    /// Another version took over.
    Retired,
    /// It failed on trial, or an operator went back to another version.
    RolledBack,
    /// It never handled an event.
    Refused,
}

impl Stage {
    /// The stage as commands show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Preparing => "preparing",
            Stage::Canary => "canary",
            Stage::Live => "live",
            Stage::Retired => "retired",
            Stage::RolledBack => "rolled back",
            Stage::Refused => "refused",
        }
    }
}

/// One version of a handler's plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// What the component says of its version.
    pub version: Option<String>,
    /// Where it came from.
    pub source: String,
    /// The trusted key that signed it.
    #[serde(default)]
    pub signed_by: Option<String>,
    /// The text of its signature, whether or not it had to have one: it is verified again before the version runs again.
    #[serde(default)]
    pub signature: Option<String>,
    /// How new it is, as its signature says.
    #[serde(default)]
    pub release: Option<Release>,
    /// How far it has come: what serves keys is [`Stage::Live`] or [`Stage::Canary`].
    pub stage: Stage,
    /// Since when it is at this stage, in milliseconds since 1970.
    pub since: u64,
    /// Why it was refused or rolled back, or what its shadow run showed.
    pub reason: Option<String>,
    /// How often it failed on trial.
    #[serde(default)]
    pub setbacks: u32,
    /// When it may be tried again, in milliseconds since 1970. None: not by itself.
    #[serde(default)]
    pub again: Option<u64>,
}

/// What is remembered of a handler's versions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// The digest of the live version. None: the handler has never run.
    pub live: Option<String>,
    /// The digest of the version on trial.
    pub canary: Option<String>,
    /// Whether the live version stays, whatever its source offers.
    #[serde(default)]
    pub pinned: bool,
    /// By the time of their last change, the newest last.
    pub versions: Vec<Version>,
    /// The sequence of the last command that was carried out.
    #[serde(default)]
    pub command: u64,
    /// Why nothing can be had of the handler's source at present.
    #[serde(default)]
    pub fault: Option<String>,
    /// How new the version is that was live last, as its signature says. It outlasts the version itself.
    #[serde(default)]
    pub accepted: Release,
}

/// What becomes of a version that a source offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Welcome {
    /// It is live or on trial already.
    Known,
    /// It is live, and another one is on trial: the source went back.
    Back,
    /// It is prepared.
    Take,
    /// The live version is pinned.
    Pinned,
    /// It was rolled back and may be tried again at this time, in milliseconds since 1970.
    Rest(u64),
    /// An operator rolled it back, or it was refused for good.
    Refused(String),
}

impl Rollout {
    /// What is known of a version.
    pub fn version(&self, digest: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.digest == digest)
    }

    /// How new a version must be that comes by itself, as its signature says.
    pub fn newest(&self) -> &Release {
        let canary = self.canary.as_deref().and_then(|canary| self.version(canary));
        let on_trial = canary.and_then(|canary| canary.release.as_ref());
        on_trial.map_or(&self.accepted, |release| release.max(&self.accepted))
    }

    /// What the signature of a version says that runs on, now that it counts.
    pub fn vouch(&mut self, digest: &str, by: &str, release: &Release) {
        if self.live.as_deref() == Some(digest) && *release > self.accepted {
            self.accepted = release.clone();
        }
        if let Some(version) = self.version_mut(digest) {
            (version.signed_by, version.release) = (Some(by.to_owned()), Some(release.clone()));
        }
    }

    /// What the signature of the version says that goes live by somebody's wish, now that it was verified: it decides what
    /// is accepted from now on, even if it is older.
    pub fn vouch_for_return(&mut self, digest: &str, by: &str, release: &Release) {
        self.accepted = release.clone();
        self.vouch(digest, by, release);
    }

    /// Nothing can run any more of what was remembered: what comes next is the first. Commands are not carried out twice, and
    /// nothing older than before comes by itself.
    pub fn begin_anew(&mut self) {
        *self = Rollout {
            command: self.command,
            accepted: std::mem::take(&mut self.accepted),
            ..Rollout::default()
        };
    }

    fn version_mut(&mut self, digest: &str) -> Option<&mut Version> {
        self.versions.iter_mut().find(|version| version.digest == digest)
    }

    /// The version that was live before the one that is, if it may take over again.
    pub fn previous(&self) -> Option<&Version> {
        self.versions.iter().rev().find(|version| version.stage == Stage::Retired)
    }

    /// What becomes of a version that the source offers.
    pub fn welcome(&self, digest: &str, now: u64) -> Welcome {
        if self.canary.as_deref() == Some(digest) {
            return Welcome::Known;
        }
        if self.live.as_deref() == Some(digest) {
            return if self.canary.is_some() { Welcome::Back } else { Welcome::Known };
        }
        if self.pinned {
            return Welcome::Pinned;
        }
        let Some(known) = self.version(digest) else { return Welcome::Take };
        match (known.stage, known.again) {
            (Stage::Refused | Stage::RolledBack, Some(again)) if again > now => Welcome::Rest(again),
            (Stage::Refused | Stage::RolledBack, None) => {
                Welcome::Refused(known.reason.clone().unwrap_or_default())
            }
            _ => Welcome::Take,
        }
    }

    /// A version comes to a stage. What was at that stage before leaves it if there can be only one.
    pub fn enter(&mut self, found: &Found, stage: Stage, reason: Option<String>, now: u64) {
        let digest = found.digest.as_str();
        match stage {
            Stage::Live => {
                if let Some(before) = self.live.take().filter(|live| live != digest) {
                    self.leave(&before, Stage::Retired, None, now);
                }
                self.live = Some(digest.to_owned());
                let known = self.version(digest).and_then(|version| version.release.as_ref());
                if let Some(release) = found.release.as_ref().or(known).cloned() {
                    self.accepted = release;
                }
                self.canary.take_if(|canary| canary == digest);
            }
            Stage::Canary => self.canary = Some(digest.to_owned()),
            _ => {
                self.canary.take_if(|canary| canary == digest);
                self.live.take_if(|live| live == digest);
            }
        }
        let before = self.versions.iter().position(|version| version.digest == digest);
        let before = before.map(|index| self.versions.remove(index));
        let known = before.as_ref();
        self.versions.push(Version {
            digest: found.digest.clone(),
            version: found.version.clone().or_else(|| known?.version.clone()),
            source: found.source.clone(),
            signed_by: found.signed_by.clone().or_else(|| known?.signed_by.clone()),
            signature: found.signature.clone().or_else(|| known?.signature.clone()),
            release: found.release.clone().or_else(|| known?.release.clone()),
            stage,
            since: now,
            reason,
            setbacks: before.map_or(0, |before| before.setbacks),
            again: None,
        });
        self.forget();
    }

    /// A version that is known comes to another stage.
    pub fn leave(&mut self, digest: &str, stage: Stage, reason: Option<String>, now: u64) {
        let Some(version) = self.version(digest) else { return };
        let Version { digest, version, source, signed_by, signature, release, .. } = version.clone();
        self.enter(&Found { digest, version, source, signed_by, signature, release }, stage, reason, now);
    }

    /// A version failed on trial: it rests, each time for longer, and may then be tried again.
    pub fn set_back(&mut self, digest: &str, reason: String, now: u64) {
        self.leave(digest, Stage::RolledBack, Some(reason), now);
        if let Some(version) = self.version_mut(digest) {
            version.setbacks = version.setbacks.saturating_add(1);
            version.again = Some(now.saturating_add(rest(version.setbacks)));
        }
    }

    /// The source no longer offers the version that is on trial: that ends, and may begin again at once. Which one it was.
    pub fn withdraw(&mut self, now: u64) -> Option<String> {
        let digest = self.canary.clone()?;
        let reason = "the source went back to the live version before its trial ended";
        self.leave(&digest, Stage::RolledBack, Some(reason.to_owned()), now);
        self.version_mut(&digest)?.again = Some(now);
        Some(digest)
    }

    /// A version is refused.
    pub fn refuse(&mut self, found: &Found, reason: String, hope: Hope, now: u64) {
        let before = self.version(&found.digest).map_or(0, |version| version.setbacks);
        self.enter(found, Stage::Refused, Some(reason), now);
        if let Some(version) = self.version_mut(&found.digest) {
            match hope {
                Hope::None => {}
                Hope::Outside => version.again = Some(now),
                Hope::Time => {
                    version.setbacks = before.saturating_add(1);
                    version.again = Some(now.saturating_add(rest(version.setbacks)));
                }
            }
        }
    }

    /// Bounds every reason to N bytes, and makes one line of each. With 0 none is kept, and no signature but of what
    /// is live, on trial or was live before: then it fits wherever messages may be small.
    pub fn shorten(&mut self, bytes: usize) {
        let reasons = self.versions.iter_mut().map(|version| &mut version.reason).chain([&mut self.fault]);
        for reason in reasons {
            *reason = reason.take().filter(|_| bytes > 0).map(|text| one_line(&text, bytes));
        }
        if bytes == 0 {
            self.drop_signatures();
        }
    }

    fn drop_signatures(&mut self) {
        let previous = self.previous().map(|version| version.digest.clone());
        let kept = [self.live.clone(), self.canary.clone(), previous];
        for version in &mut self.versions {
            if !kept.iter().flatten().any(|digest| *digest == version.digest) {
                version.signature = None;
            }
        }
    }

    /// Remembers the last ones, and always those that count.
    fn forget(&mut self) {
        let mut surplus = self.versions.len().saturating_sub(REMEMBERED);
        let (live, canary) = (self.live.clone(), self.canary.clone());
        self.versions.retain(|version| {
            let digest = Some(version.digest.as_str());
            let counts = digest == live.as_deref() || digest == canary.as_deref();
            if surplus == 0 || counts {
                return true;
            }
            surplus -= 1;
            false
        });
    }
}

/// Whether a version that is refused may be taken later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hope {
    /// Never: it is at fault itself.
    None,
    /// As soon as something else changes, such as its signature.
    Outside,
    /// After a rest.
    Time,
}

/// The wait after N setbacks, in milliseconds.
fn rest(setbacks: u32) -> u64 {
    let factor = 2_u32.saturating_pow(setbacks.saturating_sub(1));
    let rest = FIRST_REST.saturating_mul(factor).min(LONGEST_REST);
    u64::try_from(rest.as_millis()).unwrap_or(u64::MAX)
}

/// A version as its source gave it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// What the component says of its version; none as long as it was not read.
    pub version: Option<String>,
    /// Where it came from, as `plugin` of the file names it.
    pub source: String,
    /// The trusted key that signed it.
    pub signed_by: Option<String>,
    /// The text of its signature.
    pub signature: Option<String>,
    /// How new it is, as its signature says. None: `trust` was not set.
    pub release: Option<Release>,
}

/// A text without control characters, cut off where it is longer. Done twice, it is the same.
fn one_line(text: &str, bytes: usize) -> String {
    let line = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.len() <= bytes {
        return line(text);
    }
    let end = text.floor_char_boundary(bytes.saturating_sub('…'.len_utf8()));
    let mut short: String = line(text.get(..end).unwrap_or_default());
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::OperatorCommand;

    fn found(digest: &str) -> Found {
        Found { digest: digest.into(), source: "x.wasm".into(), ..Found::default() }
    }

    #[test]
    fn a_version_that_takes_over_retires_the_one_before() {
        let mut rollout = Rollout::default();
        assert_eq!(rollout.welcome("a", 0), Welcome::Take);
        rollout.enter(&found("a"), Stage::Live, None, 1);
        rollout.enter(&found("b"), Stage::Canary, None, 2);
        assert_eq!((rollout.welcome("a", 2), rollout.welcome("b", 2)), (Welcome::Back, Welcome::Known));
        rollout.leave("b", Stage::Live, None, 3);
        assert_eq!((rollout.live.as_deref(), rollout.canary.as_deref()), (Some("b"), None));
        assert_eq!(rollout.previous().map(|version| &*version.digest), Some("a"));
        assert_eq!(rollout.welcome("a", 4), Welcome::Take, "an earlier version may come back");
    }

    #[test]
    fn a_trial_that_the_source_went_back_from_may_begin_again_at_once() {
        let mut rollout = Rollout::default();
        rollout.enter(&found("a"), Stage::Live, None, 1);
        assert_eq!((rollout.welcome("a", 2), rollout.withdraw(2)), (Welcome::Known, None));
        rollout.enter(&found("b"), Stage::Canary, None, 2);
        assert_eq!(rollout.withdraw(3).as_deref(), Some("b"));
        assert_eq!((rollout.live.as_deref(), rollout.canary.as_deref()), (Some("a"), None));
        assert_eq!((rollout.welcome("a", 3), rollout.welcome("b", 3)), (Welcome::Known, Welcome::Take));
        assert_eq!(rollout.previous(), None, "it never was live");
    }

    #[test]
    fn a_version_that_fails_on_trial_rests_longer_each_time() {
        let mut rollout = Rollout::default();
        rollout.enter(&found("a"), Stage::Live, None, 0);
        let mut now = 0;
        for rest in [60_000, 120_000, 240_000] {
            rollout.enter(&found("b"), Stage::Canary, None, now);
            rollout.set_back("b", "traps".into(), now);
            assert_eq!(rollout.welcome("b", now), Welcome::Rest(now + rest));
            now += rest;
            assert_eq!(rollout.welcome("b", now), Welcome::Take);
        }
        assert_eq!(rollout.live.as_deref(), Some("a"));
        (0..20).for_each(|_| rollout.set_back("b", "traps".into(), now));
        assert_eq!(rollout.welcome("b", now), Welcome::Rest(now + 3_600_000));
    }

    #[test]
    fn what_is_refused_is_taken_again_only_if_there_is_hope() {
        let mut rollout = Rollout::default();
        rollout.refuse(&found("a"), "not a component".into(), Hope::None, 5);
        assert_eq!(rollout.welcome("a", u64::MAX), Welcome::Refused("not a component".into()));
        rollout.refuse(&found("b"), "no signature".into(), Hope::Outside, 5);
        assert_eq!(rollout.welcome("b", 5), Welcome::Take);
        rollout.refuse(&found("c"), "no memory".into(), Hope::Time, 5);
        assert_eq!(rollout.welcome("c", 5), Welcome::Rest(60_005));
    }

    fn signed(digest: &str, version: u64) -> Found {
        let version = Some(semver::Version::new(version, 0, 0));
        Found { release: Some(Release { version, timestamp: None }), ..found(digest) }
    }

    #[test]
    fn what_must_come_is_as_new_as_what_is_live_or_on_trial_whatever_is_forgotten() {
        let mut rollout = Rollout::default();
        let newest = |rollout: &Rollout| rollout.newest().version.as_ref().map(|version| version.major);
        rollout.enter(&signed("a", 1), Stage::Live, None, 0);
        assert_eq!(newest(&rollout), Some(1));
        rollout.enter(&signed("b", 3), Stage::Canary, None, 1);
        assert_eq!(newest(&rollout), Some(3), "nothing older takes the place of what is on trial");
        rollout.set_back("b", "traps".into(), 2);
        assert_eq!(newest(&rollout), Some(1), "what failed does not count");
        rollout.enter(&signed("c", 2), Stage::Live, None, 3);
        rollout.begin_anew();
        assert_eq!((newest(&rollout), rollout.live.as_deref()), (Some(2), None));
        rollout.enter(&found("unsigned"), Stage::Live, None, 4);
        assert_eq!(newest(&rollout), Some(2));
        let release = signed("d", 5).release.unwrap();
        rollout.vouch("unsigned", "key", &release);
        assert_eq!(newest(&rollout), Some(5), "its signature counts as soon as somebody is trusted");
    }

    #[test]
    fn whoever_goes_back_by_order_may_go_on_from_there() {
        let mut rollout = Rollout::default();
        rollout.enter(&signed("sha256:a", 1), Stage::Live, None, 0);
        rollout.enter(&signed("sha256:b", 2), Stage::Live, None, 1);
        let back = OperatorCommand::RollBack { to: None };
        let (rollout, _) = rollout.commanded(&back, 2).unwrap();
        assert_eq!(rollout.newest().version, Some(semver::Version::new(1, 0, 0)));
    }

    #[test]
    fn what_is_verified_of_an_older_version_decides_and_not_what_was_remembered_of_it() {
        let mut rollout = Rollout::default();
        rollout.enter(&signed("sha256:a", 9), Stage::Live, None, 0);
        rollout.enter(&signed("sha256:b", 2), Stage::Live, None, 1);
        let (mut rollout, _) = rollout.commanded(&OperatorCommand::RollBack { to: None }, 2).unwrap();
        let verified = signed("sha256:a", 1).release.unwrap();
        rollout.vouch_for_return("sha256:a", "key", &verified);
        assert_eq!(*rollout.newest(), verified);
        let version = rollout.version("sha256:a").unwrap();
        assert_eq!((version.signed_by.as_deref(), version.release.as_ref()), (Some("key"), Some(&verified)));
    }

    #[test]
    fn where_messages_must_be_small_only_signatures_that_may_be_needed_soon_are_kept() {
        let mut rollout = Rollout::default();
        let signed = |digest: &str| Found { signature: Some("text".to_owned()), ..found(digest) };
        for (now, digest) in (0..).zip(["old", "previous", "live"]) {
            rollout.enter(&signed(digest), Stage::Live, None, now);
        }
        rollout.enter(&signed("refused"), Stage::Refused, None, 3);
        rollout.enter(&signed("canary"), Stage::Canary, None, 4);
        rollout.shorten(200);
        assert!(rollout.versions.iter().all(|version| version.signature.is_some()));
        rollout.shorten(0);
        let kept = rollout.versions.iter().filter(|version| version.signature.is_some());
        let kept: Vec<&str> = kept.map(|version| &*version.digest).collect();
        assert_eq!(kept, ["previous", "live", "canary"]);
    }

    #[test]
    fn old_versions_are_forgotten_but_never_the_live_one() {
        let mut rollout = Rollout::default();
        rollout.enter(&found("live"), Stage::Live, None, 0);
        (0..100).for_each(|n| rollout.refuse(&found(&n.to_string()), String::new(), Hope::None, n));
        assert_eq!(rollout.versions.len(), REMEMBERED);
        assert!(rollout.version("live").is_some() && rollout.version("99").is_some());
        assert!(rollout.version("0").is_none());
    }

    #[test]
    fn what_a_plugin_says_does_not_grow_what_is_remembered() {
        let mut rollout = Rollout::default();
        let found = found("a");
        rollout.enter(&found, Stage::Refused, Some("x\u{1b}\n".repeat(1 << 20)), 1);
        rollout.fault = Some("y".repeat(1 << 20));
        rollout.shorten(200);
        let reasons = [rollout.versions[0].reason.clone(), rollout.fault.clone()];
        for reason in reasons.iter().flatten() {
            assert!(reason.len() <= 200 && !reason.contains(['\u{1b}', '\n']), "{reason}");
        }
        let once = rollout.clone();
        rollout.shorten(200);
        assert_eq!(rollout, once);
        rollout.shorten(0);
        assert_eq!((&rollout.versions[0].reason, &rollout.fault), (&None, &None));
    }
}
