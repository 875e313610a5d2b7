//! The record of a track: what is done, what is under way, and which attempts were used up.

use std::collections::{BTreeMap, BTreeSet};

use roaring::RoaringTreemap;

use super::{Admission, DONE_BYTES, WINDOW};
use heddle_values::attempt::{Attempt, MAX_CAUSE, MAX_TIMES};
use heddle_values::checkpoint::Progress;
use heddle_values::event::{Event, Source};
use heddle_values::position::Position;
use heddle_values::text::header_text;
use heddle_values::verdict::Failure;

/// What is known of the events of one handler in one shard.
#[derive(Debug)]
pub(super) struct Record {
    /// Everything below was done at the last commit.
    low: u64,
    /// What is done above.
    done: RoaringTreemap,
    /// The highest event that was read since the host started.
    seen: u64,
    unfinished: BTreeSet<u64>,
    /// Requests that are under way.
    replays: BTreeSet<u64>,
    /// Requests that are done and still in the stream.
    replayed: RoaringTreemap,
    attempts: BTreeMap<Position, Attempt>,
    /// Those of them whose last failure was in an outage.
    probed: BTreeSet<Position>,
    /// What the attempts take in a checkpoint, in bytes.
    attempt_bytes: usize,
    /// What the track may take in a checkpoint, in bytes.
    budget: usize,
}

impl Record {
    pub(super) fn new(progress: &Progress, budget: usize) -> Self {
        Record {
            low: progress.low,
            done: progress.done.clone(),
            seen: 0,
            unfinished: BTreeSet::new(),
            replays: BTreeSet::new(),
            replayed: progress.replayed.clone(),
            probed: BTreeSet::new(),
            attempt_bytes: progress.attempts.iter().map(Attempt::bytes).sum(),
            attempts: progress.attempts.iter().map(|a| (a.position, a.clone())).collect(),
            budget,
        }
    }

    /// The clock may have been set back since the attempts were written down: none of them failed later than `now`.
    pub(super) fn begin_at(&mut self, now: u64) {
        for attempt in self.attempts.values_mut() {
            let last = attempt.times.last().map_or(attempt.first, |last| attempt.first + u64::from(*last));
            let ahead = last.saturating_sub(now);
            attempt.first = attempt.first.saturating_sub(ahead);
            attempt.due = attempt.due.saturating_sub(ahead);
        }
    }

    /// Whether the window is full.
    pub(super) fn is_full(&self) -> bool {
        let done = usize::try_from(self.done.len()).unwrap_or(usize::MAX);
        let ahead = done + self.unfinished.len() + self.replays.len();
        let over = ahead >= WINDOW || ahead * DONE_BYTES + self.attempt_bytes >= self.budget;
        // After a restart the window may be full already. What is on record, and what lies between, has to be read again
        // before anything can move.
        let attempted = self.attempts.keys().rev().find_map(|position| position.in_stream());
        let recorded = self.done.max().max(attempted);
        over && recorded.is_none_or(|highest| self.seen >= highest)
    }

    /// The lowest event that is not done, `next` being the next one to be read.
    pub(super) fn low(&self, next: u64) -> u64 {
        self.low.max(self.unfinished.first().copied().unwrap_or(next))
    }

    /// An event was read.
    pub(super) fn begin(&mut self, event: &Event) -> Admission {
        let (is_done, is_new) = match event.source {
            Source::Stream => {
                let sequence = event.sequence;
                self.seen = self.seen.max(sequence);
                let is_done = sequence < self.low || self.done.contains(sequence);
                (is_done, !is_done && self.unfinished.insert(sequence))
            }
            Source::Replay(replay) => {
                let is_done = self.replayed.contains(replay.request);
                (is_done, !is_done && self.replays.insert(replay.request))
            }
            Source::Held(_) => (false, true),
        };
        match (is_done, is_new) {
            (true, _) => Admission::Known,
            (false, true) => Admission::Queued,
            (false, false) => Admission::Again,
        }
    }

    pub(super) fn attempt(&self, position: Position) -> Option<&Attempt> {
        self.attempts.get(&position)
    }

    /// How often an event that fails now was run, and when the last runs failed, in milliseconds since 1970.
    pub(super) fn history(&self, position: Position, now: u64) -> (u32, Vec<u64>) {
        let Some(before) = self.attempts.get(&position) else { return (1, vec![now]) };
        let skip = usize::from(before.times.len() == MAX_TIMES);
        let times = before.times.iter().skip(skip).map(|offset| before.first + u64::from(*offset));
        (before.attempts.saturating_add(1), times.chain([now]).collect())
    }

    /// An event failed and is to run again.
    pub(super) fn failed(
        &mut self,
        event: &Event,
        attempts: u32,
        due: u64,
        failure: &Failure,
        now: u64,
        outage: bool,
    ) {
        let position = event.position();
        let (_, times) = self.history(position, now);
        // What passes in an outage is not the event's time.
        let known = self.attempts.get(&position).map(|attempt| attempt.first).filter(|_| !outage);
        let first = known.unwrap_or(now);
        let offset = |time: u64| u32::try_from(time.saturating_sub(first)).unwrap_or(u32::MAX);
        let mut attempt = Attempt {
            position,
            attempts,
            first,
            due,
            class: failure.class,
            cause: String::new(),
            times: Vec::new(),
        };
        if self.attempt_bytes < self.budget {
            // Beyond it, what is in memory still has to be written down, but without words.
            attempt.cause = header_text(&failure.message, MAX_CAUSE);
            attempt.times = times.into_iter().filter(|time| *time >= first).map(offset).collect();
        }
        self.forget_attempt(position);
        self.attempt_bytes += attempt.bytes();
        self.attempts.insert(position, attempt);
        if outage {
            self.probed.insert(position);
        }
    }

