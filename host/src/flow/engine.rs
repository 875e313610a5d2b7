//! The engine: carries every event from its cursor to its commit.
//!
//! One task owns all state of the flow; everything slow happens in jobs beside it. Inputs (events, ends of
//! jobs, timers) go into the pure parts, and what those want done is done here.

mod drain;
mod inputs;
mod outputs;
mod upkeep;

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinError, JoinSet};

use super::acquire::Acquired;
use super::activity::{Counters, Snapshot};
use super::batch::{Batch, Origins, Unit};
use super::commit::{Commits, FULL_MESSAGES};
use super::compact::{Checkpoints, Compaction};
use super::jobs::{self, Done, Job, Runner};
use super::reader::{Read, Reader, Room, Subscription};
use super::route::Routes;
use super::shard::Action;
use super::shards::{HandlerIx, Placed, Plan, Shards};
use super::states::States;
use super::workers::{self, Queue, Task};
use crate::broker::{Broker, StreamState};
use crate::sandbox::{Plugin, Sandbox};
use crate::values::checkpoint::Checkpoint;
use crate::values::member::{Member, TTL_SECONDS};
use crate::values::names::Names;
use crate::values::settings::Settings;
use crate::values::verdict::Failure;

/// Events in memory, until their commit; every handler has the same share. The more there are, the more of one key's
/// changes become one message.
const MAX_HELD_EVENTS: usize = 16_384;

/// The same in bytes.
const MAX_HELD_BYTES: usize = 64 << 20;

/// The smallest share of a handler: enough for a full batch, and for one event of any size.
const MIN_SHARE_EVENTS: usize = 1_024;
const MIN_SHARE_BYTES: usize = 4 << 20;

/// Events of one handler that run at once.
pub const CONCURRENCY: usize = 64;

/// How often handlers are moved between cursors.
const BALANCE_INTERVAL: Duration = Duration::from_millis(20);

/// How often rates are taken and idle shards write their checkpoint.
const TICK: Duration = Duration::from_secs(1);

/// How long a stop waits for what runs, and for its commit.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

