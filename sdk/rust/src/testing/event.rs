//! The event a test hands to a handler.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::event::Headers;

/// Begins an event on `subject`, with an empty payload.
pub fn event(subject: impl Into<String>) -> TestEvent {
    TestEvent {
        subject: subject.into(),
        headers: Vec::new(),
        payload: Vec::new(),
        key: None,
        sequence: None,
        time: None,
        attempt: 1,
        correlation: None,
    }
}

/// An event to be. What is not set is given by [`TestHandler::run`](super::TestHandler::run).
#[derive(Clone, Debug)]
#[must_use]
pub struct TestEvent {
    pub(super) subject: String,
    pub(super) headers: Headers,
    pub(super) payload: Vec<u8>,
    pub(super) key: Option<String>,
    pub(super) sequence: Option<u64>,
    pub(super) time: Option<SystemTime>,
    pub(super) attempt: u32,
    pub(super) correlation: Option<String>,
}

impl TestEvent {
    /// A JSON payload.
    ///
    /// # Panics
    /// If it cannot be written as JSON.
    #[track_caller]
    pub fn json<T: Serialize + ?Sized>(self, payload: &T) -> Self {
        self.bytes(serde_json::to_vec(payload).expect("the payload can be written as JSON"))
    }

    /// A text payload.
    pub fn text(self, payload: impl Into<String>) -> Self {
        self.bytes(payload.into())
    }

    /// Any payload.
    pub fn bytes(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.payload = payload.into();
        self
    }

    /// Adds a header. `Nats-…` headers are not shown to the handler, as by the host.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Asks for an answer on `inbox`. Without it a reply is refused.
    pub fn reply_to(self, inbox: impl Into<String>) -> Self {
        self.header("Heddle-Reply-To", inbox)
    }

    /// The key, in place of the one that the template gives.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The sequence in the stream, which is part of the event's id. By default the next one.
    pub fn sequence(mut self, sequence: u64) -> Self {
        self.sequence = Some(sequence);
        self
    }

    /// When the stream stored it. By default a fixed time and one second for each sequence.
    pub fn time(mut self, time: SystemTime) -> Self {
        self.time = Some(time);
        self
    }

    /// Which try this is. By default the first, which is 1.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// The id of the event that began the chain. By default the event's own.
    pub fn correlation(mut self, id: impl Into<String>) -> Self {
        self.correlation = Some(id.into());
        self
    }
}

/// The time of an event that does not say: 2026-01-01 and a second for each sequence.
pub(super) fn default_time(sequence: u64) -> SystemTime {
    const START_OF_2026: Duration = Duration::from_secs(1_767_225_600);
    UNIX_EPOCH + START_OF_2026 + Duration::from_secs(sequence)
}
