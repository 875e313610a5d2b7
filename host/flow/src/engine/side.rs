//! What the engine keeps for each handler.

use std::collections::VecDeque;
use std::sync::Arc;

use super::fleet::Fleet;
use crate::activity::Counts;
use crate::flow::Job;
use crate::loss::Tally;
use crate::reader::{Reader, Room};
use crate::regulator::Regulator;
use crate::route::Routes;
use crate::shard::Holding;
use heddle_values::handlers::{HandlerIx, PerHandler};
use heddle_values::member::Activity;
use heddle_values::settings::HandlerSettings;

/// Events in memory, until their commit; every handler has the same share. The more there are, the more of one key's
/// changes become one message.
const MAX_HELD_EVENTS: usize = 16_384;

/// Bytes of events in memory, until their commit; every handler has the same share.
const MAX_HELD_BYTES: usize = 64 << 20;

/// The smallest share of a handler: enough for a full batch, and for one event of any size.
const MIN_SHARE_EVENTS: usize = 1_024;
const MIN_SHARE_BYTES: usize = 4 << 20;

/// One handler at work.
pub(super) struct Side {
    pub(super) settings: Arc<HandlerSettings>,
    /// What runs its events.
    pub(super) fleet: Fleet,
    /// What holds it back.
    pub(super) regulator: Regulator,
    /// Events that may run and have not begun.
    pub(super) ready: VecDeque<Job>,
    /// How many run, or wait for a worker.
    pub(super) running: usize,
    /// For how many ticks its window has been full.
    pub(super) full_for: u32,
    /// Why it cannot go on in its stream.
    pub(super) stopped: Option<String>,
    /// What it is still to be given.
    pub(super) tally: Tally,
    /// Whether the host before has said what it left.
    pub(super) marked: bool,
    pub(super) counts: Counts,
}

impl Side {
    /// How much more it can take, as one of N `handlers`, with what it holds already.
    pub(super) fn room(&self, held: Holding, handlers: usize) -> Room {
        let events = (MAX_HELD_EVENTS / handlers.max(1)).max(MIN_SHARE_EVENTS);
        let bytes = (MAX_HELD_BYTES / handlers.max(1)).max(MIN_SHARE_BYTES);
        let waits = self.regulator.stops_reading(&self.ready, |job| job.fresh);
        let stopped = held.full > 0 || waits;
        let below = |part: usize| !stopped && held.events < events / part && held.bytes < bytes / part;
        match (below(1), below(4)) {
            (false, _) => Room::None,
            (true, false) => Room::Some,
            (true, true) => Room::Plenty,
        }
    }

    /// What the host says of it. `lowest` is the lowest event that it has not done.
    pub(super) fn activity(&self, held: Holding, lowest: u64) -> Activity {
        Activity {
            outage_since: self.regulator.open_since(),
            canary: self.fleet.progress(),
            instances: self.fleet.ready() as u64,
            stopped: self.stopped.clone(),
            waits_for: (held.full > 0).then(|| format!("{}/{lowest}", self.settings.stream)),
            ..self.counts.activity(held)
        }
    }
}

/// The next sequence that each handler has not seen.
pub(super) fn positions(readers: &[(Reader, Routes)], sides: &PerHandler<Side>) -> PerHandler<u64> {
    let mut positions = sides.map(|_| 0);
    for (handler, position) in readers.iter().flat_map(|(reader, _)| reader.positions()) {
        positions[handler] = position;
    }
    positions
}

/// The next sequence that a handler has not seen; 0 if it is not read for.
pub(super) fn position(readers: &[(Reader, Routes)], handler: HandlerIx) -> u64 {
    readers.iter().find_map(|(reader, _)| reader.position(handler)).unwrap_or_default()
}
