//! How events end: in batches that are stored, or that the server will never store.

use super::Flow;
use crate::batch::{Batch, Unit};
use crate::shard::Outcome;
use crate::shards::{Place, Shards};
use crate::states::{States, Written};
use heddle_values::event::Replay;
use heddle_values::handlers::PerHandler;
use heddle_values::verdict::{CauseClass, Failure};

/// A batch that is stored, and what follows from it.
#[derive(Debug)]
pub struct Stored {
    /// The batch itself: only now may its replies be sent and its events be counted.
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
    /// Its events wait again, and are committed one by one until the one at fault is found.
    Again,
    /// It had no events.
    Checkpoints,
    /// It named an event, and no more.
    Named,
    /// This event is at fault: [`reset`](Flow::reset).
    AtFault(Box<Unit>),
}

impl Flow {
    /// Lets every shard write its checkpoint of whose progress more than N messages are not stored yet.
    pub fn touch_lagging(&mut self, positions: &PerHandler<u64>, messages: u64) {
        for shard in 0..self.shards.count() {
            if self.shards.lags(shard, positions, self.commits.committed(shard), messages) {
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
