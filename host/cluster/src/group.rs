//! The group: one host's part in sharing an application, from what it hears and reads to what it does.
//!
//! Promises that it goes by what is stored: nothing is under way only in memory, every message may be lost or come twice, and
//! whatever was missed is found by the next round. A shard is given up when its next host asks for it, and taken from a host
//! only if that is dead or does not answer in time. Nothing is claimed by what was read before something changed.

mod plan;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use crate::propose::Proposer;
use crate::watch::{self, HEARTBEAT, Watch};

pub use plan::{FORGOTTEN, LAGGING, RESTING, ROLL};
pub use words::{Act, Assignment, Life, Member, Owner, Word};

/// How often the owners of all shards are read, in milliseconds, even if nothing seems to have happened.
pub const ROUND: u64 = 5_000;

/// How long a host waits after something could not be read or claimed, in milliseconds.
pub const PAUSE: u64 = 250;

/// How often a host asks for a shard that it is to have, in milliseconds.
pub const ASK_AGAIN: u64 = 250;

/// How long it asks before it claims the shard all the same, in milliseconds.
pub const HAND_OVER: u64 = 3_000;

/// How many shards a host asks for at once.
pub const AT_ONCE: usize = 8;

/// A shard that the host is to have and another one owns.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    since: u64,
    asked: Option<u64>,
}

/// What is known of who owns the shards.
#[derive(Debug)]
struct Known {
    /// As they were last read, and changed by what was heard and done since.
    owners: Vec<Owner>,
    /// Counts what may have changed them.
    changes: u64,
    /// After how many changes the read began that they come from; none: they were never read.
    read: Option<u64>,
    /// After how many changes the read under way began.
    reading: Option<u64>,
    /// Since when each shard is not owned by the host that is to have it, by what was read.
    homeless: Vec<Option<u64>>,
}

impl Known {
    /// Whether nothing has changed them since they were read.
    fn is_fresh(&self) -> bool {
        self.read == Some(self.changes)
    }
}

/// One host's part in it.
#[derive(Debug)]
pub struct Group {
    me: Life,
    node: String,
    chance: u64,
    watch: Watch,
    proposer: Proposer,
    members: BTreeMap<String, Member>,
    assignment: (u64, Assignment),
    known: Known,
    /// Shards that this host owns, and the ids of its claims.
    mine: BTreeMap<u16, u64>,
    claiming: BTreeSet<u16>,
    releasing: BTreeSet<u16>,
    wanted: BTreeMap<u16, Wanted>,
    /// Shards that another host seems to own.
    doubted: BTreeSet<u16>,
    proposing: bool,
    /// When two versions were first seen beside each other.
    rolling: Option<u64>,
    /// Until when hosts are given no shards that left some unclaimed.
    resting: BTreeMap<String, u64>,
    /// How often the watch has begun again.
    restarts: u64,
    /// When the owners are read next, when shards are claimed again, when the host says next that it lives, and when it may
    /// next have a record removed.
    round: u64,
    claims: u64,
    beat: u64,
    forgets: u64,
    words: Vec<Word>,
}

/// What happened.
impl Group {
    /// A host that has stored its record and owns nothing yet. `chance` is drawn at random.
    pub fn new(me: Life, node: &str, shards: u16, chance: u64, now: u64) -> Self {
        let shards = usize::from(shards);
        Group {
            me,
            node: node.to_owned(),
            chance,
            watch: Watch::new(now),
            proposer: Proposer::default(),
            members: BTreeMap::new(),
            assignment: (0, vec![None; shards]),
            known: Known {
                owners: vec![Owner::default(); shards],
                changes: 0,
                read: None,
                reading: None,
                homeless: vec![None; shards],
            },
            mine: BTreeMap::new(),
            claiming: BTreeSet::new(),
            releasing: BTreeSet::new(),
            wanted: BTreeMap::new(),
            doubted: BTreeSet::new(),
            proposing: false,
            rolling: None,
            resting: BTreeMap::new(),
            restarts: 0,
            round: now,
            claims: now,
            beat: now,
            forgets: now,
            words: Vec::new(),
        }
    }

    /// What is known of the owners may not be true any more: they are read before anything is claimed.
    fn changed(&mut self, now: u64) {
        self.known.changes += 1;
        self.round = self.round.min(now);
    }

