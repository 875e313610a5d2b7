//! What a track does about keys that are held.

use std::sync::Arc;

use super::lane::{Head, Lane, Slot};
use super::{Action, Outcome, Track};
use heddle_values::event::{Event, Source};
use heddle_values::gate::{Gate, Phase};
use heddle_values::key::Key;

impl Track {
    /// Goes on with the keys that drain.
    pub fn resume(&mut self, now: u64, actions: &mut Vec<Action>) {
        self.record.begin_at(now);
        for key in self.gates.draining() {
            self.lanes.entry(key.clone()).or_insert_with(|| Lane::new(now));
            self.advance(&key, now, actions);
        }
    }

    /// How many keys are held.
    pub fn held_keys(&self) -> usize {
        self.gates.count()
    }

    /// The gates as the stream has them.
    pub fn stored_gates(&self) -> impl Iterator<Item = &Gate> {
        self.gates.all_stored()
    }

    /// What was held back of a key, in order; `all`: nothing more was.
    pub fn taken_back(
        &mut self,
        key: &Key,
        events: Vec<Arc<Event>>,
        all: bool,
        now: u64,
        actions: &mut Vec<Action>,
    ) {
        let Some(held) = self.gates.get_mut(key) else { return };
        if !std::mem::take(&mut held.looking) || held.gate.phase != Phase::Draining {
            return;
        }
        held.exhausted = all;
        let lane = self.lanes.entry(key.clone()).or_insert_with(|| Lane::new(now));
        for event in events.into_iter().rev() {
            self.held.hold(&event);
            lane.queue.push_front((event.position(), Slot::Here(event)));
        }
        self.advance(key, now, actions);
    }

    /// Does the next thing that the key's gate, or the release of it, asks for. Whether there may be more.
    pub(super) fn passes_gate(&mut self, key: &Key, now: u64, actions: &mut Vec<Action>) -> bool {
        let Some(lane) = self.lanes.get(key) else { return false };
        // Nearly always.
        if self.gates.is_empty() && lane.first().is_none_or(|event| event.replay().is_none()) {
            return false;
        }
        let first = lane.first().cloned();
        if let Some(event) = first.as_ref().filter(|e| e.replay().is_some_and(|replay| replay.release)) {
            let pending = self.gates.get(key).is_some_and(|held| held.gate.phase == Phase::Draining);
            if !pending {
                self.settle(key, (Arc::clone(event), None), Outcome::Released, now, actions);
                return true;
            }
        }
        let takes_back = lane.takes_back();
        let Some(held) = self.gates.get_mut(key) else { return false };
        match held.gate.phase {
            Phase::Closed => {
                let Some(event) = first.filter(|event| event.source == Source::Stream) else { return false };
                self.settle(key, (event, None), Outcome::HeldBack, now, actions);
                true
            }
            Phase::Draining if held.pending || held.looking || takes_back => false,
            // Were the gate open in the stream before all is done there, a crash would lose the rest.
            Phase::Draining if held.exhausted && held.uncommitted > 0 => false,
            Phase::Draining if held.exhausted => {
                if let Some(gate) = self.gates.open(key) {
                    actions.push(Action::Open { key: key.clone(), gate });
                }
                true
            }
            Phase::Draining => {
                held.looking = true;
                actions.push(Action::TakeBack { key: key.clone(), next: held.gate.next });
                false
            }
            Phase::Open => false,
        }
    }

    /// A gate is committed.
    pub fn gate_stored(&mut self, key: &Key, gate: &Gate, now: u64, actions: &mut Vec<Action>) {
        if self.gates.stored(key, gate) {
            let lane = self.lanes.entry(key.clone()).or_insert_with(|| Lane::new(now));
            if lane.head == Head::Fetching {
                self.advance(key, now, actions);
            }
        }
    }
}
