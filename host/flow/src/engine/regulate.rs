//! What holds handlers back, as the engine acts on it: see [`regulator`](crate::regulator).

use std::collections::VecDeque;

use super::{Engine, now};
use crate::circuit::Change;
use crate::jobs::{Job, Ran};
use crate::reader::Room;
use crate::regulator::{Candidate, Probes, Regulator};
use crate::shard::Hurry;
use crate::shards::{HandlerIx, Shards};
use heddle_values::key::Key;
use heddle_values::verdict::Verdict;

/// Events in memory, until their commit; every handler has the same share. The more there are, the more of one key's
/// changes become one message.
const MAX_HELD_EVENTS: usize = 16_384;

/// The same in bytes.
const MAX_HELD_BYTES: usize = 64 << 20;

/// The smallest share of a handler: enough for a full batch, and for one event of any size.
const MIN_SHARE_EVENTS: usize = 1_024;
const MIN_SHARE_BYTES: usize = 4 << 20;

/// How much more each handler can take.
pub(super) struct Rooms<'a> {
    pub(super) shards: &'a Shards,
    pub(super) regulators: &'a [Regulator],
    pub(super) ready: &'a [VecDeque<Job>],
}

impl Rooms<'_> {
    pub(super) fn of(&self, handler: HandlerIx) -> Room {
        let Some(regulator) = self.regulators.get(handler) else { return Room::None };
        let held = self.shards.held(handler);
        let handlers = self.regulators.len().max(1);
        let events = (MAX_HELD_EVENTS / handlers).max(MIN_SHARE_EVENTS);
        let bytes = (MAX_HELD_BYTES / handlers).max(MIN_SHARE_BYTES);
        let waits =
            self.ready.get(handler).is_some_and(|ready| regulator.stops_reading(ready, |job| job.fresh));
        let stopped = held.full > 0 || waits;
        let below = |part: usize| !stopped && held.events < events / part && held.bytes < bytes / part;
        match (below(1), below(4)) {
            (false, _) => Room::None,
            (true, false) => Room::Some,
            (true, true) => Room::Plenty,
        }
    }
}

impl Engine {
    /// The next run of the handler, if one may begin now.
    pub(super) fn next_job(&mut self, handler: HandlerIx) -> Option<Job> {
        let running = self.running.get(handler).copied().unwrap_or_default();
        let (regulator, ready) = (self.regulators.get_mut(handler)?, self.ready.get_mut(handler)?);
        regulator.next(running, ready, |job| Candidate { key: &job.key, fresh: job.fresh }, now())
    }

    /// With an open circuit and nothing ready to be tried, a lane that waits is woken before its time.
    pub(super) fn look_for_probes(&mut self) {
        let now = now();
        for handler in 0..self.regulators.len() {
            let ready = self.ready.get(handler).map_or(0, VecDeque::len);
            let running = self.running.get(handler).copied().unwrap_or_default();
            let Some(regulator) = self.regulators.get_mut(handler) else { return };
            if regulator.probes(ready, running, now) == Probes::Wake
                && self.shards.hurry(handler, Hurry::One, now, &mut self.actions) == 0
                && self.shards.held(handler).events == 0
            {
                let change = regulator.nothing_to_try();
                self.changed(handler, change);
            }
        }
    }

    /// When a handler that is held back may go on, in milliseconds since 1970.
    pub(super) fn next_begin(&self) -> Option<u64> {
        let now = now();
        let next = |(regulator, ready): (&Regulator, &VecDeque<_>)| regulator.next_begin(ready.len(), now);
        self.regulators.iter().zip(&self.ready).filter_map(next).min()
    }

    /// A run ended: what its handler depends on may be to blame. Whether it is not to be counted.
    pub(super) fn regulate(&mut self, handler: HandlerIx, key: &Key, verdict: &Verdict, ran: &Ran) -> bool {
        let Some(regulator) = self.regulators.get_mut(handler) else { return false };
        let event = Candidate { key, fresh: ran.fresh };
        let (outage, change) = regulator.ended(event, verdict, ran.outside, now(), rand::random());
        self.changed(handler, change);
        outage
    }

    fn changed(&mut self, handler: HandlerIx, change: Option<Change>) {
        let Some((name, _)) = self.plan.handlers.get(handler) else { return };
        match change {
            None => {}
            Some(Change::Opened) => tracing::warn!(
                handler = &**name,
                "circuit is open: too many keys fail; one event at a time is tried until that is over"
            ),
            Some(Change::Closed(since) | Change::GaveUp(since)) => {
                let now = now();
                let seconds = now.saturating_sub(since) / 1000;
                if matches!(change, Some(Change::GaveUp(_))) {
                    tracing::error!(
                        handler = &**name,
                        seconds,
                        "circuit was open for `outage.max-open`: failures use up attempts from now on, until an event succeeds"
                    );
                } else {
                    tracing::info!(handler = &**name, seconds, "circuit is closed: the handler goes on");
                }
                // Nobody need wait any longer for what is over.
                self.shards.hurry(handler, Hurry::Probed, now, &mut self.actions);
            }
        }
    }
}