    /// A member's record is stored, or was changed.
    pub fn member(&mut self, host: &str, member: Member, now: u64) {
        let known = self.members.get(host).map(|known| known.incarnation);
        if known.is_none_or(|known| known < member.incarnation) {
            self.proposer.joined(now);
            self.resting.remove(host);
        }
        if host != self.me.host {
            self.watch.joined(host, member.incarnation, &member.node, now);
        }
        self.members.insert(host.to_owned(), member);
    }

    /// A member's record was removed: it has left.
    pub fn left(&mut self, host: &str, now: u64) {
        self.members.remove(host);
        self.resting.remove(host);
        self.watch.left(host);
        self.changed(now);
    }

    /// An assignment is stored.
    pub fn assigned(&mut self, generation: u64, assignment: Assignment, now: u64) {
        if generation > self.assignment.0 && assignment.len() == self.known.owners.len() {
            self.assignment = (generation, assignment);
            self.wanted.clear();
            self.known.homeless.fill(None);
            self.proposer.stored();
            self.changed(now);
        }
    }

    /// What became of a proposal; if it is stored, [`assigned`](Self::assigned) follows.
    pub fn proposed(&mut self, stored: bool, now: u64) {
        self.proposing = false;
        if !stored {
            self.proposer.failed(now);
        }
    }

    /// The owners of all shards were read; none: that failed.
    pub fn owners(&mut self, owners: Option<Vec<Owner>>, now: u64) {
        let began = self.known.reading.take();
        let Some(owners) = owners.filter(|owners| owners.len() == self.known.owners.len()) else {
            self.round = now + PAUSE;
            return;
        };
        let is_doubted = |(shard, claim): (&u16, &u64)| {
            let owner = owners.get(usize::from(*shard))?;
            (owner.claim != *claim || owner.released).then_some(*shard)
        };
        self.doubted = self.mine.iter().filter_map(is_doubted).collect();
        for ((since, owner), target) in self.known.homeless.iter_mut().zip(&owners).zip(&self.assignment.1) {
            let is_home = owner.host == *target && !owner.released;
            *since = if is_home { None } else { since.or(Some(now)) };
            let lags = since.is_some_and(|since| now.saturating_sub(since) >= LAGGING);
            if let Some(host) = target.as_ref().filter(|_| lags) {
                self.resting.insert(host.clone(), now + RESTING);
            }
        }
        (self.known.owners, self.known.read) = (owners, began);
        if !self.known.is_fresh() {
            self.round = now;
        }
    }

    /// A claim is stored, with this id; none: it is not, or that is not known.
    pub fn claimed(&mut self, shard: u16, claim: Option<u64>, now: u64) {
        self.claiming.remove(&shard);
        self.wanted.remove(&shard);
        match claim {
            Some(claim) => {
                self.mine.insert(shard, claim);
                self.set_owner(shard, Owner { host: Some(self.me.host.clone()), claim, released: false });
            }
            None => {
                self.releasing.remove(&shard);
                self.claims = now + PAUSE;
                self.changed(now);
            }
        }
    }

    /// A shard is not this host's any more: it was given up, or another host has claimed it.
    pub fn gone(&mut self, shard: u16, released: bool, now: u64) {
        let claim = self.mine.remove(&shard);
        self.releasing.remove(&shard);
        match claim.filter(|_| released) {
            Some(claim) => {
                self.set_owner(shard, Owner { host: Some(self.me.host.clone()), claim, released: true });
                self.words.push(Word::Free { shard, claim: Some(claim) });
            }
            None => self.changed(now),
        }
    }

    /// A NATS node answers.
    pub fn node_answers(&mut self, node: &str, now: u64) {
        self.watch.node_answers(node, now);
    }

    /// The host is connected to another NATS node.
    pub fn connected(&mut self, node: &str) {
        node.clone_into(&mut self.node);
    }

    /// Somebody said something, perhaps this host itself.
    pub fn hear(&mut self, word: &Word, now: u64) {
        match word {
            Word::Beat { life, .. } if *life == self.me => self.watch.echo(now),
            Word::Beat { life, node } => {
                if self.watch.heard(&life.host, life.incarnation, node, now) {
                    self.changed(now);
                }
            }
            Word::Ask { host } if *host == self.me.host => self.beat = now,
            Word::HasAnybodyHeard { life } => {
                let age = self.watch.heard_lately(&life.host, life.incarnation, now);
                if let Some(age) = age.filter(|_| self.watch.hears(now)) {
                    self.words.push(Word::Heard { life: life.clone(), age });
                }
            }
            Word::Heard { life, age } => self.watch.vouched(&life.host, life.incarnation, *age, now),
            Word::Want { owner, host, shard, generation } if *owner == self.me.host => {
                self.asked_for(*shard, host, *generation);
            }
            Word::Free { shard, claim } => self.is_free(*shard, *claim, now),
            Word::Ask { .. } | Word::Want { .. } => {}
        }
    }

