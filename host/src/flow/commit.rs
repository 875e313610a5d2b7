//! Commits: gathers what is finished into one atomic batch and sees to it that the batch is stored once.
//!
//! One batch is under way at a time; what finishes meanwhile fills the next. Every batch carries the
//! checkpoints of the shards it touches, each with the sequence that the shard's last checkpoint must
//! have: a host that lost a shard cannot commit anything, and a batch cannot be stored twice.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::shard::{Outcome, Settled};
use super::shards::{HandlerIx, Place, Shards};
use super::states::{StateId, States};
use crate::broker::{Broker, CommitError};
use crate::values::batch::{BatchMessage, Keep, MAX_MESSAGES, Schedule};
use crate::values::causality;
use crate::values::checkpoint::Checkpoint;
use crate::values::dead_letter::{Origin, dead_letter};
use crate::values::effects::{Effects, Reply, StateChange, When};
use crate::values::names::{self, Names};

/// The most that one batch carries, in bytes.
const MAX_BATCH_BYTES: usize = 8 << 20;

/// The most checkpoints that a batch begins with. What one event may publish fits beside them.
const MAX_TOUCHED: usize = 64;

/// How long the mark of a cleared state stays, in seconds: longer than any load that began before.
const CLEARED_TTL: u32 = 3600;

/// An event that came to its end, and where.
#[derive(Debug)]
pub struct Unit {
    pub place: Place,
    pub settled: Settled,
}

/// What does not change while the host runs.
#[derive(Debug)]
pub struct Origins {
    pub names: Names,
    pub stream: Arc<str>,
    pub host: String,
    /// Name and plugin digest of each handler.
    pub handlers: Vec<(Arc<str>, String)>,
    /// The largest message that the server takes, in bytes.
    pub max_payload: usize,
}

/// A batch that is to be stored.
#[derive(Debug)]
pub struct Batch {
    pub messages: Arc<[BatchMessage]>,
    pub units: Vec<Unit>,
    /// Shard, index of its message, checkpoint.
    pub checkpoints: Vec<(u16, usize, Checkpoint)>,
    /// Changes of each state, and whether it was cleared.
    pub states: HashMap<StateId, (usize, bool)>,
    pub replies: Vec<Reply>,
    pub number: u64,
}

/// What waits to be committed.
#[derive(Debug)]
pub struct Commits {
    origins: Arc<Origins>,
    waiting: VecDeque<Unit>,
    /// Shards whose checkpoint is to be written even without a unit.
    touched: BTreeSet<u16>,
    /// The sequence of each shard's last checkpoint.
    fences: Vec<u64>,
    /// What each shard's last checkpoint says.
    committed: Vec<Checkpoint>,
    number: u64,
    /// After a batch was refused for its content: one unit at a time until the bad one is found.
    alone: bool,
}

impl Commits {
    /// Goes on from checkpoints that this host has just written, with their sequences.
    pub fn new(origins: Arc<Origins>, checkpoints: Vec<(u64, Checkpoint)>) -> Self {
        let number = checkpoints.iter().map(|(_, c)| c.commit).max().unwrap_or(0);
        let (fences, committed) = checkpoints.into_iter().unzip();
        let waiting = VecDeque::new();
        Commits { origins, waiting, touched: BTreeSet::new(), fences, committed, number, alone: false }
    }

    /// The number of the last commit.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// An event came to its end.
    pub fn push(&mut self, unit: Unit) {
        self.waiting.push_back(unit);
    }

    /// The shard's checkpoint is to be written with the next batch.
    pub fn touch(&mut self, shard: u16) {
        self.touched.insert(shard);
    }

    /// What the shard's last checkpoint says.
    pub fn committed(&self, shard: u16) -> Option<&Checkpoint> {
        self.committed.get(usize::from(shard))
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.touched.is_empty()
    }

