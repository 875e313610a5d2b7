//! An application in memory: its real plugins in the real sandbox, a stream in memory, and a clock that is put on.
//!
//! What decides about order, retries and dead letters is the flow's own code. What is left out is whatever needs time
//! or a server to mean something: rates, outages, trials of new versions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::record::{Publication, Ran};
use heddle_flow::route::Routes;
use heddle_flow::shard::{Action, Blame, Outcome, Rules, Settled};
use heddle_flow::shards::{HandlerIx, Place, Placed, Plan, Shards};
use heddle_sandbox::{Call, Plugin};
use heddle_values::causality;
use heddle_values::checkpoint::Checkpoint;
use heddle_values::effects::{Effects, Message, StateChange, When};
use heddle_values::event::Event;
use heddle_values::key::Key;
use heddle_values::names;
use heddle_values::refusal::refusal;
use heddle_values::settings::Settings;
use heddle_values::subject;
use heddle_values::verdict::{Failure, Verdict};

/// When the clock of a test begins unless it says otherwise: 2026-01-01T00:00:00Z, in nanoseconds since 1970.
pub const BEGINNING: u64 = 1_767_225_600_000_000_000;

/// Runs of handlers after which a test is given up: it goes in circles.
const MAX_RUNS: usize = 100_000;

const MILLISECOND: u64 = 1_000_000;

/// An application in memory.
pub struct TestHost {
    settings: Arc<Settings>,
    plugins: Vec<Arc<Plugin>>,
    routes: BTreeMap<Arc<str>, Routes>,
    shards: Shards,
    states: HashMap<(HandlerIx, Key), Bytes>,
    streams: BTreeMap<Arc<str>, Vec<Arc<Event>>>,
    /// By when they are due, in nanoseconds since 1970, and in which order they were asked for.
    scheduled: BTreeMap<(u64, u64), Publication>,
    runnable: Vec<(Place, Key, Arc<Event>, u32)>,
    condemned: HashMap<(HandlerIx, u64), Failure>,
    actions: Vec<Placed>,
    /// In nanoseconds since 1970.
    now: u64,
    beginning: u64,
    /// None: what waits longest runs next.
    order: Option<StdRng>,
    runs: Vec<Ran>,
    ends: Vec<(HandlerIx, Settled)>,
}