    /// Another host is ready for a shard. Whoever owns it gives it up if that host is to have it, as far as he knows, or as
    /// a later assignment says that has not come to him yet. Whoever does not says so.
    fn asked_for(&mut self, shard: u16, host: &str, generation: u64) {
        if !self.mine.contains_key(&shard) {
            if !self.claiming.contains(&shard) {
                self.words.push(Word::Free { shard, claim: None });
            }
            return;
        }
        let is_to_have = self.target(shard) == Some(host);
        if (is_to_have && generation == self.assignment.0) || generation > self.assignment.0 {
            self.releasing.insert(shard);
        }
    }

    fn is_free(&mut self, shard: u16, claim: Option<u64>, now: u64) {
        if self.target(shard) != Some(&*self.me.host) {
            return;
        }
        let known = self.known.owners.get_mut(usize::from(shard));
        match known.filter(|known| Some(known.claim) == claim) {
            Some(known) => known.released = true,
            None => self.changed(now),
        }
    }

    fn set_owner(&mut self, shard: u16, owner: Owner) {
        let index = usize::from(shard);
        if let (Some(slot), Some(since)) =
            (self.known.owners.get_mut(index), self.known.homeless.get_mut(index))
        {
            (*slot, *since) = (owner, None);
        }
    }
}

/// What is to be done.
impl Group {
    /// Who this host is.
    pub fn me(&self) -> &Life {
        &self.me
    }

    /// The shards that this host owns, and the ids of its claims.
    pub fn mine(&self) -> &BTreeMap<u16, u64> {
        &self.mine
    }

    /// Which host is to own each shard, and the generation that says so.
    pub fn assignment(&self) -> (u64, &Assignment) {
        (self.assignment.0, &self.assignment.1)
    }

    fn target(&self, shard: u16) -> Option<&str> {
        self.assignment.1.get(usize::from(shard))?.as_deref()
    }

    /// What is to be done now; to be asked about twenty times a second, and whenever something happened.
    pub fn look(&mut self, now: u64) -> Vec<Act> {
        let mut acts: Vec<Act> = Vec::new();
        for act in self.watch.look(now) {
            acts.extend(self.of_watch(act, now));
        }
        if self.restarts != self.watch.restarts() {
            // What others did not answer meanwhile is no fault of theirs.
            self.restarts = self.watch.restarts();
            self.wanted.clear();
            self.known.homeless.fill(None);
            self.changed(now);
        }
        if now >= self.beat {
            self.beat = now + HEARTBEAT;
            acts.push(Act::Say(Word::Beat { life: self.me.clone(), node: self.node.clone() }));
        }
        if now >= self.round && self.known.reading.is_none() {
            self.round = now + ROUND;
            self.known.reading = Some(self.known.changes);
            acts.push(Act::ReadOwners);
        }
        acts.extend(std::mem::take(&mut self.words).into_iter().map(Act::Say));
        // Shards that are to be given up go, whatever the host hears: their next hosts wait.
        acts.extend(self.releasing.iter().map(|shard| Act::Release(*shard)));
        acts.extend(std::mem::take(&mut self.doubted).into_iter().map(Act::Verify));
        if self.watch.hears(now) && self.known.is_fresh() {
            acts.extend(self.propose(now));
            acts.extend(self.step(now));
        }
        acts
    }

    fn of_watch(&mut self, act: watch::Act, now: u64) -> Option<Act> {
        Some(match act {
            watch::Act::Ask(host) => Act::Say(Word::Ask { host }),
            watch::Act::AskOthers(host) => {
                let incarnation = self.members.get(&host)?.incarnation;
                Act::Say(Word::HasAnybodyHeard { life: Life { host, incarnation } })
            }
            watch::Act::AskNode(node) => Act::AskNode(node),
            watch::Act::Reconnect => Act::Reconnect,
            watch::Act::Dead(_) => {
                self.changed(now);
                return None;
            }
        })
    }
}
