//! The world of a group: a stream, a bus between the hosts, and what can go wrong.
#![expect(clippy::indexing_slicing, reason = "what fails here fails a test")]

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use heddle_cluster::group::{Act, Assignment, Group, Life, Member, Owner, Word};
use heddle_cluster::watch::RECONNECT;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::host::{Host, Input, is_stored, take};

pub(crate) const SHARDS: u16 = 64;
pub(crate) const STEP: u64 = 20;
const NODES: [&str; 3] = ["n0", "n1", "n2"];

/// What the stream holds.
#[derive(Default)]
pub(crate) struct Stream {
    last: u64,
    pub(crate) members: BTreeMap<String, Member>,
    assignment: (u64, Assignment),
    /// Host, claim, whether it was given up, and when that was stored.
    pub(crate) owners: Vec<(Owner, u64, u64)>,
    pub(crate) moves: u64,
}

/// What a driver of the group does wrong, each to be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// Never sees whether a shard is still its own.
    NeverVerifies,
    /// Reads the owners of shards only once.
    ReadsOnce,
    /// Hears no word about shards: nobody gives one up when he is asked.
    IsDeafToWants,
    /// Never writes an assignment.
    NeverProposes,
}

pub(crate) struct World {
    sabotage: Option<Sabotage>,
    pub(crate) random: StdRng,
    pub(crate) now: u64,
    pub(crate) hosts: BTreeMap<String, Host>,
    pub(crate) stream: Stream,
    pub(crate) frozen: BTreeMap<usize, u64>,
    pub(crate) lossy: bool,
    made: u32,
}

impl World {
    pub(crate) fn new(seed: u64, hosts: usize, sabotage: Option<Sabotage>) -> Self {
        let stream = Stream { owners: vec![Default::default(); SHARDS.into()], ..Stream::default() };
        let mut world = World {
            sabotage,
            random: StdRng::seed_from_u64(seed),
            now: 1_000,
            hosts: BTreeMap::new(),
            stream,
            frozen: BTreeMap::new(),
            lossy: false,
            made: 0,
        };
        (0..hosts).for_each(|_| world.join());
        world.run(15_000);
        world
    }

    fn next(&mut self) -> u64 {
        self.stream.last += 1;
        self.stream.last
    }

    /// Something stored comes to all hosts.
    fn tell(&mut self, input: &Input) {
        for host in self.hosts.values_mut() {
            let late = self.random.random_range(1..40);
            // In order, and never lost: it is read from the stream.
            let after = host.inbox.iter().filter(|(_, known)| is_stored(known)).map(|(at, _)| *at).max();
            host.inbox.push(((self.now + late).max(after.unwrap_or(0)), input.clone()));
        }
    }

    pub(crate) fn join(&mut self) {
        let name = format!("h{:03}", self.random.random_range(0..1_000) * 100 + self.made % 100);
        self.made += 1;
        let incarnation = self.next();
        let node = self.random.random_range(0..NODES.len());
        let me = Life { host: name.clone(), incarnation };
        let member = Member {
            incarnation,
            weight: NonZeroU32::MIN,
            version: (1, 0, 0),
            draining: false,
            node: NODES[node].to_owned(),
        };
        let mut group = Group::new(me, NODES[node], SHARDS, self.random.random(), self.now);
        for (host, member) in &self.stream.members {
            group.member(host, member.clone(), self.now);
        }
        group.assigned(self.stream.assignment.0, self.stream.assignment.1.clone(), self.now);
        let host = Host {
            group,
            node,
            cut_until: 0,
            still_until: 0,
            inbox: Vec::new(),
            claims: BTreeMap::new(),
            leaving: BTreeMap::new(),
            draining: false,
            unable: false,
        };
        self.hosts.insert(name.clone(), host);
        self.stream.members.insert(name.clone(), member.clone());
        self.tell(&Input::Member(name, member));
    }

    pub(crate) fn run(&mut self, time: u64) {
        let end = self.now + time;
        while self.now < end {
            self.now += STEP;
            self.frozen.retain(|_, until| *until > self.now);
            let names: Vec<String> = self.hosts.keys().cloned().collect();
            for name in names {
                self.turn(&name);
            }
        }
    }

