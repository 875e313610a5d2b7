//! The circuit of a handler: opens when failures are broad, tries one event at a time, and closes by itself.
//!
//! While it is open, nothing but the probes runs, and what fails is not counted: an outage of something that the
//! handler depends on uses up no attempts. It looks at the last runs only, however many there were before: an outage
//! must be noticed before the first events have used up their attempts. Pure; times are in milliseconds since 1970.

use std::collections::{HashSet, VecDeque};

use crate::values::key::Key;
use crate::values::policy::OutagePolicy;

/// So many runs are looked at for each key that must have failed.
const RUNS_PER_KEY: usize = 5;

/// Probes that must succeed in a row.
const PROBES: u32 = 3;

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Opened,
    /// Since when it was open.
    Closed(u64),
}

#[derive(Debug)]
struct Run {
    key: Key,
    failed: bool,
    /// When it ended.
    at: u64,
}

#[derive(Debug)]
enum State {
    Closed,
    Open {
        since: u64,
        /// The key that is tried.
        probing: Option<Key>,
        /// When the next probe may begin.
        next: u64,
        failed: u32,
        succeeded: u32,
    },
}

/// The circuit of one handler.
#[derive(Debug)]
pub struct Circuit {
    policy: Option<OutagePolicy>,
    state: State,
    /// The last runs, and how many of them failed.
    runs: VecDeque<Run>,
    failures: usize,
}

impl Circuit {
    /// A closed one; without a policy it never opens.
    pub fn new(policy: Option<OutagePolicy>) -> Self {
        Circuit { policy, state: State::Closed, runs: VecDeque::new(), failures: 0 }
    }

    /// Since when it is open; none: it is closed.
    pub fn open_since(&self) -> Option<u64> {
        match self.state {
            State::Closed => None,
            State::Open { since, .. } => Some(since),
        }
    }

    /// When the next probe may begin; none: it is closed, or one is under way.
    pub fn next_probe(&self) -> Option<u64> {
        match &self.state {
            State::Open { probing: None, next, .. } => Some(*next),
            _ => None,
        }
    }

    /// A probe begins.
    pub fn probe(&mut self, key: &Key) {
        if let State::Open { probing, .. } = &mut self.state {
            *probing = Some(key.clone());
        }
    }

    /// Nothing is left that could be tried: it is closed, so that more is read.
    pub fn give_up(&mut self) -> Option<Change> {
        let since = self.open_since()?;
        self.close();
        Some(Change::Closed(since))
    }

    /// A run ended; `failed` if something that the handler depends on may be to blame. `random` is uniform over all of
    /// `u64`.
    pub fn ended(&mut self, key: &Key, failed: bool, now: u64, random: u64) -> Option<Change> {
        let policy = self.policy?;
        match &mut self.state {
            State::Closed => {
                self.count(Run { key: key.clone(), failed, at: now }, &policy);
                if !failed || !self.is_broad(&policy) {
                    return None;
                }
                let next = now + milliseconds(policy.probe.delay(1, random));
                self.state = State::Open { since: now, probing: None, next, failed: 0, succeeded: 0 };
                Some(Change::Opened)
            }
            State::Open { since, probing, next, failed: failures, succeeded } => {
                if probing.as_ref() != Some(key) {
                    return None;
                }
                *probing = None;
                if failed {
                    (*failures, *succeeded) = (*failures + 1, 0);
                    *next = now + milliseconds(policy.probe.bound(*failures));
                    return None;
                }
                *succeeded += 1;
                *next = now;
                if *succeeded < PROBES {
                    return None;
                }
                let since = *since;
                self.close();
                Some(Change::Closed(since))
            }
        }
    }

    fn close(&mut self) {
        self.state = State::Closed;
        self.runs.clear();
        self.failures = 0;
    }

