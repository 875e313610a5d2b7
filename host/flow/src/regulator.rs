//! The regulator of a handler: what holds it back, be it an outage, its pace, its concurrency or how much is held back.
//!
//! Decides which event begins next. Pure: no clock, no I/O; times are in milliseconds since 1970.

use std::collections::VecDeque;

use super::circuit::{Change, Circuit, Ended, Says};
use super::pace::Tokens;
use super::shard::{Blame, Rules};
use heddle_sandbox::Outside;
use heddle_values::key::Key;
use heddle_values::policy::{OutagePolicy, Pace};
use heddle_values::verdict::{CauseClass, Verdict};

/// Events of one handler that run or wait for a worker.
const MAX_DISPATCHED: usize = 256;

/// After this time it is tried again whether a probe can begin, in milliseconds.
const RECHECK: u64 = 10;

/// An event that can begin, or that ended.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The event's key, by which the circuit knows the end of a probe.
    pub key: &'a Key,
    /// Whether it had not failed before.
    pub fresh: bool,
}

/// What is to be done about probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probes {
    /// Nothing: none is due, or there is something that can begin.
    Wait,
    /// A lane is to be woken before its time; if there is none and nothing is held, say
    /// [`nothing_to_try`](Regulator::nothing_to_try).
    Wake,
}

/// What holds one handler back.
#[derive(Debug)]
pub struct Regulator {
    circuit: Circuit,
    tokens: Tokens,
    /// Events that run or wait for a worker, at the most.
    dispatched: usize,
    /// Events that are held back, about.
    pub held_back: u64,
    max_held_back: u64,
}

impl Regulator {
    /// For a handler of which about `held_back` events are held back, and `max_held_back` may be.
    pub fn new(outage: Option<OutagePolicy>, pace: &Pace, (held_back, max_held_back): (u64, u64)) -> Self {
        let concurrency = usize::try_from(pace.concurrency.get()).unwrap_or(usize::MAX);
        Regulator {
            circuit: Circuit::new(outage),
            tokens: Tokens::new(pace.rate),
            // Several wait for each that runs, so that no thread is ever idle while events wait.
            dispatched: (4 * concurrency).min(MAX_DISPATCHED),
            held_back,
            max_held_back,
        }
    }

    /// Events are no longer held back.
    pub fn released(&mut self, events: u64) {
        self.held_back = self.held_back.saturating_sub(events);
    }

    /// Since when the circuit is open; none: it is closed.
    pub fn open_since(&self) -> Option<u64> {
        self.circuit.open_since()
    }

    /// Whether reading stops: too much is held back, or, with an open circuit, there is something to be tried.
    pub fn stops_reading<T>(&self, ready: &VecDeque<T>, is_fresh: impl Fn(&T) -> bool) -> bool {
        self.held_back >= self.max_held_back || (self.open_since().is_some() && ready.iter().any(is_fresh))
    }

    /// Takes the event that begins now, if one may. With an open circuit it is one at a time, and one that has not
    /// failed before if there is one: others may fail for reasons of their own.
    pub fn next<T>(
        &mut self,
        running: usize,
        ready: &mut VecDeque<T>,
        candidate: impl Fn(&T) -> Candidate<'_>,
        now: u64,
    ) -> Option<T> {
        if running >= self.dispatched || ready.is_empty() {
            return None;
        }
        if self.open_since().is_none() {
            return if self.tokens.take(now) { ready.pop_front() } else { None };
        }
        self.circuit.next_probe().filter(|due| *due <= now)?;
        let fresh = ready.iter().position(|event| candidate(event).fresh);
        let probe = ready.remove(fresh.unwrap_or(0))?;
        self.circuit.probe(candidate(&probe).key);
        Some(probe)
    }

    /// What is to be done about probes, with this number of events ready and running.
    pub fn probes(&self, ready: usize, running: usize, now: u64) -> Probes {
        let due = self.circuit.next_probe().is_some_and(|due| due <= now);
        if due && ready == 0 && running == 0 { Probes::Wake } else { Probes::Wait }
    }

    /// When an event may begin, in milliseconds since 1970, if that depends on the time.
    pub fn next_begin(&self, ready: usize, now: u64) -> Option<u64> {
        match self.open_since() {
            // One that is due and cannot begin waits for something else.
            Some(_) => self.circuit.next_probe().map(|due| due.max(now + RECHECK)),
            None => (ready > 0 && self.tokens.is_limited()).then(|| self.tokens.next(now)),
        }
    }

