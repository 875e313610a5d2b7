//! The flow without I/O: all that lies between an event that was read and the batch that its end is stored with.
//!
//! Whoever drives it says what happened (an event was read, a run ended, a batch was stored) and does the
//! [`Work`] that it is given: the engine with a real server, the test host with a stream in memory, the simulation with
//! whatever happens to come next. What is decided is the same for all of them. Pure: times and randomness are arguments.

use std::collections::HashMap;
use std::sync::Arc;

use super::batch::{Batch, Origins, Unit};
use super::commit::Commits;
use super::shard::{Action, Admission, Hurry, Outcome, Rules, Track};
use super::shards::{Place, Placed, PlacedGate, Plan, Shards};
use super::states::{State, States, Written};
use heddle_values::checkpoint::Checkpoint;
use heddle_values::event::{Event, Replay};
use heddle_values::handlers::{HandlerIx, PerHandler};
use heddle_values::key::Key;
use heddle_values::refusal::refusal;
use heddle_values::verdict::{CauseClass, Failure, Verdict};

/// What a flow goes on from.
pub struct Beginning {
    pub plan: Plan,
    pub origins: Arc<Origins>,
    /// One for each shard, just stored by this host, each with its sequence.
    pub checkpoints: Vec<(u64, Checkpoint)>,
    /// Those that are not open.
    pub gates: Vec<PlacedGate>,
    /// Handlers that have no state in the stream.
    pub stateless: PerHandler<bool>,
    /// A batch of N messages is sent even while another one is under way.
    pub full: usize,
    /// Counts the flows of this host, and their resets.
    pub generation: u64,
}

/// An event that may run.
#[derive(Debug, Clone)]
pub struct Job {
    pub generation: u64,
    pub place: Place,
    pub key: Key,
    pub event: Arc<Event>,
    /// From 1.
    pub attempt: u32,
    /// Whether it has not failed before.
    pub fresh: bool,
}

/// How a job begins.
#[derive(Debug)]
pub enum Start {
    /// It fails without running.
    Refused(Failure),
    /// The state of its key is known.
    With(State),
    /// The state is to be read from this subject, if the plugin can ask for it.
    After(String),
}

/// What the driver is to do.
#[derive(Debug)]
pub enum Work {
    /// Run an event, and say [`ran`](Flow::ran).
    Run(Job),
    /// Read events again, and say [`Track::fetched`] of each.
    Fetch { place: Place, key: Key, positions: Vec<u64> },
    /// Look for what was held back of a key from a sequence on, and say [`Track::taken_back`].
    TakeBack { place: Place, key: Key, next: u64 },
}

/// A batch that is stored, and what follows from it.
#[derive(Debug)]
pub struct Stored {
    pub batch: Batch,
    /// Where copies of events that were held back have run: below a sequence of that subject they are to be removed.
    pub drained: Vec<(String, u64)>,
    /// Requests that are done and are to be removed.
    pub replayed: Vec<(Place, Replay)>,
    /// What became of the states.
    pub states: Vec<Written>,
}

/// What follows from a batch that the server will never store.
#[derive(Debug)]
pub enum Refused {
    /// Its events wait again: the one at fault is looked for.
    Again,
    /// It had no events.
    Checkpoints,
    /// It named an event, and no more.
    Named,
    /// This event is at fault: [`reset`](Flow::reset).
    AtFault(Box<Unit>),
}

/// Events between being read and being committed.
#[derive(Debug)]
pub struct Flow {
    plan: Plan,
    origins: Arc<Origins>,
    shards: Shards,
    states: States,
    commits: Commits,
    /// Batches under way, by their numbers.
    under_way: HashMap<u64, Batch>,
    /// Events that may not run, and why.
    condemned: HashMap<(HandlerIx, u64), Failure>,
    actions: Vec<Placed>,
    generation: u64,
}

impl Flow {
    /// Goes on from what is stored.
    pub fn new(beginning: Beginning, now: u64) -> Self {
        let Beginning { plan, origins, checkpoints, gates, stateless, full, generation } = beginning;
        let stored: Vec<Checkpoint> = checkpoints.iter().map(|(_, checkpoint)| checkpoint.clone()).collect();
        let known = checkpoints.iter().map(|(sequence, _)| *sequence).max().unwrap_or(0);
        let mut flow = Flow {
            shards: Shards::new(plan.clone(), &stored, gates, known),
            commits: Commits::new(Arc::clone(&origins), checkpoints, full),
            states: States::new(stateless),
            plan,
            origins,
            under_way: HashMap::new(),
            condemned: HashMap::new(),
            actions: Vec::new(),
            generation,
        };
        flow.shards.resume(now, &mut flow.actions);
        flow
    }