impl TestHost {
    /// The application with these plugins, one for each handler. Its clock stands at `beginning`, in nanoseconds since
    /// 1970. With a `seed`, keys take their turns in a random order that the seed decides.
    pub fn new(
        settings: Arc<Settings>,
        plugins: Vec<Arc<Plugin>>,
        beginning: u64,
        seed: Option<u64>,
    ) -> Self {
        let mut routes: BTreeMap<Arc<str>, Routes> = BTreeMap::new();
        for (handler, of) in settings.handlers.iter().enumerate() {
            let routes = routes.entry(Arc::clone(&of.stream)).or_default();
            of.subscribe.iter().for_each(|pattern| routes.add(pattern, handler));
        }
        let handlers = settings.handlers.iter();
        let plan = Plan {
            host: "test".to_owned(),
            shards: settings.shards,
            handlers: handlers.clone().map(|h| (Arc::clone(&h.name), Arc::clone(&h.stream))).collect(),
            streams: routes.keys().map(|stream| (stream.to_string(), 0)).collect(),
            keys: handlers.clone().map(|handler| handler.key.as_str().to_owned()).collect(),
            on_dead_letter: handlers.map(|handler| handler.on_dead_letter).collect(),
            checkpoint_bytes: usize::MAX,
        };
        let checkpoints = vec![Checkpoint::default(); usize::from(settings.shards.get())];
        TestHost {
            settings,
            plugins,
            routes,
            shards: Shards::new(plan, &checkpoints, Vec::new(), 0),
            states: HashMap::new(),
            streams: BTreeMap::new(),
            scheduled: BTreeMap::new(),
            runnable: Vec::new(),
            condemned: HashMap::new(),
            actions: Vec::new(),
            now: beginning,
            beginning,
            order: seed.map(StdRng::seed_from_u64),
            runs: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// What the application is.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// All runs so far, in their order.
    pub fn runs(&self) -> &[Ran] {
        &self.runs
    }

    /// What came to its end, in that order, and the handler.
    pub fn ends(&self) -> impl Iterator<Item = (HandlerIx, &Settled)> {
        self.ends.iter().map(|(handler, settled)| (*handler, settled))
    }

    /// All events of a stream, those that handlers have published included.
    pub fn events(&self, stream: &str) -> &[Arc<Event>] {
        self.streams.get(stream).map(Vec::as_slice).unwrap_or_default()
    }

    /// The state of a key.
    pub fn state(&self, handler: HandlerIx, key: &Key) -> Option<&Bytes> {
        self.states.get(&(handler, key.clone()))
    }

    /// All keys of a handler that have a state.
    pub fn states_of(&self, handler: HandlerIx) -> impl Iterator<Item = (&Key, &Bytes)> {
        let of_handler = self.states.iter().filter(move |((of, _), _)| *of == handler);
        of_handler.map(|((_, key), state)| (key, state))
    }

    /// Gives a key a state.
    pub fn set_state(&mut self, handler: HandlerIx, key: Key, value: Bytes) {
        self.states.insert((handler, key), value);
    }

    /// How much time has passed since the beginning.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.now - self.beginning)
    }

    /// Lets time pass until an instant, in nanoseconds since 1970; what lies behind is passed over.
    ///
    /// # Errors
    /// It goes on and on.
    pub async fn advance_to(&mut self, instant: u64) -> anyhow::Result<()> {
        self.advance(Duration::from_nanos(instant.saturating_sub(self.now))).await
    }

    /// Stores a message and hands it to its handlers. Nothing runs yet. Its event, and how many handlers it has.
    ///
    /// # Errors
    /// The subject or the sequence is not one that a stream could have.
    pub fn publish(&mut self, publication: Publication) -> anyhow::Result<(Arc<Event>, usize)> {
        subject::check(&publication.subject)?;
        let mut event = publication.as_event(&self.settings);
        let stream = Arc::clone(&event.stream);
        let stored = self.streams.entry(Arc::clone(&stream)).or_default();
        let last = stored.last().map_or(0, |event| event.sequence);
        event.sequence = publication.sequence.unwrap_or(last + 1);
        event.time = self.now;
        let sequence = event.sequence;
        ensure!(sequence > last, "sequence {sequence} of `{stream}` is not above the one before, {last}");
        let event = Arc::new(event);
        stored.push(Arc::clone(&event));
        let mut found = Vec::new();
        if let Some(routes) = self.routes.get(&stream) {
            routes.find(&event.subject, &mut found);
        }
        for handler in &found {
            let Some(settings) = self.settings.handlers.get(*handler) else { continue };
            let (key, failure) = match &publication.key {
                Some(key) => (key.clone(), None),
                None => settings.key_of(&event),
            };
            if let Some(failure) = failure {
                self.condemned.insert((*handler, event.position()), failure);
            }
            let now = self.now / MILLISECOND;
            self.shards.read(*handler, Arc::clone(&event), key, now, &mut self.actions);
        }
        Ok((event, found.len()))
    }

    /// Runs everything that can run at this moment.
    ///
    /// # Errors
    /// It goes on and on.
    pub async fn settle(&mut self) -> anyhow::Result<()> {
        loop {
            self.act()?;
            let next = match &mut self.order {
                _ if self.runnable.is_empty() => return Ok(()),
                None => 0,
                Some(order) => order.random_range(0..self.runnable.len()),
            };
            let (place, key, event, attempt) = self.runnable.remove(next);
            self.run(place, key, event, attempt).await?;
        }
    }

    /// Lets time pass, and runs what becomes due meanwhile.
    ///
    /// # Errors
    /// It goes on and on.
    pub async fn advance(&mut self, by: Duration) -> anyhow::Result<()> {
        let end = self.now.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX));
        self.settle().await?;
        while let Some(due) = self.next_due().filter(|due| *due <= end) {
            self.wake(due).await?;
        }
        self.now = end;
        Ok(())
    }

    /// Lets time pass until nothing is left to do: retries and schedules included.
    ///
    /// # Errors
    /// It goes on and on.
    pub async fn finish(&mut self) -> anyhow::Result<()> {
        self.settle().await?;
        while let Some(due) = self.next_due() {
            self.wake(due).await?;
        }
        Ok(())
    }

    /// When something is due, in nanoseconds since 1970.
    fn next_due(&self) -> Option<u64> {
        let retry = self.shards.next_wake().map(|due| due.saturating_mul(MILLISECOND));
        let message = self.scheduled.keys().next().map(|(due, _)| *due);
        retry.into_iter().chain(message).min()
    }

    async fn wake(&mut self, due: u64) -> anyhow::Result<()> {
        self.now = self.now.max(due);
        while let Some(entry) = self.scheduled.first_entry().filter(|entry| entry.key().0 <= due) {
            let publication = entry.remove();
            self.publish(publication)?;
        }
        self.shards.wake(self.now / MILLISECOND, &mut self.actions);
        self.settle().await
    }

    /// Does what the shards want done, but runs nothing.
    fn act(&mut self) -> anyhow::Result<()> {
        while !self.actions.is_empty() {
            for Placed { place, action } in std::mem::take(&mut self.actions) {
                let now = self.now / MILLISECOND;
                match action {
                    Action::Run { key, event, attempt, .. } => {
                        self.runnable.push((place, key, event, attempt))
                    }
                    Action::Settle(settled) => self.settled(place, settled)?,
                    Action::Fetch { key, positions } => self.fetch(place, &key, &positions),
                    Action::Open { key, gate } => {
                        self.shards.at(place, &mut self.actions, |track, actions| {
                            track.gate_stored(&key, &gate, now, actions);
                        });
                    }
                    // Nothing releases a held key in a test, and timers are kept with the shards.
                    Action::TakeBack { .. } | Action::WakeAt { .. } | Action::Record => {}
                }
            }
        }
        Ok(())
    }

    /// Gives events back to a lane that had put them away.
    fn fetch(&mut self, place: Place, key: &Key, positions: &[u64]) {
        let handler = self.settings.handlers.get(place.handler);
        let stored = handler.and_then(|handler| self.streams.get(&handler.stream));
        let now = self.now / MILLISECOND;
        for position in positions {
            let event = stored.and_then(|events| {
                let index = events.binary_search_by_key(position, |event| event.sequence).ok()?;
                events.get(index).cloned()
            });
            self.shards.at(place, &mut self.actions, |track, actions| {
                track.fetched(key, *position, event, now, actions);
            });
        }
    }

    async fn run(&mut self, place: Place, key: Key, event: Arc<Event>, attempt: u32) -> anyhow::Result<()> {
        if self.runs.len() >= MAX_RUNS {
            bail!("given up after {MAX_RUNS} runs: do handlers go in a circle?");
        }
        let handler = place.handler;
        let id = (handler, key.clone());
        let (Some(settings), Some(plugin)) =
            (self.settings.handlers.get(handler), self.plugins.get(handler).cloned())
        else {
            return Ok(());
        };
        let settings = Arc::clone(settings);
        let condemned = self.condemned.remove(&(handler, event.position()));
        let (verdict, logs) = match condemned.or_else(|| refusal(&event)) {
            Some(failure) => (Verdict::Failed(failure.into()), Vec::new()),
            None => {
                let state = self.states.get(&id).cloned();
                let run =
                    plugin.run(Call { event: Arc::clone(&event), key: key.clone(), attempt, state }).await;
                (run.verdict, run.logs)
            }
        };
        if let Verdict::Done(effects) = &verdict {
            match &effects.state {
                StateChange::Keep => None,
                StateChange::Set(value) => self.states.insert(id.clone(), value.clone()),
                StateChange::Clear => self.states.remove(&id),
            };
        }
        let state = self.states.get(&id).cloned();
        let at = self.elapsed();
        let rules = Rules { retry: &settings.retry, blame: Blame::Event, ran_by: Some(plugin.code().id()) };
        self.runs.push(Ran { event, handler, key, attempt, verdict: verdict.clone(), logs, state, at });
        let now = self.now / MILLISECOND;
        self.shards.at(place, &mut self.actions, |track, actions| {
            // The longest wait: the same in every test.
            track.finished(&id.1, verdict, rules, now, u64::MAX, actions)
        });
        Ok(())
    }

    /// An event came to its end: stores what it did.
    fn settled(&mut self, place: Place, settled: Settled) -> anyhow::Result<()> {
        if let Outcome::Done(effects) = &settled.outcome {
            self.store(place.handler, &settled, effects)?;
        }
        let end = self.streams.get(&self.settings.stream.name);
        let end = end.and_then(|events| events.last()).map_or(0, |event| event.sequence);
        let now = self.now / MILLISECOND;
        self.shards.at(place, &mut self.actions, |track, actions| {
            track.settled(&settled, end, now, actions);
        });
        self.ends.push((place.handler, settled));
        Ok(())
    }

    fn store(&mut self, handler: HandlerIx, settled: &Settled, effects: &Effects) -> anyhow::Result<()> {
        let Some(settings) = self.settings.handlers.get(handler) else { return Ok(()) };
        let mut cause = causality::headers(&settled.event, &settings.name);
        if let Some(plugin) = &settled.ran_by {
            cause.push(names::PLUGIN, &*plugin.digest);
        }
        for (Message { subject, headers, payload }, when) in &effects.messages {
            let mut all = cause.clone();
            all.extend(headers);
            let mut publication = Publication::new(&**subject, payload.clone());
            publication.headers = all;
            match when {
                When::Now => {
                    self.publish(publication)?;
                }
                When::After(seconds) => {
                    let due = self.now + Duration::from_secs((*seconds).into()).as_nanos() as u64;
                    let number = self.ends.len() as u64 * 1_000 + self.scheduled.len() as u64;
                    self.scheduled.insert((due, number), publication);
                }
            }
        }
        Ok(())
    }
}
