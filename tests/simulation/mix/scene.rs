//! The scene of a mix: which events there are, and how each fares.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use heddle_values::event::{Event, Headers, Source};
use heddle_values::policy::{OutagePolicy, RetryPolicy};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{BEGINNING, EVENTS, SLOW};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Ok,
    Slow,
    /// Fails at its first attempts.
    Flaky(u32),
    Poison,
    Rejected,
}

/// Shares of events in a thousand; the rest succeeds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shares {
    pub(super) flaky: u32,
    pub(super) poison: u32,
    pub(super) rejected: u32,
    pub(super) slow: u32,
}

/// Whether there is a circuit, and what it knows of the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Circuit {
    Off,
    /// Whether the outside answers, as for a handler that calls it over HTTP.
    Sees,
    /// Nothing but the verdicts.
    Guesses,
}

/// How long the circuit of a handler may be open that can only guess.
pub(super) const MAX_OPEN: u64 = 60_000;

#[derive(Debug, Clone)]
pub(super) struct Scene {
    pub(super) shares: Shares,
    /// The events of every other key all succeed.
    pub(super) keys: u64,
    pub(super) circuit: Circuit,
    /// When nothing succeeds that depends on the outside, counted from the beginning.
    pub(super) outage: Range<u64>,
}

impl Scene {
    pub(super) fn policy(&self) -> Option<OutagePolicy> {
        match self.circuit {
            Circuit::Off => None,
            Circuit::Sees => Some(OutagePolicy::default()),
            Circuit::Guesses => {
                let max_open = Duration::from_millis(MAX_OPEN);
                Some(OutagePolicy { max_open, ..OutagePolicy::default() })
            }
        }
    }

    pub(super) fn key(&self, sequence: u64) -> u64 {
        StdRng::seed_from_u64(sequence ^ 0x5eed).random_range(0..self.keys)
    }

    pub(super) fn is_clean(&self, sequence: u64) -> bool {
        self.key(sequence).is_multiple_of(2)
    }

    pub(super) fn fate(&self, sequence: u64) -> Fate {
        if self.is_clean(sequence) {
            return Fate::Ok;
        }
        let mut random = StdRng::seed_from_u64(sequence);
        let mut left = random.random_range(0..1_000_u32);
        // Half of all keys are clean: the others have twice the share.
        let Shares { flaky, poison, rejected, slow } = self.shares;
        for (share, fate) in [
            (flaky, Fate::Flaky(random.random_range(1..=2))),
            (poison, Fate::Poison),
            (rejected, Fate::Rejected),
            (slow, Fate::Slow),
        ] {
            if left < 2 * share {
                return fate;
            }
            left -= 2 * share;
        }
        Fate::Ok
    }

    pub(super) fn event(&self, sequence: u64) -> Arc<Event> {
        Arc::new(Event {
            stream: "S".into(),
            sequence,
            subject: format!("in.{}", self.key(sequence)).into(),
            time: (BEGINNING + sequence) * 1_000_000,
            headers: Headers::default(),
            payload: Bytes::new(),
            source: Source::Stream,
        })
    }

    /// The longest that the retries of any key's events can take together, in milliseconds.
    pub(super) fn longest_chain(&self, policy: &RetryPolicy) -> u64 {
        let mut of_keys: BTreeMap<u64, u64> = BTreeMap::new();
        let bound = |attempts: u32| policy.backoff.bound(attempts).as_millis() as u64;
        for sequence in 1..=EVENTS {
            let waits = match self.fate(sequence) {
                Fate::Flaky(times) => (1..=times).map(bound).sum(),
                Fate::Poison => (1..policy.max_attempts.get()).map(bound).sum(),
                Fate::Slow => SLOW,
                Fate::Ok | Fate::Rejected => 0,
            };
            *of_keys.entry(self.key(sequence)).or_default() += waits;
        }
        of_keys.into_values().max().unwrap_or_default()
    }
}