    /// What is the same for all shards.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What dead letters and effects say of where they come from.
    pub fn origins(&self) -> &Arc<Origins> {
        &self.origins
    }

    /// How far every shard has come.
    pub fn shards(&self) -> &Shards {
        &self.shards
    }

    /// What waits to be committed.
    pub fn commits(&self) -> &Commits {
        &self.commits
    }

    /// Counts the resets: what began before the last one is not heard any more.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How many batches are under way.
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// A batch under way.
    pub fn batch_mut(&mut self, number: u64) -> Option<&mut Batch> {
        self.under_way.get_mut(&number)
    }

    /// A handler's name.
    pub fn name(&self, handler: HandlerIx) -> &Arc<str> {
        &self.plan.handlers[handler].name
    }

    /// Where the events of a key are.
    pub fn place(&self, handler: HandlerIx, key: &Key) -> Place {
        Place { shard: key.shard(self.shards.count()), handler }
    }

    /// Where what is held back of a key is.
    pub fn held_subject(&self, place: Place, key: &Key) -> String {
        self.origins.names.held(place.shard, self.name(place.handler), &key.token())
    }
}

/// What happened.
impl Flow {
    /// An event of a handler was read; with a `failure` it will not run.
    pub fn read(
        &mut self,
        handler: HandlerIx,
        event: Arc<Event>,
        (key, failure): (Key, Option<Failure>),
        now: u64,
    ) -> Admission {
        let position = event.position();
        let admission = self.shards.read(handler, event, key, now, &mut self.actions);
        // One that is done already would never be asked for.
        if let (Some(failure), Admission::Queued) = (failure, admission) {
            self.condemned.insert((handler, position), failure);
        }
        admission
    }

    /// Something happened to a track.
    pub fn at<T>(&mut self, place: Place, input: impl FnOnce(&mut Track, &mut Vec<Action>) -> T) -> T {
        self.shards.at(place, &mut self.actions, input)
    }

    /// Time has passed.
    pub fn wake(&mut self, now: u64) {
        self.shards.wake(now, &mut self.actions);
    }

    /// Lanes of a handler that wait need wait no longer. How many there were.
    pub fn hurry(&mut self, handler: HandlerIx, which: Hurry, now: u64) -> usize {
        self.shards.hurry(handler, which, now, &mut self.actions)
    }

    /// A request that is done is no longer in the stream. Without a place, it is not known where it ran.
    pub fn removed(&mut self, place: Option<Place>, request: u64) {
        self.shards.removed(place, request);
    }

    /// Takes the events of a handler that were tried before and are no longer in the stream: see [`Shards::take_missing`].
    pub fn take_missing(&mut self, handler: HandlerIx, position: u64) -> Vec<u64> {
        self.shards.take_missing(handler, position)
    }

    /// A run ended. The state is given if it was read from the stream for it. Whether the event waits for the end of a
    /// trial.
    pub fn ran(
        &mut self,
        (place, key): (Place, &Key),
        verdict: Verdict,
        loaded: Option<State>,
        rules: Rules<'_>,
        (now, random): (u64, u64),
    ) -> bool {
        let id = (place.handler, key.clone());
        if let Some(state) = loaded {
            self.states.loaded(id.clone(), state, now);
        }
        if let Verdict::Done(effects) = &verdict {
            self.states.changed(&id, &effects.state);
        }
        self.at(place, |track, actions| track.finished(key, verdict, rules, now, random, actions))
    }

    /// States that nobody has asked for, or that are too many, are forgotten.
    pub fn evict(&mut self, now: u64) {
        self.states.evict(now);
    }
}

/// What is to be done.
impl Flow {
    /// What the tracks want done, in order. To be handed to [`perform`](Self::perform), one by one.
    pub fn actions(&mut self) -> Vec<Placed> {
        std::mem::take(&mut self.actions)
    }

    /// What is to be performed and was not asked for yet.
    pub fn waiting(&self) -> &[Placed] {
        &self.actions
    }

    /// Does what a track wants done, as far as that needs nobody else.
    pub fn perform(&mut self, Placed { place, action }: Placed) -> Option<Work> {
        match action {
            Action::Run { key, event, attempt, fresh } => {
                let generation = self.generation;
                return Some(Work::Run(Job { generation, place, key, event, attempt, fresh }));
            }
            Action::Fetch { key, positions } => return Some(Work::Fetch { place, key, positions }),
            Action::TakeBack { key, next } => return Some(Work::TakeBack { place, key, next }),
            Action::Open { key, gate } => self.commits.open(place, key, gate),
            Action::Settle(settled) => self.commits.push(Unit { place, settled, minimal: false }),
            Action::Record => self.commits.touch(place.shard),
            // The timers are kept by `Shards`.
            Action::WakeAt { .. } => {}
        }
        None
    }

