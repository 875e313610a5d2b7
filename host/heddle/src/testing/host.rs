//! An application in memory: its real plugins in the real sandbox, a stream in memory, and a clock that is put on.
//!
//! What decides about order, retries and dead letters is the flow's own code. What is left out is whatever needs time
//! or a server to mean something: rates, outages, trials of new versions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{bail, ensure};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::record::{Publication, Ran};
use heddle_flow::batch::{Origins, Unit};
use heddle_flow::flow::{Beginning, Flow, Job, Start, Ticket, Work};
use heddle_flow::route::Routes;
use heddle_flow::shard::{Blame, Rules, Settled};
use heddle_flow::shards::{Claimed, Plan, PlannedHandler};
use heddle_sandbox::{Call, Plugin};
use heddle_values::batch::{BatchMessage, Keep};
use heddle_values::checkpoint::Checkpoint;
use heddle_values::event::Event;
use heddle_values::handlers::{HandlerIx, PerHandler};
use heddle_values::key::Key;
use heddle_values::names::Names;
use heddle_values::position::Position;
use heddle_values::settings::Settings;
use heddle_values::subject;
use heddle_values::verdict::Verdict;

/// When the clock of a test begins unless it says otherwise: 2026-01-01T00:00:00Z, in nanoseconds since 1970.
pub const BEGINNING: u64 = 1_767_225_600_000_000_000;

/// Runs of handlers after which a test is given up: it goes in circles.
const MAX_RUNS: usize = 100_000;

const MILLISECOND: u64 = 1_000_000;

