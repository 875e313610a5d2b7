//! A handler under test: its settings, and the state it keeps for each key.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::double::{self, World};
use super::event::{self, TestEvent};
use super::key;
use super::run::{self, Run};
use crate::{Event, Handler, Verdict};

/// Runs a handler once, with the defaults of [`handler`].
pub fn run(handle: impl Fn(&Event) -> Verdict, event: TestEvent) -> Run {
    handler(handle).run(event)
}

/// A handler under test: a function, or [`fresh::<T>`](fresh) for a type.
///
/// By default it is called `handler` and reads the stream `TEST`, its key is the whole subject, it has no
/// config, and it may publish on every subject.
pub fn handler<F: Fn(&Event) -> Verdict>(handle: F) -> TestHandler<F> {
    TestHandler {
        handle,
        name: "handler".to_owned(),
        stream: "TEST".to_owned(),
        key: "{subject}".to_owned(),
        publishes: None,
        config: BTreeMap::new(),
        limits: Limits::default(),
        states: BTreeMap::new(),
        last_sequence: 0,
    }
}

/// Handles an event on a fresh instance of a [`Handler`] type.
///
/// # Errors
/// The verdict of [`Handler::new`] or [`Handler::handle`].
pub fn fresh<H: Handler>(event: &Event) -> Verdict {
    H::new()?.handle(event)
}

/// The `limits` table of a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most messages for one event; 100 by default.
    pub messages: u32,
    /// The most bytes of subjects, headers and payloads for one event; 1 MiB by default.
    pub output: u64,
    /// The most bytes of the state of a key; 256 KiB by default.
    pub state: u64,
    /// The run time that [`context::deadline`](crate::context::deadline) tells; 2 seconds by default. It is
    /// not enforced.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { messages: 100, output: 1 << 20, state: 256 << 10, time: Duration::from_secs(2) }
    }
}

/// A handler that runs one event after another and keeps a state for each key. Made by [`handler`].
#[derive(Clone, Debug)]
#[must_use]
pub struct TestHandler<F> {
    handle: F,
    name: String,
    stream: String,
    key: String,
    publishes: Option<Vec<String>>,
    config: BTreeMap<String, String>,
    limits: Limits,
    states: BTreeMap<String, Vec<u8>>,
    last_sequence: u64,
}

impl<F: Fn(&Event) -> Verdict> TestHandler<F> {
    /// The handler's name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The stream it reads.
    pub fn stream(mut self, stream: impl Into<String>) -> Self {
        self.stream = stream.into();
        self
    }

    /// The template of the key, as in `heddle.toml`: `{subject}`, `{subject.2}`, `{header.Customer}`,
    /// `{payload./customer/id}` and `{event}`, which may be joined.
    pub fn key(mut self, template: impl Into<String>) -> Self {
        self.key = template.into();
        self
    }

    /// The subjects it may publish on, with `*` and `>`.
    pub fn publishes<S: Into<String>>(mut self, patterns: impl IntoIterator<Item = S>) -> Self {
        self.publishes = Some(patterns.into_iter().map(Into::into).collect());
        self
    }

    /// Adds a setting.
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.insert(name.into(), value.into());
        self
    }

    /// The limits it runs under.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The state that earlier events of `key` have left.
    ///
    /// # Panics
    /// If it cannot be written as JSON.
    #[track_caller]
    pub fn given_state<T: Serialize + ?Sized>(mut self, key: impl Into<String>, state: &T) -> Self {
        let bytes = serde_json::to_vec(state).expect("the state can be written as JSON");
        self.states.insert(key.into(), bytes);
        self
    }

    /// The state of `key` as the events so far have left it.
    ///
    /// # Panics
    /// If it is not what `T` asks for.
    #[track_caller]
    pub fn state<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        self.states.get(key).map(|bytes| run::decode(bytes))
    }

    /// Runs the next event. If it fails, its effects and its state are forgotten.
    ///
    /// # Panics
    /// If the handler panics, or the event has no key: a host would not have run it.
    #[track_caller]
    pub fn run(&mut self, event: TestEvent) -> Run {
        let sequence = event.sequence.unwrap_or_else(|| self.last_sequence.saturating_add(1));
        self.last_sequence = sequence;
        let (world, event) = self.prepare(event, sequence);
        let (verdict, world) = double::enter(world, || (self.handle)(&event));
        if verdict.is_ok() {
            match &world.state {
                Some(state) => self.states.insert(event.key.clone(), state.clone()),
                None => self.states.remove(&event.key),
            };
        }
        let state = self.states.get(&event.key).cloned();
        Run::new(verdict, state, world)
    }

    #[track_caller]
    fn prepare(&self, event: TestEvent, sequence: u64) -> (World, Event) {
        let TestEvent { subject, mut headers, payload, key, time, attempt, correlation, .. } = event;
        headers.retain(|(name, _)| !name.starts_with("Nats-"));
        let id = format!("{}/{sequence}", self.stream);
        let time = time.unwrap_or_else(|| event::default_time(sequence));
        let mut event = Event { id, subject, key: String::new(), time, headers, payload };
        event.key = key
            .or_else(|| key::of(&self.key, &event))
            .expect("the event has what the `key` template asks for");
        let world = World {
            attempt,
            stream: self.stream.clone(),
            sequence,
            handler: self.name.clone(),
            correlation: correlation.unwrap_or_else(|| event.id.clone()),
            reply_to: event.header("Heddle-Reply-To").map(str::to_owned),
            config: self.config.clone(),
            publishes: self.publishes.clone(),
            limits: self.limits.clone(),
            state: self.states.get(&event.key).cloned(),
            ..World::default()
        };
        (world, event)
    }
}
