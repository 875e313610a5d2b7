//! The reference: what must be true of every run, kept in the plainest way there is.
//!
//! It shares no code with the shards. It knows what was published, what each handler has been through, and what the
//! stream holds, and says at once when something does not fit.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use heddle_flow::shard::{Admission, Settled};
use heddle_values::event::Event;
use heddle_values::key::Key;
use heddle_values::position::Position;

use crate::gates::{Ending, View, Way};
use crate::scene::{Fate, Scene};

/// What is promised of every run, as far as pure code can break it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Promise {
    /// One event of a lane runs at a time, in the order of the stream.
    Order,
    /// Effects, states and dead letters appear once, in order, together.
    ExactlyOnce,
    /// Every event ends.
    NothingLost,
    /// Only what deserves it becomes a dead letter, with the true cause.
    Innocence,
    /// A checkpoint says what is done, no more and no less, and never goes back.
    Checkpoint,
    /// Attempts are counted, bounded, written down and survive a crash.
    Attempts,
    /// Nothing runs before its time.
    BackOff,
    /// What is held is counted, and nothing is held at the end.
    Held,
    /// The window is reported full before too much runs ahead.
    Window,
    /// While a key is held, no later event of it takes effect.
    Gate,
    /// What is held back runs once, in order, before later events.
    HeldBack,
    /// A dead letter that is replayed takes effect once.
    Replay,
    /// There is always a next step until all is done.
    Progress,
    /// Nothing panics.
    Calm,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) promise: Promise,
    pub(crate) text: String,
}

pub(crate) type Checked<T = ()> = Result<T, Fault>;

/// Passes if `holds`.
pub(crate) fn ensure(holds: bool, promise: Promise, text: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Fault { promise, text: text() }) }
}

/// A retry as it is to be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retry {
    pub(crate) attempts: u32,
    pub(crate) due: u64,
}

/// One event for one handler, as it comes by one way: from its stream, from where it was held back, or by a request.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) key: Key,
    pub(crate) shard: u16,
    /// Its sequence in its stream; 0: a request that only releases the key.
    pub(crate) event: u64,
    pub(crate) fate: Fate,
    /// It was read by the host that lives now.
    pub(crate) read: bool,
    /// It came to its end on the host that lives now.
    pub(crate) settled: bool,
    /// Its end is stored.
    pub(crate) committed: bool,
    /// It is gone from the stream.
    pub(crate) gone: bool,
    /// It was gone before it was handled: nothing more may come of it.
    pub(crate) lost: bool,
    pub(crate) retry: Option<Retry>,
    /// It failed last in an outage.
    pub(crate) probed: bool,
    /// It was woken before its time: what is written down may say a later one.
    pub(crate) hurried: bool,
    /// Where it was held back.
    pub(crate) held_back: Option<u64>,
    /// Runs of all hosts that ever lived.
    pub(crate) runs: u32,
    /// Runs that failed in an outage, and do not count.
    pub(crate) free_runs: u32,
    /// Hosts that died or began again since it was published.
    pub(crate) restarts: u32,
}

impl Task {
    pub(crate) fn new(key: Key, shard: u16, event: u64, fate: Fate) -> Self {
        Task {
            key,
            shard,
            event,
            fate,
            read: false,
            settled: false,
            committed: false,
            gone: false,
            lost: false,
            retry: None,
            probed: false,
            hurried: false,
            held_back: None,
            runs: 0,
            free_runs: 0,
            restarts: 0,
        }
    }

    /// Whether it is still to come to its end.
    pub(crate) fn is_open(&self) -> bool {
        !self.settled && !self.committed && !self.lost
    }
}

/// One handler's events of one key.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lane {
    pub(crate) sequences: Vec<u64>,
    pub(crate) running: Option<Position>,
    /// What holds the key, as far as it is stored, and as the host that lives now has it.
    pub(crate) stored: View,
    pub(crate) live: View,
    /// The last event of the stream whose end is stored.
    pub(crate) last: u64,
    /// What its state counts, as far as it is stored.
    pub(crate) count: u64,
}

/// Handler and position: see [`Event::position`].
pub(crate) type TaskId = (usize, Position);

/// The reference.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) scene: Arc<Scene>,
    pub(crate) tasks: BTreeMap<TaskId, Task>,
    pub(crate) lanes: HashMap<(usize, Key), Lane>,
    /// The low mark that is stored, by shard and handler.
    pub(crate) lows: HashMap<(u16, usize), u64>,
}

impl Model {
    pub(crate) fn new(scene: Arc<Scene>) -> Self {
        Model { scene, tasks: BTreeMap::new(), lanes: HashMap::new(), lows: HashMap::new() }
    }

