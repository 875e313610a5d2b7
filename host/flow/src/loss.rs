//! Losses: events that are gone from a stream before their handler came to them.
//!
//! What is gone leaves no trace: neither its subject nor that it was there. So for every handler that is behind, it is
//! written down how many events lay in front of it, stretch by stretch, and compared with how many came once it has passed
//! them. Counts are of what the handler subscribes to, so what else was removed from the stream never looks like a loss.
//! Pure: the counts come from outside.

use std::collections::VecDeque;

use heddle_broker::StreamState;

/// A handler is warned of when what it has not done comes this near to the end of its retention: a tenth.
const NEAR: u64 = 10;

/// Stretches of a stream that are kept apart. A handler that stands still for long has them joined.
const STRETCHES: usize = 64;

/// A stretch of a stream in front of a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    from: u64,
    to: u64,
    /// How many events of the handler lay there; none while they are counted.
    events: Option<u64>,
    /// How many have come.
    came: u64,
    /// Whether only those count that were not done before.
    undone: bool,
}

/// What one handler is still to be given.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// In the order of the stream.
    stretches: VecDeque<Stretch>,
    /// Whether it was said that the end of the retention is near.
    warned: bool,
    /// Losses up to here were said before anything was counted.
    said: u64,
}

/// What is to be counted: the handler's events from one sequence up to and with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) from: u64,
    pub(super) to: u64,
}

/// Events that are gone and were never handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// How many, if the number is `exact`; otherwise how many at most.
    pub events: u64,
    /// Whether that is their number. Otherwise they are messages of which it is not known whether the handler subscribed
    /// to them: at most N events.
    pub exact: bool,
    /// They had sequences from here
    pub from: u64,
    /// to here.
    pub to: u64,
}

impl Tally {
    /// For a handler that the host before has left with N events not done, from one sequence up to another.
    pub(super) fn new(left: Option<(u64, u64, u64)>) -> Self {
        let left = left.filter(|(.., events)| *events > 0);
        let left =
            left.map(|(from, to, events)| Stretch { from, to, events: Some(events), came: 0, undone: true });
        Tally { stretches: left.into_iter().collect(), ..Tally::default() }
    }

    /// Something that the handler subscribes to was read for it; `undone` if it is to be run.
    pub(super) fn came(&mut self, sequence: u64, undone: bool) {
        let found = self.stretches.iter_mut().find(|stretch| sequence <= stretch.to);
        if let Some(stretch) = found.filter(|stretch| sequence >= stretch.from && (undone || !stretch.undone))
        {
            stretch.came += 1;
        }
    }

    /// What is known to be lost, the handler being given `position` next. Nothing is lost before it was passed: what is gone
    /// from the stream may be on its way to the handler.
    pub(super) fn passed(&mut self, position: u64) -> Option<Loss> {
        let mut loss: Option<Loss> = None;
        while let Some(stretch) = self.stretches.front().filter(|stretch| stretch.to < position)
            && let Some(events) = stretch.events
        {
            let (missing, from, to) = (events.saturating_sub(stretch.came), stretch.from, stretch.to);
            if missing > 0 {
                let before = loss.unwrap_or(Loss { events: 0, exact: true, from, to });
                loss = Some(Loss { events: before.events + missing, to, ..before });
            }
            self.stretches.pop_front();
        }
        loss
    }

    /// What is to be counted of a handler that is given `position` next, in a stream that ends at `last`. None while a
    /// count is under way, or if there is nothing new.
    pub(super) fn ask(&mut self, position: u64, last: u64) -> Option<Question> {
        let from = self.known_to(position) + 1;
        if from > last || self.stretches.iter().any(|stretch| stretch.events.is_none()) {
            return None;
        }
        self.stretches.push_back(Stretch { from, to: last, events: None, came: 0, undone: false });
        Some(Question { from, to: last })
    }

    /// The answer to what was [asked](Self::ask); none: it could not be counted, and is asked again.
    pub(super) fn answer(&mut self, events: Option<u64>) {
        let Some(last) = self.stretches.pop_back_if(|stretch| stretch.events.is_none()) else { return };
        let Some(events) = events else { return };
        let last = Stretch { events: Some(events), ..last };
        let is_full = self.stretches.len() >= STRETCHES;
        match self.stretches.back_mut() {
            Some(before) if is_full && before.undone == last.undone => {
                let joined = before.events.unwrap_or_default() + events;
                *before =
                    Stretch { to: last.to, events: Some(joined), came: before.came + last.came, ..*before };
            }
            _ => self.stretches.push_back(last),
        }
    }

