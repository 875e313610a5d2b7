//! The gates of a track: which keys are held, and how far they have come.

use std::collections::HashMap;

use super::Outcome;
use heddle_values::event::{Event, Source};
use heddle_values::gate::{Gate, Phase};
use heddle_values::key::Key;
use heddle_values::policy::OnDeadLetter;
use heddle_values::verdict::CauseClass;

/// A gate as it is by now.
#[derive(Debug)]
pub(super) struct KeyGate {
    pub(super) gate: Gate,
    /// It is to drain once that is committed: until then, not all that was held back is in the stream.
    pub(super) pending: bool,
    /// A search for what was held back is under way.
    pub(super) looking: bool,
    /// Nothing more was held back than what is in the lane.
    pub(super) exhausted: bool,
    /// How many changes of the gate are not committed yet.
    pub(super) uncommitted: usize,
}

impl KeyGate {
    fn new(gate: Gate) -> Self {
        KeyGate { gate, pending: false, looking: false, exhausted: false, uncommitted: 0 }
    }
}

/// All gates of a track.
#[derive(Debug, Default)]
pub(super) struct Gates {
    held: HashMap<Key, KeyGate>,
    /// As the stream has them.
    stored: HashMap<Key, Gate>,
}

impl Gates {
    /// Goes on from what the stream has.
    pub(super) fn new(gates: impl IntoIterator<Item = Gate>) -> Self {
        let mut all = Gates::default();
        for gate in gates.into_iter().filter(|gate| gate.phase != Phase::Open) {
            let key = Key::new(&gate.key);
            all.stored.insert(key.clone(), gate.clone());
            all.held.insert(key, KeyGate::new(gate));
        }
        all
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn get(&self, key: &Key) -> Option<&KeyGate> {
        self.held.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut KeyGate> {
        // Nearly always there is none.
        if self.held.is_empty() { None } else { self.held.get_mut(key) }
    }

    /// The keys that drain.
    pub(super) fn draining(&self) -> Vec<Key> {
        let draining = self.held.iter().filter(|(_, held)| held.gate.phase == Phase::Draining);
        draining.map(|(key, _)| key.clone()).collect()
    }

    /// How many keys are held.
    pub(super) fn count(&self) -> usize {
        self.held.len()
    }

    /// As the stream has them.
    pub(super) fn all_stored(&self) -> impl Iterator<Item = &Gate> {
        self.stored.values()
    }

    /// What the end of an event makes of its key's gate; none: nothing. Whatever will be held back of a key that is held
    /// from now on comes at or after the sequence `next`.
    pub(super) fn after(
        &mut self,
        key: &Key,
        event: &Event,
        outcome: &Outcome,
        (on_dead_letter, next): (OnDeadLetter, u64),
        now: u64,
    ) -> Option<Gate> {
        let hold = on_dead_letter == OnDeadLetter::HoldKey;
        let Some(held) = self.get_mut(key) else {
            let Outcome::Dead(death) = outcome else { return None };
            // A key that only this event has holds nothing back.
            if !hold || death.failure.class == CauseClass::Key {
                return None;
            }
            let (key_text, event) = (key.as_str().to_owned(), event.id());
            let gate = Gate { key: key_text, phase: Phase::Closed, next, event, since: now };
            let held = KeyGate { uncommitted: 1, ..KeyGate::new(gate.clone()) };
            self.held.insert(key.clone(), held);
            return Some(gate);
        };
        let closed_by_it = held.gate.phase == Phase::Closed && held.gate.event == event.id();
        match (event.source, outcome) {
            (Source::Held(at), Outcome::Dead(_)) if hold => {
                held.gate = Gate {
                    phase: Phase::Closed,
                    next: at + 1,
                    event: event.id(),
                    since: now,
                    ..held.gate.clone()
                };
                held.exhausted = false;
            }
            (Source::Held(at), _) => held.gate.next = at + 1,
            (Source::Replay(_), Outcome::Done(_)) if closed_by_it => drain(held),
            (Source::Replay(_), Outcome::Dead(_)) if closed_by_it && !hold => drain(held),
            (Source::Replay(_), Outcome::Released) if held.gate.phase == Phase::Closed => drain(held),
            _ => return None,
        }
        held.uncommitted += 1;
        Some(held.gate.clone())
    }

    /// Everything that was held back has run.
    pub(super) fn open(&mut self, key: &Key) -> Option<Gate> {
        let held = self.held.remove(key)?;
        Some(Gate { phase: Phase::Open, ..held.gate })
    }

    /// A gate is committed. Whether its key may be drained, or opened, now.
    pub(super) fn stored(&mut self, key: &Key, gate: &Gate) -> bool {
        if gate.phase == Phase::Open {
            self.stored.remove(key);
            return false;
        }
        self.stored.insert(key.clone(), gate.clone());
        let Some(held) = self.held.get_mut(key) else { return false };
        held.uncommitted = held.uncommitted.saturating_sub(1);
        // An earlier change of the gate says nothing of what was held back after it.
        held.uncommitted == 0 && (std::mem::take(&mut held.pending) || held.exhausted)
    }
}

fn drain(held: &mut KeyGate) {
    held.gate.phase = Phase::Draining;
    held.pending = true;
    held.exhausted = false;
}
