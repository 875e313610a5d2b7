//! The versions of a handler's plugin at work: which one runs an event, and how the one on trial does.
//!
//! An event runs with the version that its key has when it is handed to a worker, and ends with it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::now;
use crate::shard::Blame;
use crate::trial::{Judgement, Scorecard, Trial};
use crate::workers::{Ended, Runner, Shared};
use heddle_sandbox::Plugin;
use heddle_values::key::Key;
use heddle_values::member::TrialProgress;
use heddle_values::rollout::CanaryPolicy;

/// The versions of a handler's plugin.
#[derive(Clone)]
pub struct Versions {
    /// Runs the events of every key that the version on trial does not get.
    pub live: Arc<Plugin>,
    /// On trial, and how.
    pub canary: Option<(Arc<Plugin>, CanaryPolicy)>,
}

/// How the trial of a version ended. The engine goes on with it until a [`Change`](super::Change) comes.
#[derive(Debug)]
pub struct Judged {
    /// The digest of the version.
    pub digest: Arc<str>,
    /// What is advised. It takes effect once the controller sends a [`Change`](super::Change).
    pub judgement: Judgement,
}

/// The versions of one handler at work.
pub(super) struct Fleet {
    shared: Arc<Shared>,
    live: Arc<Runner>,
    record: Scorecard,
    canary: Option<OnTrial>,
    judged: mpsc::Sender<Judged>,
}

struct OnTrial {
    runner: Arc<Runner>,
    policy: CanaryPolicy,
    trial: Trial,
    /// Whether its end was reported.
    reported: bool,
}

impl Fleet {
    pub(super) fn new(shared: Shared, versions: Versions, judged: mpsc::Sender<Judged>) -> Self {
        let shared = Arc::new(shared);
        let live = Runner::new(Arc::clone(&shared), versions.live);
        let canary = versions.canary.map(|(plugin, policy)| OnTrial::new(&shared, plugin, policy));
        Fleet { shared, live, record: Scorecard::default(), canary, judged }
    }

    /// What runs the events of a key.
    pub(super) fn of(&self, key: &Key) -> &Arc<Runner> {
        match &self.canary {
            Some(canary) if canary.policy.share >= 1.0 || key.rank() < canary.policy.share => &canary.runner,
            _ => &self.live,
        }
    }

    fn on_trial(&mut self, ended: &Ended) -> Option<&mut OnTrial> {
        self.canary.as_mut().filter(|canary| Arc::ptr_eq(canary.runner.plugin.code().id(), &ended.by))
    }

    /// A run ended: which version may be to blame if it failed.
    pub(super) fn ended(&mut self, ended: &Ended, failed: bool) -> Blame {
        let (attempt, elapsed) = (ended.job.attempt, ended.elapsed);
        if let Some(canary) = self.on_trial(ended) {
            canary.trial.ended(attempt, failed, elapsed);
            self.judge(now());
            return Blame::Trial;
        }
        if !Arc::ptr_eq(self.live.plugin.code().id(), &ended.by) {
            return Blame::Gone;
        }
        if elapsed > Duration::ZERO {
            self.record.ended(attempt, failed, elapsed);
        }
        Blame::Event
    }

    /// Whether a trial has ended by this.
    pub(super) fn change(&mut self, versions: Versions) -> bool {
        let before = self.canary.take();
        let had_trial = before.is_some();
        let is = |canary: &OnTrial, plugin: &Arc<Plugin>| Arc::ptr_eq(&canary.runner.plugin, plugin);
        match before {
            // Nothing changes for the version on trial.
            Some(canary) if versions.canary.as_ref().is_some_and(|(plugin, _)| is(&canary, plugin)) => {
                self.canary = Some(canary);
            }
            Some(canary) if is(&canary, &versions.live) => {
                self.live = canary.runner;
                self.record = canary.trial.into_record();
            }
            _ => {}
        }
        if !Arc::ptr_eq(&self.live.plugin, &versions.live) {
            self.live = Runner::new(Arc::clone(&self.shared), versions.live);
            self.record = Scorecard::default();
        }
        if self.canary.is_none() {
            self.canary = versions.canary.map(|(plugin, policy)| OnTrial::new(&self.shared, plugin, policy));
            return had_trial;
        }
        false
    }

    /// An event waits for the end of the trial.
    pub(super) fn parked(&mut self, now: u64) {
        self.canary.iter_mut().for_each(|canary| canary.trial.parked(now));
    }

    /// Lets instances go that no event needs.
    pub(super) fn trim(&self) {
        self.live.plugin.trim();
        self.canary.iter().for_each(|canary| canary.runner.plugin.trim());
    }

    /// Looks whether the trial ends though nothing happens to it.
    pub(super) fn look(&mut self, now: u64) {
        self.record.fade();
        self.judge(now);
    }

    /// Reports the end of the trial, once.
    fn judge(&mut self, now: u64) {
        let Some(canary) = self.canary.as_mut().filter(|canary| !canary.reported) else { return };
        let Some(judgement) = canary.trial.judge(&self.record, now) else { return };
        let digest = Arc::clone(&canary.runner.plugin.code().id().digest);
        // If there is no room now, there will be at the next look.
        canary.reported = self.judged.try_send(Judged { digest, judgement }).is_ok();
    }

    /// Instances that wait for an event.
    pub(super) fn ready(&self) -> usize {
        let canary = self.canary.as_ref().map_or(0, |canary| canary.runner.plugin.ready());
        self.live.plugin.ready() + canary
    }

    /// How far the version on trial has come.
    pub(super) fn progress(&self) -> Option<TrialProgress> {
        let canary = self.canary.as_ref()?;
        let (events, failures) = canary.trial.progress();
        let digest = canary.runner.plugin.code().id().digest.to_string();
        Some(TrialProgress { digest, events, failures, wanted: canary.policy.events })
    }
}

impl OnTrial {
    fn new(shared: &Arc<Shared>, plugin: Arc<Plugin>, policy: CanaryPolicy) -> Self {
        let runner = Runner::new(Arc::clone(shared), plugin);
        OnTrial { runner, policy, trial: Trial::new(policy), reported: false }
    }
}