/// Why the engine stopped.
#[derive(Debug, Error)]
pub enum Error {
    #[error("host {0} has taken the application over; this host stops, nothing of it is lost or repeated")]
    Fenced(String),
    #[error("{0}; this host stops, since a sequence may now mean another event")]
    Lost(String),
    #[error("a task of the host failed: {0}")]
    Task(#[from] JoinError),
}

/// All that the engine needs.
pub struct Parts {
    pub settings: Arc<Settings>,
    pub names: Names,
    /// For commits and states.
    pub broker: Broker,
    /// For cursors, so that what is read does not wait in front of what is committed.
    pub reading: Broker,
    /// One for each handler.
    pub plugins: Vec<Arc<Plugin>>,
    /// What the plugins run in.
    pub sandbox: Sandbox,
    /// Whose threads they run on: a plugin that holds them must not hold up the flow.
    pub threads: tokio::runtime::Handle,
    pub acquired: Acquired,
    pub me: Member,
}

/// Carries events until it is told to stop.
pub struct Engine {
    settings: Arc<Settings>,
    origins: Arc<Origins>,
    broker: Broker,
    reading: Broker,
    me: Member,
    plan: Plan,
    runners: Vec<Arc<Runner>>,
    readers: Vec<(Reader, Routes)>,
    shards: Shards,
    states: States,
    commits: Commits,
    /// Batches under way, by their numbers.
    under_way: HashMap<u64, Batch>,
    /// When the last one was sent.
    sent: Instant,
    /// Whether a batch that is not full need not wait.
    hurry: bool,
    ready: Vec<VecDeque<Job>>,
    running: Vec<usize>,
    /// Events that may not run, and why.
    condemned: HashMap<(HandlerIx, u64), Failure>,
    /// A sequence that was committed: about the end of the stream.
    end: u64,
    compaction: Compaction,
    checkpoints: Checkpoints,
    /// For how many ticks each handler has had a full window.
    without_room: Vec<u32>,
    /// Counts the resets.
    generation: u64,
    /// Whether events were read since idle shards last wrote their checkpoint.
    moved: bool,
    counters: Counters,
    cursors: JoinSet<()>,
    jobs: JoinSet<Done>,
    /// What the workers have to do.
    queue: Arc<Queue>,
    /// The same, before it is handed to them.
    dispatched: Vec<Task>,
    ends: mpsc::Receiver<Vec<Done>>,
    /// Keeps the clock that bounds the plugins' run time.
    _sandbox: Sandbox,
    actions: Vec<Placed>,
    snapshots: watch::Sender<Snapshot>,
}

impl Engine {
    /// Sets up the flow. Nothing is read before [`run`](Self::run).
    pub fn new(parts: Parts) -> Self {
        let Parts { settings, names, broker, reading, plugins, sandbox, threads, acquired, me } = parts;
        let plan = plan(&settings, &acquired, &me, broker.max_payload());
        let digests = plugins.iter().map(|plugin| plugin.digest().to_string());
        let handler_names = settings.handlers.iter().map(|handler| Arc::clone(&handler.name));
        let origins = Arc::new(Origins {
            names,
            stream: Arc::clone(&settings.stream.name),
            host: me.host.clone(),
            handlers: handler_names.clone().zip(digests).collect(),
            max_payload: broker.max_payload(),
        });
        let runner = |plugin: &Arc<Plugin>| {
            let stream = Arc::clone(&settings.stream.name);
            let permits = Semaphore::new(CONCURRENCY);
            Arc::new(Runner { plugin: Arc::clone(plugin), permits, broker: broker.clone(), stream })
        };
        let checkpoints: Vec<Checkpoint> = acquired.checkpoints.iter().map(|(_, c)| c.clone()).collect();
        let shards = Shards::new(plan.clone(), &checkpoints);
        let readers = readers(&settings, &plan, &shards, 0);
        let count = settings.handlers.len();
        let mut jobs = JoinSet::new();
        let (queue, ends) = workers::start(&threads, &mut jobs);
        Engine {
            runners: plugins.iter().map(runner).collect(),
            commits: Commits::new(Arc::clone(&origins), acquired.checkpoints, FULL_MESSAGES),
            end: 0,
            compaction: Compaction::new(settings.shards),
            counters: Counters::new(handler_names, now()),
            ready: (0..count).map(|_| VecDeque::new()).collect(),
            running: vec![0; count],
            without_room: vec![0; count],
            settings,
            origins,
            broker,
            reading,
            me,
            plan,
            readers,
            shards,
            states: States::new(acquired.stateless),
            under_way: HashMap::new(),
            sent: Instant::now(),
            hurry: false,
            condemned: HashMap::new(),
            checkpoints: Checkpoints::default(),
            generation: 0,
            moved: false,
            cursors: JoinSet::new(),
            jobs,
            queue,
            dispatched: Vec::new(),
            ends,
            _sandbox: sandbox,
            actions: Vec::new(),
            snapshots: watch::Sender::default(),
        }
    }

    /// What the host does, once a second.
    pub fn snapshots(&self) -> watch::Receiver<Snapshot> {
        self.snapshots.subscribe()
    }

    /// Carries events until `stop` becomes true, then drains: nothing more is read or begun, what runs is
    /// awaited for [`DRAIN_DEADLINE`], and everything finished is committed.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), Error> {
        let mut balance = tokio::time::interval(BALANCE_INTERVAL);
        let mut tick = tokio::time::interval(TICK);
        let mut heartbeat = tokio::time::interval(Duration::from_secs(u64::from(TTL_SECONDS) / 3));
        for interval in [&mut balance, &mut tick, &mut heartbeat] {
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        loop {
            self.act();
            self.dispatch();
            self.commit();
            let wake =
                self.shards.next_wake().map_or(TICK, |due| Duration::from_millis(due.saturating_sub(now())));
            let wake = self.linger().map_or(wake, |left| wake.min(left));
            // Every arm is cancel-safe: each takes its input only when it is chosen.
            tokio::select! {
                Some(done) = self.jobs.join_next() => self.finished(done)?,
                Some(ends) = self.ends.recv() => self.ran_many(ends),
                read = next_read(&mut self.readers, &self.shards, self.running.len()) => self.read(read)?,
                () = tokio::time::sleep(wake) => self.shards.wake(now(), &mut self.actions),
                _ = balance.tick() => self.balance(),
                _ = tick.tick() => self.tick(),
                _ = heartbeat.tick() => self.announce(),
                stopped = stop.wait_for(|stop| *stop) => {
                    // A closed channel is a stop too: nobody is left who could ask for one.
                    drop(stopped);
                    return self.drain().await;
                }
            }
        }
    }

