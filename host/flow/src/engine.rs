//! The engine: carries every event from its cursor to its commit.
//!
//! One task owns all state of the flow; everything slow happens in jobs beside it. Inputs (events, ends of
//! jobs, timers) go into the pure parts, and what those want done is done here.

mod drain;
mod fleet;
mod inputs;
mod outputs;
mod regulate;
mod settle;
mod setup;
mod side;
mod survey;
mod upkeep;
mod versions;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinError, JoinSet};

use super::acquire::Acquired;
use super::activity::Snapshot;
use super::clock::now;
use super::compact::{Checkpoints, Compaction};
use super::flow::{Flow, Ticket, Work};
use super::jobs::{self, Done};
use super::reader::{Read, Reader};
use super::replays::Replayed;
use super::route::Routes;
use super::shard::Action;
use super::workers::{self, Ended, Queue, Task};
use heddle_broker::Broker;
use heddle_sandbox::Sandbox;
use heddle_values::handlers::PerHandler;
use heddle_values::member::{Member, TTL_SECONDS};
use heddle_values::names::Names;
use heddle_values::permissions::Permissions;
use heddle_values::position::Position;
use heddle_values::settings::Settings;

use regulate::Rooms;
use setup::{readers, sides};
use side::Side;
use survey::Survey;

pub use fleet::{Judged, Versions};
pub use versions::{Change, Ties};

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
    /// A checkpoint that was read back is of another host, whose id this is. A host that was replaced must end.
    #[error("host {0} has taken the application over; this host stops, nothing of it is lost or repeated")]
    Fenced(String),
    /// The application's own stream was purged, recreated or written into by others, or refuses plain checkpoints.
    #[error("{0}; this host stops, since a sequence may now mean another event")]
    Lost(String),
    /// A job of the engine panicked: a fault of Heddle. What was not committed runs again after the next start.
    #[error("a task of the host failed: {0}")]
    Task(#[from] JoinError),
}

/// All that the engine needs.
pub struct Parts {
    /// The application as its file says. If that changes, another engine goes on with other settings.
    pub settings: Arc<Settings>,
    /// The subjects of the application.
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
    /// What was taken over in this host's name, and is gone on from.
    pub acquired: Acquired,
    /// What this host says of itself. The engine announces it, with what its handlers do, until it ends.
    pub me: Member,
    /// Counts the engines of this host, and their resets.
    pub generation: u64,
    /// Where the engine reports, once a second, what the host does.
    pub snapshots: watch::Sender<Snapshot>,
}

/// What the engine is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// Carry events.
    Run,
    /// End what runs, commit it, and leave everything to another engine of this host.
    Pause,
    /// End what runs, commit it, and give up the application.
    Stop,
}

/// Carries events until it is told to stop.
pub struct Engine {
    settings: Arc<Settings>,
    broker: Broker,
    reading: Broker,
    me: Member,
    /// What lies between reading and committing.
    flow: Flow,
    /// What is kept for each handler.
    sides: PerHandler<Side>,
    readers: Vec<(Reader, Routes)>,
    changes: mpsc::Receiver<Change>,
    /// When the last batch was sent.
    sent: Instant,
    /// Whether a batch that is not full need not wait.
    hurry: bool,
    /// What the host's user may do, once the server has denied something: asked for again now and then.
    permissions: Option<Permissions>,
    /// Bounds the events that are read again at once.
    fetching: Arc<Semaphore>,
    /// A sequence that was committed: about the end of the stream.
    end: u64,
    compaction: Compaction,
    checkpoints: Checkpoints,
    /// Counts the seconds, about.
    ticks: u32,
    /// Whether events were read since idle shards last wrote their checkpoint.
    moved: bool,
    cursors: JoinSet<()>,
    jobs: JoinSet<Done>,
    /// What the workers have to do.
    queue: Arc<Queue>,
    /// Tasks for the workers that are not in the queue yet.
    dispatched: Vec<Task>,
    ends: mpsc::Receiver<Vec<Ended>>,
    /// Where the plugins run.
    threads: Handle,
    /// Keeps the clock that bounds the plugins' run time.
    _sandbox: Arc<Sandbox>,
    /// Events that come a second time.
    replays: mpsc::Receiver<Replayed>,
    /// How many of those are under way.
    replaying: usize,
    survey: Survey,
    snapshots: watch::Sender<Snapshot>,
}

