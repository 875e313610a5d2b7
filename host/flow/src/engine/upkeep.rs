//! What the engine does now and then: moving handlers between cursors, rates, idle checkpoints and announcements.

use std::collections::BTreeMap;

use tokio::runtime::Handle;

use super::side::{Side, positions};
use super::{Engine, Rooms, now};
use crate::activity::Snapshot;
use crate::compact::Load;
use crate::jobs;
use heddle_values::member::{Activity, TTL_SECONDS};

/// How often the same warning comes again, in ticks of a second.
const TICKS_TO_WARN: u32 = 60;

/// How often the server is asked what it permits once it has denied something, in ticks of a second: what is granted
/// since counts after so long.
const TICKS_TO_ASK: u32 = 10;

impl Engine {
    pub(super) fn balance(&mut self) {
        let now = now();
        // The tasks of cursors that are no longer needed.
        while self.cursors.try_join_next().is_some() {}
        for (reader, _) in &mut self.readers {
            let rooms = Rooms { shards: self.flow.shards(), sides: &self.sides };
            let room = |handler| rooms.of(handler);
            reader.balance(&self.reading, &mut self.cursors, now, &room);
        }
    }

    pub(super) fn tick(&mut self) {
        let now = now();
        self.sides.iter_mut().for_each(|side| side.counts.take_rate(now));
        self.flow.evict(now);
        if std::mem::take(&mut self.moved) {
            self.touch_lagging(0);
        } else if self.flow.under_way() == 0 && self.flow.commits().is_empty() {
            self.compact(now, Load::Idle);
        }
        self.judge();
        self.trim();
        self.ticks = self.ticks.wrapping_add(1);
        if self.permissions.is_some() && self.ticks.is_multiple_of(TICKS_TO_ASK) {
            self.ask_permissions();
        }
        self.survey();
        self.warn_of_full_windows();
        let handlers = self.activity();
        let held_up = |handler| self.readers.iter().any(|(reader, _)| reader.is_held_up(handler));
        let unread: u64 = self.readers.iter().map(|(reader, _)| reader.unread()).sum();
        let snapshot = Snapshot {
            reading: !self.sides.rows().any(|(handler, side)| held_up(handler) || side.stopped.is_some()),
            lag: handlers.values().map(|activity| activity.in_flight).sum::<u64>() + unread,
            handlers,
        };
        self.snapshots.send_replace(snapshot);
    }

    fn activity(&self) -> BTreeMap<String, Activity> {
        let shards = self.flow.shards();
        let of = |(handler, side): (_, &Side)| {
            let activity = side.activity(shards.held(handler), shards.low(handler, u64::MAX));
            (side.settings.name.to_string(), activity)
        };
        self.sides.rows().map(of).collect()
    }

    /// Warns of each handler that has not been read for, for long: its window is full behind an event that is stuck.
    fn warn_of_full_windows(&mut self) {
        let shards = self.flow.shards();
        for (handler, side) in self.sides.rows_mut() {
            let held = shards.held(handler);
            side.full_for = if held.full > 0 { side.full_for + 1 } else { 0 };
            if side.full_for % TICKS_TO_WARN == 5 {
                tracing::warn!(
                    handler = &*side.settings.name,
                    low = shards.low(handler, u64::MAX),
                    in_memory = held.events,
                    retrying = held.waiting,
                    full_windows = held.full,
                    "handler reads no further until the event at `low` is done or a dead letter; `heddle status` says more"
                );
            }
        }
    }

    /// Lets every shard write its checkpoint of whose progress more than N messages are not stored yet.
    pub(super) fn touch_lagging(&mut self, messages: u64) {
        self.flow.touch_lagging(&positions(&self.readers, &self.sides).into(), messages);
    }

    /// Asks the server what the host's user may do.
    pub(super) fn ask_permissions(&mut self) {
        self.jobs.spawn(jobs::permissions(self.broker.clone()));
    }

    /// What this host says of itself now, and where.
    pub(super) fn announcement(&mut self) -> (String, Vec<u8>) {
        self.me.handlers = self.activity();
        let runtimes = [&Handle::current(), &self.threads];
        self.me.tasks = runtimes.map(|runtime| runtime.metrics().num_alive_tasks() as u64).iter().sum();
        let payload = serde_json::to_vec(&self.me).expect("a member is plain data");
        (self.flow.origins().names.member(&self.me.host), payload)
    }

    pub(super) fn announce(&mut self) {
        let (subject, payload) = self.announcement();
        self.jobs.spawn(jobs::announce(self.broker.clone(), subject, payload, TTL_SECONDS));
    }
}
