//! The flow without I/O: all that lies between an event that was read and the batch that its end is stored with.
//!
//! Whoever drives it says what happened (an event was read, a run ended, a batch was stored) and does the
//! [`Work`] that it is given: the engine with a real server, the test host with a stream in memory, the simulation with
//! whatever happens to come next. What is decided is the same for all of them. Pure: times and randomness are arguments.

mod ends;
mod owning;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::batch::{Batch, Origins, Unit};
use super::commit::Commits;
use super::shard::{Action, Admission, Hurry, Rules, Track};
use super::shards::{Claimed, Place, Placed, Plan, Shards};
use super::states::{State, States};
use heddle_values::event::Event;
use heddle_values::handlers::{HandlerIx, PerHandler};
use heddle_values::key::Key;
use heddle_values::position::Position;
use heddle_values::refusal::refusal;
use heddle_values::verdict::{Failure, Verdict};

pub use ends::{Refused, Stored};

/// What a flow goes on from.
pub struct Beginning {
    /// The shards and the handlers, which stay the same for as long as the flow is driven.
    pub plan: Plan,
    /// What dead letters and effects say of where they come from.
    pub origins: Arc<Origins>,
    /// The shards that this host owns. Others may [come](Flow::claim) later.
    pub claimed: Vec<Claimed>,
    /// Handlers that have no state in these shards.
    pub stateless: PerHandler<bool>,
    /// A batch of N messages is sent even while another one is under way.
    pub full: usize,
    /// Counts the flows of this host, their resets, and the shards that came while they were driven.
    pub generation: u64,
}

/// An event that may run.
#[derive(Debug, Clone)]
pub struct Job {
    /// That of the flow when it asked for the run: after a reset, or when the shard has gone, the end of the run is not
    /// heard.
    pub generation: u64,
    /// The shard and the handler that the event is of.
    pub place: Place,
    /// Its lane: no other event of this key runs for the handler until this one has ended.
    pub key: Key,
    /// What the handler is given.
    pub event: Arc<Event>,
    /// From 1.
    pub attempt: u32,
    /// Whether it has not failed before.
    pub fresh: bool,
}

/// For what a track has asked. What is asked for before a reset, or before the shard has gone, is not heard after it.
#[derive(Debug, Clone)]
pub struct Ticket {
    generation: u64,
    /// The track that has asked.
    pub place: Place,
    /// The lane that waits for what was asked for.
    pub key: Key,
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
    /// Read events again, and say [`fetched`](Flow::fetched) of each.
    Fetch {
        /// To be given back with each event.
        ticket: Ticket,
        /// Which events.
        positions: Vec<Position>,
    },
    /// Look for what was held back of a key from a sequence on, and say [`taken_back`](Flow::taken_back).
    TakeBack {
        /// To be given back with what is found.
        ticket: Ticket,
        /// The first sequence of the application's stream that counts: what was held back below it has run.
        next: u64,
    },
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
    /// Events that may not run: their shards, and why.
    condemned: HashMap<(HandlerIx, Position), (u16, Failure)>,
    actions: Vec<Placed>,
    generation: u64,
    /// The generation of the last reset.
    begun: u64,
    /// How many events run, by shard.
    running: Vec<usize>,
    /// Shards that are being given up.
    leaving: BTreeSet<u16>,
    /// Shards that are another host's, and go when the batches end that are under way with them.
    lost: BTreeSet<u16>,
}

