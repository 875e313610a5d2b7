//! How events end: in batches that are stored, or that the server will never store.

use super::Flow;
use crate::batch::{Batch, Unit};
use crate::positions::Positions;
use crate::shard::Outcome;
use crate::shards::{Claimed, Place};
use crate::states::{States, Written};
use heddle_values::event::Replay;
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
    /// Shards that were given up, and are free from now on.
    pub gone: Vec<u16>,
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
    pub fn touch_lagging(&mut self, positions: &Positions, messages: u64) {
        let owned = self.shards.owned();
        for shard in owned {
            if self.shards.lags(shard, positions, self.commits.committed(shard), messages) {
                self.commits.touch(shard);
            }
        }
    }

    /// The next batch, if there is one to be sent now. `positions` are the next sequences that the handlers have not seen.
    pub fn next_batch(&mut self, positions: &Positions, now: u64) -> Option<&Batch> {
        self.let_go();
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
        let given_up = batch.checkpoints.iter().filter(|(.., checkpoint)| checkpoint.released);
        let gone: Vec<u16> = given_up.map(|(shard, ..)| *shard).collect();
        for shard in &gone {
            self.drop_shard(*shard);
            self.commits.lose(*shard);
        }
        self.drop_lost(batch.checkpoints.iter().map(|(shard, ..)| *shard));
        Some(Stored { batch, drained, replayed, states, gone })
    }

    /// The server will never store a batch as it is. None: it is not under way.
    pub fn refused(&mut self, number: u64) -> Option<Refused> {
        let batch = self.under_way.remove(&number)?;
        if batch.units.is_empty() {
            return Some(Refused::Checkpoints);
        }
        let shards: Vec<u16> = batch.checkpoints.iter().map(|(shard, ..)| *shard).collect();
        let at_fault = self.commits.refused(batch);
        self.drop_lost(shards);
        Some(match at_fault {
            None => Refused::Again,
            // It is another host's by now.
            Some(unit) if !self.shards.owns(unit.place.shard) => Refused::Again,
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
        let event = (at_fault.place.handler, at_fault.settled.event.position());
        self.condemned.insert(event, (at_fault.place.shard, failure));
        self.generation += 1;
        self.begun = self.generation;
        self.shards.read_requests_again();
        self.commits.forget();
        self.states = States::new(self.plan.handlers.map(|_| false));
        self.actions.clear();
        let owned: Vec<u16> = self.shards.owned().collect();
        let known = self.commits.known();
        for shard in owned {
            self.clear_running(shard);
            let (fence, checkpoint) = self.commits.last(shard);
            let gates = self.shards.gates_of(shard);
            let claimed = Claimed { shard, fence, checkpoint: checkpoint.clone(), gates };
            self.shards.claim(&claimed, (self.generation, known), now, &mut self.actions);
        }
    }
}
