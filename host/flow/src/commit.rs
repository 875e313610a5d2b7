//! Commits: gathers what is finished and hands it out in batches.
//!
//! Several batches may be under way, but never two that touch the same shard: each shard is a chain of its own. What
//! finishes while its shard's batch is under way waits. Every batch carries the checkpoints of the shards it touches,
//! each with the sequence that the shard's last checkpoint must have: a host that lost a shard cannot commit
//! anything of it, and a batch cannot be stored twice. A batch that is refused because one of its shards was lost takes
//! effect for none of them: what it held of the others is sent again, before whatever came later.
//!
//! A batch takes all that waits of one shard before it goes on to the next: events of the same keys come together,
//! and of each key's states only the last is written.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::batch::{Batch, Builder, Origins, Unit};
use super::positions::Positions;
use super::shards::{Claimed, Place, Shards};
use heddle_values::checkpoint::Checkpoint;
use heddle_values::gate::Gate;
use heddle_values::key::Key;

/// The most checkpoints that a batch begins with. What one event may publish fits beside them.
const MAX_TOUCHED: usize = 64;

/// Beside another batch, one is sent only if it is about full: if it has this many messages, or `FULL_BYTES`.
pub const FULL_MESSAGES: usize = 800;

/// Beside another batch, one is sent only if it is about full: if it has this many bytes, or `FULL_MESSAGES`.
const FULL_BYTES: usize = 4 << 20;

/// Why a unit's shard is there. Passing over a unit would lose its event.
const OWNED: &str = "an event that came to its end is of a shard that this host owns";

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
    /// Whether the shard is given up with its next checkpoint.
    released: bool,
}

/// What waits to be committed.
#[derive(Debug)]
pub struct Commits {
    origins: Arc<Origins>,
    /// By shard; none: this host does not own it.
    chains: Vec<Option<Box<Chain>>>,
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
    /// For an application of N shards, none of which this host owns yet. A batch of `full` messages is sent even while
    /// another one is under way.
    pub fn new(origins: Arc<Origins>, shards: u16, full: usize) -> Self {
        Commits {
            origins,
            chains: std::iter::repeat_with(|| None).take(usize::from(shards)).collect(),
            waiting: 0,
            touched: BTreeSet::new(),
            opened: Vec::new(),
            came: 0,
            full,
            under_way: 0,
            number: 0,
            alone: 0,
        }
    }

    /// A shard comes to this host, which has just written its checkpoint.
    pub fn claim(&mut self, Claimed { shard, fence, checkpoint, .. }: Claimed) {
        self.lose(shard);
        self.number = self.number.max(checkpoint.commit);
        let chain = Chain { fence, committed: checkpoint, ..Chain::default() };
        *self.chains.get_mut(usize::from(shard)).expect(OWNED) = Some(Box::new(chain));
    }

    /// A shard is another host's from now on: what waits of it is forgotten. It is in no batch under way.
    pub fn lose(&mut self, shard: u16) {
        let Some(lost) = self.chains.get_mut(usize::from(shard)).and_then(Option::take) else { return };
        debug_assert!(!lost.busy, "what is under way may still be stored");
        self.waiting -= lost.waiting.len();
        self.alone = self.alone.saturating_sub(lost.waiting.len());
        self.touched.remove(&shard);
        self.opened.retain(|(place, ..)| place.shard != shard);
    }

    /// A shard is given up with its next checkpoint, after which nothing more of it may come.
    pub fn release(&mut self, shard: u16) {
        self.chain_mut(shard).released = true;
        self.touched.insert(shard);
    }

    /// Whether nothing of a shard waits or is under way.
    pub fn is_settled(&self, shard: u16) -> bool {
        let chain = self.chain(shard);
        chain.waiting.is_empty() && !chain.busy && !self.touched.contains(&shard)
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
        self.chains.iter().flatten().map(|chain| chain.fence).max().unwrap_or(0)
    }

    /// What the shard's last checkpoint says.
    pub fn committed(&self, shard: u16) -> &Checkpoint {
        &self.chain(shard).committed
    }

    fn chain(&self, shard: u16) -> &Chain {
        self.chains.get(usize::from(shard)).and_then(Option::as_deref).expect(OWNED)
    }

    fn chain_mut(&mut self, shard: u16) -> &mut Chain {
        self.chains.get_mut(usize::from(shard)).and_then(Option::as_deref_mut).expect(OWNED)
    }

    /// No checkpoint below this sequence is the last of a shard that this host owns.
    pub fn lowest_fence(&self) -> u64 {
        self.chains.iter().flatten().map(|chain| chain.fence).min().unwrap_or(0)
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
        for chain in self.chains.iter().flatten().filter(|chain| !chain.busy) {
            messages += chain.messages;
            bytes += chain.bytes;
        }
        messages >= self.full || bytes >= FULL_BYTES
    }

    /// The next batch, if there is one to be sent now: as many units as fit, shard by shard, the shard first whose
    /// units have waited longest.
    pub fn next(&mut self, shards: &Shards, positions: &Positions, now: u64) -> Option<Batch> {
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
        let batch = builder.finish(shards, positions, self.number, |shard, checkpoint| {
            let chain = self.chain(shard);
            checkpoint.released = chain.released && chain.waiting.is_empty() && !blocked.contains(&shard);
            chain.fence
        });
        // What is touched from now on is not in this batch.
        for (shard, _, checkpoint) in &batch.checkpoints {
            let chain = self.chain_mut(*shard);
            chain.busy = true;
            let is_last_to_come = chain.released && !checkpoint.released;
            if !blocked.contains(shard) && !is_last_to_come {
                self.touched.remove(shard);
            }
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

    /// Forgets everything that waits. No batch is under way.
    pub fn forget(&mut self) {
        debug_assert_eq!(self.under_way, 0, "what is under way may still be stored");
        self.touched.clear();
        self.opened.clear();
        (self.alone, self.waiting) = (0, 0);
        for chain in self.chains.iter_mut().flatten() {
            chain.waiting.clear();
            (chain.messages, chain.bytes) = (0, 0);
        }
    }

    /// What the shard's last checkpoint says, and its sequence.
    pub fn last(&self, shard: u16) -> (u64, &Checkpoint) {
        let chain = self.chain(shard);
        (chain.fence, &chain.committed)
    }

    /// A batch was refused because some of its shards are lost: they are another host's from now on. What the batch held of
    /// the others waits again, before all that came later.
    pub fn fenced(&mut self, batch: Batch, lost: &BTreeSet<u16>) {
        self.under_way -= 1;
        for (shard, ..) in &batch.checkpoints {
            self.chain_mut(*shard).busy = false;
            self.touched.insert(*shard);
        }
        self.opened.splice(..0, batch.opened);
        lost.iter().for_each(|shard| self.lose(*shard));
        self.opened.retain(|(place, ..)| !lost.contains(&place.shard));
        for unit in batch.units.into_iter().rev().filter(|unit| !lost.contains(&unit.place.shard)) {
            self.push_front(unit);
        }
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
fn oldest<'a>(chains: &'a mut [Option<Box<Chain>>], blocked: &BTreeSet<u16>) -> Option<&'a mut Chain> {
    let owned = (0_u16..).zip(chains).filter_map(|(shard, chain)| Some((shard, chain.as_deref_mut()?)));
    let free = owned.filter(|(shard, _)| !blocked.contains(shard)).map(|(_, chain)| chain);
    let waiting = free.filter(|chain| !chain.busy && !chain.waiting.is_empty());
    waiting.min_by_key(|chain| chain.waiting.front().map(|(came, _)| *came))
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
