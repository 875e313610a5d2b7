//! The trial of a new version of a plugin: whether it does as well as the live one. Pure; times come in as arguments.
//!
//! An event that fails on trial for a cause that may be the version's is tried again as ever, but when its attempts are
//! used up it is *parked* instead of becoming a dead letter, until the trial is decided.

use std::time::Duration;

use heddle_values::rollout::CanaryPolicy;

/// Run times that are kept of a version.
const TIMES: usize = 256;

/// As many must be known of both before they are compared.
const MIN_TIMES: u32 = 64;

/// The last events of the live version that a trial is compared with.
const EVENTS: u32 = 1_024;

/// How long an event may be parked before the trial is decided with what is known, in milliseconds.
const PATIENCE: u64 = 10_000;

/// How the events of a version end.
#[derive(Debug)]
pub struct Scorecard {
    /// The last run times, in nanoseconds; a ring.
    times: Vec<u64>,
    next: usize,
    timed: u32,
    events: u32,
    failures: u32,
}

impl Default for Scorecard {
    fn default() -> Self {
        Scorecard { times: Vec::with_capacity(TIMES), next: 0, timed: 0, events: 0, failures: 0 }
    }
}

impl Scorecard {
    /// An event ended. Only its first run counts: what failed once fails again.
    pub fn ended(&mut self, attempt: u32, failed: bool, elapsed: Duration) {
        if !failed {
            let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
            match self.times.get_mut(self.next) {
                Some(slot) => *slot = nanos,
                None => self.times.push(nanos),
            }
            self.next = (self.next + 1) % TIMES;
            self.timed = self.timed.saturating_add(1);
        }
        if attempt <= 1 {
            self.events = self.events.saturating_add(1);
            self.failures += u32::from(failed);
        }
    }

    /// Lets what is long ago count for less.
    pub fn fade(&mut self) {
        if self.events > EVENTS {
            self.events /= 2;
            self.failures /= 2;
        }
    }

    fn share_of_failures(&self) -> f64 {
        if self.events == 0 { 0.0 } else { f64::from(self.failures) / f64::from(self.events) }
    }

    fn median(&self) -> Option<u64> {
        if self.timed < MIN_TIMES {
            return None;
        }
        let mut times = self.times.clone();
        let middle = times.len() / 2;
        Some(*times.select_nth_unstable(middle).1)
    }
}

/// How a trial ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// Every key gets the version.
    Promote,
    /// Every key goes back to the live version, for this reason.
    RollBack(String),
}

/// A version on trial.
#[derive(Debug)]
pub struct Trial {
    policy: CanaryPolicy,
    record: Scorecard,
    /// Since when an event is parked, in milliseconds since 1970.
    parked_since: Option<u64>,
}

impl Trial {
    /// Begins.
    pub fn new(policy: CanaryPolicy) -> Self {
        Trial { policy, record: Scorecard::default(), parked_since: None }
    }

    /// An event ended.
    pub fn ended(&mut self, attempt: u32, failed: bool, elapsed: Duration) {
        self.record.ended(attempt, failed, elapsed);
    }

    /// An event is parked.
    pub fn parked(&mut self, now: u64) {
        self.parked_since.get_or_insert(now);
    }

    /// Events so far, and how many of them failed.
    pub fn progress(&self) -> (u32, u32) {
        (self.record.events, self.record.failures)
    }

    /// What is known of the version, for the next trial after this one.
    pub fn into_record(self) -> Scorecard {
        self.record
    }

    /// How the trial ends, if it does. `live` is what is known of the live version.
    pub fn judge(&self, live: &Scorecard, now: u64) -> Option<Judgement> {
        let Scorecard { events, failures, .. } = self.record;
        let allowed = self.policy.max_failures + live.share_of_failures();
        let over = f64::from(failures) > allowed * f64::from(self.policy.events);
        let ends = events >= self.policy.events;
        let waits = self.parked_since.is_some_and(|since| now.saturating_sub(since) >= PATIENCE);
        let share = self.record.share_of_failures();
        if over || ((ends || waits) && share > allowed) {
            return Some(Judgement::RollBack(format!(
                "{failures} of its first {events} events failed ({:.1} %), {:.1} % are allowed",
                share * 100.0,
                allowed * 100.0
            )));
        }
        if ends || events.is_multiple_of(MIN_TIMES) {
            let slow = self.policy.max_slowdown.zip(self.record.median().zip(live.median()));
            if let Some((factor, (new, old))) =
                slow.filter(|(factor, (new, old))| *new as f64 > factor * *old as f64)
            {
                let (new, old) = (Duration::from_nanos(new), Duration::from_nanos(old));
                return Some(Judgement::RollBack(format!(
                    "its runs take {new:.1?} in the median, those of the live version {old:.1?}; {factor} times that are allowed"
                )));
            }
        }
        (ends || waits).then_some(Judgement::Promote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: CanaryPolicy =
        CanaryPolicy { share: 0.05, events: 1_000, max_failures: 0.01, max_slowdown: Some(2.0) };

    fn run(trial: &mut Trial, events: u32, failures: u32, micros: u64) {
        for event in 0..events {
            trial.ended(1, event < failures, Duration::from_micros(micros));
        }
    }

    fn live(failures: u32, micros: u64) -> Scorecard {
        let mut live = Scorecard::default();
        (0..1_000).for_each(|event| live.ended(1, event < failures, Duration::from_micros(micros)));
        live
    }

    #[test]
    fn a_version_that_does_as_well_is_promoted_after_its_events() {
        let mut trial = Trial::new(POLICY);
        run(&mut trial, 999, 10, 15);
        assert_eq!(trial.judge(&live(0, 10), 0), None);
        run(&mut trial, 1, 0, 15);
        assert_eq!(trial.judge(&live(0, 10), 0), Some(Judgement::Promote));
    }

    #[test]
    fn failures_beyond_the_bound_end_the_trial_at_once() {
        let mut trial = Trial::new(POLICY);
        run(&mut trial, 11, 11, 10);
        assert!(
            matches!(trial.judge(&live(0, 10), 0), Some(Judgement::RollBack(why)) if why.contains("11 of its first 11"))
        );
    }

    #[test]
    fn what_fails_with_the_live_version_too_does_not_count_against_the_new_one() {
        let mut trial = Trial::new(POLICY);
        run(&mut trial, 1_000, 50, 10);
        assert_eq!(trial.judge(&live(50, 10), 0), Some(Judgement::Promote));
        assert!(matches!(trial.judge(&live(10, 10), 0), Some(Judgement::RollBack(_))));
    }

    #[test]
    fn a_version_that_is_too_slow_is_rolled_back() {
        let mut trial = Trial::new(POLICY);
        run(&mut trial, 128, 0, 30);
        assert!(
            matches!(trial.judge(&live(0, 10), 0), Some(Judgement::RollBack(why)) if why.contains("in the median"))
        );
        assert_eq!(trial.judge(&live(0, 20), 0), None);
    }

    #[test]
    fn events_that_are_tried_again_count_once_and_do_not_hold_their_keys_for_ever() {
        let mut trial = Trial::new(CanaryPolicy::default());
        run(&mut trial, 3, 3, 10);
        (2..6).for_each(|attempt| trial.ended(attempt, true, Duration::ZERO));
        assert_eq!(trial.progress(), (3, 3));
        assert_eq!(trial.judge(&live(0, 10), 1_000), None);
        trial.parked(1_000);
        assert_eq!(trial.judge(&live(0, 10), 10_999), None);
        assert!(matches!(trial.judge(&live(0, 10), 11_000), Some(Judgement::RollBack(_))));
    }
}
