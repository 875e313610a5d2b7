//! Positions: how far events have been read, for each handler and for shards that came later and are behind it. Pure.

use std::collections::BTreeMap;

use super::shards::Place;
use heddle_values::handlers::{HandlerIx, PerHandler};

/// The next sequences, of each handler's stream, that have not been seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Positions {
    of: PerHandler<u64>,
    /// Those of places that are behind their handler.
    behind: BTreeMap<Place, u64>,
}

impl From<PerHandler<u64>> for Positions {
    /// No place is behind its handler.
    fn from(of: PerHandler<u64>) -> Self {
        Positions { of, behind: BTreeMap::new() }
    }
}

impl From<Vec<u64>> for Positions {
    /// In the order of the handlers. No place is behind its handler.
    fn from(of: Vec<u64>) -> Self {
        PerHandler::from(of).into()
    }
}

impl Positions {
    /// The next sequence that a place has not seen.
    pub fn of(&self, place: Place) -> u64 {
        match self.behind.is_empty() {
            // Nearly always.
            true => self.of[place.handler],
            false => self.behind.get(&place).copied().unwrap_or(self.of[place.handler]),
        }
    }

    /// The next sequence that a handler has not seen, in the shards that are not behind it.
    pub fn of_handler(&self, handler: HandlerIx) -> u64 {
        self.of[handler]
    }

    /// A handler has seen everything below `next`, in the shards that are not behind it.
    pub fn seen(&mut self, handler: HandlerIx, next: u64) {
        let position = &mut self.of[handler];
        *position = next.max(*position);
    }

    /// A shard comes, whose lowest event of a handler that is not done is `low`. Whether it is behind the handler, and is
    /// to be read for by itself until it has [caught up](Self::catch_up).
    pub fn join(&mut self, place: Place, low: u64) -> bool {
        self.behind.remove(&place);
        let is_behind = low < self.of[place.handler];
        if is_behind {
            self.behind.insert(place, low);
        }
        is_behind
    }

    /// A place that is behind has seen everything below `next`. From its handler's position on, it sees what that sees.
    pub fn catch_up(&mut self, place: Place, next: u64) {
        let Some(position) = self.behind.get_mut(&place) else { return };
        *position = next.max(*position);
        if *position >= self.of[place.handler] {
            self.behind.remove(&place);
        }
    }

    /// A shard has gone.
    pub fn leave(&mut self, shard: u16) {
        self.behind.retain(|place, _| place.shard != shard);
    }

    /// The places that are behind their handlers, and their positions.
    pub fn behind(&self) -> impl Iterator<Item = (Place, u64)> {
        self.behind.iter().map(|(place, position)| (*place, *position))
    }

    /// Whether a message at a sequence, read for a handler at its position, is for a place: one that is behind gets it by
    /// itself, and one that has seen it does not get it again.
    pub fn takes(&self, place: Place, sequence: u64) -> bool {
        sequence >= self.of[place.handler] && !self.behind.contains_key(&place)
    }

    /// Whether a message at a sequence, read for a place that is behind, is for it: what its handler has not seen comes with
    /// that.
    pub fn takes_behind(&self, place: Place, sequence: u64) -> bool {
        let position = self.behind.get(&place);
        position.is_some_and(|position| (*position..self.of[place.handler]).contains(&sequence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Place = Place { shard: 1, handler: HandlerIx::FIRST };
    const OTHER: Place = Place { shard: 0, handler: HandlerIx::FIRST };

    #[test]
    fn a_shard_that_comes_sees_every_event_once_first_those_behind_its_handler() {
        let mut positions = Positions::from(vec![10]);
        assert!(positions.join(LATE, 7));
        let mut seen = Vec::new();
        // The handler goes on while the shard catches up.
        for (read, handler) in
            [(7, false), (10, true), (8, false), (9, false), (10, false), (11, true), (11, false)]
        {
            let takes = match handler {
                true => positions.takes(LATE, read),
                false => positions.takes_behind(LATE, read),
            };
            if takes {
                seen.push(read);
            }
            match handler {
                true => positions.seen(HandlerIx::FIRST, read + 1),
                false => positions.catch_up(LATE, read + 1),
            }
        }
        assert!(positions.takes(LATE, 12) && !positions.takes_behind(LATE, 12));
        assert_eq!(seen, [7, 8, 9, 10, 11]);
        assert_eq!((positions.of(LATE), positions.of(OTHER)), (12, 12));
    }

    #[test]
    fn a_shard_that_is_as_far_as_its_handler_needs_nothing_of_its_own_and_one_that_went_neither() {
        let mut positions = Positions::from(vec![10]);
        assert!(!positions.join(LATE, 10) && positions.takes(LATE, 10));
        assert!(positions.join(LATE, 3));
        assert_eq!((positions.of(LATE), positions.of(OTHER)), (3, 10));
        positions.leave(LATE.shard);
        assert_eq!(positions.behind().count(), 0);
    }
}
