//! What the engine does now and then: moving handlers between cursors, rates, idle checkpoints and announcements.

use std::collections::BTreeMap;

use super::{Engine, Regulator, Rooms, now, positions};
use crate::flow::activity::Snapshot;
use crate::flow::jobs;
use crate::values::member::{Activity, TTL_SECONDS};

/// How often the same warning comes again, in ticks of a second.
const TICKS_TO_WARN: u32 = 60;

impl Engine {
    pub(super) fn balance(&mut self) {
        let now = now();
        // The tasks of cursors that are no longer needed.
        while self.cursors.try_join_next().is_some() {}
        for (reader, _) in &mut self.readers {
            let rooms = Rooms { shards: &self.shards, regulators: &self.regulators, ready: &self.ready };
            let room = |handler| rooms.of(handler);
            reader.balance(&self.reading, &mut self.cursors, now, &room);
        }
    }

    pub(super) fn tick(&mut self) {
        let now = now();
        self.counters.take_rates(now);
        self.states.evict(now);
        if std::mem::take(&mut self.moved) {
            self.touch_lagging(0);
        } else if self.under_way.is_empty() && self.commits.is_empty() {
            // Nobody waits for a commit now.
            self.compact(u64::MAX);
        }
        self.judge();
        self.survey();
        self.warn_of_full_windows();
        let handlers = self.activity();
        let held_up = |handler| self.readers.iter().any(|(reader, _)| reader.is_held_up(handler));
        let unread: u64 = self.readers.iter().map(|(reader, _)| reader.unread()).sum();
        let snapshot = Snapshot {
            reading: !(0..self.plan.handlers.len())
                .any(|handler| held_up(handler) || self.is_stopped(handler)),
            lag: handlers.values().map(|activity| activity.in_flight).sum::<u64>() + unread,
            handlers,
        };
        self.snapshots.send_replace(snapshot);
    }

    fn activity(&self) -> BTreeMap<String, Activity> {
        let outage =
            |handler| self.regulators.get(handler).and_then(|of: &Regulator| of.circuit.open_since());
        let mut activity = self.counters.activity(&self.shards, outage);
        for (of_handler, fleet) in self.plan.handlers.iter().zip(&self.fleets) {
            if let Some(activity) = activity.get_mut(&*of_handler.0) {
                activity.canary = fleet.progress();
            }
        }
        for (handler, (name, stream)) in self.plan.handlers.iter().enumerate() {
            let Some(activity) = activity.get_mut(&**name) else { continue };
            activity.stopped = self.stopped.get(handler).cloned().flatten();
            let is_full = self.shards.held(handler).full > 0;
            activity.waits_for = is_full.then(|| format!("{stream}/{}", self.shards.low(handler, u64::MAX)));
        }
        activity
    }

    /// A handler that has not been read for, for long, is told of: its window is full behind an event that is stuck.
    fn warn_of_full_windows(&mut self) {
        for (handler, (name, _)) in self.plan.handlers.iter().enumerate() {
            let Some(ticks) = self.without_room.get_mut(handler) else { continue };
            *ticks = if self.shards.held(handler).full > 0 { *ticks + 1 } else { 0 };
            if *ticks % TICKS_TO_WARN == 5 {
                let (low, held) = (self.shards.low(handler, u64::MAX), self.shards.held(handler));
                tracing::warn!(
                    handler = &**name,
                    low,
                    in_memory = held.events,
                    retrying = held.waiting,
                    full_windows = held.full,
                    "handler reads no further until the event at `low` is done or a dead letter; `heddle status` says more"
                );
            }
        }
    }

    /// Lets every shard write its checkpoint of whose progress more than so many messages are not stored yet.
    pub(super) fn touch_lagging(&mut self, messages: u64) {
        let positions = positions(&self.readers, self.plan.handlers.len());
        for shard in 0..self.shards.count() {
            let lags = |committed| self.shards.lags(shard, &positions, committed, messages);
            if self.commits.committed(shard).is_some_and(lags) {
                self.commits.touch(shard);
            }
        }
    }

    pub(super) fn announce(&mut self) {
        self.me.handlers = self.activity();
        let payload = serde_json::to_vec(&self.me).expect("a member is plain data");
        let subject = self.origins.names.member(&self.me.host);
        self.jobs.spawn(jobs::announce(self.broker.clone(), subject, payload, TTL_SECONDS));
    }
}
