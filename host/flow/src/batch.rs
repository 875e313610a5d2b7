//! Batches: what finished events ask for, as messages of one atomic batch.
//!
//! Promises that a batch holds every event whole (its messages, its state, its dead letter) together with the
//! checkpoints that call it done, and that it stays within what the server takes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::positions::Positions;
use super::shard::{Outcome, Settled};
use super::shards::{Place, Shards};
use super::states::StateId;
use heddle_values::batch::{BatchMessage, Keep, MAX_MESSAGES, Schedule};
use heddle_values::causality;
use heddle_values::checkpoint::Checkpoint;
use heddle_values::dead_letter::{Origin, dead_letter};
use heddle_values::effects::{Effects, Reply, StateChange, When};
use heddle_values::event::Replay;
use heddle_values::gate::{self, Gate, Phase};
use heddle_values::handlers::{HandlerIx, PerHandler};
use heddle_values::key::{Key, MAX_KEY};
use heddle_values::names::{self, Names};
use heddle_values::position::Position;
use heddle_values::text::header_text;

/// The most that one batch carries, in bytes.
const MAX_BATCH_BYTES: usize = 8 << 20;

/// How long the mark of a cleared state or an open gate stays, in seconds: longer than any load that began before.
const CLEARED_TTL: u32 = 3600;

/// How long the outcome of a replay can be read, in seconds.
const REPLAYED_TTL: u32 = 3600;

/// An event that came to its end, and where.
#[derive(Debug)]
pub struct Unit {
    /// The shard whose checkpoint calls the event done, and the handler that had it.
    pub place: Place,
    /// The event, how it ended, and what becomes of its key's gate.
    pub settled: Settled,
    /// Whether the server has refused to store the event itself: it is named, without its headers and payload.
    pub minimal: bool,
}

/// What does not change while the host runs.
#[derive(Debug)]
pub struct Origins {
    /// The subjects of the application.
    pub names: Names,
    /// The application's own stream: every batch is stored there, whichever stream its events come from.
    pub stream: Arc<str>,
    /// This host's id: a checkpoint that is read back and names another one means that the host was replaced.
    pub host: String,
    /// The names of the handlers.
    pub handlers: PerHandler<Arc<str>>,
    /// How long dead letters are kept.
    pub keep_dead_letters: Keep,
    /// The largest message that the server takes, in bytes.
    pub max_payload: usize,
}

/// A batch that is to be stored.
#[derive(Debug)]
pub struct Batch {
    /// In the order in which they are stored: gates that are open first, the checkpoints last.
    pub messages: Arc<[BatchMessage]>,
    /// The events that end with this batch. Empty if it has only checkpoints and gates to write.
    pub units: Vec<Unit>,
    /// Shard, index of its message, checkpoint.
    pub checkpoints: Vec<(u16, usize, Checkpoint)>,
    /// How many changes of each state it holds.
    pub states: Vec<(StateId, usize)>,
    /// Gates that are open, without a unit of their own.
    pub opened: Vec<(Place, Key, Gate)>,
    /// Answers to publishers. They are no part of what is stored, and are sent once it is.
    pub replies: Vec<Reply>,
    /// The number of this commit of the host. Its checkpoints bear it, so that the host recognises what it has stored.
    pub number: u64,
}

/// A batch that grows.
pub(super) struct Builder {
    origins: Arc<Origins>,
    now: SystemTime,
    messages: Vec<BatchMessage>,
    bytes: usize,
    pub(super) units: Vec<Unit>,
    shards: BTreeSet<u16>,
    /// Where each state's message is, how many changes it stands for, and the shard.
    states: HashMap<StateId, (usize, usize)>,
    /// Where each gate's message is.
    gates: HashMap<StateId, usize>,
    opened: Vec<(Place, Key, Gate)>,
    replies: Vec<Reply>,
}

impl Builder {
    /// Begins with the checkpoints of these shards. `now` is in milliseconds since 1970: what is published later counts
    /// from then.
    pub(super) fn new(origins: Arc<Origins>, shards: BTreeSet<u16>, now: u64) -> Self {
        Builder {
            origins,
            now: UNIX_EPOCH + Duration::from_millis(now),
            messages: Vec::new(),
            bytes: 0,
            units: Vec::new(),
            shards,
            states: HashMap::new(),
            gates: HashMap::new(),
            opened: Vec::new(),
            replies: Vec::new(),
        }
    }

    /// Adds a gate that is open. To be said before any unit is added.
    pub(super) fn open(&mut self, (place, key, gate): (Place, Key, Gate)) {
        self.shards.insert(place.shard);
        self.add_gate(place, &key, &gate);
        self.opened.push((place, key, gate));
    }

