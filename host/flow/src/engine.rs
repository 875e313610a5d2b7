//! The engine: carries every event from its cursor to its commit.
//!
//! One task owns all state of the flow; everything slow happens in jobs beside it. Inputs (events, ends of
//! jobs, timers) go into the pure parts, and what those want done is done here.

mod drain;
mod inputs;
mod outputs;
mod regulate;
mod setup;
mod survey;
mod upkeep;
mod versions;

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinError, JoinSet};

use super::acquire::Acquired;
use super::activity::{Counters, Snapshot};
use super::batch::{Batch, Origins, Unit};
use super::clock::now;
use super::commit::{Commits, FULL_MESSAGES};
use super::compact::{Checkpoints, Compaction};
use super::jobs::{self, Done, Fetch, Job, Shared};
use super::leftovers;
use super::loss::{Loss, Tally};
use super::plugin_log::LineRate;
use super::reader::{Read, Reader};
use super::regulator::Regulator;
use super::replays::Replayed;
use super::route::Routes;
use super::shard::Action;
use super::shards::{HandlerIx, Place, Placed, Plan, Shards};
use super::states::States;
use super::workers::{self, Queue, Task};
use heddle_broker::Broker;
use heddle_sandbox::Sandbox;
use heddle_values::batch::Keep;
use heddle_values::event::HELD_BACK;
use heddle_values::key::Key;
use heddle_values::member::{Member, TTL_SECONDS};
use heddle_values::names::Names;
use heddle_values::permissions::Permissions;
use heddle_values::settings::{HandlerSettings, Settings};
use heddle_values::verdict::Failure;

use regulate::Rooms;
use setup::{plan, positions, readers, regulators, shards};
use survey::Survey;
use versions::Fleet;

pub use versions::{Change, Judged, Ties, Versions};

/// How often handlers are moved between cursors.
const BALANCE_INTERVAL: Duration = Duration::from_millis(20);

/// How often rates are taken and idle shards write their checkpoint.
const TICK: Duration = Duration::from_secs(1);

/// Events under way that come a second time.
const MAX_REPLAYING: usize = 1_024;

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
    /// Which plugins run, and who decides about them.
    pub ties: Ties,
    /// What the plugins run in.
    pub sandbox: Arc<Sandbox>,
    /// Whose threads they run on: a plugin that holds them must not hold up the flow.
    pub threads: Handle,
    pub acquired: Acquired,
    pub me: Member,
    /// Counts the engines of this host, and their resets.
    pub generation: u64,
    /// Where it is told, once a second, what the host does.
    pub snapshots: watch::Sender<Snapshot>,
}

/// What the engine is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// Carry events.
    Run,
    /// End what runs, commit it, and leave everything to another engine of this host.
    Pause,
    /// The same, and take leave of the application.
    Stop,
}

/// Carries events until it is told to stop.
pub struct Engine {
    settings: Arc<Settings>,
    origins: Arc<Origins>,
    broker: Broker,
    reading: Broker,
    me: Member,
    plan: Plan,
    fleets: Vec<Fleet>,
    changes: mpsc::Receiver<Change>,
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
    /// What the host's user may do, once the server has denied something: asked for again now and then.
    permissions: Option<Permissions>,
    /// Events that may not run, and why.
    condemned: HashMap<(HandlerIx, u64), Failure>,
    /// Bounds the events that are read again at once.
    fetching: Arc<Semaphore>,
    /// A sequence that was committed: about the end of the stream.
    end: u64,
    compaction: Compaction,
    checkpoints: Checkpoints,
    /// For how many ticks each handler has had a full window.
    without_room: Vec<u32>,
    /// Counts the seconds, about.
    ticks: u32,
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
    /// Where the plugins run.
    threads: Handle,
    /// Keeps the clock that bounds the plugins' run time.
    _sandbox: Arc<Sandbox>,
    actions: Vec<Placed>,
    /// What holds each handler back.
    regulators: Vec<Regulator>,
    /// Events that come a second time.
    replays: mpsc::Receiver<Replayed>,
    /// How many of those are under way.
    replaying: usize,
    /// For each handler, why it cannot go on in its stream.
    stopped: Vec<Option<String>>,
    /// For each handler, what it is still to be given.
    tallies: Vec<Tally>,
    /// For each handler, whether the host before has said what it left.
    marked: Vec<bool>,
    survey: Survey,
    snapshots: watch::Sender<Snapshot>,
}

