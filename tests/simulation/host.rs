//! The host: drives the shards as the engine does, one input at a time, each at a moment of the world's choosing.
//!
//! What is pure in the flow is the real thing: shards, tracks, states, commits, batches, checkpoints. What is not
//! (cursors, plugins, the server) is made of lists from which the world takes what it likes.

use std::collections::{BTreeSet, VecDeque};

use heddle_flow::batch::Unit;
use heddle_flow::flow::{Flow, Job, Ticket, Work};
use heddle_flow::positions::Positions;
use heddle_flow::shard::{Action, Outcome};
use heddle_flow::shards::Placed;
use heddle_flow::states::State;
use heddle_values::gate::Phase;
use heddle_values::handlers::{HandlerIx, PerHandler};
use heddle_values::position::Position;

use crate::acquire::retries;
use crate::model::{Checked, Model, Promise, TaskId, ensure};
use crate::replays::{Forget, Replays, TakeBack};
use crate::sabotage::Sabotage;
use crate::scene::Scene;

/// An event that runs.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) job: Job,
    /// The state it saw, and whether that was read from the stream.
    pub(crate) state: (State, bool),
}

/// What became of a batch at the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Stored(u64),
    Refused(String),
    Fenced,
}

/// One life of the host, from taking the application over to its death.
pub(crate) struct Host {
    /// The handlers it has, as the scene counts them.
    pub(crate) handlers: PerHandler<usize>,
    pub(crate) flow: Flow,
    /// The batches under way, and what the server made of each, which the host has yet to learn.
    pub(crate) under_way: Vec<(u64, Option<Answer>)>,
    pub(crate) ready: Vec<Job>,
    pub(crate) running: Vec<Run>,
    /// Events that are read again, and for whom.
    pub(crate) fetches: Vec<(Ticket, Position)>,
    /// The next sequences that were not seen.
    pub(crate) positions: Positions,
    /// Shards that another host has claimed, which this one has yet to learn.
    pub(crate) lost: BTreeSet<u16>,
    /// Whether events were read since idle shards last wrote their checkpoint.
    pub(crate) moved: bool,
    /// What comes a second time.
    pub(crate) replays: Replays,
    /// Handlers whose failures are not counted now.
    pub(crate) outages: BTreeSet<HandlerIx>,
    /// Finished events that a wrong host keeps back.
    pub(crate) kept_back: VecDeque<Placed>,
}

impl Host {
    /// What the scene calls this event of this handler.
    pub(crate) fn id(&self, handler: HandlerIx, position: Position) -> TaskId {
        (self.handlers[handler], position)
    }

    /// Whether the host owns a shard, and no other has claimed it since.
    pub(crate) fn is_owner(&self, shard: u16) -> bool {
        self.flow.shards().owns(shard) && !self.lost.contains(&shard)
    }

    /// What the scene calls the event of a job.
    pub(crate) fn id_of(&self, job: &Job) -> TaskId {
        self.id(job.place.handler, job.event.position())
    }

    /// Where reading begins: at the lowest event of each handler that is not done.
    pub(crate) fn lows(&self) -> Positions {
        let lows = self.handlers.indices().map(|handler| self.flow.shards().low(handler, 0));
        lows.collect::<PerHandler<u64>>().into()
    }

    /// What the driver keeps beside the flow goes with the shards that went.
    pub(crate) fn sync(&mut self) {
        let shards = self.flow.shards();
        self.lost.retain(|shard| shards.owns(*shard));
        self.ready.retain(|job| shards.owns(job.place.shard));
        for shard in (0..shards.count()).filter(|shard| !shards.owns(*shard)) {
            self.positions.leave(shard);
        }
    }

    /// Does what the tracks want done.
    pub(crate) fn act(&mut self, model: &mut Model, sabotage: Option<Sabotage>) -> Checked {
        for placed in self.flow.actions() {
            let place = placed.place;
            match &placed.action {
                Action::Fetch { .. } if sabotage == Some(Sabotage::ForgetsFetches) => continue,
                Action::Record if sabotage == Some(Sabotage::ForgetsRecords) => continue,
                Action::Settle(settled) => {
                    if self.is_owner(place.shard) {
                        model.settled(self.id(place.handler, settled.event.position()), settled)?;
                    }
                    let drains = settled.gate.as_ref().filter(|gate| gate.phase == Phase::Draining);
                    if let (Some(Sabotage::DrainsTooEarly), Some(gate)) = (sabotage, drains) {
                        self.flow
                            .at(place, |track, actions| track.gate_stored(&settled.key, gate, 0, actions));
                    }
                    let dead = matches!(settled.outcome, Outcome::Dead(..));
                    if sabotage == Some(Sabotage::DropsDeadLetters) && dead {
                        continue;
                    }
                    if sabotage == Some(Sabotage::TakesOutOfOrder) && self.kept_back.is_empty() {
                        self.kept_back.push_back(placed);
                        continue;
                    }
                    self.perform(placed, sabotage);
                    while let Some(kept_back) = self.kept_back.pop_front() {
                        self.perform(kept_back, sabotage);
                    }
                    continue;
                }
                _ => {}
            }
            self.perform(placed, sabotage);
        }
        Ok(())
    }

