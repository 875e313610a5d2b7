//! The circuit of a handler: opens in an outage of something outside that the handler depends on, tries one event at a
//! time, and closes by itself.
//!
//! While it is open, nothing but the probes runs, and what fails for the outage uses up no attempt. What tells an outage
//! from events that are bad in themselves is that in an outage *everything* fails: only events that had not failed
//! before are counted, one success among them says that the outside is up, and how many must fail in a row depends on
//! how many failed so far while it was up. So a handler most of whose events are bad goes on, and the bad ones use up
//! their attempts. Pure; times are in milliseconds since 1970.

use std::collections::{HashSet, VecDeque};

use heddle_values::key::Key;
use heddle_values::policy::OutagePolicy;

/// How unlikely it must be that failures in a row are chance, for the share of failures so far.
const CHANCE: f64 = 1e-6;

/// More failures in a row than this are never asked for: that many events may lose an attempt to an outage at most.
const LONGEST_STREAK: f64 = 10_000.0;

/// How many runs the share of failures is taken over. Older ones count less and less.
const REMEMBERED: f64 = 2_000.0;

/// What the end of a run says of the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// It is up.
    Up,
    /// It may be down.
    Down,
    /// Nothing.
    Nothing,
}

/// A run that ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended<'a> {
    /// The key of its event: while the circuit is open, only the end of the key that is tried counts.
    pub key: &'a Key,
    /// Whether its event had not failed before.
    pub fresh: bool,
    /// What it tells of whatever the handler depends on.
    pub says: Says,
}

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Too many events in a row, of different keys, failed at their first run: from now on only probes run.
    Opened,
    /// Since when it was open.
    Closed(u64),
    /// It was open for as long as it may be, since then: what fails now is counted.
    GaveUp(u64),
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
    },
    /// It was open for too long, and stays closed until something succeeds.
    GivenUp,
}

/// How the runs went while the outside was up.
#[derive(Debug, Default)]
struct History {
    runs: f64,
    failed: f64,
}

impl History {
    fn add(&mut self, succeeded: u32, failed: u32) {
        self.runs += f64::from(succeeded) + f64::from(failed);
        self.failed += f64::from(failed);
        if self.runs > REMEMBERED {
            let fade = REMEMBERED / self.runs;
            (self.runs, self.failed) = (self.runs * fade, self.failed * fade);
        }
    }

    /// How many failures in a row are no chance any more. By the rule of succession, so that a handler of which nothing
    /// is known fails every other time.
    fn telling_streak(&self) -> f64 {
        let share = (self.failed + 1.0) / (self.runs + 2.0);
        (CHANCE.ln() / share.ln()).ceil().min(LONGEST_STREAK)
    }
}

/// The circuit of one handler.
#[derive(Debug)]
pub struct Circuit {
    policy: Option<OutagePolicy>,
    state: State,
    history: History,
    /// Events in a row that failed at their first run, without anything that succeeded in between.
    streak: u32,
    /// The keys of the last of them, and when they failed.
    recent: VecDeque<(Key, u64)>,
    /// Since when runs say that the outside may be down, and when the last one did. A quiet `window` forgets it.
    down: Option<(u64, u64)>,
}

impl Circuit {
    /// A closed one; without a policy it never opens.
    pub fn new(policy: Option<OutagePolicy>) -> Self {
        let (state, recent) = (State::Closed, VecDeque::new());
        Circuit { policy, state, history: History::default(), streak: 0, recent, down: None }
    }

    /// From when to when it is too early to tell an outage from bad events, though the circuit is closed: since the first
    /// failure that no success has followed, for one `window`. None: there is no circuit, or it has told.
    pub fn unclear(&self, now: u64) -> Option<(u64, u64)> {
        let window = milliseconds(self.policy?.window);
        let (since, _) = self.down.filter(|_| matches!(self.state, State::Closed))?;
        (now.saturating_sub(since) < window).then(|| (since, since + window))
    }

