//! What the host says of its handlers: counts, and the rate since it was last asked.

use std::collections::BTreeMap;

use super::shard::Holding;
use heddle_values::member::Activity;
use heddle_values::verdict::Failure;

/// What the host does at a moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// Whether every handler is being read for.
    pub reading: bool,
    /// Events that are not handled yet: those in memory and those still to be read.
    pub lag: u64,
    /// By the handler's name.
    pub handlers: BTreeMap<String, Activity>,
}

/// Counts of one handler.
#[derive(Debug)]
pub(super) struct Counts {
    settled: u64,
    dead_letters: u64,
    retries: u64,
    lost: u64,
    markers: u64,
    failures: BTreeMap<String, u64>,
    settled_before: u64,
    /// When the rate was last taken, in milliseconds since 1970.
    since: u64,
    rate: f64,
}

impl Counts {
    pub(super) fn new(now: u64) -> Self {
        Counts {
            settled: 0,
            dead_letters: 0,
            retries: 0,
            lost: 0,
            markers: 0,
            failures: BTreeMap::new(),
            settled_before: 0,
            since: now,
            rate: 0.0,
        }
    }

    /// An event is committed.
    pub(super) fn settled(&mut self, dead: bool) {
        self.settled += 1;
        self.dead_letters += u64::from(dead);
    }

    /// An event will be run again.
    pub(super) fn retried(&mut self) {
        self.retries += 1;
    }

    /// Events are lost.
    pub(super) fn lost(&mut self, events: u64) {
        self.lost += events;
    }

    /// The handler was not given what the server wrote itself.
    pub(super) fn marker(&mut self) {
        self.markers += 1;
    }

    /// A run failed.
    pub(super) fn failed(&mut self, failure: &Failure) {
        *self.failures.entry(failure.kind()).or_default() += 1;
    }

    /// Takes the rate since the last call.
    pub(super) fn take_rate(&mut self, now: u64) {
        let milliseconds = now.saturating_sub(self.since).max(1);
        self.since = now;
        let settled = self.settled - self.settled_before;
        self.settled_before = self.settled;
        self.rate = settled as f64 * 1000.0 / milliseconds as f64;
    }

    /// Everything as it is now, of a handler that holds so much.
    pub(super) fn activity(&self, held: Holding) -> Activity {
        Activity {
            in_flight: held.events as u64,
            retrying: held.waiting as u64,
            events_per_second: self.rate,
            settled: self.settled,
            retries: self.retries,
            dead_letters: self.dead_letters,
            failures: self.failures.clone(),
            lost: self.lost,
            markers: self.markers,
            ..Activity::default()
        }
    }
}
