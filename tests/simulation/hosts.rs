//! Several hosts: shards are claimed, given up and missed, hosts come and die, and what dead ones had under way arrives late.

use std::collections::BTreeSet;

use heddle_flow::batch::checkpoint_message;
use heddle_flow::shards::{Claimed, Place};
use heddle_values::handlers::PerHandler;
use heddle_values::key::Key;
use heddle_values::names::Names;
use rand::RngExt;

use crate::acquire::{adopt, fenced, gates, retries, stored_checkpoint};
use crate::host::Host;
use crate::model::{Checked, Promise, ensure};
use crate::sabotage::Sabotage;
use crate::world::{World, choose};

impl World {
    /// Whether there are, or may be, several hosts.
    pub(crate) fn is_shared(&self) -> bool {
        self.scene.hosts > 1
    }

    /// Another host has its turn.
    pub(crate) fn turn_to_another(&mut self) {
        if let Some(index) = choose(&mut self.random, self.others.len() + 1)
            && let Some(other) = self.others.get_mut(index)
        {
            std::mem::swap(&mut self.host, other);
        }
    }

    /// The next host has its turn, so that all of them come by.
    pub(crate) fn turn_to_next(&mut self) {
        if let Some(next) = self.others.pop_front() {
            self.others.push_back(std::mem::replace(&mut self.host, next));
        }
    }

    /// A host comes, which owns nothing and reads from the end of the stream.
    fn join(&mut self) -> Host {
        let name = (format!("host-{}", self.lives), Names::new("app"));
        self.lives += 1;
        let handlers: PerHandler<usize> = (0..self.scene.handlers.len()).collect();
        Host::new(&self.scene, name, handlers, self.server.next(), self.now)
    }

    /// A shard is claimed, given up or missed; or a host comes, or what a dead one had under way arrives.
    pub(crate) fn relocate(&mut self) -> Checked {
        let Some(shard) = choose(&mut self.random, self.scene.shards.get().into()) else { return Ok(()) };
        let shard = u16::try_from(shard).unwrap_or_default();
        match self.random.random_range(0..8) {
            0 if self.others.len() + 1 < self.scene.hosts => {
                let host = self.join();
                self.others.push_back(host);
                Ok(())
            }
            0..3 => self.claim(shard),
            3 | 4 => {
                self.host.flow.release(shard);
                Ok(())
            }
            5 => {
                self.host.flow.abandon(shard);
                Ok(())
            }
            6 => {
                self.miss();
                Ok(())
            }
            _ => self.arrive_late(),
        }
    }

    /// The current host makes a shard its own, whoever has it, unless that is itself.
    pub(crate) fn claim(&mut self, shard: u16) -> Checked {
        if self.host.is_owner(shard) {
            return Ok(());
        }
        let can = self.host.flow.lose(shard);
        self.host.sync();
        if !can {
            // A batch is under way with it.
            return Ok(());
        }
        let names = self.host.flow.origins().names.clone();
        let (fence, mut checkpoint) = stored_checkpoint(&self.server, &names, shard)?;
        if self.is(Sabotage::ClaimsBlindly) {
            checkpoint = self.seen.insert(shard, checkpoint.clone()).unwrap_or(checkpoint);
        }
        adopt(&self.host, self.server.next(), &mut checkpoint);
        let claim = [checkpoint_message(&names, shard, &checkpoint, fence)];
        let fence = self.server.store(&claim).map_err(|refusal| fenced(&refusal))?;
        for other in
            self.others.iter_mut().chain(&mut self.dead).filter(|host| host.flow.shards().owns(shard))
        {
            other.lost.insert(shard);
        }
        self.model.checkpoint(shard, &checkpoint)?;
        self.model.forgotten(|of| of == shard, &retries(&self.scene, [&checkpoint].into_iter()));
        let gates = gates(self.host.flow.plan(), &names, &self.server).into_iter();
        let gates = gates.filter(|(place, _)| place.shard == shard && !self.is(Sabotage::ForgetsGates));
        let gates = gates.map(|(place, gate)| (place.handler, gate)).collect();
        let wrong = self.is(Sabotage::TakesForStateless);
        let handlers = &self.host.flow.plan().handlers;
        let stateless = handlers.map(|of| wrong || self.server.is_stateless(&names, shard, &of.name));
        self.claims += 1;
        self.host.flow.claim(vec![Claimed { shard, fence, checkpoint, gates }], &stateless, self.now);
        for handler in self.host.handlers.indices() {
            let place = Place { shard, handler };
            let low = self.host.flow.shards().low_at(place, 0);
            if !self.is(Sabotage::ReadsOnFromItsPlace) {
                self.host.positions.join(place, low);
            }
        }
        if !self.is(Sabotage::ForgetsRequests) {
            self.host.replays.begin_anew();
        }
        Ok(())
    }