impl Engine {
    /// Sets up the flow. Nothing is read before [`run`](Self::run).
    pub fn new(parts: Parts) -> Self {
        let flow = setup::flow(&parts);
        let Parts { settings, broker, reading, ties, acquired, me, .. } = parts;
        let Acquired { streams, stopped, left, kept, .. } = acquired;
        let expected = (&stopped, &left.expected);
        let sides = sides(&settings, &broker, ties.handlers, expected, &kept.held_back.counts);
        let mut jobs = JoinSet::new();
        let (queue, ends) = workers::start(&parts.threads, &mut jobs);
        let stream = Arc::clone(&flow.origins().stream);
        jobs.spawn(jobs::remove_leftovers(broker.clone(), stream, kept.held_back.leftovers));
        let mut engine = Engine {
            readers: readers(&settings, &sides, &flow),
            changes: ties.changes,
            replays: mpsc::channel(1).1,
            replaying: 0,
            survey: Survey::new(&streams),
            fetching: jobs::fetching_room(broker.max_payload()),
            end: 0,
            compaction: Compaction::new(settings.shards, settings.stream.stale_states),
            flow,
            sides,
            settings,
            broker,
            reading,
            me,
            sent: Instant::now(),
            hurry: false,
            permissions: None,
            checkpoints: Checkpoints::default(),
            ticks: 0,
            moved: false,
            cursors: JoinSet::new(),
            jobs,
            queue,
            dispatched: Vec::new(),
            ends,
            threads: parts.threads,
            _sandbox: parts.sandbox,
            snapshots: parts.snapshots,
        };
        engine.read_requests();
        engine.report_beginning(left.losses);
        engine
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
            // Before anything that was read after it: the order below is by chance.
            while let Ok(change) = self.changes.try_recv() {
                self.change(change);
            }
            self.look_for_probes();
            self.advance();
            self.commit();
            let next = self.flow.shards().next_wake().into_iter().chain(self.next_begin()).min();
            let wake = next.map_or(TICK, |due| Duration::from_millis(due.saturating_sub(now())));
            let wake = self.linger().map_or(wake, |left| wake.min(left));
            // Every arm is cancel-safe: each takes its input only when it is chosen.
            tokio::select! {
                Some(done) = self.jobs.join_next() => self.finished(done)?,
                Some(ends) = self.ends.recv() => self.ran_many(ends),
                read = next_read(&mut self.readers, Rooms { shards: self.flow.shards(), sides: &self.sides }) => self.read(read)?,
                Some(replayed) = self.replays.recv(), if self.replaying < MAX_REPLAYING => {
                    self.replayed(replayed)?;
                }
                () = tokio::time::sleep(wake) => self.flow.wake(now()),
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

    /// Does what the tracks want done, and begins the runs that there is room for, until neither is left.
    fn advance(&mut self) {
        loop {
            self.act();
            if !self.dispatch() {
                return;
            }
        }
    }

    /// Does what the tracks want done.
    fn act(&mut self) {
        for placed in self.flow.actions() {
            if matches!(placed.action, Action::Record) {
                self.sides[placed.place.handler].counts.retried();
            }
            match self.flow.perform(placed) {
                None => {}
                Some(Work::Run(job)) => self.sides[job.place.handler].ready.push_back(job),
                Some(Work::Fetch { ticket, positions }) => self.fetch(&ticket, positions),
                Some(Work::TakeBack { ticket, next }) => {
                    let subject = self.flow.held_subject(ticket.place, &ticket.key);
                    self.jobs.spawn(jobs::take_back(self.replays(), ticket, subject, next));
                }
            }
        }
    }

    fn fetch(&mut self, ticket: &Ticket, positions: Vec<Position>) {
        let Side { settings, stopped, .. } = &self.sides[ticket.place.handler];
        // Its stream may have another event there. The lane waits until the handler begins again.
        let is_stopped = stopped.is_some();
        for position in positions.into_iter().filter(|at| !is_stopped || *at >= Position::BEYOND_STREAM) {
            let of = (ticket.clone(), Arc::clone(&settings.stream));
            let room = Arc::clone(&self.fetching);
            self.jobs.spawn(jobs::fetch(self.replays(), room, of, position));
        }
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