impl Flow {
    /// Goes on from what is stored.
    pub fn new(beginning: Beginning, now: u64) -> Self {
        let Beginning { plan, origins, claimed, stateless, full, generation } = beginning;
        let shards = plan.shards.get();
        let mut flow = Flow {
            shards: Shards::new(plan.clone()),
            commits: Commits::new(Arc::clone(&origins), shards, full),
            states: States::new(stateless),
            plan,
            origins,
            under_way: HashMap::new(),
            condemned: HashMap::new(),
            actions: Vec::new(),
            generation,
            begun: generation,
            running: vec![0; usize::from(shards)],
            leaving: BTreeSet::new(),
            lost: BTreeSet::new(),
        };
        flow.take_in(claimed, now);
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

    /// How far every shard of this host has come.
    pub fn shards(&self) -> &Shards {
        &self.shards
    }

    /// What waits to be committed.
    pub fn commits(&self) -> &Commits {
        &self.commits
    }

    /// Counts the resets, and the shards that came.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether what was asked for a shard in a generation still counts: neither was there a reset since, nor has the shard
    /// gone.
    pub fn hears(&self, shard: u16, generation: u64) -> bool {
        self.shards.hears(shard, generation)
    }

    /// Whether there was no reset since a generation.
    pub fn is_since_reset(&self, generation: u64) -> bool {
        self.begun <= generation
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
        let failure = failure.map(|failure| (key.shard(self.shards.count()), failure));
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

    /// An event was read again; none: it is nowhere any more. Whether anybody still waits for it.
    pub fn fetched(
        &mut self,
        ticket: &Ticket,
        position: Position,
        event: Option<Arc<Event>>,
        now: u64,
    ) -> bool {
        let heard = self.hears(ticket.place.shard, ticket.generation);
        if heard {
            self.at(ticket.place, |track, actions| {
                track.fetched(&ticket.key, position, event, now, actions);
            });
        }
        heard
    }

    /// What was held back of a key, in order; `all`: nothing more was. Whether anybody still waits for it.
    pub fn taken_back(&mut self, ticket: &Ticket, events: Vec<Arc<Event>>, all: bool, now: u64) -> bool {
        let heard = self.hears(ticket.place.shard, ticket.generation);
        if heard {
            self.at(ticket.place, |track, actions| {
                track.taken_back(&ticket.key, events, all, now, actions);
            });
        }
        heard
    }

    /// Requests that were done in a generation are no longer in the stream. Without a place, it is not known where one ran.
    /// After a reset they may have been read again before they were removed: then they must still be known. Whether any of
    /// them was.
    pub fn removed(&mut self, generation: u64, requests: &[(Option<Place>, u64)]) -> bool {
        let removed =
            |(place, request): &(Option<Place>, u64)| self.shards.removed(*place, *request, generation);
        requests.iter().map(removed).fold(false, |any, heard| any | heard)
    }

    /// Takes the events of a handler that were tried before and are no longer in the stream: see [`Shards::take_missing`].
    pub fn take_missing(&mut self, handler: HandlerIx, next: u64) -> Vec<u64> {
        self.shards.take_missing(handler, next)
    }

    /// A run ended. The state is given if it was read from the stream for it. Whether the event waits for the end of a
    /// trial.
    pub fn ran(
        &mut self,
        job: &Job,
        verdict: Verdict,
        loaded: Option<State>,
        rules: Rules<'_>,
        (now, random): (u64, u64),
    ) -> bool {
        let shard = job.place.shard;
        let Some(since) = self.shards.since(shard).filter(|since| *since <= job.generation) else {
            return false;
        };
        if let Some(running) = self.running.get_mut(usize::from(shard)) {
            *running = running.saturating_sub(1);
        }
        let id = (job.place.handler, job.key.clone());
        if let Some(state) = loaded {
            self.states.loaded(id.clone(), state, since, now);
        }
        if let Verdict::Done(effects) = &verdict {
            self.states.changed(&id, &effects.state, since);
        }
        self.at(job.place, |track, actions| track.finished(&job.key, verdict, rules, now, random, actions))
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
        self.let_go();
        std::mem::take(&mut self.actions)
    }

    /// What is to be performed and was not asked for yet.
    pub fn waiting(&self) -> &[Placed] {
        &self.actions
    }

    /// Does what a track wants done, as far as that needs nobody else.
    pub fn perform(&mut self, Placed { place, action }: Placed) -> Option<Work> {
        match action {
            // It runs wherever the shard goes.
            Action::Run { .. } if self.leaving.contains(&place.shard) => {}
            Action::Run { key, event, attempt, fresh } => {
                let generation = self.generation;
                return Some(Work::Run(Job { generation, place, key, event, attempt, fresh }));
            }
            Action::Fetch { key, positions } => {
                return Some(Work::Fetch { ticket: self.ticket(place, key), positions });
            }
            Action::TakeBack { key, next } => {
                return Some(Work::TakeBack { ticket: self.ticket(place, key), next });
            }
            Action::Open { key, gate } => self.commits.open(place, key, gate),
            Action::Settle(settled) => self.commits.push(Unit { place, settled, minimal: false }),
            Action::Record => self.commits.touch(place.shard),
            // The timers are kept by `Shards`.
            Action::WakeAt { .. } => {}
        }
        None
    }

    fn ticket(&self, place: Place, key: Key) -> Ticket {
        Ticket { generation: self.generation, place, key }
    }

    /// How a job begins, if its shard [is still heard](Self::hears) and does not leave. To be asked once.
    pub fn start(&mut self, job: &Job, now: u64) -> Start {
        let Place { shard, handler } = job.place;
        if let Some(running) = self.running.get_mut(usize::from(shard)) {
            *running += 1;
        }
        let condemned = match self.condemned.is_empty() {
            // Nearly always.
            true => None,
            false => self.condemned.remove(&(handler, job.event.position())).map(|(_, failure)| failure),
        };
        if let Some(failure) = condemned.or_else(|| refusal(&job.event)) {
            return Start::Refused(failure);
        }
        let id = (handler, job.key.clone());
        let since = self.shards.since(shard).unwrap_or_default();
        match self.states.get(&id, since, now) {
            Some(state) => Start::With(state),
            None => Start::After(self.origins.names.state(shard, self.name(handler), &job.key)),
        }
    }
}

#[cfg(test)]
mod tests;
