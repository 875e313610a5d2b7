//! The shard: what is done, what waits and what may run, for one share of the keys.
//!
//! Promises that of each lane (the events of one key for one handler) at most one event runs, in the order
//! of the stream, and that a [`Progress`] never claims more than what was settled. Pure: no clock, no I/O;
//! time and randomness come in as arguments, and everything it wants done goes out as an [`Action`].

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use roaring::RoaringTreemap;

use crate::values::checkpoint::{Attempt, MAX_CAUSE, Progress};
use crate::values::dead_letter::header_text;
use crate::values::effects::Effects;
use crate::values::event::Event;
use crate::values::key::Key;
use crate::values::policy::RetryPolicy;
use crate::values::verdict::{Cause, Decision, Failure, Verdict, decide};

/// How many events of one handler a shard may run ahead of its lowest unfinished one.
pub const WINDOW: usize = 65_536;

/// What a done event takes in a checkpoint at worst, in bytes: see the Roaring format.
const DONE_BYTES: usize = 2;

/// What a retry under way takes in a checkpoint beside its cause, in bytes.
const ATTEMPT_BYTES: usize = 24;

/// How many events of a lane that is stuck stay in memory; the later ones are kept as sequences.
const STUCK_LANE_KEEPS: usize = 32;

/// How long the first event of a lane may take before the lane counts as stuck, in milliseconds.
const STUCK_AFTER: u64 = 1_000;

/// What a shard wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Run the event, then say [`Track::finished`].
    Run { key: Key, event: Arc<Event>, attempt: u32 },
    /// Read the events again, then say [`Track::fetched`] for each.
    Fetch { key: Key, sequences: Vec<u64> },
    /// Say [`Track::wake`] at this time, in milliseconds since 1970.
    WakeAt { key: Key, due: u64 },
    /// Commit the outcome, then say [`Track::settled`].
    Settle(Settled),
    /// Commit the checkpoint: an attempt was used up.
    Record,
}

/// An event that came to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    pub key: Key,
    pub event: Arc<Event>,
    pub outcome: Outcome,
}

/// The two ends of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Done(Effects),
    /// The cause and how often the event was run.
    Dead(Cause, u32),
}

/// What became of an event that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It waits or runs.
    Queued,
    /// The checkpoint says that it is done, or it is queued already.
    Known,
}

/// How much a track holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Events in memory, those waiting for their commit included.
    pub events: usize,
    /// What they weigh, in bytes.
    pub bytes: usize,
    /// Keys that wait for a retry.
    pub waiting: usize,
    /// 1 if the window is full.
    pub full: usize,
}

/// An event of a lane.
#[derive(Debug)]
enum Slot {
    Here(Arc<Event>),
    /// Only the sequence is known.
    Away,
    /// A fetch is under way.
    Coming,
}

/// What the first event of a lane does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    Running,
    /// Until so many milliseconds since 1970.
    Waiting(u64),
    /// For its fetch.
    Fetching,
}

#[derive(Debug)]
struct Lane {
    queue: VecDeque<(u64, Slot)>,
    head: Head,
    /// When the first event became the first, in milliseconds since 1970.
    since: u64,
}

/// One handler in one shard.
#[derive(Debug)]
pub struct Track {
    /// Everything below was done at the last commit.
    low: u64,
    /// What is done above.
    done: RoaringTreemap,
    /// The highest event that was read since the host started.
    seen: u64,
    unfinished: BTreeSet<u64>,
    attempts: BTreeMap<u64, Attempt>,
    /// What the attempts take in a checkpoint, in bytes.
    attempt_bytes: usize,
    /// What the track may take in a checkpoint, in bytes.
    budget: usize,
    lanes: HashMap<Key, Lane>,
    held: Held,
}

impl Track {
    /// Goes on from a checkpoint. `budget` bounds what the track takes in the next ones, in bytes.
    pub fn new(progress: &Progress, budget: usize) -> Self {
        Track {
            attempt_bytes: progress.attempts.iter().map(attempt_bytes).sum(),
            budget,
            low: progress.low,
            done: progress.done.clone(),
            seen: 0,
            unfinished: BTreeSet::new(),
            attempts: progress.attempts.iter().map(|a| (a.sequence, a.clone())).collect(),
            lanes: HashMap::new(),
            held: Held::default(),
        }
    }