    /// Whether the event failed last while the circuit was open.
    pub(super) fn failed_in_outage(&self, position: Position) -> bool {
        self.probed.contains(&position)
    }

    /// The event need not wait any longer.
    pub(super) fn is_due(&mut self, position: Position, now: u64) {
        if let Some(attempt) = self.attempts.get_mut(&position) {
            attempt.due = attempt.due.min(now);
        }
    }

    /// An event is no longer in the stream.
    pub(super) fn lost(&mut self, position: Position) {
        match position {
            Position::Stream(sequence) => drop(self.unfinished.remove(&sequence)),
            Position::Replay(request) => drop(self.replays.remove(&request)),
            Position::Held(_) => {}
        }
        self.forget_attempt(position);
    }

    /// How many events of the stream were read and are not done.
    pub(super) fn unfinished(&self) -> usize {
        self.unfinished.len()
    }

    /// See [`Track::take_missing`](super::Track::take_missing).
    pub(super) fn take_missing(&mut self, next: u64) -> Vec<u64> {
        let below = Position::Stream(self.low)..Position::Stream(next.max(self.low));
        let tried = self.attempts.range(below).filter_map(|(position, _)| position.in_stream());
        let has_not_come = |at: &u64| !self.unfinished.contains(at) && !self.done.contains(*at);
        let missing: Vec<u64> = tried.filter(has_not_come).collect();
        missing.iter().for_each(|at| self.forget_attempt(Position::Stream(*at)));
        missing
    }

    fn forget_attempt(&mut self, position: Position) {
        if let Some(attempt) = self.attempts.remove(&position) {
            self.attempt_bytes -= attempt.bytes();
            self.probed.remove(&position);
        }
    }

    /// See [`Track::progress`](super::Track::progress).
    pub(super) fn progress(&self, stream: &str, taken: &BTreeSet<Position>, next: u64) -> Progress {
        let first_left = self.unfinished.iter().find(|at| !taken.contains(&Position::Stream(**at)));
        let low = self.low.max(first_left.copied().unwrap_or(next));
        let mut done = self.done.clone();
        done.remove_range(..low);
        done.extend(taken.range(Position::Stream(low)..).map_while(|position| position.in_stream()));
        let mut replayed = self.replayed.clone();
        replayed.extend(taken.range(Position::FIRST_REPLAY..).filter_map(|position| position.request()));
        let left = Position::Stream(low);
        let attempts = self.attempts.values().filter(|a| a.position >= left && !taken.contains(&a.position));
        Progress {
            stream: stream.to_owned(),
            key: String::new(),
            low,
            done,
            attempts: attempts.cloned().collect(),
            replayed,
        }
    }

    /// See [`Track::committed`](super::Track::committed).
    pub(super) fn committed(&mut self, progress: &Progress) {
        self.low = self.low.max(progress.low);
        self.done.remove_range(..self.low);
        // What the checkpoint of an earlier run knew of events that are done by now.
        while let Some((&position, _)) = self.attempts.first_key_value()
            && position < Position::Stream(self.low)
        {
            self.forget_attempt(position);
        }
    }

    /// An event that came to its end is committed.
    pub(super) fn settled(&mut self, event: &Event) {
        self.forget_attempt(event.position());
        match event.source {
            Source::Stream => {
                self.unfinished.remove(&event.sequence);
                if event.sequence >= self.low {
                    self.done.insert(event.sequence);
                }
            }
            Source::Replay(replay) => {
                self.replays.remove(&replay.request);
                self.replayed.insert(replay.request);
            }
            Source::Held(_) => {}
        }
    }

    /// See [`Track::remembers_less`](super::Track::remembers_less).
    pub(super) fn remembers_less(&self, progress: &Progress) -> bool {
        progress.replayed.len() > self.replayed.len()
    }

    /// A request that is done is no longer in the stream.
    pub(super) fn removed(&mut self, request: u64) {
        self.replayed.remove(request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heddle_values::verdict::CauseClass;

    #[test]
    fn an_event_waits_no_longer_than_was_decided_when_the_clock_was_set_back_before_a_start() {
        let attempt = |position, first, due, last| Attempt {
            position: Position::Stream(position),
            attempts: 1,
            first,
            due,
            class: CauseClass::Retry,
            cause: String::new(),
            times: vec![0, last],
        };
        let attempts = vec![attempt(1, 3_600_000, 3_606_000, 1_000), attempt(2, 500, 2_500, 100)];
        let progress = Progress { attempts, ..Progress::default() };
        let mut record = Record::new(&progress, usize::MAX);
        record.begin_at(1_000);
        let of =
            |position| record.attempt(Position::Stream(position)).map(|attempt| (attempt.first, attempt.due));
        assert_eq!(of(1), Some((0, 6_000)), "an hour ahead: five seconds are left of six");
        assert_eq!(of(2), Some((500, 2_500)));
    }
}
