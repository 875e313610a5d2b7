//! Positions: what tells an event from all others of its handler that are under way.

use serde::{Deserialize, Serialize};

/// The bit of a replay in a written position.
const REPLAY: u64 = 1 << 63;

/// The bit of an event that was held back in a written position.
const HELD: u64 = 1 << 62;

/// Where an event comes from. Those of the stream are the lowest, in the order of the stream.
///
/// Written as one number, whose two highest bits say which of the three it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub enum Position {
    /// From its stream, at this sequence.
    Stream(u64),
    /// It was held back, and stands at this sequence of the application's stream.
    Held(u64),
    /// A dead letter that is replayed: the sequence of the request in the application's stream.
    Replay(u64),
}

impl Position {
    /// The lowest position that is not of the stream.
    pub const BEYOND_STREAM: Position = Position::Held(0);

    /// The lowest position of a replay.
    pub const FIRST_REPLAY: Position = Position::Replay(0);

    /// Sequences below this can be written, whatever they are of.
    pub const SEQUENCES: u64 = HELD;

    /// The sequence in the stream, of an event that comes from there.
    pub fn in_stream(self) -> Option<u64> {
        match self {
            Position::Stream(sequence) => Some(sequence),
            Position::Held(_) | Position::Replay(_) => None,
        }
    }

    /// The sequence of the request, of a dead letter that is replayed.
    pub fn request(self) -> Option<u64> {
        match self {
            Position::Replay(request) => Some(request),
            Position::Stream(_) | Position::Held(_) => None,
        }
    }

    /// Whether it is that of an event that was held back.
    pub fn is_held_back(self) -> bool {
        matches!(self, Position::Held(_))
    }
}

impl From<Position> for u64 {
    fn from(position: Position) -> u64 {
        match position {
            Position::Stream(sequence) => sequence,
            Position::Held(sequence) => HELD | sequence,
            Position::Replay(request) => REPLAY | request,
        }
    }
}

impl From<u64> for Position {
    fn from(written: u64) -> Self {
        if written & REPLAY != 0 {
            Position::Replay(written & !REPLAY)
        } else if written & HELD != 0 {
            Position::Held(written & !HELD)
        } else {
            Position::Stream(written)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_written_and_numbers_have_the_order_of_positions() {
        let all = [0, 1, Position::SEQUENCES - 1];
        let kinds = [Position::Stream, Position::Held, Position::Replay];
        let positions: Vec<Position> = kinds.iter().flat_map(|kind| all.map(kind)).collect();
        let written: Vec<u64> = positions.iter().map(|position| u64::from(*position)).collect();
        assert!(positions.is_sorted() && written.is_sorted());
        assert_eq!(written.into_iter().map(Position::from).collect::<Vec<_>>(), positions);
    }
}
