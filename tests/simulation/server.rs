//! The server: one stream that holds events, checkpoints, states and effects, and takes batches whole or not at all.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use heddle::values::batch::{BatchMessage, MAX_MESSAGES};
use heddle::values::event::{Event, Headers, Source};
use heddle::values::names::STATE_CLEARED;

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

/// One stream.
#[derive(Debug)]
pub(crate) struct Server {
    next: u64,
    events: BTreeMap<u64, Arc<Event>>,
    /// Sequence and payload of what is rolled up, by subject.
    rolled_up: HashMap<String, (u64, Bytes)>,
    states: HashMap<String, Option<Bytes>>,
    /// Whether batches are checked against the checkpoints that they go on from.
    pub(crate) fences: bool,
}

impl Server {
    pub(crate) fn new() -> Self {
        let (events, rolled_up, states) = Default::default();
        Server { next: 1, events, rolled_up, states, fences: true }
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
    }
}