/// An application in memory.
pub struct TestHost {
    settings: Arc<Settings>,
    plugins: PerHandler<Arc<Plugin>>,
    routes: BTreeMap<Arc<str>, Routes>,
    flow: Flow,
    /// As the last runs left them.
    states: HashMap<(HandlerIx, Key), Bytes>,
    streams: BTreeMap<Arc<str>, Vec<Arc<Event>>>,
    /// By when they are due, in nanoseconds since 1970, and in which order they were asked for.
    scheduled: BTreeMap<(u64, u64), Publication>,
    /// How many of these there were.
    asked_for: u64,
    runnable: Vec<Job>,
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
        plugins: PerHandler<Arc<Plugin>>,
        beginning: u64,
        seed: Option<u64>,
    ) -> Self {
        let mut routes: BTreeMap<Arc<str>, Routes> = BTreeMap::new();
        for (handler, of) in settings.handlers.rows() {
            let routes = routes.entry(Arc::clone(&of.stream)).or_default();
            of.subscribe.iter().for_each(|pattern| routes.add(pattern, handler));
        }
        let streams = routes.keys().map(|stream| (stream.to_string(), 0)).collect();
        let flow = Flow::new(nothing(&settings, streams), beginning / MILLISECOND);
        TestHost {
            settings,
            plugins,
            routes,
            flow,
            states: HashMap::new(),
            streams: BTreeMap::new(),
            scheduled: BTreeMap::new(),
            asked_for: 0,
            runnable: Vec::new(),
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
            let key = match &publication.key {
                Some(key) => (key.clone(), None),
                None => self.settings.handlers[*handler].key_of(&event),
            };
            self.flow.read(*handler, Arc::clone(&event), key, self.now / MILLISECOND);
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
            let job = self.runnable.remove(next);
            self.run(job).await?;
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
        let retry = self.flow.shards().next_wake().map(|due| due.saturating_mul(MILLISECOND));
        let message = self.scheduled.keys().next().map(|(due, _)| *due);
        retry.into_iter().chain(message).min()
    }

    async fn wake(&mut self, due: u64) -> anyhow::Result<()> {
        self.now = self.now.max(due);
        while let Some(entry) = self.scheduled.first_entry().filter(|entry| entry.key().0 <= due) {
            let publication = entry.remove();
            self.publish(publication)?;
        }
        self.flow.wake(self.now / MILLISECOND);
        self.settle().await
    }

    /// Does what the tracks want done and stores what has ended, but runs nothing.
    fn act(&mut self) -> anyhow::Result<()> {
        while !self.flow.waiting().is_empty() || !self.flow.commits().is_empty() {
            for placed in self.flow.actions() {
                match self.flow.perform(placed) {
                    Some(Work::Run(job)) => self.runnable.push(job),
                    Some(Work::Fetch { ticket, positions }) => self.fetch(&ticket, &positions),
                    // Nothing releases a held key in a test.
                    Some(Work::TakeBack { .. }) | None => {}
                }
            }
            self.store()?;
        }
        Ok(())
    }

    /// Gives events back to a lane that had put them away.
    fn fetch(&mut self, ticket: &Ticket, positions: &[Position]) {
        let stored = self.streams.get(&self.settings.handlers[ticket.place.handler].stream);
        let now = self.now / MILLISECOND;
        for position in positions {
            let event = stored.and_then(|events| {
                let index = events.binary_search_by_key(position, |event| event.position()).ok()?;
                events.get(index).cloned()
            });
            self.flow.fetched(ticket, *position, event, now);
        }
    }

    async fn run(&mut self, job: Job) -> anyhow::Result<()> {
        if self.runs.len() >= MAX_RUNS {
            bail!("given up after {MAX_RUNS} runs: do handlers go in a circle?");
        }
        let now = self.now / MILLISECOND;
        let handler = job.place.handler;
        let plugin = Arc::clone(&self.plugins[handler]);
        let id = (handler, job.key.clone());
        let before = self.states.get(&id).cloned();
        let (verdict, logs, loaded) = match self.flow.start(&job, now) {
            Start::Refused(failure) => (Verdict::Failed(failure.into()), Vec::new(), None),
            start => {
                let loaded = matches!(start, Start::After(_)).then(|| before.clone());
                let (event, key) = (Arc::clone(&job.event), job.key.clone());
                let call = Call { event, key, attempt: job.attempt, state: before.clone() };
                let run = plugin.run(call).await;
                (run.verdict, run.logs, loaded)
            }
        };
        let mut state = before;
        if let Verdict::Done(effects) = &verdict {
            effects.state.apply(&mut state);
        }
        match &state {
            Some(value) => self.states.insert(id, value.clone()),
            None => self.states.remove(&id),
        };
        let retry = &self.settings.handlers[handler].retry;
        let rules = Rules { retry, blame: Blame::Event, ran_by: Some(plugin.code().id()) };
        // The longest wait: the same in every test.
        self.flow.ran(&job, verdict.clone(), loaded, rules, (now, u64::MAX));
        let at = self.elapsed();
        let Job { event, key, attempt, .. } = job;
        self.runs.push(Ran { event, handler, key, attempt, verdict, logs, state, at });
        Ok(())
    }

    /// Stores what the ends of events ask for.
    fn store(&mut self) -> anyhow::Result<()> {
        let now = self.now / MILLISECOND;
        let last = |stream: &Arc<str>| {
            let events = self.streams.get(stream);
            events.and_then(|events| events.last()).map_or(0, |event| event.sequence)
        };
        let positions = self.settings.handlers.map(|handler| last(&handler.stream) + 1).into();
        let first = last(&self.settings.stream.name) + 1;
        let Some(batch) = self.flow.next_batch(&positions, now) else { return Ok(()) };
        let (messages, number) = (Arc::clone(&batch.messages), batch.number);
        for message in messages.iter() {
            self.store_message(message)?;
        }
        let stored = self.flow.stored(number, first, now).expect("the batch is under way");
        let ended = |Unit { place, settled, .. }: Unit| (place.handler, settled);
        self.ends.extend(stored.batch.units.into_iter().map(ended));
        Ok(())
    }

    /// Stores one message: at once, or when it is due. What is Heddle's own goes nowhere.
    fn store_message(&mut self, message: &BatchMessage) -> anyhow::Result<()> {
        let target = message.schedule.as_ref().map_or(&message.subject, |schedule| &schedule.target);
        if self.flow.origins().names.is_internal(target) {
            return Ok(());
        }
        let mut publication = Publication::new(target.as_str(), message.payload.clone());
        publication.headers = message.headers.clone();
        let Some(schedule) = &message.schedule else { return self.publish(publication).map(drop) };
        let due = schedule.at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        self.asked_for += 1;
        self.scheduled.insert((u64::try_from(due).unwrap_or(u64::MAX), self.asked_for), publication);
        Ok(())
    }
}

/// What an application begins with that has handled nothing.
fn nothing(settings: &Settings, streams: BTreeMap<String, u64>) -> Beginning {
    let plan = Plan {
        host: "test".to_owned(),
        shards: settings.shards,
        handlers: settings.handlers.map(|handler| PlannedHandler::of(handler)),
        streams,
        checkpoint_bytes: usize::MAX,
    };
    let origins = Origins {
        names: Names::new(&settings.app),
        stream: Arc::clone(&settings.stream.name),
        host: plan.host.clone(),
        handlers: settings.handlers.map(|handler| Arc::clone(&handler.name)),
        keep_dead_letters: Keep::Always,
        max_payload: usize::MAX,
    };
    Beginning {
        plan,
        origins: Arc::new(origins),
        claimed: Claimed::all(vec![(0, Checkpoint::default()); usize::from(settings.shards.get())], []),
        stateless: settings.handlers.map(|_| false),
        // What has ended is stored at once.
        full: 1,
        generation: 0,
    }
}