    /// How much is held now.
    pub fn held(&self) -> Held {
        let ahead = usize::try_from(self.done.len()).unwrap_or(usize::MAX) + self.unfinished.len();
        let over = ahead >= WINDOW || ahead * DONE_BYTES + self.attempt_bytes >= self.budget;
        // After a restart the window may be full already. What is on record, and what lies between, has to be read again
        // before anything can move.
        let recorded = self.done.max().max(self.attempts.last_key_value().map(|(sequence, _)| *sequence));
        let full = over && recorded.is_none_or(|highest| self.seen >= highest);
        Held { full: usize::from(full), ..self.held }
    }

    /// The lowest event that is not done, `position` being the next one to be read.
    pub fn low(&self, position: u64) -> u64 {
        self.low.max(self.unfinished.first().copied().unwrap_or(position))
    }

    /// An event was read. Events come in the order of their sequences.
    pub fn read(&mut self, event: Arc<Event>, key: Key, now: u64, actions: &mut Vec<Action>) -> Admission {
        let sequence = event.sequence;
        self.seen = self.seen.max(sequence);
        if sequence < self.low || self.done.contains(sequence) || !self.unfinished.insert(sequence) {
            return Admission::Known;
        }
        let Some(lane) = self.lanes.get_mut(&key) else {
            self.held.hold(&event);
            let queue = VecDeque::from([(sequence, Slot::Here(event))]);
            self.lanes.insert(key.clone(), Lane { queue, head: Head::Fetching, since: now });
            self.advance(&key, now, actions);
            return Admission::Queued;
        };
        let stuck = matches!(lane.head, Head::Waiting(_)) || now.saturating_sub(lane.since) > STUCK_AFTER;
        let behind_away = matches!(lane.queue.back(), Some((_, Slot::Away | Slot::Coming)));
        if (stuck || behind_away) && lane.queue.len() >= STUCK_LANE_KEEPS {
            lane.queue.push_back((sequence, Slot::Away));
        } else {
            self.held.hold(&event);
            lane.queue.push_back((sequence, Slot::Here(event)));
        }
        Admission::Queued
    }

    /// The event that ran came to a verdict. `random` is uniform over all of `u64`.
    pub fn finished(
        &mut self,
        key: &Key,
        verdict: Verdict,
        policy: &RetryPolicy,
        now: u64,
        random: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let Some((sequence, Slot::Here(event))) = lane.queue.front() else { return };
        let (sequence, event) = (*sequence, Arc::clone(event));
        let used = self.attempts.get(&sequence).map_or(0, |attempt| attempt.attempts);
        let outcome = match verdict {
            Verdict::Done(effects) => Outcome::Done(effects),
            Verdict::Failed(failure) => match decide(policy, used, &failure, random) {
                Decision::DeadLetter(cause) => Outcome::Dead(cause, used.saturating_add(1)),
                Decision::Again { delay, attempts } => {
                    let due = now.saturating_add(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
                    self.wait(key, sequence, attempts, due, &failure, actions);
                    return;
                }
            },
        };
        lane.queue.pop_front();
        lane.since = now;
        actions.push(Action::Settle(Settled { key: key.clone(), event, outcome }));
        if lane.queue.is_empty() {
            self.lanes.remove(key);
        } else {
            self.advance(key, now, actions);
        }
    }

    /// Lets the lane wait and keeps what is far behind its first event as sequences.
    fn wait(
        &mut self,
        key: &Key,
        sequence: u64,
        attempts: u32,
        due: u64,
        failure: &Failure,
        actions: &mut Vec<Action>,
    ) {
        let mut attempt = Attempt { sequence, attempts, due, cause: String::new() };
        if self.attempt_bytes < self.budget {
            // Beyond it, what is in memory still has to be written down, but without words.
            attempt.cause = header_text(&failure.cause().message, MAX_CAUSE);
        }
        self.forget_attempt(sequence);
        self.attempt_bytes += attempt_bytes(&attempt);
        self.attempts.insert(sequence, attempt);
        let Some(lane) = self.lanes.get_mut(key) else { return };
        lane.head = Head::Waiting(due);
        self.held.waiting += 1;
        for (_, slot) in lane.queue.iter_mut().skip(STUCK_LANE_KEEPS) {
            if let Slot::Here(event) = slot {
                self.held.release(event);
                *slot = Slot::Away;
            }
        }
        actions.push(Action::Record);
        actions.push(Action::WakeAt { key: key.clone(), due });
    }

    /// A time that was asked for has come.
    pub fn wake(&mut self, key: &Key, now: u64, actions: &mut Vec<Action>) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        if matches!(lane.head, Head::Waiting(due) if due <= now) {
            lane.since = now;
            self.held.waiting -= 1;
            self.advance(key, now, actions);
        }
    }