    /// Up to where it is known what was in front of the handler; below `position` if it is not.
    pub(super) fn known_to(&self, position: u64) -> u64 {
        let to = self.stretches.back().map_or(0, |stretch| stretch.to);
        to.max(position.saturating_sub(1))
    }

    /// A loss up to a sequence was said, that was not found by counting.
    pub(super) fn said(&mut self, to: u64) {
        self.said = self.said.max(to);
    }

    /// The first sequence that is neither known nor said to be lost, the handler being given `position` next.
    pub(super) fn unknown_from(&self, position: u64) -> u64 {
        self.known_to(position).max(self.said) + 1
    }

    /// Begins again: what is read again would be counted again.
    pub(super) fn reset(&mut self) {
        *self = Tally { said: self.said, ..Tally::default() };
    }

    /// How many events that were counted have not come, and the first sequence that was not counted, the handler being
    /// given `position` next.
    pub(super) fn outstanding(&self, position: u64) -> (u64, u64) {
        let counted = self.stretches.iter().filter_map(|stretch| Some((stretch, stretch.events?)));
        let (mut open, mut next) = (0, position);
        for (stretch, events) in counted {
            open += events.saturating_sub(stretch.came);
            next = next.max(stretch.to + 1);
        }
        (open, next)
    }

    /// Whether the end of the retention has come near since this was last asked.
    pub(super) fn warns(&mut self, near: bool) -> bool {
        let before = std::mem::replace(&mut self.warned, near);
        near && !before
    }
}

/// How much of a stream's retention is left before it removes the message at a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Distance {
    /// What is left, and of how much, in milliseconds.
    Time(u64, u64),
    Messages(u64, u64),
    Bytes(u64, u64),
}

impl Distance {
    /// The distances of the message at `sequence`, which was stored at `time`, both times in milliseconds since 1970.
    pub(super) fn all(state: &StreamState, sequence: u64, time: u64, now: u64) -> Vec<Distance> {
        let mut all = Vec::new();
        let age = u64::try_from(state.max_age.as_millis()).unwrap_or(u64::MAX);
        if age > 0 {
            all.push(Distance::Time(time.saturating_add(age).saturating_sub(now), age));
        }
        let in_front = sequence.saturating_sub(state.first);
        if let Some(most) = state.max_messages {
            all.push(Distance::Messages(most.saturating_sub(state.messages).saturating_add(in_front), most));
        }
        if let Some(most) = state.max_bytes {
            let each = state.bytes.checked_div(state.messages).unwrap_or_default();
            let left = most.saturating_sub(state.bytes).saturating_add(in_front.saturating_mul(each));
            all.push(Distance::Bytes(left, most));
        }
        all
    }

    /// Whether less than a tenth is left.
    pub(super) fn is_near(self) -> bool {
        let (Distance::Time(left, of) | Distance::Messages(left, of) | Distance::Bytes(left, of)) = self;
        left < of / NEAR
    }
}