    fn perform(&mut self, placed: Placed, sabotage: Option<Sabotage>) {
        match self.flow.perform(placed) {
            None => {}
            Some(Work::Run(job)) => {
                if sabotage == Some(Sabotage::BeginsTwice) && job.event.sequence % 5 == 0 {
                    self.ready.push(job.clone());
                }
                self.ready.push(job);
            }
            Some(Work::Fetch { ticket, positions }) => {
                self.fetches.extend(positions.into_iter().map(|position| (ticket.clone(), position)));
            }
            Some(Work::TakeBack { ticket, next }) => {
                self.replays.take_back.push(TakeBack { ticket, next });
            }
        }
    }

    /// Lets every shard write its checkpoint that lags by more than N sequences.
    pub(crate) fn touch_lagging(&mut self, events: u64) {
        self.flow.touch_lagging(&self.positions, events);
    }

    /// A batch is stored, and the host has learned of it.
    pub(crate) fn stored(&mut self, number: u64, first: u64, now: u64, sabotage: Option<Sabotage>) {
        let forgotten = match self.flow.batch_mut(number) {
            Some(batch) if sabotage == Some(Sabotage::ForgetsSettled) => std::mem::take(&mut batch.units),
            _ => Vec::new(),
        };
        let Some(stored) = self.flow.stored(number, first, now) else { return };
        let forget = stored.drained.into_iter().map(|(subject, below)| Forget { subject, below });
        self.replays.forget.extend(forget);
        let forgotten = forgotten.iter().filter_map(|unit| Some((unit.place, unit.settled.event.replay()?)));
        for (place, replay) in stored.replayed.into_iter().chain(forgotten) {
            self.replays.remove(place, replay, self.flow.generation());
        }
        self.sync();
    }

    /// The event at fault is known: everything after the last commit is forgotten and read again.
    pub(crate) fn reset(
        &mut self,
        at_fault: &Unit,
        reason: &str,
        now: u64,
        (scene, model): (&Scene, &mut Model),
    ) {
        self.flow.reset(at_fault, reason, now);
        let (shards, commits) = (self.flow.shards(), self.flow.commits());
        let committed = shards.owned().map(|shard| commits.committed(shard));
        model.forgotten(|shard| self.is_owner(shard), &retries(scene, committed));
        self.positions = self.lows();
        self.ready.clear();
        self.kept_back.clear();
        self.replays.begin_anew();
    }

    /// With nothing left to be committed, what is stored must know every attempt.
    pub(crate) fn knows_attempts(&self, model: &Model) -> Checked {
        let flow = &self.flow;
        if !flow.commits().is_empty() || flow.under_way() > 0 || !flow.waiting().is_empty() {
            return Ok(());
        }
        for shard in flow.shards().owned().filter(|shard| self.is_owner(*shard)) {
            model.knows_attempts(shard, flow.commits().committed(shard), &BTreeSet::new())?;
        }
        Ok(())
    }

    /// What is held must be what was read and is not committed, or less; and the window must be full in time.
    pub(crate) fn holds(&self, model: &Model) -> Checked {
        let budget = self.flow.plan().checkpoint_bytes / self.handlers.len().max(1);
        let shards = self.flow.shards();
        for (handler, number) in self.handlers.rows() {
            let held = shards.held(handler);
            let (mut read, mut full) = (0, 0);
            for shard in shards.owned().filter(|shard| self.is_owner(*shard)) {
                read += model.of_track(*number, shard).filter(|(_, task)| task.read).count();
                let over = model.ahead(*number, shard).saturating_mul(2) >= budget;
                full += usize::from(over && model.has_caught_up(*number, shard));
            }
            let unknown = !self.lost.is_empty();
            ensure(unknown || (held.events <= read && held.waiting <= read), Promise::Held, || {
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
        let shards = self.flow.shards();
        for (handler, number) in self.handlers.rows() {
            let held = shards.held(handler);
            ensure(held == Default::default(), Promise::Held, || format!("handler {number}: {held:?}"))?;
            let keys = shards.held_keys(handler);
            ensure(keys == 0, Promise::Gate, || format!("handler {number} holds {keys} keys"))?;
        }
        let gates = shards.stored_gates();
        ensure(gates.is_empty(), Promise::Gate, || format!("stored gates at rest: {gates:?}"))?;
        for shard in shards.owned() {
            let committed = self.flow.commits().committed(shard);
            for (name, progress) in &committed.handlers {
                let clean = progress.done.is_empty() && progress.attempts.is_empty();
                let handler = self.flow.plan().handlers.find(|known| *known.name == **name);
                let number = handler.map(|handler| self.handlers[handler]);
                let mut of_track = number.into_iter().flat_map(|number| model.of_track(number, shard));
                ensure(clean || of_track.any(|(_, task)| task.lost), Promise::Checkpoint, || {
                    format!("progress of {name} in {shard} at rest: {progress:?}")
                })?;
            }
        }
        Ok(())
    }
}