    /// How many events wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The next batch: as many units as fit, in the order in which they finished.
    pub fn next(&mut self, shards: &Shards, states: &States, positions: &[u64]) -> Option<Batch> {
        if self.is_empty() {
            return None;
        }
        let mut builder = Builder::new(Arc::clone(&self.origins), self.touched.iter().copied().take(MAX_TOUCHED).collect());
        while let Some(unit) = self.waiting.front() {
            if !builder.fits(unit) || (self.alone && !builder.units.is_empty()) {
                break;
            }
            if let Some(unit) = self.waiting.pop_front() {
                builder.add(unit, states);
            }
        }
        let number = self.number + 1;
        Some(builder.finish(shards, positions, number, &self.fences))
    }

    /// A batch is stored; `first` is the sequence of its first message.
    pub fn stored(&mut self, batch: &Batch, first: u64) {
        self.number = batch.number;
        self.alone = false;
        for (shard, index, checkpoint) in &batch.checkpoints {
            let index_in_fences = usize::from(*shard);
            if let (Some(fence), Some(committed)) =
                (self.fences.get_mut(index_in_fences), self.committed.get_mut(index_in_fences))
            {
                *fence = first + *index as u64;
                *committed = checkpoint.clone();
            }
            self.touched.remove(shard);
        }
    }

    /// Forgets everything that waits. The checkpoints as they were last stored.
    pub fn forget(&mut self) -> Vec<Checkpoint> {
        self.waiting.clear();
        self.touched.clear();
        self.alone = false;
        self.committed.clone()
    }

    /// A batch was refused for its content. Says which event is at fault, once that is known; until then
    /// its units wait again, in their old order.
    pub fn refused(&mut self, batch: Batch) -> Option<Unit> {
        let mut units = batch.units;
        if self.alone && units.len() == 1 {
            return units.pop();
        }
        self.alone = true;
        for unit in units.into_iter().rev() {
            self.waiting.push_front(unit);
        }
        None
    }
}

struct Builder {
    origins: Arc<Origins>,
    messages: Vec<BatchMessage>,
    bytes: usize,
    units: Vec<Unit>,
    shards: BTreeSet<u16>,
    /// Where each state's message is.
    states: HashMap<StateId, (usize, usize, bool)>,
    replies: Vec<Reply>,
}

impl Builder {
    fn new(origins: Arc<Origins>, shards: BTreeSet<u16>) -> Self {
        Builder {
            origins,
            messages: Vec::new(),
            bytes: 0,
            units: Vec::new(),
            shards,
            states: HashMap::new(),
            replies: Vec::new(),
        }
    }

    fn fits(&self, unit: &Unit) -> bool {
        let (messages, bytes) = match &unit.settled.outcome {
            Outcome::Dead(..) => (1, unit.settled.event.weight()),
            Outcome::Done(effects) => {
                let state = match &effects.state {
                    StateChange::Keep => (0, 0),
                    StateChange::Set(value) => (1, value.len()),
                    StateChange::Clear => (1, 0),
                };
                let sizes = effects.messages.iter().map(|(message, _)| message.size());
                (effects.messages.len() + state.0, sizes.sum::<usize>() + state.1)
            }
        };
        let new_shard = usize::from(!self.shards.contains(&unit.place.shard));
        let count = self.messages.len() + messages + self.shards.len() + new_shard;
        self.units.is_empty() || (count <= MAX_MESSAGES && self.bytes + bytes <= MAX_BATCH_BYTES)
    }