    fn count(&mut self, run: Run, policy: &OutagePolicy) {
        let begin = run.at.saturating_sub(milliseconds(policy.window));
        let most = RUNS_PER_KEY * policy.keys as usize;
        while self.runs.front().is_some_and(|first| first.at < begin || self.runs.len() >= most) {
            let first = self.runs.pop_front();
            self.failures -= usize::from(first.is_some_and(|first| first.failed));
        }
        self.failures += usize::from(run.failed);
        self.runs.push_back(run);
    }

    fn is_broad(&self, policy: &OutagePolicy) -> bool {
        let keys = policy.keys as usize;
        if self.failures < keys || (self.failures as f64) < self.runs.len() as f64 * policy.share {
            return false;
        }
        let failed = self.runs.iter().filter(|run| run.failed);
        failed.map(|run| &run.key).collect::<HashSet<_>>().len() >= keys
    }
}

fn milliseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circuit() -> Circuit {
        Circuit::new(Some(OutagePolicy { keys: 5, ..OutagePolicy::default() }))
    }

    fn end(circuit: &mut Circuit, key: u32, failed: bool, now: u64) -> Option<Change> {
        circuit.ended(&Key::new(&key.to_string()), failed, now, u64::MAX)
    }

    /// Fails five keys.
    fn opened() -> Circuit {
        let mut circuit = circuit();
        (0..4).for_each(|key| assert_eq!(end(&mut circuit, key, true, 1_000), None));
        assert_eq!(end(&mut circuit, 4, true, 1_000), Some(Change::Opened));
        circuit
    }

    #[test]
    fn it_opens_when_many_keys_fail_and_not_for_one_that_fails_often() {
        let mut circuit = circuit();
        for _ in 0..1_000 {
            assert_eq!(end(&mut circuit, 1, true, 1_000), None);
        }
        assert_eq!(opened().open_since(), Some(1_000));
    }

    #[test]
    fn it_stays_closed_while_most_runs_succeed_and_when_failures_are_far_apart() {
        let mut circuit = circuit();
        for key in 0..1_000 {
            assert_eq!(end(&mut circuit, key, key % 3 == 0, 1_000), None);
        }
        let mut circuit = super::tests::circuit();
        (0..100).for_each(|key| assert_eq!(end(&mut circuit, key, true, 4_000 * u64::from(key)), None));
    }

    #[test]
    fn it_opens_soon_after_however_many_runs_that_were_well() {
        let mut circuit = circuit();
        (0..100_000).for_each(|key| assert_eq!(end(&mut circuit, key, false, 1_000), None));
        let opened = (0..25).find(|key| end(&mut circuit, *key, true, 1_001) == Some(Change::Opened));
        assert_eq!(opened, Some(12), "half of the last 25 runs");
    }

    #[test]
    fn it_tries_one_event_at_a_time_with_growing_waits_and_closes_after_some_successes() {
        let mut circuit = opened();
        assert_eq!(circuit.next_probe(), Some(1_499));
        circuit.probe(&Key::new("7"));
        assert_eq!(circuit.next_probe(), None, "one is under way");
        assert_eq!(end(&mut circuit, 3, false, 1_600), None, "it ran already when the circuit opened");
        assert_eq!(end(&mut circuit, 7, true, 1_600), None);
        assert_eq!(circuit.next_probe(), Some(2_100));
        circuit.probe(&Key::new("8"));
        end(&mut circuit, 8, true, 2_100);
        assert_eq!(circuit.next_probe(), Some(3_100));
        for (key, change) in [(9, None), (10, None), (11, Some(Change::Closed(1_000)))] {
            circuit.probe(&Key::new(&key.to_string()));
            assert_eq!(end(&mut circuit, key, false, 3_200), change);
        }
        assert_eq!(circuit.open_since(), None);
    }

    #[test]
    fn without_a_policy_it_never_opens_and_without_anything_to_try_it_closes() {
        let mut never = Circuit::new(None);
        (0..100).for_each(|key| assert_eq!(end(&mut never, key, true, 1), None));
        assert_eq!(opened().give_up(), Some(Change::Closed(1_000)));
    }
}
