//! What shards are told before events come: how many there are, which handlers they have, and what they go on from. Pure.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use crate::shard::Action;
use heddle_values::checkpoint::Checkpoint;
use heddle_values::gate::Gate;
use heddle_values::handlers::{HandlerIx, PerHandler};
use heddle_values::policy::OnDeadLetter;
use heddle_values::settings::HandlerSettings;

/// Which handler in which shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Counted from 0.
    pub shard: u16,
    /// By its place in the application's file.
    pub handler: HandlerIx,
}

/// An action and where it comes from.
#[derive(Debug)]
pub struct Placed {
    /// The track that wants it done.
    pub place: Place,
    /// What is to be done. Never [`Action::WakeAt`], for [`Shards`](super::Shards) keeps the timers itself.
    pub action: Action,
}

/// What is the same for all shards while the host runs.
#[derive(Debug, Clone)]
pub struct Plan {
    /// This host's id.
    pub host: String,
    /// How many there are: fixed once the application has run, for it decides about the shard of every key.
    pub shards: NonZeroU16,
    /// In the order of the file. The progress of handlers that are not among them is carried along.
    pub handlers: PerHandler<PlannedHandler>,
    /// When each stream was created, in nanoseconds since 1970.
    pub streams: BTreeMap<String, u64>,
    /// What a checkpoint may take, in bytes.
    pub checkpoint_bytes: usize,
}

/// What the shards know of a handler.
#[derive(Debug, Clone)]
pub struct PlannedHandler {
    /// Its name, under which checkpoints have its progress: with another name it starts over.
    pub name: Arc<str>,
    /// The stream that it reads, to which the sequences of its progress belong.
    pub stream: Arc<str>,
    /// The key template.
    pub key: String,
    /// Whether a dead letter holds back the later events of its key.
    pub on_dead_letter: OnDeadLetter,
}

impl PlannedHandler {
    /// The handler as the file has it.
    pub fn of(settings: &HandlerSettings) -> Self {
        PlannedHandler {
            name: Arc::clone(&settings.name),
            stream: Arc::clone(&settings.stream),
            key: settings.key.as_str().to_owned(),
            on_dead_letter: settings.on_dead_letter,
        }
    }
}

/// A gate and where it stands.
pub type PlacedGate = (Place, Gate);

/// A shard that comes to this host: its last checkpoint is this host's.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// Counted from 0.
    pub shard: u16,
    /// The sequence of its checkpoint.
    pub fence: u64,
    /// The checkpoint. Every handler of the plan has its progress there.
    pub checkpoint: Checkpoint,
    /// Its gates that are not open.
    pub gates: Vec<(HandlerIx, Gate)>,
}

impl Claimed {
    /// All shards, from their checkpoints, each with its sequence, and the gates that are not open.
    pub fn all(
        checkpoints: impl IntoIterator<Item = (u64, Checkpoint)>,
        gates: impl IntoIterator<Item = PlacedGate>,
    ) -> Vec<Self> {
        let mut of_shards: BTreeMap<u16, Vec<(HandlerIx, Gate)>> = BTreeMap::new();
        for (Place { shard, handler }, gate) in gates {
            of_shards.entry(shard).or_default().push((handler, gate));
        }
        let mut claimed = Vec::new();
        for (shard, (fence, checkpoint)) in (0..).zip(checkpoints) {
            let gates = of_shards.remove(&shard).unwrap_or_default();
            claimed.push(Claimed { shard, fence, checkpoint, gates });
        }
        claimed
    }
}