impl Engine {
    /// Sets up the flow. Nothing is read before [`run`](Self::run).
    pub fn new(parts: Parts) -> Self {
        let Parts { settings, names, broker, reading, ties, acquired, me, generation, .. } = parts;
        let plan = plan(&settings, &acquired, &me, broker.max_payload());
        let handler_names = settings.handlers.iter().map(|handler| Arc::clone(&handler.name));
        let origins = Arc::new(origins(&settings, names, &me, broker.max_payload()));
        let Acquired { checkpoints: stored, streams, stopped, left, kept, .. } = acquired;
        let shards = shards(&plan, &stored, kept.gates);
        let readers = readers((&settings, &stopped), &plan, &shards, generation);
        let (count, mut jobs) = (settings.handlers.len(), JoinSet::new());
        let (queue, ends) = workers::start(&parts.threads, &mut jobs);
        jobs.spawn(leftovers::remove(broker.clone(), Arc::clone(&origins.stream), kept.held_back.leftovers));
        let mut engine = Engine {
            fleets: fleets(&settings, ties.versions, ties.judged, &broker),
            changes: ties.changes,
            regulators: regulators(&settings, &kept.held_back.counts),
            replays: mpsc::channel(1).1,
            replaying: 0,
            stopped,
            marked: left.expected.iter().map(Option::is_some).collect(),
            tallies: left.expected.into_iter().map(Tally::new).collect(),
            survey: Survey::new(&streams),
            commits: Commits::new(Arc::clone(&origins), stored, FULL_MESSAGES),
            fetching: jobs::fetching_room(broker.max_payload()),
            end: 0,
            compaction: Compaction::new(settings.shards, settings.stream.stale_states),
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
            states: States::new(kept.stateless),
            under_way: HashMap::new(),
            sent: Instant::now(),
            hurry: false,
            permissions: None,
            condemned: HashMap::new(),
            checkpoints: Checkpoints::default(),
            ticks: 0,
            generation,
            moved: false,
            cursors: JoinSet::new(),
            jobs,
            queue,
            dispatched: Vec::new(),
            ends,
            threads: parts.threads,
            _sandbox: parts.sandbox,
            actions: Vec::new(),
            snapshots: parts.snapshots,
        };
        engine.start(left.losses);
        engine
    }

    fn start(&mut self, lost: Vec<(HandlerIx, Loss)>) {
        self.shards.resume(now(), &mut self.actions);
        self.read_requests();
        self.report_beginning(lost);
    }

