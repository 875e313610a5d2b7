//! What goes into a [`TestHost`](super::TestHost), and what it notes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use heddle_sandbox::LogLine;
use heddle_values::event::{Event, Headers, Source};
use heddle_values::handlers::HandlerIx;
use heddle_values::key::Key;
use heddle_values::settings::Settings;
use heddle_values::verdict::Verdict;

/// One run of one event by one handler.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The event, as its stream has it.
    pub event: Arc<Event>,
    /// The handler, by its place among those that take part in the test.
    pub handler: HandlerIx,
    /// The key whose lane it ran in.
    pub key: Key,
    /// From 1.
    pub attempt: u32,
    /// How the run ended. An event that may not run, as one without a key, fails without having come to the plugin.
    pub verdict: Verdict,
    /// What the plugin wrote in this run, in that order.
    pub logs: Vec<LogLine>,
    /// The key's state after the run.
    pub state: Option<Bytes>,
    /// When it ran, counted from the beginning of the test.
    pub at: Duration,
}

/// A message that is published.
#[derive(Debug, Clone)]
pub struct Publication {
    /// None: the application's own.
    pub stream: Option<Arc<str>>,
    /// None: the one after the last.
    pub sequence: Option<u64>,
    /// What it is published on. It is checked when that happens.
    pub subject: String,
    /// The publisher's headers, as the handlers see them.
    pub headers: Headers,
    /// What it carries, of any size: no server's limit counts here.
    pub payload: Bytes,
    /// In the place of what the handlers' templates say.
    pub key: Option<Key>,
}

impl Publication {
    /// A message without headers for the application's stream.
    pub fn new(subject: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Publication {
            stream: None,
            sequence: None,
            subject: subject.into(),
            headers: Headers::default(),
            payload: payload.into(),
            key: None,
        }
    }

    /// The first event of its stream, were it stored now.
    pub(super) fn as_event(&self, settings: &Settings) -> Event {
        Event {
            stream: self.stream.clone().unwrap_or_else(|| Arc::clone(&settings.stream.name)),
            sequence: self.sequence.unwrap_or(1),
            subject: self.subject.as_str().into(),
            time: 0,
            headers: self.headers.clone(),
            payload: self.payload.clone(),
            source: Source::Stream,
        }
    }
}
