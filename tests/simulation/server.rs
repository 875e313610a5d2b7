//! The server: one stream that holds events, checkpoints, states and effects, and takes batches whole or not at all.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use heddle_values::batch::{BatchMessage, MAX_MESSAGES};
use heddle_values::dead_letter::DeadLetter;
use heddle_values::event::{Event, Headers, Source};
use heddle_values::gate::{Gate, taken_back};
use heddle_values::names::{Names, STATE_CLEARED, dead, held};

use crate::scene::STREAM;

/// A message under this subject is refused, and its batch with it.
pub(crate) const REFUSED: &str = "out.refused";

/// Why a batch is not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A checkpoint is not the one that the batch goes on from.
    Fenced(String),
    /// Something in it is at fault.
    Content(String),
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// The dead letter at a sequence is to be sent again; or, without being run, to hold its key no longer.
    DeadLetter { dead_letter: u64, release: bool },
    /// The key of a token is to be released.
    Key { shard: u16, token: String },
}

/// A request to a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) handler: String,
    pub(crate) wish: Wish,
}

/// One stream.
#[derive(Debug, Default)]
pub(crate) struct Server {
    next: u64,
    events: BTreeMap<u64, Arc<Event>>,
    /// Sequence and payload of what is rolled up, by subject.
    rolled_up: HashMap<String, (u64, Bytes)>,
    states: HashMap<String, Option<Bytes>>,
    dead_letters: BTreeMap<u64, DeadLetter>,
    /// What is held back, by subject and sequence.
    held_back: HashMap<String, BTreeMap<u64, (Headers, Bytes)>>,
    /// The last message of each gate.
    gates: BTreeMap<String, Gate>,
    pub(crate) requests: BTreeMap<u64, Request>,
    /// Whether batches are checked against the checkpoints that they go on from.
    pub(crate) fences: bool,
}

impl Server {
    pub(crate) fn new() -> Self {
        Server { next: 1, fences: true, ..Server::default() }
    }

    /// The sequence of the next message.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Stores an event.
    pub(crate) fn publish(&mut self, subject: String, time: u64) -> Arc<Event> {
        let event = Arc::new(Event {
            stream: STREAM.into(),
            sequence: self.next,
            payload: vec![b'x'; subject.len() % 7].into(),
            subject: subject.into(),
            time,
            headers: Headers::default(),
            source: Source::Stream,
        });
        self.events.insert(self.next, Arc::clone(&event));
        self.next += 1;
        event
    }

    /// The event of a sequence, if it is still there.
    pub(crate) fn event(&self, sequence: u64) -> Option<Arc<Event>> {
        self.events.get(&sequence).cloned()
    }

    /// The first events from a sequence on.
    pub(crate) fn events_from(&self, sequence: u64, most: usize) -> Vec<Arc<Event>> {
        self.events.range(sequence..).take(most).map(|(_, event)| Arc::clone(event)).collect()
    }

    /// Takes the oldest event off the stream.
    pub(crate) fn expire(&mut self) -> Option<u64> {
        self.events.pop_first().map(|(sequence, _)| sequence)
    }

    /// The last message of a subject that is rolled up.
    pub(crate) fn last(&self, subject: &str) -> Option<(u64, Bytes)> {
        self.rolled_up.get(subject).cloned()
    }

    /// The state under a subject.
    pub(crate) fn state(&self, subject: &str) -> Option<Bytes> {
        self.states.get(subject).cloned().unwrap_or_default()
    }

    /// Whether a handler has no state in a shard.
    pub(crate) fn is_stateless(&self, names: &Names, shard: u16, handler: &str) -> bool {
        let prefix = names.state_of_token(shard, handler, "");
        let mut states = self.states.iter().filter(|(subject, _)| subject.starts_with(&prefix));
        states.all(|(_, state)| state.is_none())
    }

    /// All dead letters.
    pub(crate) fn dead_letters(&self) -> impl Iterator<Item = &DeadLetter> {
        self.dead_letters.values()
    }

    /// The dead letter at a sequence, if it is still there.
    pub(crate) fn dead_letter(&self, sequence: u64) -> Option<&DeadLetter> {
        self.dead_letters.get(&sequence)
    }

