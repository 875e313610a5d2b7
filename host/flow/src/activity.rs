//! What the host tells of its handlers: counters, and the rate since it was last asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::shards::{HandlerIx, Shards};
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

/// Counts for each handler.
#[derive(Debug)]
pub(super) struct Counters {
    rows: Vec<Row>,
    /// When rates were last taken, in milliseconds since 1970.
    since: u64,
}

#[derive(Debug)]
struct Row {
    name: Arc<str>,
    settled: u64,
    dead_letters: u64,
    retries: u64,
    lost: u64,
    markers: u64,
    failures: BTreeMap<String, u64>,
    settled_before: u64,
    rate: f64,
}

impl Counters {
    pub(super) fn new(names: impl IntoIterator<Item = Arc<str>>, now: u64) -> Self {
        let row = |name| Row {
            name,
            settled: 0,
            dead_letters: 0,
            retries: 0,
            lost: 0,
            markers: 0,
            failures: BTreeMap::new(),
            settled_before: 0,
            rate: 0.0,
        };
        Counters { rows: names.into_iter().map(row).collect(), since: now }
    }

    /// An event of the handler is committed.
    pub(super) fn settled(&mut self, handler: HandlerIx, dead: bool) {
        if let Some(row) = self.rows.get_mut(handler) {
            row.settled += 1;
            row.dead_letters += u64::from(dead);
        }
    }

    /// An event of the handler will be run again.
    pub(super) fn retried(&mut self, handler: HandlerIx) {
        if let Some(row) = self.rows.get_mut(handler) {
            row.retries += 1;
        }
    }

    /// Events of the handler are lost.
    pub(super) fn lost(&mut self, handler: HandlerIx, events: u64) {
        if let Some(row) = self.rows.get_mut(handler) {
            row.lost += events;
        }
    }

    /// The handler was not given what the server wrote itself.
    pub(super) fn marker(&mut self, handler: HandlerIx) {
        if let Some(row) = self.rows.get_mut(handler) {
            row.markers += 1;
        }
    }

    /// A run of the handler failed.
    pub(super) fn failed(&mut self, handler: HandlerIx, failure: &Failure) {
        if let Some(row) = self.rows.get_mut(handler) {
            *row.failures.entry(failure.kind()).or_default() += 1;
        }
    }

    /// Takes the rates since the last call.
    pub(super) fn take_rates(&mut self, now: u64) {
        let milliseconds = now.saturating_sub(self.since).max(1);
        self.since = now;
        for row in &mut self.rows {
            let settled = row.settled - row.settled_before;
            row.settled_before = row.settled;
            row.rate = settled as f64 * 1000.0 / milliseconds as f64;
        }
    }

    /// Everything as it is now.
    pub(super) fn activity(
        &self,
        shards: &Shards,
        outage_since: impl Fn(HandlerIx) -> Option<u64>,
    ) -> BTreeMap<String, Activity> {
        let activity = |(handler, row): (HandlerIx, &Row)| {
            let held = shards.held(handler);
            let activity = Activity {
                in_flight: held.events as u64,
                retrying: held.waiting as u64,
                events_per_second: row.rate,
                settled: row.settled,
                retries: row.retries,
                dead_letters: row.dead_letters,
                failures: row.failures.clone(),
                outage_since: outage_since(handler),
                instances: 0,
                canary: None,
                lost: row.lost,
                markers: row.markers,
                stopped: None,
                waits_for: None,
            };
            (row.name.to_string(), activity)
        };
        self.rows.iter().enumerate().map(activity).collect()
    }
}