impl std::fmt::Display for Distance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = |milliseconds: u64| {
            humantime::format_duration(std::time::Duration::from_millis(milliseconds / 100 * 100))
        };
        match self {
            Distance::Time(left, of) => write!(f, "{} of {} (max_age)", time(*left), time(*of)),
            Distance::Messages(left, of) => write!(f, "{left} of {of} messages (max_msgs)"),
            Distance::Bytes(left, of) => write!(f, "{left} of {of} bytes (max_bytes)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A handler at `position` that has `events` in front of it, up to 100.
    fn behind(position: u64, events: u64) -> Tally {
        let mut tally = Tally::new(None);
        assert_eq!(tally.ask(position, 100), Some(Question { from: position, to: 100 }));
        assert_eq!(tally.ask(position, 120), None, "one count at a time");
        tally.answer(Some(events));
        tally
    }

    #[test]
    fn what_comes_is_never_taken_for_lost() {
        let mut tally = Tally::new(None);
        tally.ask(10, 100).unwrap();
        // Some come while it is counted, and some later.
        (10..20).for_each(|sequence| tally.came(sequence, true));
        tally.answer(Some(91));
        (20..50).for_each(|sequence| tally.came(sequence, true));
        assert_eq!(tally.passed(50), None);
        assert_eq!(tally.ask(50, 200), Some(Question { from: 101, to: 200 }));
        tally.answer(Some(100));
        // Gone from the stream, but on its way to the handler.
        (50..=200).for_each(|sequence| tally.came(sequence, true));
        assert_eq!(tally.passed(201), None);
        assert_eq!(tally.ask(201, 200), None, "nothing is in front of it");
    }

    #[test]
    fn what_is_gone_before_it_comes_is_counted_once() {
        let mut tally = behind(10, 91);
        (10..15).chain(45..=100).for_each(|sequence| tally.came(sequence, true));
        assert_eq!(tally.passed(100), None, "more may come");
        assert_eq!(tally.passed(101), Some(Loss { events: 30, exact: true, from: 10, to: 100 }));
        assert_eq!(tally.passed(102), None);
    }

    #[test]
    fn what_cannot_be_counted_is_asked_again() {
        let mut tally = Tally::new(None);
        tally.ask(10, 100).unwrap();
        tally.answer(None);
        assert_eq!(tally.passed(101), None);
        assert_eq!(tally.ask(10, 100), Some(Question { from: 10, to: 100 }));
    }

    #[test]
    fn what_the_host_before_left_is_settled_once_it_is_passed() {
        let mut tally = Tally::new(Some((5, 50, 20)));
        (5..15).for_each(|sequence| tally.came(sequence, true));
        // Done before, and read again.
        tally.came(16, false);
        assert_eq!(tally.ask(20, 60), Some(Question { from: 51, to: 60 }), "it is not counted twice");
        tally.answer(Some(10));
        assert_eq!(tally.outstanding(20), (20, 61));
        assert_eq!(tally.passed(51), Some(Loss { events: 10, exact: true, from: 5, to: 50 }));
    }

    #[test]
    fn what_was_said_once_is_not_said_again() {
        let mut tally = Tally::new(None);
        assert_eq!(tally.unknown_from(10), 10);
        tally.said(40);
        assert_eq!(tally.unknown_from(10), 41);
        tally.reset();
        assert_eq!(tally.unknown_from(10), 41);
        assert_eq!(tally.ask(10, 50), Some(Question { from: 10, to: 50 }), "what is there is counted");
        assert_eq!(tally.unknown_from(10), 51);
    }

    #[test]
    fn a_handler_that_stands_still_has_a_bounded_ledger() {
        let mut tally = behind(10, 5);
        for end in 101..1_000 {
            tally.ask(10, end).unwrap();
            tally.answer(Some(1));
        }
        assert_eq!(tally.stretches.len(), STRETCHES);
        assert_eq!(tally.outstanding(10), (5 + 899, 1_000));
        assert_eq!(tally.passed(1_000), Some(Loss { events: 904, exact: true, from: 10, to: 999 }));
    }

    #[test]
    fn the_end_of_the_retention_is_near_at_a_tenth_of_it() {
        let state = StreamState {
            first: 100,
            messages: 900,
            max_messages: Some(1_000),
            max_age: std::time::Duration::from_secs(10),
            ..StreamState::default()
        };
        let near = |sequence, time| -> Vec<bool> {
            Distance::all(&state, sequence, time, 20_000).into_iter().map(Distance::is_near).collect()
        };
        assert_eq!(near(100, 15_000), [false, false]);
        assert_eq!(near(100, 10_500), [true, false]);
        let full = StreamState { messages: 1_000, max_age: Default::default(), ..state };
        let left = |sequence| Distance::all(&full, sequence, 0, 20_000);
        assert_eq!(left(150), [Distance::Messages(50, 1_000)]);
        assert!(left(150)[0].is_near() && !left(300)[0].is_near());
        assert_eq!(left(150)[0].to_string(), "50 of 1000 messages (max_msgs)");
        let mut tally = Tally::default();
        assert_eq!([true, true, false, true].map(|near| tally.warns(near)), [true, false, false, true]);
    }
}
