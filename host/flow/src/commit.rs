//! Commits: gathers what is finished and hands it out in batches.
//!
//! Several batches may be under way, but never two that touch the same shard: each shard is a chain of its own. What
//! finishes while its shard's batch is under way waits. Every batch carries the checkpoints of the shards it touches,
//! each with the sequence that the shard's last checkpoint must have: a host that lost a shard cannot commit
//! anything, and a batch cannot be stored twice.
//!
//! A batch takes all that waits of one shard before it goes on to the next: events of the same keys come together,
//! and of each key's states only the last is written.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::batch::{Batch, Builder, Origins, Unit};
use super::shards::{Place, Shards};
use heddle_values::checkpoint::Checkpoint;
use heddle_values::gate::Gate;
use heddle_values::handlers::PerHandler;
use heddle_values::key::Key;

/// The most checkpoints that a batch begins with. What one event may publish fits beside them.
const MAX_TOUCHED: usize = 64;

/// Beside another batch, one is sent only if it is about full: if it has this many messages, or `FULL_BYTES`.
pub const FULL_MESSAGES: usize = 800;

/// Beside another batch, one is sent only if it is about full: if it has this many bytes, or `FULL_MESSAGES`.
const FULL_BYTES: usize = 4 << 20;

/// Why a unit's shard is there. Passing over a unit would lose its event.
const OF_THE_APPLICATION: &str = "an event's shard is one of the application's";

/// What waits of one shard.
#[derive(Debug, Default)]
struct Chain {
    /// In the order in which they came; the number tells that order across shards.
    waiting: VecDeque<(u64, Unit)>,
    /// The messages and bytes that they will take at least.
    messages: usize,
    bytes: usize,
    /// Whether a batch with this shard is under way.
    busy: bool,
    /// The sequence of the last checkpoint.
    fence: u64,
    /// What it says.
    committed: Checkpoint,
}

/// What waits to be committed.
#[derive(Debug)]
pub struct Commits {
    origins: Arc<Origins>,
    chains: Vec<Chain>,
    /// How many units wait.
    waiting: usize,
    /// Shards whose checkpoint is to be written even without a unit.
    touched: BTreeSet<u16>,
    /// Gates that are open and not stored as such, with their shards' checkpoints.
    opened: Vec<(Place, Key, Gate)>,
    /// Counts what came.
    came: u64,
    /// N messages are sent even while another batch is under way.
    full: usize,
    /// Batches under way.
    under_way: usize,
    /// The number of the last batch.
    number: u64,
    /// After a batch was refused for its content: N units are stored one at a time, to find the bad one.
    alone: usize,
}

impl Commits {
    /// Goes on from checkpoints that this host has just written, with their sequences. A batch of `full` messages is
    /// sent even while another one is under way.
    pub fn new(origins: Arc<Origins>, checkpoints: Vec<(u64, Checkpoint)>, full: usize) -> Self {
        let number = checkpoints.iter().map(|(_, c)| c.commit).max().unwrap_or(0);
        let chain = |(fence, committed)| Chain { fence, committed, ..Chain::default() };
        Commits {
            origins,
            chains: checkpoints.into_iter().map(chain).collect(),
            waiting: 0,
            touched: BTreeSet::new(),
            opened: Vec::new(),
            came: 0,
            full,
            under_way: 0,
            number,
            alone: 0,
        }
    }

    /// An event came to its end.
    pub fn push(&mut self, unit: Unit) {
        self.came += 1;
        let came = self.came;
        let chain = self.chain_mut(unit.place.shard);
        chain.count(&unit, usize::checked_add);
        chain.waiting.push_back((came, unit));
        self.waiting += 1;
    }

    /// An event comes to its end before all others.
    pub fn push_front(&mut self, unit: Unit) {
        let chain = self.chain_mut(unit.place.shard);
        chain.count(&unit, usize::checked_add);
        chain.waiting.push_front((0, unit));
        self.waiting += 1;
    }

    /// The shard's checkpoint is to be written with the next batch.
    pub fn touch(&mut self, shard: u16) {
        self.touched.insert(shard);
    }

    /// A gate is open. It is stored before whatever is pushed after this.
    pub fn open(&mut self, place: Place, key: Key, gate: Gate) {
        self.touched.insert(place.shard);
        self.opened.push((place, key, gate));
    }

    /// A sequence of the application's stream that is stored.
    pub fn known(&self) -> u64 {
        self.chains.iter().map(|chain| chain.fence).max().unwrap_or(0)
    }

    /// What the shard's last checkpoint says.
    pub fn committed(&self, shard: u16) -> &Checkpoint {
        &self.chain(shard).committed
    }

    fn chain(&self, shard: u16) -> &Chain {
        self.chains.get(usize::from(shard)).expect(OF_THE_APPLICATION)
    }

    fn chain_mut(&mut self, shard: u16) -> &mut Chain {
        self.chains.get_mut(usize::from(shard)).expect(OF_THE_APPLICATION)
    }

    /// No checkpoint below this sequence is the last of its shard.
    pub fn lowest_fence(&self) -> u64 {
        self.chains.iter().map(|chain| chain.fence).min().unwrap_or(0)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0 && self.touched.is_empty()
    }

