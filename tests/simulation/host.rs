//! The host: drives the shards as the engine does, one input at a time, each at a moment of the world's choosing.
//!
//! What is pure in the flow is the real thing: shards, tracks, states, commits, batches, checkpoints. What is not
//! (cursors, plugins, the server) is made of lists from which the world takes what it likes.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use heddle::flow::batch::{Batch, HandlerOrigin, Origins, Unit, checkpoint_message};
use heddle::flow::commit::Commits;
use heddle::flow::shard::{Action, Outcome};
use heddle::flow::shards::{Place, Placed, Plan, Shards};
use heddle::flow::states::{State, States};
use heddle::values::batch::{BatchMessage, Keep};
use heddle::values::checkpoint::{Checkpoint, Progress};
use heddle::values::key::Key;
use heddle::values::names::Names;
use heddle::values::verdict::{CauseClass, Failure};

use crate::model::{Checked, Fault, Model, Promise, Retry, TaskId, ensure};
use crate::sabotage::Sabotage;
use crate::scene::{STREAM, Scene};
use crate::server::{Refusal, Server};

/// An event that may run, or runs.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) generation: u64,
    pub(crate) place: Place,
    pub(crate) key: Key,
    pub(crate) sequence: u64,
    pub(crate) attempt: u32,
    /// The state it saw, once it runs, and whether that was read from the stream.
    pub(crate) state: Option<(State, bool)>,
}

/// What became of a batch at the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Stored(u64),
    Refused(String),
}

/// One life of the host, from taking the application over to its death.
pub(crate) struct Host {
    /// The handlers it has, as the scene counts them.
    pub(crate) handlers: Vec<usize>,
    pub(crate) plan: Plan,
    pub(crate) origins: Arc<Origins>,
    pub(crate) shards: Shards,
    pub(crate) states: States,
    pub(crate) commits: Commits,
    /// The batches under way, and what the server made of each, which the host has yet to learn.
    pub(crate) under_way: Vec<(Batch, Option<Answer>)>,
    pub(crate) ready: Vec<Job>,
    pub(crate) running: Vec<Job>,
    pub(crate) fetches: Vec<Job>,
    /// The next sequence that each handler has not seen.
    pub(crate) positions: Vec<u64>,
    pub(crate) condemned: HashMap<TaskId, Failure>,
    pub(crate) generation: u64,
    /// Whether events were read since idle shards last wrote their checkpoint.
    pub(crate) moved: bool,
    pub(crate) actions: Vec<Placed>,
    /// Finished events that a wrong host keeps back.
    pub(crate) kept_back: VecDeque<Unit>,
}

impl Host {
    /// Takes the application over from whoever had it: all checkpoints are written anew, in one batch.
    pub(crate) fn acquire(
        scene: &Scene,
        name: String,
        handlers: Vec<usize>,
        server: &mut Server,
        model: &mut Model,
    ) -> Checked<Self> {
        let names = Names::new("app");
        let found = |number: &usize| scene.handlers.get(*number).map(|handler| handler.name.as_str().into());
        let of_plan: Vec<Arc<str>> = handlers.iter().filter_map(found).collect();
        let checkpoints = take_over(scene, &name, &of_plan, &names, server, model)?;
        let plan = Plan {
            host: name.clone(),
            shards: scene.shards,
            handlers: of_plan.iter().map(|handler| (Arc::clone(handler), STREAM.into())).collect(),
            streams: [(STREAM.to_owned(), 1)].into(),
            keys: Vec::new(),
            on_dead_letter: Vec::new(),
            checkpoint_bytes: scene.checkpoint_bytes,
        };
        let origins = Arc::new(Origins {
            names,
            stream: STREAM.into(),
            host: name,
            handlers: of_plan.into_iter().map(origin).collect(),
            keep_dead_letters: Keep::Always,
            max_payload: 1 << 20,
        });
        let stored: Vec<Checkpoint> = checkpoints.iter().map(|(_, checkpoint)| checkpoint.clone()).collect();
        let shards = Shards::new(plan.clone(), &stored, Vec::new(), 0);
        model.forgotten(&retries(scene, &stored));
        Ok(Host {
            positions: (0..handlers.len()).map(|handler| shards.low(handler, 0)).collect(),
            commits: Commits::new(Arc::clone(&origins), checkpoints, scene.full),
            handlers,
            plan,
            origins,
            shards,
            states: States::default(),
            under_way: Vec::new(),
            ready: Vec::new(),
            running: Vec::new(),
            fetches: Vec::new(),
            condemned: HashMap::new(),
            generation: 0,
            moved: false,
            actions: Vec::new(),
            kept_back: VecDeque::new(),
        })
    }