    fn add(&mut self, unit: Unit, states: &States) {
        self.shards.insert(unit.place.shard);
        let origins = Arc::clone(&self.origins);
        let Some((handler, digest)) = origins.handlers.get(unit.place.handler) else { return };
        let settled = &unit.settled;
        match &settled.outcome {
            Outcome::Done(effects) => {
                self.add_effects(handler, settled, effects);
                self.add_state(handler, (unit.place.handler, settled.key.clone()), &effects.state, states);
            }
            Outcome::Dead(cause, attempts) => {
                let origin = Origin { handler, plugin: digest, key: settled.key.as_str(), attempts: *attempts };
                let letter = dead_letter(&origins.names, &settled.event, origin, cause, origins.max_payload);
                self.push(letter);
            }
        }
        self.units.push(unit);
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
        let cause = causality::headers(&settled.event, handler);
        for (index, (message, when)) in effects.messages.iter().enumerate() {
            let mut headers = cause.clone();
            for (name, value) in message.headers.iter() {
                headers.push(name, value);
            }
            let target = String::from(message.subject.clone());
            let (subject, schedule) = match when {
                When::Now => (target, None),
                When::After(seconds) => {
                    let at = SystemTime::now() + Duration::from_secs((*seconds).into());
                    let waiting = origins.names.schedule(handler, settled.event.sequence, index);
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
    fn add_state(&mut self, handler: &str, id: StateId, change: &StateChange, states: &States) {
        let (payload, cleared) = match change {
            StateChange::Keep => return,
            StateChange::Set(value) => (value.clone(), false),
            StateChange::Clear => (bytes::Bytes::new(), true),
        };
        let origins = Arc::clone(&self.origins);
        let mut message = BatchMessage {
            subject: origins.names.state(handler, &id.1),
            payload,
            keep: Keep::Always,
            ..BatchMessage::default()
        };
        message.headers.push(names::STATE_STALE, states.versions(&id).to_string());
        if id.1.token() != id.1.as_str() {
            let key = crate::values::dead_letter::header_text(id.1.as_str(), crate::values::key::MAX_KEY);
            message.headers.push(names::STATE_KEY, key);
        }
        if cleared {
            message.headers.push(names::STATE_CLEARED, "1");
            // Rolled up: once the mark itself is gone, no older value may come back.
            message.rollup = true;
            message.keep = Keep::Seconds(CLEARED_TTL);
        }
        match self.states.get_mut(&id) {
            Some((index, changes, was_cleared)) => {
                *changes += 1;
                *was_cleared = cleared;
                if let Some(slot) = self.messages.get_mut(*index) {
                    *slot = message;
                }
            }
            None => {
                self.states.insert(id, (self.messages.len(), 1, cleared));
                self.push(message);
            }
        }
    }

    fn finish(mut self, shards: &Shards, positions: &[u64], number: u64, fences: &[u64]) -> Batch {
        let mut taken: HashMap<u16, BTreeMap<HandlerIx, BTreeSet<u64>>> = HashMap::new();
        for Unit { place, settled } in &self.units {
            let of_shard = taken.entry(place.shard).or_default();
            of_shard.entry(place.handler).or_default().insert(settled.event.sequence);
        }
        let nothing = BTreeMap::new();
        let mut checkpoints = Vec::new();
        for shard in self.shards.clone() {
            let of_shard = taken.get(&shard).unwrap_or(&nothing);
            let checkpoint = shards.checkpoint(shard, of_shard, positions, number);
            checkpoints.push((shard, self.messages.len(), checkpoint.clone()));
            let fence = fences.get(usize::from(shard)).copied().unwrap_or_default();
            self.push(checkpoint_message(&self.origins.names, shard, &checkpoint, fence));
        }
        let states = self.states.into_iter().map(|(id, (_, changes, cleared))| (id, (changes, cleared)));
        Batch {
            messages: self.messages.into(),
            units: self.units,
            checkpoints,
            states: states.collect(),
            replies: self.replies,
            number,
        }
    }
}

/// The message of a checkpoint, fenced by the sequence of the one before.
pub fn checkpoint_message(names: &Names, shard: u16, checkpoint: &Checkpoint, fence: u64) -> BatchMessage {
    BatchMessage {
        subject: names.checkpoint(shard),
        payload: checkpoint.encode().into(),
        rollup: true,
        keep: Keep::Always,
        expected_last: Some(fence),
        ..BatchMessage::default()
    }
}

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// It is stored; the sequence of its first message.
    Stored(u64),
    /// Something in it is at fault; nothing is stored.
    Refused(String),
    /// Another host owns the application now.
    Fenced(String),
    /// The stream is not the one it was.
    Lost(String),
}

/// The longest wait between two tries.
const MAX_DELAY: Duration = Duration::from_secs(2);

/// How often a conflict is looked into before it is taken for a damaged stream.
const MAX_CONFLICTS: u32 = 5;

/// Stores a batch, whatever the connection does. Ends only when it is known what became of it.
///
/// Trying again is safe: the batch is fenced by its checkpoints, so at most one try of it is stored.
pub async fn store(broker: Broker, origins: Arc<Origins>, batch: Arc<[BatchMessage]>, number: u64, probe: Probe) -> End {
    let mut conflicts = 0;
    for attempt in 0_u32.. {
        let id = format!("{}-{number}-{attempt}", origins.host);
        let (problem, conflict) = match broker.commit(&origins.stream, &id, &batch).await {
            Ok(answer) => return End::Stored(answer.first),
            Err(CommitError::Refused(reason)) => return End::Refused(reason),
            Err(error @ CommitError::Passing(_)) => (error, false),
            Err(error) => {
                let conflict = matches!(error, CommitError::Conflict(_));
                match look(&broker, &origins, number, &probe).await {
                    Found::Stored(first) => return End::Stored(first),
                    Found::Other(host) => return End::Fenced(host),
                    Found::Nothing => {
                        let stream = &origins.stream;
                        return End::Lost(format!(
                            "the checkpoint `{}` is gone: stream `{stream}` was purged or created anew",
                            probe.subject
                        ));
                    }
                    Found::Before => {}
                }
                (error, conflict)
            }
        };
        conflicts += u32::from(conflict);
        if conflicts > MAX_CONFLICTS {
            return End::Lost(format!("stream `{}` contradicts the host: {problem}", origins.stream));
        }
        let delay = Duration::from_millis(25).saturating_mul(1 << attempt.min(7)).min(MAX_DELAY);
        tracing::warn!(commit = number, attempt, error = %problem, ?delay, "commit is tried again");
        tokio::time::sleep(delay).await;
    }
    unreachable!("the attempts have no end")
}

/// Where to look whether a batch is stored: one of its checkpoints.
#[derive(Debug, Clone)]
pub struct Probe {
    pub subject: String,
    /// The index of the checkpoint's message in the batch.
    pub index: u64,
}

impl Probe {
    /// The probe of a batch. A batch has at least one checkpoint.
    pub fn of(batch: &Batch, names: &Names) -> Option<Self> {
        let (shard, index, _) = batch.checkpoints.first()?;
        Some(Probe { subject: names.checkpoint(*shard), index: *index as u64 })
    }
}

enum Found {
    Stored(u64),
    /// The last checkpoint is this host's and older.
    Before,
    Other(String),
    Nothing,
}

/// Reads the checkpoint back, for as long as it takes.
async fn look(broker: &Broker, origins: &Origins, number: u64, probe: &Probe) -> Found {
    for attempt in 0_u32.. {
        let problem = match broker.last(&origins.stream, &probe.subject).await {
            Ok(None) => return Found::Nothing,
            Ok(Some(message)) => match Checkpoint::decode(&message.payload) {
                Ok(found) if found.host != origins.host => return Found::Other(found.host),
                Ok(found) if found.commit == number => {
                    return Found::Stored(message.sequence.saturating_sub(probe.index));
                }
                Ok(_) => return Found::Before,
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        let delay = Duration::from_millis(50).saturating_mul(1 << attempt.min(6)).min(MAX_DELAY);
        tracing::warn!(commit = number, attempt, problem, ?delay, "checkpoint could not be read back");
        tokio::time::sleep(delay).await;
    }
    unreachable!("the attempts have no end")
}