    /// Since when it is open; none: it is closed.
    pub fn open_since(&self) -> Option<u64> {
        match self.state {
            State::Closed | State::GivenUp => None,
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
    pub fn nothing_to_try(&mut self) -> Option<Change> {
        let since = self.open_since()?;
        self.forget_streak();
        self.state = State::Closed;
        Some(Change::Closed(since))
    }

    /// A run ended. `random` is uniform over all of `u64`.
    pub fn ended(&mut self, run: Ended<'_>, now: u64, random: u64) -> Option<Change> {
        let policy = self.policy?;
        let State::Open { probing, .. } = &mut self.state else { return self.ended_closed(run, now, random) };
        // What ran already when it opened says nothing of now.
        if probing.as_ref() != Some(run.key) {
            return None;
        }
        *probing = None;
        self.ended_probe(run, &policy, now)
    }

    fn ended_closed(&mut self, run: Ended<'_>, now: u64, random: u64) -> Option<Change> {
        let policy = self.policy?;
        match run.says {
            Says::Nothing => return None,
            Says::Up => {
                self.is_up();
                return None;
            }
            Says::Down => {
                self.may_be_down(now, &policy);
                // An event that failed before may do so again for reasons of its own.
                if !run.fresh {
                    return None;
                }
                self.count(run.key, now, &policy);
            }
        }
        if matches!(self.state, State::GivenUp) || !self.is_telling(&policy) {
            return None;
        }
        let next = now + milliseconds(policy.probe.delay(1, random));
        self.state = State::Open { since: now, probing: None, next, failed: 0 };
        Some(Change::Opened)
    }

    fn ended_probe(&mut self, run: Ended<'_>, policy: &OutagePolicy, now: u64) -> Option<Change> {
        let State::Open { since, next, failed, .. } = &mut self.state else { return None };
        let since = *since;
        match run.says {
            Says::Up => {
                self.is_up();
                return Some(Change::Closed(since));
            }
            Says::Nothing => *next = now,
            Says::Down => {
                *failed = failed.saturating_add(1);
                *next = now + milliseconds(policy.probe.bound(*failed));
                if run.fresh {
                    self.count(run.key, now, policy);
                }
            }
        }
        if now.saturating_sub(since) < milliseconds(policy.max_open) {
            return None;
        }
        self.forget_streak();
        self.state = State::GivenUp;
        Some(Change::GaveUp(since))
    }

    fn may_be_down(&mut self, now: u64, policy: &OutagePolicy) {
        let is_one = |(_, last): &(u64, u64)| now.saturating_sub(*last) < milliseconds(policy.window);
        let since = self.down.filter(is_one).map_or(now, |(since, _)| since);
        self.down = Some((since, now));
    }

    fn is_up(&mut self) {
        self.history.add(1, self.streak);
        self.forget_streak();
        self.state = State::Closed;
        self.down = None;
    }

    fn forget_streak(&mut self) {
        self.streak = 0;
        self.recent.clear();
    }

    fn count(&mut self, key: &Key, now: u64, policy: &OutagePolicy) {
        self.streak = self.streak.saturating_add(1);
        let begin = now.saturating_sub(milliseconds(policy.window));
        // More than this is not needed to see that different keys fail.
        let most = 8 * policy.keys as usize;
        while self.recent.front().is_some_and(|(_, at)| *at < begin) || self.recent.len() >= most {
            self.recent.pop_front();
        }
        self.recent.push_back((key.clone(), now));
    }

    /// Whether the failures in a row are more than chance, and not those of a few keys.
    fn is_telling(&self, policy: &OutagePolicy) -> bool {
        let keys = policy.keys as usize;
        if self.recent.len() < keys || f64::from(self.streak) < self.history.telling_streak() {
            return false;
        }
        self.recent.iter().map(|(key, _)| key).collect::<HashSet<_>>().len() >= keys
    }
}

fn milliseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn circuit() -> Circuit {
        let max_open = Duration::from_secs(3600);
        Circuit::new(Some(OutagePolicy { keys: 20, max_open, ..OutagePolicy::default() }))
    }

    fn end(circuit: &mut Circuit, key: u32, fresh: bool, says: Says, now: u64) -> Option<Change> {
        circuit.ended(Ended { key: &Key::new(&key.to_string()), fresh, says }, now, u64::MAX)
    }

    fn fail(circuit: &mut Circuit, key: u32, now: u64) -> Option<Change> {
        end(circuit, key, true, Says::Down, now)
    }

    /// Fails twenty keys.
    fn opened() -> Circuit {
        let mut circuit = circuit();
        (0..19).for_each(|key| assert_eq!(fail(&mut circuit, key, 1_000), None));
        assert_eq!(fail(&mut circuit, 19, 1_000), Some(Change::Opened));
        circuit
    }

    #[test]
    fn it_opens_when_every_key_fails_and_not_for_one_that_fails_often() {
        let mut circuit = circuit();
        for _ in 0..1_000 {
            assert_eq!(fail(&mut circuit, 1, 1_000), None);
        }
        assert_eq!(opened().open_since(), Some(1_000));
    }

    #[test]
    fn for_one_window_after_the_first_failure_without_a_success_it_is_unclear_whether_there_is_an_outage() {
        let mut circuit = circuit();
        assert_eq!(circuit.unclear(100_000), None, "before anything has failed");
        fail(&mut circuit, 1, 100_000);
        end(&mut circuit, 1, false, Says::Down, 105_000);
        assert_eq!(circuit.unclear(109_999), Some((100_000, 110_000)));
        end(&mut circuit, 1, false, Says::Down, 110_000);
        fail(&mut circuit, 2, 112_000);
        assert_eq!(circuit.unclear(112_000), None, "the next bad event need not wait as well");
        fail(&mut circuit, 1, 130_000);
        assert_eq!(circuit.unclear(130_000), Some((130_000, 140_000)), "after a quiet window");
        end(&mut circuit, 0, true, Says::Up, 131_000);
        assert_eq!(circuit.unclear(131_000), None);
        for key in 0..100 {
            fail(&mut circuit, key, 200_000);
        }
        assert_eq!((circuit.open_since(), circuit.unclear(200_000)), (Some(200_000), None));
    }

    #[test]
    fn failures_that_are_far_apart_are_no_outage() {
        let mut circuit = circuit();
        (0..100).for_each(|key| assert_eq!(fail(&mut circuit, key, 4_000 * u64::from(key)), None));
    }

    #[test]
    fn it_opens_within_few_events_after_however_many_that_were_well() {
        let mut circuit = circuit();
        (0..100_000).for_each(|key| assert_eq!(end(&mut circuit, key, true, Says::Up, 1_000), None));
        let opened = (0..100).find(|key| fail(&mut circuit, *key, 1_001) == Some(Change::Opened));
        assert_eq!(opened, Some(19));
    }

    /// A share of bad events among good ones, each fresh: how often it opens in a million, with probes that find what
    /// comes next.
    fn times_opened(bad_in_a_thousand: u32, seed: u64) -> u32 {
        use rand::{RngExt, SeedableRng};
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let (mut circuit, mut opened, mut now) = (circuit(), 0, 1_000);
        for key in 0..1_000_000 {
            if let Some(next) = circuit.next_probe() {
                now = now.max(next);
                circuit.probe(&Key::new(&key.to_string()));
            }
            let bad = random.random_range(0..1_000) < bad_in_a_thousand;
            let change = end(&mut circuit, key, true, if bad { Says::Down } else { Says::Up }, now);
            opened += u32::from(change == Some(Change::Opened));
            assert_ne!(change.map(|change| matches!(change, Change::GaveUp(_))), Some(true));
        }
        opened
    }

    #[test]
    fn any_share_of_bad_events_is_told_from_an_outage() {
        for bad in [100, 300, 500, 800, 950, 990] {
            let opened: u32 = (0..3).map(|seed| times_opened(bad, seed)).sum();
            // At the very beginning nothing is known of the handler.
            assert!(opened <= 6, "{opened} times with {bad} in a thousand");
        }
    }

    #[test]
    fn events_that_failed_before_open_nothing() {
        let mut circuit = circuit();
        (0..1_000).for_each(|key| assert_eq!(end(&mut circuit, key, false, Says::Down, 1_000), None));
    }

    #[test]
    fn what_says_nothing_of_the_outside_neither_opens_nor_closes() {
        let mut circuit = circuit();
        (0..1_000).for_each(|key| assert_eq!(end(&mut circuit, key, true, Says::Nothing, 1_000), None));
        let mut circuit = opened();
        circuit.probe(&Key::new("7"));
        assert_eq!(end(&mut circuit, 7, true, Says::Nothing, 1_600), None);
        assert_eq!(circuit.next_probe(), Some(1_600), "the next probe need not wait");
    }

    #[test]
    fn it_tries_one_event_at_a_time_with_growing_waits_and_closes_with_the_first_success() {
        let mut circuit = opened();
        assert_eq!(circuit.next_probe(), Some(1_499));
        circuit.probe(&Key::new("7"));
        assert_eq!(circuit.next_probe(), None, "one is under way");
        assert_eq!(
            end(&mut circuit, 3, true, Says::Up, 1_600),
            None,
            "it ran already when the circuit opened"
        );
        assert_eq!(fail(&mut circuit, 7, 1_600), None);
        assert_eq!(circuit.next_probe(), Some(2_100));
        circuit.probe(&Key::new("8"));
        assert_eq!(end(&mut circuit, 8, false, Says::Down, 2_100), None);
        assert_eq!(circuit.next_probe(), Some(3_100));
        circuit.probe(&Key::new("9"));
        assert_eq!(end(&mut circuit, 9, true, Says::Up, 3_200), Some(Change::Closed(1_000)));
        assert_eq!(circuit.open_since(), None);
    }

    #[test]
    fn after_its_longest_time_it_gives_up_until_something_succeeds() {
        let mut circuit = opened();
        let late = 1_000 + 3_600_000;
        circuit.probe(&Key::new("7"));
        assert_eq!(fail(&mut circuit, 7, late), Some(Change::GaveUp(1_000)));
        (0..1_000).for_each(|key| assert_eq!(fail(&mut circuit, key, late), None));
        end(&mut circuit, 1, false, Says::Up, late);
        let opened = (0..20_000).find(|key| fail(&mut circuit, *key, late) == Some(Change::Opened));
        assert!(opened.is_some());
    }

    #[test]
    fn without_a_policy_it_never_opens_and_without_anything_to_try_it_closes() {
        let mut never = Circuit::new(None);
        (0..100).for_each(|key| assert_eq!(fail(&mut never, key, 1), None));
        assert_eq!(opened().nothing_to_try(), Some(Change::Closed(1_000)));
    }
}
