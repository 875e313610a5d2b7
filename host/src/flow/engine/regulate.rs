//! What holds a handler back: its circuit, its pace, its concurrency, and how much of it is set aside.

use std::collections::VecDeque;

use super::{Engine, now};
use crate::flow::circuit::{Change, Circuit};
use crate::flow::jobs::Job;
use crate::flow::pace::Tokens;
use crate::flow::reader::Room;
use crate::flow::shard::{Hurry, Rules};
use crate::flow::shards::{HandlerIx, Shards};
use crate::values::key::Key;
use crate::values::settings::HandlerSettings;
use crate::values::verdict::{CauseClass, Verdict};

/// Events in memory, until their commit; every handler has the same share. The more there are, the more of one key's
/// changes become one message.
const MAX_HELD_EVENTS: usize = 16_384;

/// The same in bytes.
const MAX_HELD_BYTES: usize = 64 << 20;

/// The smallest share of a handler: enough for a full batch, and for one event of any size.
const MIN_SHARE_EVENTS: usize = 1_024;
const MIN_SHARE_BYTES: usize = 4 << 20;

/// Events of one handler that run or wait for a worker.
const MAX_DISPATCHED: usize = 256;

/// After so long it is looked again whether a probe can begin, in milliseconds.
const RECHECK: u64 = 10;

/// What holds one handler back.
#[derive(Debug)]
pub(super) struct Regulator {
    pub(super) circuit: Circuit,
    pub(super) tokens: Tokens,
    /// Events that run or wait for a worker, at the most.
    pub(super) dispatched: usize,
    /// Events that are set aside, about.
    pub(super) aside: u64,
    max_aside: u64,
}

impl Regulator {
    /// For a handler of which so many events are set aside.
    pub(super) fn new(settings: &HandlerSettings, aside: u64) -> Self {
        let concurrency = usize::try_from(settings.pace.concurrency.get()).unwrap_or(usize::MAX);
        Regulator {
            circuit: Circuit::new(settings.outage),
            tokens: Tokens::new(settings.pace.rate),
            // Several wait for each that runs, so that no thread ever looks in vain.
            dispatched: (4 * concurrency).min(MAX_DISPATCHED),
            aside,
            max_aside: settings.max_held,
        }
    }

    /// Whether so much is set aside that reading stops.
    pub(super) fn is_over_quota(&self) -> bool {
        self.aside >= self.max_aside
    }
}

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
        // With an open circuit, only what there is to be tried.
        let waits = regulator.circuit.open_since().is_some()
            && self.ready.get(handler).is_some_and(|ready| ready.iter().any(|job| job.attempt == 1));
        let stopped = held.full > 0 || waits || regulator.is_over_quota();
        let below = |part: usize| !stopped && held.events < events / part && held.bytes < bytes / part;
        match (below(1), below(4)) {
            (false, _) => Room::None,
            (true, false) => Room::Some,
            (true, true) => Room::Plenty,
        }
    }
}

impl Engine {
    /// Whether a run of the handler may begin now. With an open circuit, one at a time.
    pub(super) fn may_begin(&mut self, handler: HandlerIx) -> bool {
        let running = self.running.get(handler).copied().unwrap_or_default();
        let Some(regulator) = self.regulators.get_mut(handler) else { return false };
        if running >= regulator.dispatched || self.ready.get(handler).is_none_or(|ready| ready.is_empty()) {
            return false;
        }
        match regulator.circuit.open_since() {
            None => regulator.tokens.take(now()),
            Some(_) => regulator.circuit.next_probe().is_some_and(|due| due <= now()),
        }
    }

    /// The next run. With an open circuit, one that has not failed before: others may fail for reasons of their own.
    pub(super) fn next_job(&mut self, handler: HandlerIx) -> Option<Job> {
        let ready = self.ready.get_mut(handler)?;
        let open = self.regulators.get(handler)?.circuit.open_since().is_some();
        let first = open.then(|| ready.iter().position(|job| job.attempt == 1)).flatten().unwrap_or(0);
        ready.remove(first)
    }

    /// With an open circuit and nothing ready to be tried, a lane that waits is woken before its time.
    pub(super) fn look_for_probes(&mut self) {
        let now = now();
        for handler in 0..self.regulators.len() {
            let Some(regulator) = self.regulators.get_mut(handler) else { return };
            let due = regulator.circuit.next_probe().is_some_and(|due| due <= now);
            let idle = self.ready.get(handler).is_some_and(|ready| ready.is_empty());
            if !due || !idle || self.running.get(handler).is_some_and(|running| *running > 0) {
                continue;
            }
            if self.shards.hurry(handler, Hurry::One, now, &mut self.actions) == 0
                && self.shards.held(handler).events == 0
            {
                let change = regulator.circuit.give_up();
                self.changed(handler, change);
            }
        }
    }

    /// When a handler that is held back may go on, in milliseconds since 1970.
    pub(super) fn next_begin(&self) -> Option<u64> {
        let now = now();
        let next = |(regulator, ready): (&Regulator, &VecDeque<_>)| match regulator.circuit.open_since() {
            // One that is due and cannot begin waits for something else.
            Some(_) => regulator.circuit.next_probe().map(|due| due.max(now + RECHECK)),
            None => (!ready.is_empty() && regulator.tokens.is_limited()).then(|| regulator.tokens.next(now)),
        };
        self.regulators.iter().zip(&self.ready).filter_map(next).min()
    }

    /// A run ended: what its handler depends on may be to blame. Whether it is not to be counted.
    pub(super) fn regulate(&mut self, handler: HandlerIx, key: &Key, verdict: &Verdict) -> bool {
        let failed = match verdict {
            Verdict::Done(_) => false,
            Verdict::Failed(failure) => failure.class == CauseClass::Host || Rules::may_be_an_outage(failure),
        };
        let Some(regulator) = self.regulators.get_mut(handler) else { return false };
        let change = regulator.circuit.ended(key, failed, now(), rand::random());
        let open = regulator.circuit.open_since().is_some();
        self.changed(handler, change);
        open
    }

    fn changed(&mut self, handler: HandlerIx, change: Option<Change>) {
        let Some((name, _)) = self.plan.handlers.get(handler) else { return };
        match change {
            None => {}
            Some(Change::Opened) => tracing::warn!(
                handler = &**name,
                "circuit is open: too many keys fail; one event at a time is tried until that is over"
            ),
            Some(Change::Closed(since)) => {
                let now = now();
                let seconds = now.saturating_sub(since) / 1000;
                tracing::info!(handler = &**name, seconds, "circuit is closed: the handler goes on");
                // Nobody need wait any longer for what is over.
                self.shards.hurry(handler, Hurry::Probed, now, &mut self.actions);
            }
        }
    }
}