    /// A host has its turn, unless it stands still.
    fn turn(&mut self, name: &str) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.still_until > now {
            return;
        }
        if self.frozen.contains_key(&host.node) && host.cut_until <= now {
            // Its client finds another node after a while.
            host.cut_until = now + RECONNECT - 500;
            host.node = (host.node + 1) % NODES.len();
            host.group.connected(NODES[host.node]);
        }
        let (due, later) = std::mem::take(&mut host.inbox).into_iter().partition(|(at, _)| *at <= now);
        host.inbox = later;
        let mut due: Vec<(u64, Input)> = due;
        due.sort_by_key(|(at, _)| *at);
        for (_, input) in due {
            take(host, input, now);
        }
        for act in host.group.look(now) {
            self.carry_out(name, act);
        }
        self.give_up(name);
        self.leave_if_drained(name);
    }

    fn carry_out(&mut self, name: &str, act: Act) {
        let now = self.now;
        let answered = now + self.random.random_range(2..30);
        match (act, self.sabotage) {
            (Act::Verify(_), Some(Sabotage::NeverVerifies))
            | (Act::Propose { .. }, Some(Sabotage::NeverProposes)) => {}
            (Act::Say(Word::Want { .. }), Some(Sabotage::IsDeafToWants)) => {}
            (act, _) => self.carry_out_well(name, act, answered),
        }
    }

    fn carry_out_well(&mut self, name: &str, act: Act, answered: u64) {
        let now = self.now;
        let once = self.sabotage == Some(Sabotage::ReadsOnce);
        let Some(host) = self.hosts.get_mut(name) else { return };
        match act {
            Act::Say(word) => self.say(name, &word),
            Act::ReadOwners if once && now > 20_000 => host.inbox.push((answered, Input::Owners(None))),
            Act::AskNode(node) => {
                let index = NODES.iter().position(|known| *known == node).unwrap_or_default();
                if !self.frozen.contains_key(&index) {
                    host.inbox.push((answered, Input::NodeAnswers(node)));
                }
            }
            Act::Reconnect => {}
            Act::Propose { after, assignment } => {
                let stored = after == self.stream.assignment.0 && host.cut_until <= now;
                host.inbox.push((answered, Input::Proposed(stored)));
                if stored {
                    self.stream.assignment = (self.next(), assignment.clone());
                    self.tell(&Input::Assigned(self.stream.assignment.0, assignment));
                }
            }
            Act::ReadOwners
                if host.cut_until > now || (self.lossy && self.random.random_range(0..4) == 0) =>
            {
                host.inbox.push((answered, Input::Owners(None)));
            }
            Act::ReadOwners => {
                let owners = self.stream.owners.iter().map(|(owner, ..)| owner.clone()).collect();
                host.inbox.push((answered, Input::Owners(Some(owners))));
            }
            Act::Claim { shard, from } => {
                let fits = self.stream.owners[usize::from(shard)].1 == from;
                let claim = (fits && host.cut_until <= now && !host.unable).then(|| self.claim(name, shard));
                // That it is stored may be lost on the way.
                let lost = self.lossy && self.random.random_range(0..10) == 0;
                let claim = claim.filter(|_| !lost);
                if let Some(host) = self.hosts.get_mut(name) {
                    host.inbox.push((answered, Input::Claimed(shard, claim)));
                }
            }
            Act::Release(shard) => {
                let done = now + self.random.random_range(5..200);
                host.leaving.entry(shard).or_insert(done);
            }
            Act::Verify(shard) => self.verify(name, shard),
            Act::Forget(life) => {
                if self.stream.members.get(&life.host).is_some_and(|of| of.incarnation == life.incarnation) {
                    self.stream.members.remove(&life.host);
                    self.tell(&Input::Left(life.host));
                }
            }
        }
    }

    /// The host reads the checkpoint, which nobody but the stream decides about.
    fn claim(&mut self, name: &str, shard: u16) -> u64 {
        let claim = self.next();
        let owner = Owner { host: Some(name.to_owned()), claim, released: false };
        self.stream.owners[usize::from(shard)] = (owner, claim, self.now);
        self.stream.moves += 1;
        claim
    }

    fn verify(&mut self, name: &str, shard: u16) {
        let (_, claim, _) = self.stream.owners[usize::from(shard)];
        let Some(host) = self.hosts.get_mut(name) else { return };
        if host.claims.get(&shard) != Some(&claim) {
            host.claims.remove(&shard);
            host.leaving.remove(&shard);
            host.inbox.push((self.now, Input::Gone(shard, false)));
        }
    }

    /// What ran of shards that are given up has ended by now: the last commit says so, unless somebody was faster.
    fn give_up(&mut self, name: &str) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(name).filter(|host| host.cut_until <= now) else { return };
        let due: Vec<u16> =
            host.leaving.iter().filter(|(_, at)| **at <= now).map(|(shard, _)| *shard).collect();
        for shard in due {
            host.leaving.remove(&shard);
            let mine = host.claims.remove(&shard);
            let (owner, claim, _) = &mut self.stream.owners[usize::from(shard)];
            let released = mine == Some(*claim);
            owner.released |= released;
            host.inbox.push((now + 5, Input::Gone(shard, released)));
        }
    }

    fn leave_if_drained(&mut self, name: &str) {
        let Some(host) = self.hosts.get(name) else { return };
        let alone = self.hosts.values().filter(|other| !other.draining).count() == 0;
        if host.draining && host.claims.is_empty() && host.group.mine().is_empty() && !alone {
            self.hosts.remove(name);
            self.stream.members.remove(name);
            self.tell(&Input::Left(name.to_owned()));
        }
    }

    fn say(&mut self, name: &str, word: &Word) {
        let cut =
            |world: &Self, host: &Host| host.cut_until > world.now || world.frozen.contains_key(&host.node);
        if self.hosts.get(name).is_none_or(|host| cut(self, host)) {
            return;
        }
        let names: Vec<String> = self.hosts.keys().cloned().collect();
        for other in names {
            if self.hosts.get(&other).is_none_or(|host| cut(self, host)) {
                continue;
            }
            let copies = match self.random.random_range(0..20) {
                0 if self.lossy => 0,
                1 if self.lossy => 2,
                _ => 1,
            };
            for _ in 0..copies {
                let at = self.now + self.random.random_range(1..if self.lossy { 120 } else { 15 });
                if let Some(host) = self.hosts.get_mut(&other) {
                    host.inbox.push((at, Input::Word(word.clone())));
                }
            }
        }
    }

    pub(crate) fn some_host(&mut self) -> Option<String> {
        let index = self.random.random_range(0..self.hosts.len().max(1));
        self.hosts.keys().nth(index).cloned()
    }

    /// Something goes wrong, or somebody does something.
    pub(crate) fn fault(&mut self) {
        let Some(name) = self.some_host() else { return self.join() };
        let (now, most) = (self.now, self.random.random_range(200..20_000));
        match self.random.random_range(0..10) {
            0 | 1 if self.hosts.len() < 6 => self.join(),
            2 if self.hosts.len() > 1 => drop(self.hosts.remove(&name)),
            3 | 4 => self.hosts.values_mut().take(1).for_each(|host| host.still_until = now + most),
            5 => {
                if let Some(host) = self.hosts.get_mut(&name) {
                    host.still_until = now + most;
                }
            }
            6 => {
                if let Some(host) = self.hosts.get_mut(&name) {
                    host.cut_until = now + most;
                }
            }
            7 => drop(self.frozen.insert(self.random.random_range(0..NODES.len()), now + most)),
            8 if self.hosts.values().filter(|host| !host.draining).count() > 1 => self.drain(&name),
            _ => self.lossy = !self.lossy,
        }
    }

    pub(crate) fn drain(&mut self, name: &str) {
        let Some(host) = self.hosts.get_mut(name) else { return };
        host.draining = true;
        let Some(member) = self.stream.members.get_mut(name) else { return };
        member.draining = true;
        let member = member.clone();
        self.tell(&Input::Member(name.to_owned(), member));
    }

    /// After a while without faults: every shard is owned by a host that lives and knows it, and each has its share.
    pub(crate) fn at_rest(&self) -> Result<(), String> {
        for (shard, (owner, claim, _)) in (0_u16..).zip(&self.stream.owners) {
            let host = owner.host.as_ref().and_then(|name| self.hosts.get(name));
            let knows = host.is_some_and(|host| {
                host.group.mine().get(&shard) == Some(claim) && host.claims.get(&shard) == Some(claim)
            });
            if !knows || owner.released {
                return Err(format!("shard {shard} is owned by {owner:?}"));
            }
        }
        let believed: usize = self.hosts.values().map(|host| host.group.mine().len()).sum();
        if believed != usize::from(SHARDS) {
            return Err(format!("{believed} of {SHARDS} shards are believed to be owned"));
        }
        let active: Vec<&Host> = self.hosts.values().filter(|host| !host.draining).collect();
        let share = usize::from(SHARDS) / active.len().max(1);
        match active.iter().map(|host| host.group.mine().len()).find(|has| !(share..=share + 1).contains(has))
        {
            Some(has) => Err(format!("a host has {has} of {share}")),
            None => Ok(()),
        }
    }

    #[track_caller]
    pub(crate) fn assert_at_rest(&self, seed: u64) {
        assert_eq!(self.at_rest(), Ok(()), "seed {seed}");
    }
}