    /// How many gates were opened.
    pub(super) fn opened(&self) -> usize {
        self.opened.len()
    }

    /// Whether a unit can be added. The first one always can: what one event may ask for fits.
    fn fits(&self, unit: &Unit, state: &StateId) -> bool {
        let (messages, bytes) = unit.settled.cost();
        // One that is there already is replaced.
        let new_state = usize::from(!self.states.contains_key(state));
        let (states, state_bytes) = match &unit.settled.outcome {
            Outcome::Done(Effects { state: StateChange::Set(value), .. }) => (new_state, value.len()),
            Outcome::Done(Effects { state: StateChange::Clear, .. }) => (new_state, 0),
            _ => (0, 0),
        };
        let new_shard = usize::from(!self.shards.contains(&unit.place.shard));
        let beside =
            usize::from(unit.settled.gate.is_some()) + usize::from(unit.settled.event.replay().is_some());
        let count = self.messages.len() + messages + states + beside + self.shards.len() + new_shard;
        let bytes = self.bytes + bytes + state_bytes;
        self.units.is_empty() || (count <= MAX_MESSAGES && bytes <= MAX_BATCH_BYTES)
    }

    /// Adds a unit, or gives it back if there is no room for it.
    pub(super) fn add(&mut self, unit: Unit) -> Result<(), Box<Unit>> {
        let state = (unit.place.handler, unit.settled.key.clone());
        if !self.fits(&unit, &state) {
            return Err(Box::new(unit));
        }
        self.shards.insert(unit.place.shard);
        let origins = Arc::clone(&self.origins);
        let handler = &origins.handlers[unit.place.handler];
        let settled = &unit.settled;
        let room = if unit.minimal { 0 } else { origins.max_payload };
        match &settled.outcome {
            Outcome::Done(effects) => {
                self.add_effects(handler, settled, effects);
                self.add_state(unit.place.shard, handler, state, &effects.state);
            }
            Outcome::Dead(death) => {
                let origin = Origin { handler, plugin: settled.ran_by.as_deref(), key: &settled.key };
                let limits = (room, origins.keep_dead_letters);
                self.push(dead_letter(&origins.names, &settled.event, origin, death, limits));
            }
            Outcome::HeldBack => {
                let subject = origins.names.held(unit.place.shard, handler, &settled.key.token());
                self.push(gate::held_back(subject, &settled.event, room));
            }
            Outcome::Released => {}
        }
        if let Some(gate) = &settled.gate {
            self.add_gate(unit.place, &settled.key, gate);
        }
        if let Some(replay) = settled.event.replay() {
            self.push(replayed(&origins.names, handler, replay, settled));
        }
        self.units.push(unit);
        Ok(())
    }

    /// Two changes of one gate in a batch become the last one.
    fn add_gate(&mut self, place: Place, key: &Key, gate: &Gate) {
        let origins = Arc::clone(&self.origins);
        let name = &origins.handlers[place.handler];
        let id = (place.handler, key.clone());
        let open = gate.phase == Phase::Open;
        let message = BatchMessage {
            subject: origins.names.gate(place.shard, name, &key.token()),
            payload: gate.encode().into(),
            // Rolled up: once the mark itself is gone, no older gate may come back.
            rollup: open,
            keep: if open { Keep::Seconds(CLEARED_TTL) } else { Keep::Always },
            ..BatchMessage::default()
        };
        match self.gates.get(&id).and_then(|index| self.messages.get_mut(*index)) {
            Some(slot) => *slot = BatchMessage { rollup: slot.rollup || message.rollup, ..message },
            None => {
                self.gates.insert(id, self.messages.len());
                self.push(message);
            }
        }
    }

    fn push(&mut self, message: BatchMessage) {
        self.bytes += message.size();
        self.messages.push(message);
    }

    fn add_effects(&mut self, handler: &str, settled: &Settled, effects: &Effects) {
        let origins = Arc::clone(&self.origins);
        self.replies.extend(effects.replies.iter().cloned());
        if effects.messages.is_empty() {
            return;
        }
        let mut cause = causality::headers(&settled.event, handler);
        if let Some(plugin) = &settled.ran_by {
            cause.push(names::PLUGIN, &*plugin.digest);
        }
        for (index, (message, when)) in effects.messages.iter().enumerate() {
            let mut headers = cause.clone();
            headers.extend(&message.headers);
            let target = String::from(message.subject.clone());
            let (subject, schedule) = match when {
                When::Now => (target, None),
                When::After(seconds) => {
                    let at = self.now + Duration::from_secs((*seconds).into());
                    let waiting = origins.names.schedule(handler, settled.event.position(), index);
                    (waiting, Some(Schedule { at, target }))
                }
            };
            // A schedule outlives the stream's maximum age while it waits.
            let keep = if schedule.is_some() { Keep::Always } else { Keep::Stream };
            let payload = message.payload.clone();
            self.push(BatchMessage { subject, headers, payload, keep, schedule, ..BatchMessage::default() });
        }
    }

