//! Commits: gathers what is finished and hands it out in batches, one at a time.
//!
//! What finishes while a batch is under way fills the next. Every batch carries the checkpoints of the shards it
//! touches, each with the sequence that the shard's last checkpoint must have: a host that lost a shard cannot commit
//! anything, and a batch cannot be stored twice.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::batch::{Batch, Builder, Origins, Unit};
use super::shards::Shards;
use super::states::States;
use crate::values::checkpoint::Checkpoint;

/// The most checkpoints that a batch begins with. What one event may publish fits beside them.
const MAX_TOUCHED: usize = 64;

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
    /// After a batch was refused for its content: so many units are stored one at a time, to find the bad one.
    alone: usize,
}

impl Commits {
    /// Goes on from checkpoints that this host has just written, with their sequences.
    pub fn new(origins: Arc<Origins>, checkpoints: Vec<(u64, Checkpoint)>) -> Self {
        let number = checkpoints.iter().map(|(_, c)| c.commit).max().unwrap_or(0);
        let (fences, committed) = checkpoints.into_iter().unzip();
        let waiting = VecDeque::new();
        Commits { origins, waiting, touched: BTreeSet::new(), fences, committed, number, alone: 0 }
    }

    /// The number of the last commit.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// An event came to its end.
    pub fn push(&mut self, unit: Unit) {
        self.waiting.push_back(unit);
    }

    /// An event comes to its end before all others.
    pub fn push_front(&mut self, unit: Unit) {
        self.waiting.push_front(unit);
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
        let mut builder =
            Builder::new(Arc::clone(&self.origins), self.touched.iter().copied().take(MAX_TOUCHED).collect());
        while let Some(unit) = self.waiting.front() {
            if !builder.fits(unit) || (self.alone > 0 && !builder.units.is_empty()) {
                break;
            }
            if let Some(unit) = self.waiting.pop_front() {
                builder.add(unit, states);
            }
        }
        let number = self.number + 1;
        let batch = builder.finish(shards, positions, number, &self.fences);
        // What is touched from now on is not in this batch.
        for (shard, ..) in &batch.checkpoints {
            self.touched.remove(shard);
        }
        Some(batch)
    }

    /// A batch is stored; `first` is the sequence of its first message.
    pub fn stored(&mut self, batch: &Batch, first: u64) {
        self.number = batch.number;
        self.alone = self.alone.saturating_sub(batch.units.len());
        for (shard, index, checkpoint) in &batch.checkpoints {
            let index_in_fences = usize::from(*shard);
            if let (Some(fence), Some(committed)) =
                (self.fences.get_mut(index_in_fences), self.committed.get_mut(index_in_fences))
            {
                *fence = first + *index as u64;
                *committed = checkpoint.clone();
            }
        }
    }

    /// Forgets everything that waits. The checkpoints as they were last stored.
    pub fn forget(&mut self) -> Vec<Checkpoint> {
        self.waiting.clear();
        self.touched.clear();
        self.alone = 0;
        self.committed.clone()
    }

    /// A batch was refused for its content. Says which event is at fault, once that is known; until then
    /// its units wait again, in their old order.
    pub fn refused(&mut self, batch: Batch) -> Option<Unit> {
        self.touched.extend(batch.checkpoints.iter().map(|(shard, ..)| *shard));
        let mut units = batch.units;
        if units.len() == 1 {
            return units.pop();
        }
        self.alone = units.len();
        for unit in units.into_iter().rev() {
            self.waiting.push_front(unit);
        }
        None
    }
}