    /// An event that was away is here again; none: it is no longer in the stream.
    pub fn fetched(
        &mut self,
        key: &Key,
        sequence: u64,
        event: Option<Arc<Event>>,
        now: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let Some(index) = lane.queue.iter().position(|(s, _)| *s == sequence) else { return };
        let gone = event.is_none();
        match event {
            Some(event) => {
                let Some((_, slot)) = lane.queue.get_mut(index) else { return };
                self.held.hold(&event);
                *slot = Slot::Here(event);
            }
            None => {
                lane.queue.remove(index);
            }
        }
        let (empty, waits_for_it) = (lane.queue.is_empty(), lane.head == Head::Fetching);
        if gone {
            self.unfinished.remove(&sequence);
            self.forget_attempt(sequence);
        }
        if empty {
            self.lanes.remove(key);
        } else if waits_for_it {
            self.advance(key, now, actions);
        }
    }

    /// Sets the first event of a lane going. The lane has one, and nothing of it runs.
    fn advance(&mut self, key: &Key, now: u64, actions: &mut Vec<Action>) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let Some((sequence, slot)) = lane.queue.front() else { return };
        let attempt = self.attempts.get(sequence);
        if let Some(attempt) = attempt.filter(|attempt| attempt.due > now) {
            lane.head = Head::Waiting(attempt.due);
            self.held.waiting += 1;
            actions.push(Action::WakeAt { key: key.clone(), due: attempt.due });
            return;
        }
        match slot {
            Slot::Here(event) => {
                lane.head = Head::Running;
                let attempt = attempt.map_or(0, |attempt| attempt.attempts).saturating_add(1);
                actions.push(Action::Run { key: key.clone(), event: Arc::clone(event), attempt });
            }
            Slot::Away | Slot::Coming => lane.head = Head::Fetching,
        }
        let mut sequences = Vec::new();
        for (sequence, slot) in lane.queue.iter_mut().take(STUCK_LANE_KEEPS) {
            if matches!(slot, Slot::Away) {
                *slot = Slot::Coming;
                sequences.push(*sequence);
            }
        }
        if !sequences.is_empty() {
            actions.push(Action::Fetch { key: key.clone(), sequences });
        }
    }

    fn forget_attempt(&mut self, sequence: u64) {
        if let Some(attempt) = self.attempts.remove(&sequence) {
            self.attempt_bytes -= attempt_bytes(&attempt);
        }
    }

    /// The progress as it will be once the events of `taken` are committed; `position` is the next event
    /// to be read for the handler.
    pub fn progress(&self, stream: &str, taken: &BTreeSet<u64>, position: u64) -> Progress {
        let first_left = self.unfinished.iter().find(|sequence| !taken.contains(*sequence));
        let low = self.low.max(first_left.copied().unwrap_or(position));
        let mut done = self.done.clone();
        done.remove_range(..low);
        done.extend(taken.range(low..).copied());
        let attempts = self.attempts.values().filter(|a| a.sequence >= low && !taken.contains(&a.sequence));
        Progress {
            stream: stream.to_owned(),
            key: String::new(),
            low,
            done,
            attempts: attempts.cloned().collect(),
        }
    }

    /// A progress that [`progress`](Self::progress) gave was committed.
    pub fn committed(&mut self, progress: &Progress) {
        self.low = self.low.max(progress.low);
        self.done.remove_range(..self.low);
        // What the checkpoint of an earlier run knew of events that are done by now.
        while let Some((&sequence, _)) = self.attempts.first_key_value()
            && sequence < self.low
        {
            self.forget_attempt(sequence);
        }
    }

    /// An event that was settled is committed.
    pub fn settled(&mut self, event: &Event) {
        self.held.release(event);
        self.unfinished.remove(&event.sequence);
        self.forget_attempt(event.sequence);
        if event.sequence >= self.low {
            self.done.insert(event.sequence);
        }
    }
}

fn attempt_bytes(attempt: &Attempt) -> usize {
    ATTEMPT_BYTES + attempt.cause.len()
}

impl Held {
    fn hold(&mut self, event: &Event) {
        self.events += 1;
        self.bytes += event.weight();
    }

    fn release(&mut self, event: &Event) {
        self.events -= 1;
        self.bytes -= event.weight();
    }
}