    /// What the scene calls this event of this handler.
    pub(crate) fn id(&self, handler: usize, sequence: u64) -> TaskId {
        (self.handlers.get(handler).copied().unwrap_or(usize::MAX), sequence)
    }

    /// Does what the shards want done.
    pub(crate) fn act(&mut self, model: &mut Model, sabotage: Option<Sabotage>) -> Checked {
        for Placed { place, action } in std::mem::take(&mut self.actions) {
            let job = |key: Key, sequence: u64, attempt: u32| {
                let generation = self.generation;
                Job { generation, place, key, sequence, attempt, state: None }
            };
            match action {
                Action::Run { key, event, attempt } => {
                    let job = job(key, event.sequence, attempt);
                    if sabotage == Some(Sabotage::BeginsTwice) && event.sequence % 5 == 0 {
                        self.ready.push(job.clone());
                    }
                    self.ready.push(job);
                }
                Action::Fetch { key, positions: sequences } => {
                    let forgets = sabotage == Some(Sabotage::ForgetsFetches);
                    let sequences = sequences.into_iter().filter(|_| !forgets);
                    self.fetches.extend(sequences.map(|sequence| job(key.clone(), sequence, 0)));
                }
                Action::Settle(settled) => {
                    model.settled(self.id(place.handler, settled.event.sequence))?;
                    self.push(Unit { place, settled, minimal: false }, sabotage);
                }
                Action::Record if sabotage == Some(Sabotage::ForgetsRecords) => {}
                Action::Record => self.commits.touch(place.shard),
                Action::WakeAt { .. } | Action::TakeBack { .. } | Action::Open { .. } => {}
            }
        }
        Ok(())
    }

    fn push(&mut self, unit: Unit, sabotage: Option<Sabotage>) {
        let dead = matches!(unit.settled.outcome, Outcome::Dead(..));
        if sabotage == Some(Sabotage::DropsDeadLetters) && dead {
            return;
        }
        if sabotage == Some(Sabotage::TakesOutOfOrder) && self.kept_back.is_empty() {
            self.kept_back.push_back(unit);
            return;
        }
        self.commits.push(unit);
        while let Some(unit) = self.kept_back.pop_front() {
            self.commits.push(unit);
        }
    }

    /// Lets every shard write its checkpoint that lags by more than so many sequences.
    pub(crate) fn touch_lagging(&mut self, events: u64) {
        for shard in 0..self.shards.count() {
            let lags = |committed| self.shards.lags(shard, &self.positions, committed, events);
            if self.commits.committed(shard).is_some_and(lags) {
                self.commits.touch(shard);
            }
        }
    }

    /// A batch is stored, and the host has learned of it.
    pub(crate) fn stored(&mut self, batch: &Batch, first: u64, now: u64, sabotage: Option<Sabotage>) {
        self.commits.stored(batch, first);
        for (shard, _, checkpoint) in &batch.checkpoints {
            self.shards.committed(*shard, checkpoint);
        }
        for Unit { place, settled, .. } in &batch.units {
            if sabotage != Some(Sabotage::ForgetsSettled) {
                self.shards.at(*place, &mut self.actions, |track, actions| {
                    track.settled(settled, first, now, actions)
                });
            }
        }
        for (_, id, changes) in &batch.states {
            self.states.committed(id, *changes, now);
        }
    }

    /// The event at fault is known: everything after the last commit is forgotten and read again.
    pub(crate) fn reset(&mut self, at_fault: &Unit, reason: &str, scene: &Scene, model: &mut Model) {
        let id = self.id(at_fault.place.handler, at_fault.settled.event.sequence);
        self.condemned.insert(id, Failure::new(CauseClass::Refused, reason));
        self.generation += 1;
        let checkpoints = self.commits.forget();
        model.forgotten(&retries(scene, &checkpoints));
        self.shards = Shards::new(self.plan.clone(), &checkpoints, Vec::new(), 0);
        self.states = States::default();
        self.ready.clear();
        self.kept_back.clear();
        self.actions.clear();
        self.positions = (0..self.handlers.len()).map(|handler| self.shards.low(handler, 0)).collect();
    }

    /// With nothing left to be committed, what is stored must know every attempt.
    pub(crate) fn knows_attempts(&self, model: &Model) -> Checked {
        if !self.commits.is_empty() || !self.under_way.is_empty() || !self.actions.is_empty() {
            return Ok(());
        }
        for shard in 0..self.shards.count() {
            if let Some(checkpoint) = self.commits.committed(shard) {
                model.knows_attempts(shard, checkpoint, &BTreeSet::new())?;
            }
        }
        Ok(())
    }