    /// Carries events until another course is set, then drains: nothing more is read or begun, what runs is
    /// awaited for [`DRAIN_DEADLINE`], and everything finished is committed. The generation that it ended with.
    pub async fn run(mut self, mut course: watch::Receiver<Course>) -> Result<u64, Error> {
        let mut balance = tokio::time::interval(BALANCE_INTERVAL);
        let mut tick = tokio::time::interval(TICK);
        let mut heartbeat = tokio::time::interval(Duration::from_secs(u64::from(TTL_SECONDS) / 3));
        for interval in [&mut balance, &mut tick, &mut heartbeat] {
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        loop {
            self.look_for_probes();
            self.act();
            self.dispatch();
            self.commit();
            let next = self.shards.next_wake().into_iter().chain(self.next_begin()).min();
            let wake = next.map_or(TICK, |due| Duration::from_millis(due.saturating_sub(now())));
            let wake = self.linger().map_or(wake, |left| wake.min(left));
            // Every arm is cancel-safe: each takes its input only when it is chosen.
            tokio::select! {
                Some(done) = self.jobs.join_next() => self.finished(done)?,
                Some(ends) = self.ends.recv() => self.ran_many(ends),
                read = next_read(&mut self.readers, Rooms { shards: &self.shards, regulators: &self.regulators, ready: &self.ready }) => self.read(read)?,
                Some(returned) = self.replays.recv(), if self.replaying < MAX_REPLAYING => {
                    self.replayed(returned)?;
                }
                () = tokio::time::sleep(wake) => self.shards.wake(now(), &mut self.actions),
                _ = balance.tick() => self.balance(),
                _ = tick.tick() => self.tick(),
                _ = heartbeat.tick() => self.announce(),
                Some(change) = self.changes.recv() => self.change(change),
                set = course.wait_for(|course| *course != Course::Run) => {
                    // A closed channel is a stop too: nobody is left who could ask for one.
                    let course = set.map_or(Course::Stop, |course| *course);
                    return self.drain(course).await;
                }
            }
        }
    }

    /// Does what the shards want done.
    fn act(&mut self) {
        for Placed { place, action } in std::mem::take(&mut self.actions) {
            match action {
                Action::Run { key, event, attempt, fresh } => {
                    let job = Job { generation: self.generation, place, key, event, attempt, fresh };
                    if let Some(ready) = self.ready.get_mut(place.handler) {
                        ready.push_back(job);
                    }
                }
                Action::Fetch { key, positions } => {
                    // Its stream may have another event there. The lane waits until the handler begins again.
                    let is_stopped = self.is_stopped(place.handler);
                    for position in positions.into_iter().filter(|at| !is_stopped || *at >= HELD_BACK) {
                        let Some(fetch) = self.fetch_of(place, &key) else { continue };
                        let room = Arc::clone(&self.fetching);
                        self.jobs.spawn(jobs::fetch(self.replays(), room, fetch, position));
                    }
                }
                Action::TakeBack { key, next } => {
                    let Some(fetch) = self.fetch_of(place, &key) else { continue };
                    let subject = self.held_subject(place, &key);
                    self.jobs.spawn(jobs::take_back(self.replays(), fetch, subject, next));
                }
                Action::Open { key, gate } => self.commits.open(place, key, gate),
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

impl Engine {
    fn fetch_of(&self, place: Place, key: &Key) -> Option<Fetch> {
        let (_, stream) = self.plan.handlers.get(place.handler)?;
        let (stream, key) = (Arc::clone(stream), key.clone());
        Some(Fetch { generation: self.generation, place, key, stream })
    }

    /// Where what is held back of a key is.
    fn held_subject(&self, place: Place, key: &Key) -> String {
        let handler = self.plan.handlers.get(place.handler).map_or("", |(name, _)| name);
        self.origins.names.held(place.shard, handler, &key.token())
    }
}

/// The next delivery of any reader. Cancel-safe.
async fn next_read(readers: &mut [(Reader, Routes)], rooms: Rooms<'_>) -> (usize, Read) {
    let room = |handler| rooms.of(handler);
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

/// What runs the events of each handler.
fn fleets(
    settings: &Settings,
    versions: Vec<Versions>,
    judged: Vec<mpsc::Sender<Judged>>,
    broker: &Broker,
) -> Vec<Fleet> {
    let fleet = |((handler, versions), judged): ((&Arc<HandlerSettings>, Versions), mpsc::Sender<Judged>)| {
        let permits = usize::try_from(handler.pace.concurrency.get()).unwrap_or(usize::MAX);
        let shared = Shared {
            permits: Semaphore::new(permits),
            broker: broker.clone(),
            stream: Arc::clone(&settings.stream.name),
            lines: LineRate::default(),
        };
        Fleet::new(shared, versions, judged)
    };
    settings.handlers.iter().zip(versions).zip(judged).map(fleet).collect()
}

/// What dead letters and effects say of where they come from.
fn origins(settings: &Settings, names: Names, me: &Member, max_payload: usize) -> Origins {
    let seconds = |age: Duration| u32::try_from(age.as_secs()).unwrap_or(u32::MAX).max(1);
    Origins {
        names,
        stream: Arc::clone(&settings.stream.name),
        host: me.host.clone(),
        handlers: settings.handlers.iter().map(|handler| Arc::clone(&handler.name)).collect(),
        keep_dead_letters: settings
            .dead_letters_max_age
            .map_or(Keep::Always, |age| Keep::Seconds(seconds(age))),
        max_payload,
    }
}