    pub(crate) fn remove_dead_letter(&mut self, sequence: u64) {
        self.dead_letters.remove(&sequence);
    }

    /// All gates that are or were.
    pub(crate) fn gates(&self) -> impl Iterator<Item = (&str, &Gate)> {
        self.gates.iter().map(|(subject, gate)| (subject.as_str(), gate))
    }

    /// The gate under a subject.
    pub(crate) fn gate(&self, subject: &str) -> Option<&Gate> {
        self.gates.get(subject)
    }

    /// Where events were held back under a subject at or above a sequence, and their own sequences.
    pub(crate) fn held_back(&self, subject: &str, from: u64) -> impl Iterator<Item = (u64, u64)> {
        let of_subject =
            self.held_back.get(subject).into_iter().flat_map(move |held_back| held_back.range(from..));
        of_subject.filter_map(|(at, (headers, _))| Some((*at, headers.get(held::SEQUENCE)?.parse().ok()?)))
    }

    /// An event that was held back at a sequence.
    pub(crate) fn taken_back(&self, at: u64) -> Option<Event> {
        let (headers, payload) = self.held_back.values().find_map(|held_back| held_back.get(&at))?;
        taken_back(at, headers, payload.clone())?.ok()
    }

    /// Removes what was held back under a subject below a sequence.
    pub(crate) fn forget(&mut self, subject: &str, below: u64) {
        if let Some(held_back) = self.held_back.get_mut(subject) {
            held_back.retain(|at, _| *at >= below);
        }
    }

    /// Stores a request, unless there is one for the same. Its sequence.
    pub(crate) fn request(&mut self, request: Request) -> Option<u64> {
        let target = |request: &Request| match &request.wish {
            Wish::DeadLetter { dead_letter, .. } => dead_letter.to_string(),
            Wish::Key { token, .. } => format!("{}.{token}", request.handler),
        };
        if self.requests.values().any(|other| target(other) == target(&request)) {
            return None;
        }
        self.next += 1;
        self.requests.insert(self.next - 1, request);
        Some(self.next - 1)
    }

    /// Stores a batch, or says why not. The sequence of its first message.
    pub(crate) fn store(&mut self, batch: &[BatchMessage]) -> Result<u64, Refusal> {
        if batch.len() > MAX_MESSAGES {
            return Err(Refusal::Content(format!("{} messages", batch.len())));
        }
        for message in batch {
            let last = self.rolled_up.get(&message.subject).map_or(0, |(sequence, _)| *sequence);
            if message.expected_last.is_some_and(|expected| expected != last) && self.fences {
                return Err(Refusal::Fenced(format!("{}: {last}", message.subject)));
            }
            if message.subject == REFUSED {
                return Err(Refusal::Content("refused".to_owned()));
            }
            let same = batch.iter().filter(|other| other.rollup && other.subject == message.subject);
            if message.rollup && same.count() > 1 {
                return Err(Refusal::Content(format!("two roll-ups of {}", message.subject)));
            }
        }
        let first = self.next;
        for message in batch {
            self.take(message);
            self.next += 1;
        }
        Ok(first)
    }

    fn take(&mut self, message: &BatchMessage) {
        if message.expected_last.is_some() {
            self.rolled_up.insert(message.subject.clone(), (self.next, message.payload.clone()));
        }
        if message.subject.contains(".state.") {
            let cleared = message.headers.get(STATE_CLEARED).is_some();
            self.states.insert(message.subject.clone(), (!cleared).then(|| message.payload.clone()));
        }
        let (headers, payload) = (message.headers.clone(), message.payload.clone());
        if let Some(gate) = message.subject.contains(".gate.").then(|| Gate::decode(&payload)).flatten() {
            self.gates.insert(message.subject.clone(), gate);
        } else if headers.get(dead::CAUSE_CLASS).is_some() {
            self.dead_letters
                .insert(self.next, DeadLetter { sequence: self.next, stored: 0, headers, payload });
        } else if message.subject.contains(".held.") {
            let of_subject = self.held_back.entry(message.subject.clone()).or_default();
            of_subject.insert(self.next, (headers, payload));
        }
    }
}