    /// How a job begins. To be asked once.
    pub fn start(&mut self, job: &Job, now: u64) -> Start {
        let handler = job.place.handler;
        let condemned = match self.condemned.is_empty() {
            // Nearly always.
            true => None,
            false => self.condemned.remove(&(handler, job.event.position())),
        };
        if let Some(failure) = condemned.or_else(|| refusal(&job.event)) {
            return Start::Refused(failure);
        }
        let id = (handler, job.key.clone());
        match self.states.get(&id, now) {
            Some(state) => Start::With(state),
            None => Start::After(self.origins.names.state(job.place.shard, self.name(handler), &job.key)),
        }
    }

    /// Lets every shard write its checkpoint of whose progress more than N messages are not stored yet.
    pub fn touch_lagging(&mut self, positions: &PerHandler<u64>, messages: u64) {
        for shard in 0..self.shards.count() {
            let lags = |committed| self.shards.lags(shard, positions, committed, messages);
            if self.commits.committed(shard).is_some_and(lags) {
                self.commits.touch(shard);
            }
        }
    }

    /// The next batch, if there is one to be sent now. `positions` are the next sequences that the handlers have not seen.
    pub fn next_batch(&mut self, positions: &PerHandler<u64>, now: u64) -> Option<&Batch> {
        let batch = self.commits.next(&self.shards, positions, now)?;
        Some(self.under_way.entry(batch.number).insert_entry(batch).into_mut())
    }

    /// A batch is stored; `first` is the sequence of its first message. None: it is not under way.
    pub fn stored(&mut self, number: u64, first: u64, now: u64) -> Option<Stored> {
        let batch = self.under_way.remove(&number)?;
        self.commits.stored(&batch, first);
        // First the low marks: what lies below need not be noted one by one.
        for (shard, _, checkpoint) in &batch.checkpoints {
            self.shards.committed(*shard, checkpoint);
        }
        // They stand before the units in the batch too: a gate may be closed again there.
        let mut drained = Vec::new();
        for (place, key, gate) in &batch.opened {
            self.at(*place, |track, actions| track.gate_stored(key, gate, now, actions));
            drained.push((self.held_subject(*place, key), gate.next));
        }
        let end = first + (batch.messages.len() as u64).saturating_sub(1);
        let mut replayed = Vec::new();
        for Unit { place, settled, .. } in &batch.units {
            self.at(*place, |track, actions| track.settled(settled, end, now, actions));
            replayed.extend(settled.event.replay().map(|replay| (*place, replay)));
        }
        let write = |(id, changes): &(_, usize)| self.states.committed(id, *changes, now);
        let states = batch.states.iter().map(write).collect();
        Some(Stored { batch, drained, replayed, states })
    }

    /// The server will never store a batch as it is. None: it is not under way.
    pub fn refused(&mut self, number: u64) -> Option<Refused> {
        let batch = self.under_way.remove(&number)?;
        if batch.units.is_empty() {
            return Some(Refused::Checkpoints);
        }
        Some(match self.commits.refused(batch) {
            None => Refused::Again,
            Some(unit) if unit.minimal => Refused::Named,
            Some(unit) if matches!(unit.settled.outcome, Outcome::Dead(..) | Outcome::HeldBack) => {
                self.commits.push_front(Unit { minimal: true, ..unit });
                Refused::Again
            }
            Some(unit) => Refused::AtFault(Box::new(unit)),
        })
    }

    /// Forgets everything after the last commit: it is to be read again, each handler's from its lowest event on. The event
    /// at fault becomes a dead letter without running: what its lane did after it was built on effects that cannot be
    /// stored. No batch is under way.
    pub fn reset(&mut self, at_fault: &Unit, reason: &str, now: u64) {
        let failure = Failure::new(CauseClass::Refused, reason);
        self.condemned.insert((at_fault.place.handler, at_fault.settled.event.position()), failure);
        self.generation += 1;
        let checkpoints = self.commits.forget();
        let gates = self.shards.stored_gates();
        self.shards = Shards::new(self.plan.clone(), &checkpoints, gates, self.commits.known());
        self.states = States::new(self.plan.handlers.map(|_| false));
        self.actions.clear();
        self.shards.resume(now, &mut self.actions);
    }
}