    /// How many events wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether a batch should be sent now: nothing is under way, or there is enough for a full one.
    pub fn is_due(&self) -> bool {
        if self.under_way == 0 {
            return !self.is_empty();
        }
        self.alone == 0 && self.is_full()
    }

    /// Whether enough waits for a full batch.
    pub fn is_full(&self) -> bool {
        let (mut messages, mut bytes) = (0, 0);
        for chain in self.chains.iter().filter(|chain| !chain.busy) {
            messages += chain.messages;
            bytes += chain.bytes;
        }
        messages >= self.full || bytes >= FULL_BYTES
    }

    /// The next batch, if there is one to be sent now: as many units as fit, shard by shard, the shard first whose
    /// units have waited longest.
    pub fn next(&mut self, shards: &Shards, positions: &PerHandler<u64>, now: u64) -> Option<Batch> {
        if !self.is_due() {
            return None;
        }
        let free = |shard: &u16| !self.chain(*shard).busy;
        let touched: BTreeSet<u16> = self.touched.iter().copied().filter(free).take(MAX_TOUCHED).collect();
        let mut builder = Builder::new(Arc::clone(&self.origins), touched.clone(), now);
        // What comes after a gate was opened is not stored before that.
        let mut blocked = BTreeSet::new();
        for opened in std::mem::take(&mut self.opened) {
            let shard = opened.0.shard;
            if touched.contains(&shard) && !blocked.contains(&shard) && builder.opened() < MAX_TOUCHED {
                builder.open(opened);
            } else {
                blocked.insert(shard);
                self.opened.push(opened);
            }
        }
        while let Some(chain) = oldest(&mut self.chains, &blocked) {
            if !fill(&mut builder, chain, self.alone > 0) {
                break;
            }
        }
        self.number += 1;
        let batch = builder.finish(shards, positions, self.number, |shard| self.chain(shard).fence);
        // What is touched from now on is not in this batch.
        for (shard, ..) in &batch.checkpoints {
            if !blocked.contains(shard) {
                self.touched.remove(shard);
            }
            self.chain_mut(*shard).busy = true;
        }
        self.waiting -= batch.units.len();
        self.under_way += 1;
        Some(batch)
    }

    /// A batch is stored; `first` is the sequence of its first message.
    pub fn stored(&mut self, batch: &Batch, first: u64) {
        self.under_way -= 1;
        self.alone = self.alone.saturating_sub(batch.units.len());
        for (shard, index, checkpoint) in &batch.checkpoints {
            let chain = self.chain_mut(*shard);
            chain.busy = false;
            chain.fence = first + *index as u64;
            chain.committed = checkpoint.clone();
        }
    }

    /// Forgets everything that waits. No batch is under way. The checkpoints as they were last stored.
    pub fn forget(&mut self) -> Vec<Checkpoint> {
        debug_assert_eq!(self.under_way, 0, "what is under way may still be stored");
        self.touched.clear();
        self.opened.clear();
        (self.alone, self.waiting) = (0, 0);
        let forget = |chain: &mut Chain| {
            chain.waiting.clear();
            (chain.messages, chain.bytes) = (0, 0);
            chain.committed.clone()
        };
        self.chains.iter_mut().map(forget).collect()
    }

    /// A batch was refused for its content. Says which event is at fault, once that is known and nothing else is
    /// under way; until then its units wait again, in their old order.
    pub fn refused(&mut self, batch: Batch) -> Option<Unit> {
        self.under_way -= 1;
        for (shard, ..) in &batch.checkpoints {
            self.touched.insert(*shard);
            self.chain_mut(*shard).busy = false;
        }
        self.opened.splice(..0, batch.opened);
        let mut units = batch.units;
        if units.len() == 1 && self.under_way == 0 {
            return units.pop();
        }
        self.alone += units.len();
        for unit in units.into_iter().rev() {
            self.push_front(unit);
        }
        None
    }
}

impl Chain {
    /// Counts what a unit will take at least: its states may be covered by later ones.
    fn count(&mut self, unit: &Unit, add: fn(usize, usize) -> Option<usize>) {
        let (messages, bytes) = unit.settled.cost();
        self.messages = add(self.messages, messages.max(1)).expect("what is taken out was put in");
        self.bytes = add(self.bytes, bytes).expect("what is taken out was put in");
    }
}

/// The free chain whose first unit came before those of all others, shards that are `blocked` left aside.
fn oldest<'a>(chains: &'a mut [Chain], blocked: &BTreeSet<u16>) -> Option<&'a mut Chain> {
    let came = |chain: &Chain| chain.waiting.front().map(|(came, _)| *came);
    let free = (0_u16..).zip(chains).filter(|(shard, _)| !blocked.contains(shard)).map(|(_, chain)| chain);
    let waiting = free.filter(|chain| !chain.busy && !chain.waiting.is_empty());
    waiting.min_by_key(|chain| came(chain))
}

/// Adds units of a chain; whether there is room for more.
fn fill(builder: &mut Builder, chain: &mut Chain, alone: bool) -> bool {
    while let Some((came, unit)) = chain.waiting.pop_front() {
        if alone && !builder.units.is_empty() {
            chain.waiting.push_front((came, unit));
            return false;
        }
        chain.count(&unit, usize::checked_sub);
        if let Err(unit) = builder.add(unit) {
            chain.count(&unit, usize::checked_add);
            chain.waiting.push_front((came, *unit));
            return false;
        }
    }
    true
}