    /// A host that has nothing of a shard under way learns that it is another's.
    fn miss(&mut self) {
        let lost: Vec<u16> = self.host.lost.iter().copied().collect();
        let index = choose(&mut self.random, lost.len());
        if let Some(shard) = index.and_then(|index| lost.get(index)).copied() {
            self.host.flow.lose(shard);
            self.host.sync();
        }
    }

    /// A batch was refused because some of its shards are another host's by now.
    pub(crate) fn learn_of_loss(&mut self, number: u64) -> Checked {
        let names = self.host.flow.origins().names.clone();
        let Some(batch) = self.host.flow.batch_mut(number) else { return Ok(()) };
        let mut lost = BTreeSet::new();
        for (shard, _, checkpoint) in &batch.checkpoints {
            let (_, stored) = stored_checkpoint(&self.server, &names, *shard)?;
            if stored.claim != checkpoint.claim {
                lost.insert(*shard);
            }
        }
        ensure(!lost.is_empty(), Promise::ExactlyOnce, || "a batch is refused without a loss".to_owned())?;
        if self.is(Sabotage::TakesBackWhatItLost) {
            return self.take_back_lost(number);
        }
        self.fenced += 1;
        self.host.flow.fenced(number, &lost);
        self.host.sync();
        Ok(())
    }

    /// What a wrong host does: the next commits go on from whatever is stored, with what it has.
    fn take_back_lost(&mut self, number: u64) -> Checked {
        let names = self.host.flow.origins().names.clone();
        let Some(batch) = self.host.flow.batch_mut(number) else { return Ok(()) };
        let mut messages = batch.messages.to_vec();
        for message in messages.iter_mut().filter(|message| message.expected_last.is_some()) {
            message.expected_last =
                Some(self.server.last(&message.subject).map_or(0, |(sequence, _)| sequence));
        }
        if let Ok(first) = self.server.store(&messages) {
            let handlers = &self.host.handlers;
            let id_of = |handler, position| (handlers[handler], position);
            self.model.stored((batch, first), &self.server, &names, id_of)?;
        }
        self.host.stored(number, 0, self.now, None);
        Ok(())
    }

    /// The current host dies, without a word.
    pub(crate) fn die(&mut self) -> Checked {
        let next = match self.others.pop_front() {
            Some(next) => next,
            None => self.join(),
        };
        let last = std::mem::replace(&mut self.host, next);
        self.dead.push(last);
        Ok(())
    }

    /// Something that a dead host has sent arrives: it counts if nobody has claimed its shards, and not otherwise.
    fn arrive_late(&mut self) -> Checked {
        let Some(index) = choose(&mut self.random, self.dead.len()) else { return Ok(()) };
        let Some(dead) = self.dead.get_mut(index) else { return Ok(()) };
        std::mem::swap(&mut self.host, dead);
        let arrived = self.arrive();
        if let Some(dead) = self.dead.get_mut(index) {
            std::mem::swap(&mut self.host, dead);
        }
        arrived.map(drop)
    }

    /// Shards that come later are read for by themselves until they have caught up. Whether there was anything to read.
    pub(crate) fn catch_up(&mut self) -> Checked<bool> {
        let behind: Vec<(Place, u64)> = self.host.positions.behind().collect();
        let index = choose(&mut self.random, behind.len());
        let Some((place, position)) = index.and_then(|index| behind.get(index)).copied() else {
            return Ok(false);
        };
        if !self.has_room(place.handler) {
            return Ok(false);
        }
        let ahead = self.host.positions.of_handler(place.handler);
        let events = self.server.events_from(position, self.scene.delivery);
        let next = events.last().map_or(ahead, |event| event.sequence + 1);
        for event in events {
            if !self.host.positions.takes_behind(place, event.sequence) {
                continue;
            }
            let id = self.host.id(place.handler, event.position());
            let key = self.scene.handlers.get(id.0).and_then(|of| of.key(&event));
            let of_shard = |key: &Key| self.host.flow.place(place.handler, key) == place;
            let Some(key) = key.filter(of_shard) else { continue };
            let admission = self.host.flow.read(place.handler, event, (key, None), self.now);
            if self.host.is_owner(place.shard) {
                self.model.admitted(id, admission)?;
            }
            self.host.moved = true;
        }
        self.host.positions.catch_up(place, next);
        self.host.holds(&self.model)?;
        Ok(true)
    }

    /// At the end every shard has an owner. Whether one had none.
    pub(crate) fn claim_what_nobody_owns(&mut self) -> Checked<bool> {
        for shard in 0..self.scene.shards.get() {
            let hosts = || self.others.iter().chain([&self.host]);
            if hosts().any(|host| host.is_owner(shard)) {
                continue;
            }
            self.claim(shard)?;
            if self.host.is_owner(shard) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