    /// Nothing is left that could be tried: it is closed, so that more is read.
    pub fn nothing_to_try(&mut self) -> Option<Change> {
        self.circuit.nothing_to_try()
    }

    /// A run ended, and came to know this of the outside. Whose failure it is if it failed, the event's or that of what the
    /// handler depends on, and what has changed. `random` is uniform over all of `u64`.
    pub fn ended(
        &mut self,
        event: Candidate<'_>,
        verdict: &Verdict,
        outside: Outside,
        now: u64,
        random: u64,
    ) -> (Blame, Option<Change>) {
        let says = says(verdict, outside);
        let change = self.circuit.ended(Ended { key: event.key, fresh: event.fresh, says }, now, random);
        let blame = match says {
            Says::Down if self.open_since().is_some() => Blame::Outage,
            Says::Down => match self.circuit.unclear(now) {
                Some((since, until)) => Blame::Unclear { since, until },
                None => Blame::Event,
            },
            Says::Up | Says::Nothing => Blame::Event,
        };
        (blame, change)
    }
}

/// What a run says of what its handler depends on.
fn says(verdict: &Verdict, outside: Outside) -> Says {
    let failure = match verdict {
        Verdict::Done(_) => None,
        // What the host could not do, and what the handler puts off by itself, says nothing.
        Verdict::Failed(failure) if matches!(failure.class, CauseClass::Host | CauseClass::Defer) => {
            return Says::Nothing;
        }
        Verdict::Failed(failure) => Some(failure),
    };
    match (outside, failure) {
        (Outside::Untouched, _) => Says::Nothing,
        (Outside::Answered, _) | (Outside::Unseen, None) => Says::Up,
        (Outside::Failed | Outside::Unseen, Some(failure)) if Rules::may_be_an_outage(failure) => Says::Down,
        // An event that is bad in itself is so whether the outside is up or not.
        (Outside::Unseen, Some(_)) | (Outside::Failed, _) => Says::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heddle_values::effects::Effects;
    use heddle_values::verdict::Failure;

    #[test]
    fn what_the_outside_answers_says_more_than_what_the_handler_makes_of_it() {
        let done = || Verdict::Done(Effects::default());
        let failed = |failure: Failure| Verdict::Failed(failure.into());
        for (verdict, outside, expected) in [
            (done(), Outside::Untouched, Says::Nothing),
            (done(), Outside::Answered, Says::Up),
            (done(), Outside::Failed, Says::Nothing),
            (done(), Outside::Unseen, Says::Up),
            (failed(Failure::retry("")), Outside::Untouched, Says::Nothing),
            (failed(Failure::retry("")), Outside::Answered, Says::Up),
            (failed(Failure::trap("")), Outside::Failed, Says::Down),
            (failed(Failure::trap("")), Outside::Unseen, Says::Down),
            (failed(Failure::reject("")), Outside::Failed, Says::Nothing),
            (failed(Failure::reject("")), Outside::Unseen, Says::Nothing),
            (failed(Failure::new(CauseClass::Host, "")), Outside::Unseen, Says::Nothing),
            (failed(Failure::defer(std::time::Duration::ZERO, "")), Outside::Failed, Says::Nothing),
        ] {
            assert_eq!(says(&verdict, outside), expected, "{verdict:?} {outside:?}");
        }
    }
    #[test]
    fn events_that_are_rejected_neither_hide_an_outage_nor_end_it() {
        let mut regulator = Regulator::new(Some(OutagePolicy::default()), &Pace::default(), (0, 100));
        let keys: Vec<Key> = (0..200).map(|n| Key::new(&n.to_string())).collect();
        let [retried, rejected] =
            [Failure::retry("away"), Failure::reject("bad")].map(|failure| Verdict::Failed(failure.into()));
        let mut ready: VecDeque<&Key> = keys.iter().collect();
        let mut now = 1_000;
        // In an outage, a tenth is rejected and all else fails.
        for number in 0..ready.len() {
            let key = std::iter::from_fn(|| {
                now += 10;
                Some(regulator.next(0, &mut ready, |key| Candidate { key, fresh: true }, now))
            });
            let key = key.take(1_000).flatten().next().expect("something begins within ten seconds");
            let verdict = if number % 10 == 0 { &rejected } else { &retried };
            let event = Candidate { key, fresh: true };
            regulator.ended(event, verdict, Outside::Unseen, now, u64::MAX);
            assert_eq!(regulator.open_since().is_some(), number >= 22, "after {number} events");
        }
    }
}