    /// An event was published.
    pub(crate) fn published(&mut self, event: &Event) {
        for (handler, of) in self.scene.handlers.iter().enumerate() {
            let Some(key) = of.key(event) else { continue };
            self.lanes.entry((handler, key.clone())).or_default().sequences.push(event.sequence);
            let shard = key.shard(self.scene.shards.get());
            let task = Task::new(key, shard, event.sequence, self.scene.fate(handler, event.sequence));
            self.tasks.insert((handler, event.position()), task);
        }
    }

    /// An event is no longer in the stream. A host that has read it may still handle it.
    pub(crate) fn gone(&mut self, sequence: u64) {
        for handler in 0..self.scene.handlers.len() {
            if let Some(task) = self.tasks.get_mut(&(handler, Position::Stream(sequence))) {
                task.gone = true;
                task.lost |= !task.read && !task.committed;
            }
        }
    }

    /// A host asked for an event again, and the stream had it no more.
    pub(crate) fn not_found(&mut self, id: TaskId) {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.lost = true;
            task.read = false;
        }
    }

    /// An event was handed to the shards.
    pub(crate) fn admitted(&mut self, id: TaskId, admission: Admission) -> Checked {
        let task = self.task(id)?;
        let known = task.read || task.committed;
        task.read |= !known;
        // A key that was not held when its release was asked for may be so when that is read again.
        task.lost &= task.event > 0;
        let committed = task.committed;
        let fits = match admission {
            Admission::Queued => !known,
            // What is committed the host may have yet to learn.
            Admission::Again => known,
            Admission::Known => committed,
            Admission::Elsewhere => false,
        };
        ensure(fits, Promise::ExactlyOnce, || format!("{id:?} was {admission:?}"))
    }

    pub(crate) fn task(&mut self, id: TaskId) -> Checked<&mut Task> {
        let nothing = || Fault { promise: Promise::ExactlyOnce, text: format!("{id:?} was never published") };
        self.tasks.get_mut(&id).ok_or_else(nothing)
    }

    fn lane(&mut self, handler: usize, key: &Key) -> &mut Lane {
        self.lanes.entry((handler, key.clone())).or_default()
    }

    /// A run begins.
    pub(crate) fn begins(&mut self, id: TaskId, key: &Key, attempt: u32, now: u64) -> Checked {
        let task = self.task(id)?.clone();
        let max = self.scene.handlers.get(id.0).map_or(1, |handler| handler.policy.max_attempts.get());
        ensure(task.key == *key, Promise::Order, || format!("{id:?} runs in the lane of {key}"))?;
        ensure(task.is_open(), Promise::ExactlyOnce, || format!("{id:?} runs after its end: {task:?}"))?;
        let used = task.retry.map_or(0, |retry| retry.attempts);
        ensure(attempt == used + 1 && attempt <= max, Promise::Attempts, || {
            format!("{id:?} runs as attempt {attempt} of {max} after {used}")
        })?;
        ensure(task.retry.is_none_or(|retry| retry.due <= now), Promise::BackOff, || {
            format!("{id:?} runs at {now}: {:?}", task.retry)
        })?;
        let empty = Lane::default();
        let lane = self.lanes.get(&(id.0, key.clone())).unwrap_or(&empty);
        ensure(lane.running.is_none(), Promise::Order, || {
            format!("{id:?} runs while {:?} does", lane.running)
        })?;
        let way = Way::of(id.1);
        lane.live.may_run(way, task.event)?;
        let earlier = lane.sequences.iter().take_while(|sequence| Position::Stream(**sequence) < id.1);
        for sequence in earlier.filter(|_| way == Way::Stream) {
            let open = self.tasks.get(&(id.0, Position::Stream(*sequence))).is_some_and(Task::is_open);
            ensure(!open, Promise::Order, || format!("{id:?} runs before {sequence}"))?;
        }
        self.lane(id.0, key).running = Some(id.1);
        self.task(id)?.runs += 1;
        Ok(())
    }

    /// A run ended.
    pub(crate) fn ended(&mut self, id: TaskId, key: &Key) {
        self.lane(id.0, key).running = None;
    }

    /// A run failed, and the event is to be run again.
    pub(crate) fn failed(&mut self, id: TaskId, retry: Retry, outage: bool) -> Checked {
        let max = self.scene.handlers.get(id.0).map_or(1, |handler| handler.policy.max_attempts.get());
        let task = self.task(id)?;
        task.retry = Some(retry);
        (task.probed, task.hurried) = (outage, false);
        task.free_runs += u32::from(outage);
        ensure(retry.attempts < max, Promise::Attempts, || format!("{id:?} has used up {retry:?}"))
    }

    /// An event that waits for its next run was woken before its time; `probed`: only if it failed in an outage.
    pub(crate) fn hurried(&mut self, id: TaskId, probed: bool, now: u64) -> Checked {
        let task = self.task(id)?;
        let meant = task.probed || !probed;
        ensure(meant, Promise::BackOff, || format!("{id:?} need not hurry: {task:?}"))?;
        if let Some(retry) = task.retry.as_mut().filter(|retry| retry.due > now) {
            retry.due = now;
            task.hurried = true;
        }
        Ok(())
    }

    /// An event came to its end.
    pub(crate) fn settled(&mut self, id: TaskId, settled: &Settled) -> Checked {
        let holds = self.holds_keys(id.0);
        let task = self.task(id)?;
        ensure(task.read && task.is_open(), Promise::ExactlyOnce, || format!("{id:?} ends twice: {task:?}"))?;
        task.settled = true;
        let (event, way, ending) = (task.event, Way::of(id.1), Ending::of(&settled.outcome));
        self.lane(id.0, &settled.key).live.ends(way, event, ending, holds)?;
        if way == Way::Held && ending == Ending::Dead {
            // The rest of what was taken back is forgotten, and taken back again.
            for (_, task) in
                self.tasks.range_mut((id.0, Position::BEYOND_STREAM)..(id.0, Position::FIRST_REPLAY))
            {
                task.read &= task.key != settled.key || task.settled || task.committed;
            }
        }
        Ok(())
    }

    /// Everything of some shards that was not stored is forgotten: another host has them, or its host begins anew. `retries`
    /// are those stored.
    pub(crate) fn forgotten(&mut self, of: impl Fn(u16) -> bool, retries: &HashMap<TaskId, Retry>) {
        for (id, task) in self.tasks.iter_mut().filter(|(_, task)| of(task.shard)) {
            task.lost |= task.gone && !task.committed && id.1.in_stream().is_some();
            task.read = false;
            task.settled = false;
            (task.probed, task.hurried) = (false, false);
            task.restarts += 1;
            task.retry = retries.get(id).copied();
        }
        let shards = self.scene.shards.get();
        for (_, lane) in self.lanes.iter_mut().filter(|((_, key), _)| of(key.shard(shards))) {
            lane.running = None;
            lane.live = lane.stored.clone();
        }
    }

    /// How many events of a track are done or under way at or above the low mark that is stored.
    pub(crate) fn ahead(&self, handler: usize, shard: u16) -> usize {
        let low = self.lows.get(&(shard, handler)).copied().unwrap_or_default();
        let of_track = self.of_stream(handler, shard).filter(|(sequence, _)| *sequence >= low);
        of_track.filter(|(_, task)| task.committed || task.read).count()
    }

    /// Whether the host that lives now has something under way in a track, and has read all that its checkpoint knew.
    pub(crate) fn has_caught_up(&self, handler: usize, shard: u16) -> bool {
        let last = |wanted: fn(&Task) -> bool| {
            let of_track = self.of_stream(handler, shard).filter(|(_, task)| wanted(task));
            of_track.map(|(sequence, _)| sequence).last()
        };
        last(|task| task.read && !task.committed)
            > last(|task| task.committed || (!task.read && task.retry.is_some()))
    }

    /// The events of one handler in one shard, as they come from the stream.
    pub(crate) fn of_stream(&self, handler: usize, shard: u16) -> impl Iterator<Item = (u64, &Task)> + Clone {
        self.of_track(handler, shard).map_while(|(position, task)| Some((position.in_stream()?, task)))
    }

    /// The events of one handler in one shard, by their positions.
    pub(crate) fn of_track(
        &self,
        handler: usize,
        shard: u16,
    ) -> impl Iterator<Item = (Position, &Task)> + Clone {
        self.tasks
            .range((handler, Position::Stream(0))..(handler + 1, Position::Stream(0)))
            .filter(move |(_, task)| task.shard == shard)
            .map(|((_, sequence), task)| (*sequence, task))
    }

    /// Nothing is left to do.
    pub(crate) fn at_rest(&self) -> Checked {
        for (id, task) in &self.tasks {
            ensure(task.committed || task.lost, Promise::NothingLost, || format!("{id:?}: {task:?}"))?;
            ensure(!(task.lost && task.committed), Promise::ExactlyOnce, || {
                format!("{id:?} was lost and yet committed: {task:?}")
            })?;
            let deferrals = if let Fate::Deferred { runs, .. } = task.fate { runs } else { 0 };
            let max = self.scene.handlers.get(id.0).map_or(1, |handler| handler.policy.max_attempts.get());
            // What was not yet written down when a host died is run again.
            let bound = (max + deferrals) * (1 + task.restarts) + task.free_runs;
            ensure(task.runs <= bound, Promise::Attempts, || format!("{id:?} ran too often: {task:?}"))?;
        }
        Ok(())
    }
}
