//! Lanes: the events of one key for one handler, in the order in which they are to run.

use std::collections::VecDeque;
use std::sync::Arc;

use heddle_values::event::Event;
use heddle_values::position::Position;

/// How many events of a lane that is stuck stay in memory; the later ones are kept as positions.
pub(super) const STUCK_LANE_KEEPS: usize = 32;

/// How long the first event of a lane may take before the lane counts as stuck, in milliseconds.
const STUCK_AFTER: u64 = 1_000;

/// An event of a lane.
#[derive(Debug)]
pub(super) enum Slot {
    Here(Arc<Event>),
    /// Only the position is known.
    Away,
    /// A fetch is under way.
    Coming,
}

/// What the first event of a lane does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    Running,
    /// Until this time, in milliseconds since 1970.
    Waiting(u64),
    /// For its fetch, or for its gate.
    Fetching,
}

/// The events of one key.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) queue: VecDeque<(Position, Slot)>,
    pub(super) head: Head,
    /// When the first event became the first, in milliseconds since 1970.
    pub(super) since: u64,
}

impl Lane {
    pub(super) fn new(now: u64) -> Self {
        Lane { queue: VecDeque::new(), head: Head::Fetching, since: now }
    }

    /// Whether an event that comes now should be kept as its position only.
    pub(super) fn is_stuck(&self, now: u64) -> bool {
        let stuck = matches!(self.head, Head::Waiting(_)) || now.saturating_sub(self.since) > STUCK_AFTER;
        let behind_away = matches!(self.queue.back(), Some((_, Slot::Away | Slot::Coming)));
        (stuck || behind_away) && self.queue.len() >= STUCK_LANE_KEEPS
    }

    /// When the lane is to be woken, in milliseconds since 1970, if it waits.
    pub(super) fn due(&self) -> Option<u64> {
        if let Head::Waiting(due) = self.head { Some(due) } else { None }
    }

    /// The first event, if it is in memory.
    pub(super) fn first(&self) -> Option<&Arc<Event>> {
        match self.queue.front() {
            Some((_, Slot::Here(event))) => Some(event),
            _ => None,
        }
    }

    /// Whether an event that was held back stands first.
    pub(super) fn takes_back(&self) -> bool {
        self.queue.front().is_some_and(|(position, _)| position.is_held_back())
    }

    /// What of the first `number` events has to be fetched.
    pub(super) fn fetches(&mut self, number: usize) -> Vec<Position> {
        let mut positions = Vec::new();
        for (position, slot) in self.queue.iter_mut().take(number) {
            if matches!(slot, Slot::Away) {
                *slot = Slot::Coming;
                positions.push(*position);
            }
        }
        positions
    }
}
