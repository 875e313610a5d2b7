//! The host: drives the shards as the engine does, one input at a time, each at a moment of the world's choosing.
//!
//! What is pure in the flow is the real thing: shards, tracks, states, commits, batches, checkpoints. What is not
//! (cursors, plugins, the server) is made of lists from which the world takes what it likes.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use heddle_flow::batch::{Batch, Origins, Unit};
use heddle_flow::commit::Commits;
use heddle_flow::shard::{Action, Outcome};
use heddle_flow::shards::{Place, Placed, Plan, Shards};
use heddle_flow::states::{State, States};
use heddle_values::gate::Phase;
use heddle_values::key::Key;
use heddle_values::verdict::{CauseClass, Failure};

use crate::acquire::retries;
use crate::model::{Checked, Model, Promise, TaskId, ensure};
use crate::replays::{Forget, Replays, TakeBack};
use crate::sabotage::Sabotage;
use crate::scene::Scene;

/// An event that may run, or runs.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) generation: u64,
    pub(crate) place: Place,
    pub(crate) key: Key,
    pub(crate) position: u64,
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
    /// What comes a second time.
    pub(crate) replays: Replays,
    /// Handlers whose failures are not counted now.
    pub(crate) outages: BTreeSet<usize>,
    /// Finished events that a wrong host keeps back.
    pub(crate) kept_back: VecDeque<Unit>,
}

impl Host {
    /// What the scene calls this event of this handler.
    pub(crate) fn id(&self, handler: usize, position: u64) -> TaskId {
        (self.handlers.get(handler).copied().unwrap_or(usize::MAX), position)
    }

    /// Does what the shards want done.
    pub(crate) fn act(&mut self, model: &mut Model, sabotage: Option<Sabotage>) -> Checked {
        for Placed { place, action } in std::mem::take(&mut self.actions) {
            let generation = self.generation;
            let job = |key: Key, position: u64, attempt: u32| Job {
                generation,
                place,
                key,
                position,
                attempt,
                state: None,
            };
            match action {
                Action::Run { key, event, attempt, .. } => {
                    let job = job(key, event.position(), attempt);
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
                    model.settled(self.id(place.handler, settled.event.position()), &settled)?;
                    let drains = settled.gate.as_ref().filter(|gate| gate.phase == Phase::Draining);
                    if let (Some(Sabotage::DrainsTooEarly), Some(gate)) = (sabotage, drains) {
                        self.shards.at(place, &mut self.actions, |track, actions| {
                            track.gate_stored(&settled.key, gate, 0, actions)
                        });
                    }
                    self.push(Unit { place, settled, minimal: false }, sabotage);
                }
                Action::Record if sabotage == Some(Sabotage::ForgetsRecords) => {}
                Action::Record => self.commits.touch(place.shard),
                Action::TakeBack { key, next } => {
                    self.replays.take_back.push(TakeBack { generation, place, key, next });
                }
                Action::Open { key, gate } => self.commits.open(place, key, gate),
                Action::WakeAt { .. } => {}
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

    /// Lets every shard write its checkpoint that lags by more than N sequences.
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
        let end = first + (batch.messages.len() as u64).saturating_sub(1);
        for (shard, _, checkpoint) in &batch.checkpoints {
            self.shards.committed(*shard, checkpoint);
        }
        for (place, key, gate) in &batch.opened {
            self.shards.at(*place, &mut self.actions, |track, actions| {
                track.gate_stored(key, gate, now, actions);
            });
            let subject = self.held_subject(*place, key);
            self.replays.forget.push(Forget { subject, below: gate.next });
        }
        for Unit { place, settled, .. } in &batch.units {
            if sabotage != Some(Sabotage::ForgetsSettled) {
                self.shards.at(*place, &mut self.actions, |track, actions| {
                    track.settled(settled, end, now, actions)
                });
            }
            if let Some(replay) = settled.event.replay() {
                self.replays.remove(*place, replay, self.generation);
            }
        }
        for (id, changes) in &batch.states {
            self.states.committed(id, *changes, now);
        }
    }

    /// Where what is held back of a key is.
    pub(crate) fn held_subject(&self, place: Place, key: &Key) -> String {
        let handler = self.plan.handlers.get(place.handler).map_or("", |(name, _)| name);
        self.origins.names.held(place.shard, handler, &key.token())
    }

    /// The event at fault is known: everything after the last commit is forgotten and read again.
    pub(crate) fn reset(
        &mut self,
        at_fault: &Unit,
        reason: &str,
        now: u64,
        (scene, model): (&Scene, &mut Model),
    ) {
        let id = self.id(at_fault.place.handler, at_fault.settled.event.position());
        self.condemned.insert(id, Failure::new(CauseClass::Refused, reason));
        self.generation += 1;
        let checkpoints = self.commits.forget();
        model.forgotten(&retries(scene, &checkpoints));
        let gates = self.shards.stored_gates();
        self.shards = Shards::new(self.plan.clone(), &checkpoints, gates, self.commits.known());
        self.states = States::default();
        self.ready.clear();
        self.kept_back.clear();
        self.actions.clear();
        self.shards.resume(now, &mut self.actions);
        self.replays.begin_anew();
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
            let keys = self.shards.held_keys(index);
            ensure(keys == 0, Promise::Gate, || format!("handler {number} holds {keys} keys"))?;
        }
        let gates = self.shards.stored_gates();
        ensure(gates.is_empty(), Promise::Gate, || format!("stored gates at rest: {gates:?}"))?;
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