    /// What is held must be what was read and is not committed, or less; and the window must be full in time.
    pub(crate) fn holds(&self, model: &Model) -> Checked {
        let budget = self.plan.checkpoint_bytes / self.handlers.len().max(1);
        for (index, number) in self.handlers.iter().enumerate() {
            let held = self.shards.held(index);
            let (mut read, mut full) = (0, 0);
            for shard in 0..self.shards.count() {
                read += model.of_track(*number, shard).filter(|(_, task)| task.read).count();
                let over = model.ahead(*number, shard).saturating_mul(2) >= budget;
                full += usize::from(over && model.has_caught_up(*number, shard));
            }
            ensure(held.events <= read && held.waiting <= read, Promise::Held, || {
                format!("handler {number} holds {held:?} of {read} that were read")
            })?;
            ensure(held.full >= full, Promise::Window, || {
                format!("handler {number} has {full} full windows and says {held:?}")
            })?;
        }
        Ok(())
    }

    /// Everything is done: nothing is held, and the checkpoints say nothing but their low marks, unless what they
    /// wait for is lost.
    pub(crate) fn at_rest(&self, model: &Model) -> Checked {
        for (index, number) in self.handlers.iter().enumerate() {
            let held = self.shards.held(index);
            ensure(held == Default::default(), Promise::Held, || format!("handler {number}: {held:?}"))?;
        }
        for shard in 0..self.shards.count() {
            let handlers = self.commits.committed(shard).into_iter().flat_map(|stored| &stored.handlers);
            for (name, progress) in handlers {
                let clean = progress.done.is_empty() && progress.attempts.is_empty();
                let handler = self.plan.handlers.iter().position(|(known, _)| **known == **name);
                let number = handler.and_then(|index| self.handlers.get(index)).copied();
                let mut of_track = number.into_iter().flat_map(|number| model.of_track(number, shard));
                ensure(clean || of_track.any(|(_, task)| task.lost), Promise::Checkpoint, || {
                    format!("progress of {name} in {shard} at rest: {progress:?}")
                })?;
            }
        }
        Ok(())
    }
}

fn origin(name: Arc<str>) -> HandlerOrigin {
    HandlerOrigin { name, plugin: "sha256:0".to_owned(), version: None }
}

/// The retries under way that some checkpoints know.
fn retries(scene: &Scene, checkpoints: &[Checkpoint]) -> HashMap<TaskId, Retry> {
    let mut retries = HashMap::new();
    for (name, progress) in checkpoints.iter().flat_map(|checkpoint| &checkpoint.handlers) {
        let Some(handler) = scene.handlers.iter().position(|handler| handler.name == *name) else { continue };
        for attempt in &progress.attempts {
            let retry = Retry { attempts: attempt.attempts, due: attempt.due };
            retries.insert((handler, attempt.position), retry);
        }
    }
    retries
}

/// Writes all checkpoints in the name of a host, in one batch.
fn take_over(
    scene: &Scene,
    host: &str,
    handlers: &[Arc<str>],
    names: &Names,
    server: &mut Server,
    model: &mut Model,
) -> Checked<Vec<(u64, Checkpoint)>> {
    let mut batch: Vec<BatchMessage> = Vec::new();
    let mut checkpoints = Vec::new();
    for shard in 0..scene.shards.get() {
        let (fence, mut checkpoint) = stored_checkpoint(server, names, shard)?;
        host.clone_into(&mut checkpoint.host);
        checkpoint.shards = scene.shards.get();
        for handler in handlers {
            let beginning = Progress { stream: STREAM.to_owned(), low: 1, ..Progress::default() };
            checkpoint.handlers.entry(handler.to_string()).or_insert(beginning);
        }
        batch.push(checkpoint_message(names, shard, &checkpoint, fence));
        checkpoints.push((fence, checkpoint));
    }
    let first = server.store(&batch).map_err(|refusal| fenced(&refusal))?;
    for (shard, (fence, checkpoint)) in (0_u16..).zip(&mut checkpoints) {
        *fence = first + u64::from(shard);
        model.checkpoint(shard, checkpoint)?;
    }
    Ok(checkpoints)
}

fn stored_checkpoint(server: &Server, names: &Names, shard: u16) -> Checked<(u64, Checkpoint)> {
    let Some((sequence, bytes)) = server.last(&names.checkpoint(shard)) else {
        return Ok((0, Checkpoint::default()));
    };
    let damaged = |error| Fault { promise: Promise::Checkpoint, text: format!("{error}: {bytes:?}") };
    Ok((sequence, Checkpoint::decode(&bytes).map_err(damaged)?))
}

/// With one host alive, no batch may be fenced.
pub(crate) fn fenced(refusal: &Refusal) -> Fault {
    Fault { promise: Promise::ExactlyOnce, text: format!("the only host is refused: {refusal:?}") }
}