    /// Two changes of one state in a batch become the last one.
    fn add_state(&mut self, shard: u16, handler: &str, id: StateId, change: &StateChange) {
        let (payload, cleared) = match change {
            StateChange::Keep => return,
            StateChange::Set(value) => (value.clone(), false),
            StateChange::Clear => (Bytes::new(), true),
        };
        if let Some((index, changes)) = self.states.get_mut(&id) {
            *changes += 1;
            let slot = self.messages.get_mut(*index).expect("a state's message is in the batch");
            if cleared || slot.rollup {
                *slot = state_message(&self.origins.names, (shard, handler), &id.1, payload, cleared);
            } else {
                slot.payload = payload;
            }
            return;
        }
        let message = state_message(&self.origins.names, (shard, handler), &id.1, payload, cleared);
        self.states.insert(id, (self.messages.len(), 1));
        self.push(message);
    }

    /// Adds the checkpoints. `fence_of` may still change one, and says which sequence the one before it has.
    pub(super) fn finish(
        mut self,
        shards: &Shards,
        positions: &Positions,
        number: u64,
        fence_of: impl Fn(u16, &mut Checkpoint) -> u64,
    ) -> Batch {
        let mut taken: HashMap<u16, BTreeMap<HandlerIx, BTreeSet<Position>>> = HashMap::new();
        for Unit { place, settled, .. } in &self.units {
            let of_shard = taken.entry(place.shard).or_default();
            of_shard.entry(place.handler).or_default().insert(settled.event.position());
        }
        let nothing = BTreeMap::new();
        let mut checkpoints = Vec::new();
        for shard in self.shards.clone() {
            let of_shard = taken.get(&shard).unwrap_or(&nothing);
            let mut checkpoint = shards.checkpoint(shard, of_shard, positions, number);
            let fence = fence_of(shard, &mut checkpoint);
            let message = checkpoint_message(&self.origins.names, shard, &checkpoint, fence);
            checkpoints.push((shard, self.messages.len(), checkpoint));
            self.push(message);
        }
        let states = self.states.into_iter().map(|(id, (_, changes))| (id, changes));
        Batch {
            messages: self.messages.into(),
            units: self.units,
            checkpoints,
            states: states.collect(),
            opened: self.opened,
            replies: self.replies,
            number,
        }
    }
}

fn state_message(
    names: &Names,
    (shard, handler): (u16, &str),
    key: &Key,
    payload: Bytes,
    cleared: bool,
) -> BatchMessage {
    let token = key.token();
    let mut message = BatchMessage {
        subject: names.state_of_token(shard, handler, &token),
        payload,
        keep: Keep::Always,
        ..BatchMessage::default()
    };
    if token != key.as_str() {
        message.headers.push(names::STATE_KEY, header_text(key.as_str(), MAX_KEY));
    }
    if cleared {
        message.headers.push(names::STATE_CLEARED, "1");
        // Rolled up: once the mark itself is gone, no older value may come back.
        message.rollup = true;
        message.keep = Keep::Seconds(CLEARED_TTL);
    }
    message
}

/// The outcome of a request to replay a dead letter.
fn replayed(names: &Names, handler: &str, replay: Replay, settled: &Settled) -> BatchMessage {
    let outcome = match settled.outcome {
        Outcome::Dead(..) => names::replay::DEAD,
        Outcome::Released => names::replay::RELEASED,
        Outcome::Done(..) | Outcome::HeldBack => names::replay::DONE,
    };
    let mut message = BatchMessage {
        subject: names.replayed(handler, &replay.request.to_string()),
        keep: Keep::Seconds(REPLAYED_TTL),
        ..BatchMessage::default()
    };
    message.headers.push(names::replay::OUTCOME, outcome);
    message
}

/// The message of a checkpoint, fenced by the sequence of the one before.
pub fn checkpoint_message(names: &Names, shard: u16, checkpoint: &Checkpoint, fence: u64) -> BatchMessage {
    BatchMessage {
        subject: names.checkpoint(shard),
        payload: checkpoint.encode().into(),
        keep: Keep::Always,
        expected_last: Some(fence),
        ..BatchMessage::default()
    }
}