    /// Does what the shards want done.
    fn act(&mut self) {
        for Placed { place, action } in std::mem::take(&mut self.actions) {
            match action {
                Action::Run { key, event, attempt } => {
                    let job = Job { generation: self.generation, place, key, event, attempt };
                    if let Some(ready) = self.ready.get_mut(place.handler) {
                        ready.push_back(job);
                    }
                }
                Action::Fetch { key, sequences } => {
                    let Some((_, stream)) = self.plan.handlers.get(place.handler) else { continue };
                    for sequence in sequences {
                        let (broker, key, stream) = (self.broker.clone(), key.clone(), Arc::clone(stream));
                        self.jobs.spawn(jobs::fetch(broker, self.generation, place, key, stream, sequence));
                    }
                }
                Action::Settle(settled) => self.commits.push(Unit { place, settled, minimal: false }),
                Action::Record => {
                    self.counters.retried(place.handler);
                    self.commits.touch(place.shard);
                }
                // The timers are kept by `Shards`.
                Action::WakeAt { .. } => {}
            }
        }
    }
}

/// What is the same for all shards while the host runs.
fn plan(settings: &Settings, acquired: &Acquired, me: &Member, max_payload: usize) -> Plan {
    let created = |(name, state): (&String, &StreamState)| (name.clone(), state.created);
    let handlers = settings.handlers.iter();
    Plan {
        host: me.host.clone(),
        shards: settings.shards,
        handlers: handlers.clone().map(|h| (Arc::clone(&h.name), Arc::clone(&h.stream))).collect(),
        streams: acquired.streams.iter().map(created).collect(),
        keys: handlers.map(|handler| handler.key.as_str().to_owned()).collect(),
        // What is in memory already may still add to it.
        checkpoint_bytes: max_payload * 2 / 5,
    }
}

/// The host's wall clock, in milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn room(shards: &Shards, handlers: usize, handler: HandlerIx) -> Room {
    let held = shards.held(handler);
    let events = (MAX_HELD_EVENTS / handlers.max(1)).max(MIN_SHARE_EVENTS);
    let bytes = (MAX_HELD_BYTES / handlers.max(1)).max(MIN_SHARE_BYTES);
    let below = |part: usize| held.events < events / part && held.bytes < bytes / part && held.full == 0;
    match (below(1), below(4)) {
        (false, _) => Room::None,
        (true, false) => Room::Some,
        (true, true) => Room::Plenty,
    }
}

/// The next delivery of any reader. Cancel-safe.
async fn next_read(readers: &mut [(Reader, Routes)], shards: &Shards, handlers: usize) -> (usize, Read) {
    let room = |handler| room(shards, handlers, handler);
    poll_fn(|context| {
        for (index, (reader, _)) in readers.iter_mut().enumerate() {
            if let Poll::Ready(read) = reader.poll_next(context, &room) {
                return Poll::Ready((index, read));
            }
        }
        Poll::Pending
    })
    .await
}

/// The next sequence that each handler has not seen.
fn positions(readers: &[(Reader, Routes)], handlers: usize) -> Vec<u64> {
    let mut positions = vec![0; handlers];
    for (handler, position) in readers.iter().flat_map(|(reader, _)| reader.positions()) {
        if let Some(slot) = positions.get_mut(handler) {
            *slot = position;
        }
    }
    positions
}

/// One reader for each stream, each handler at the lowest event it has not done.
fn readers(settings: &Settings, plan: &Plan, shards: &Shards, generation: u64) -> Vec<(Reader, Routes)> {
    let mut prefix = format!("heddle-{}-{}", settings.app, plan.host);
    if generation > 0 {
        // No name is used twice: a cursor of before a reset may still be on its way out.
        prefix.push_str(&format!("-r{generation}"));
    }
    let reader = |(stream, created): (&String, &u64)| {
        let mut routes = Routes::default();
        let mut subscriptions = Vec::new();
        for (handler, of) in settings.handlers.iter().enumerate().filter(|(_, of)| *of.stream == **stream) {
            of.subscribe.iter().for_each(|pattern| routes.add(pattern, handler));
            let position = shards.low(handler, 0);
            let subscribe = of.subscribe.clone();
            subscriptions.push((handler, Subscription { name: Arc::clone(&of.name), subscribe, position }));
        }
        (Reader::new(&prefix, stream.as_str().into(), *created, subscriptions), routes)
    };
    plan.streams.iter().map(reader).collect()
}
