//! How shards come to this host while it carries events, and how they go.

use std::collections::BTreeSet;

use super::Flow;
use crate::batch::Batch;
use crate::shards::Claimed;
use heddle_values::handlers::PerHandler;

impl Flow {
    /// Shards come to this host, which has just stored their checkpoints. `stateless` says of each handler whether it has no
    /// state in them. Their events are to be read from their low marks on, and all requests again: what was read of those
    /// before is not to be handed on. A shard that was lost without notice [is lost](Self::lose) first.
    pub fn claim(&mut self, claimed: Vec<Claimed>, stateless: &PerHandler<bool>, now: u64) {
        self.generation += 1;
        self.shards.read_requests_again();
        self.states.joined(stateless);
        self.take_in(claimed, now);
    }

    pub(super) fn take_in(&mut self, claimed: Vec<Claimed>, now: u64) {
        let known = claimed.iter().map(|claimed| claimed.fence).max().unwrap_or(0).max(self.commits.known());
        for claimed in claimed {
            self.drop_shard(claimed.shard);
            self.shards.claim(&claimed, (self.generation, known), now, &mut self.actions);
            self.commits.claim(claimed);
        }
    }

    /// A shard is to be given up: no event of it begins any more. What runs ends and is committed with the rest, and the
    /// last checkpoint says that the shard is free; then it [is gone](super::Stored::gone).
    pub fn release(&mut self, shard: u16) {
        if self.shards.owns(shard) {
            self.leaving.insert(shard);
        }
    }

    /// A shard that is being given up is not waited for any longer: what runs of it is not heard, and runs again elsewhere.
    pub fn abandon(&mut self, shard: u16) {
        if self.leaving.contains(&shard) {
            self.generation += 1;
            self.shards.renew(shard, self.generation);
            self.actions.retain(|placed| placed.place.shard != shard || placed.action.is_to_be_stored());
            self.clear_running(shard);
        }
    }

    /// The shards that are being given up.
    pub fn leaving(&self) -> &BTreeSet<u16> {
        &self.leaving
    }

    /// Whether a job may begin: its shard is still this host's, and is not being given up.
    pub fn may_begin(&self, shard: u16, generation: u64) -> bool {
        self.hears(shard, generation) && !self.leaving.contains(&shard)
    }

    /// Has the last checkpoint written of each shard that leaves and of which nothing runs any more.
    pub(super) fn let_go(&mut self) {
        for shard in &self.leaving {
            let is_still = self.running.get(usize::from(*shard)).is_none_or(|running| *running == 0);
            if is_still && !self.actions.iter().any(|placed| placed.place.shard == *shard) {
                self.commits.release(*shard);
            }
        }
    }

    /// Another host has claimed a shard: all that is known of it is forgotten. Whether that was done at once: where a batch
    /// is under way with it, it is done when that ends, however it does, and the shard cannot be claimed before.
    pub fn lose(&mut self, shard: u16) -> bool {
        let in_batch = |batch: &Batch| batch.checkpoints.iter().any(|(of, ..)| *of == shard);
        if self.under_way.values().any(in_batch) {
            self.lost.insert(shard);
            return false;
        }
        self.drop_shard(shard);
        self.commits.lose(shard);
        true
    }

    /// A batch was refused because other hosts have claimed some of its shards: all that is known of those is forgotten.
    /// What the batch held of the others is sent again.
    pub fn fenced(&mut self, number: u64, lost: &BTreeSet<u16>) {
        let Some(batch) = self.under_way.remove(&number) else { return };
        let others: Vec<u16> = batch.checkpoints.iter().map(|(shard, ..)| *shard).collect();
        lost.iter().for_each(|shard| self.drop_shard(*shard));
        self.commits.fenced(batch, lost);
        self.drop_lost(others);
    }

    /// A batch with these shards has ended: those that are known to be another host's go now.
    pub(super) fn drop_lost(&mut self, shards: impl IntoIterator<Item = u16>) {
        for shard in shards {
            if self.lost.contains(&shard) {
                self.drop_shard(shard);
                self.commits.lose(shard);
            }
        }
    }

    /// Forgets a shard, except for what is to be committed.
    pub(super) fn drop_shard(&mut self, shard: u16) {
        self.leaving.remove(&shard);
        self.lost.remove(&shard);
        self.condemned.retain(|_, (of, _)| *of != shard);
        self.clear_running(shard);
        self.actions.retain(|placed| placed.place.shard != shard);
        if self.shards.owns(shard) {
            self.shards.lose(shard);
            let shards = self.shards.count();
            self.states.lose(|key| key.shard(shards) == shard);
        }
    }

    pub(super) fn clear_running(&mut self, shard: u16) {
        if let Some(running) = self.running.get_mut(usize::from(shard)) {
            *running = 0;
        }
    }
}
