//! What a host wants done about the shards: which assignment it would write, and what it does about each shard.

use std::collections::BTreeSet;

use super::{
    ASK_AGAIN, AT_ONCE, Act, Assignment, Group, HAND_OVER, Life, Member, Owner, ROUND, Wanted, Word,
};
use crate::assign::{Candidate, assign};
use crate::propose::Want;

/// How long a host that lives may leave a shard that it is to have without claiming it, in milliseconds. Then it is given to
/// another one.
pub const LAGGING: u64 = 10_000;

/// For how long such a host is given none, in milliseconds.
pub const RESTING: u64 = 300_000;

/// How long two versions may run beside each other before shards are balanced all the same, in milliseconds.
pub const ROLL: u64 = 600_000;

/// After how long the record of a dead host is removed, in milliseconds.
pub const FORGOTTEN: u64 = 60_000;

impl Group {
    /// The hosts that live, as far as this one knows.
    fn living(&self) -> BTreeSet<&str> {
        let others = self.watch.living().map(|(host, _)| host);
        others.chain([self.me.host.as_str()]).filter(|host| self.members.contains_key(*host)).collect()
    }

    /// Those of them that may have shards. One that leaves a shard unclaimed for long is to have none.
    fn candidates(&self, living: &BTreeSet<&str>, may_roll: bool, now: u64) -> Vec<Candidate> {
        let newest = living.iter().filter_map(|host| self.members.get(*host)).map(|of| of.version).max();
        let rests = |host: &str| self.resting.get(host).is_some_and(|until| *until > now);
        let candidate = |(host, of): (&str, &Member)| Candidate {
            host: host.to_owned(),
            weight: of.weight,
            newest: !may_roll || Some(of.version) == newest,
            draining: of.draining || rests(host),
        };
        living.iter().filter_map(|host| Some((*host, self.members.get(*host)?))).map(candidate).collect()
    }

    /// The assignment that this host would write, if it is its turn; or the removal of a record that nobody needs.
    pub(super) fn propose(&mut self, now: u64) -> Option<Act> {
        let living = self.living();
        let rank = living.iter().position(|host| *host == self.me.host)?;
        let versions: BTreeSet<_> =
            living.iter().filter_map(|host| Some(self.members.get(*host)?.version)).collect();
        let rolling = (versions.len() > 1).then(|| self.rolling.unwrap_or(now));
        let may_roll = rolling.is_some_and(|since| now.saturating_sub(since) < ROLL);
        let candidates = self.candidates(&living, may_roll, now);
        let (after, current) = (self.assignment.0, &self.assignment.1);
        // Where nothing was assigned yet, what is stored says who has what.
        let stored = |owner: &Owner| owner.host.clone().filter(|_| !owner.released);
        let base: Assignment = match after {
            0 => self.known.owners.iter().map(stored).collect(),
            _ => current.clone(),
        };
        let base: Vec<Option<&str>> = base.iter().map(Option::as_deref).collect();
        let next = assign(&base, &candidates);
        let keeps = |host: &Option<&str>| {
            candidates.iter().any(|candidate| Some(&*candidate.host) == *host && !candidate.draining)
        };
        let homes = after == 0 || base.iter().zip(&next).any(|(now, then)| now != then && !keeps(now));
        let want = match (after == 0 || next != base, homes) {
            (false, _) => Want::Nothing,
            (true, true) => Want::Homes,
            (true, false) => Want::Balance,
        };
        let next: Assignment = next.into_iter().map(|host| host.map(str::to_owned)).collect();
        let mut long_dead = self.watch.long_dead(FORGOTTEN, now);
        let forgotten = long_dead.next().filter(|_| rank == 0 && now >= self.forgets);
        let forgotten = forgotten.map(|(host, incarnation)| Life { host: host.to_owned(), incarnation });
        drop(long_dead);
        self.rolling = rolling;
        // Those that were never heard may have died long ago.
        let knows = self.watch.knows_all() || (want == Want::Homes && after > 0);
        if knows && self.proposer.is_due(want, rank, self.chance, now) && !self.proposing {
            self.proposing = true;
            return Some(Act::Propose { after, assignment: next });
        }
        forgotten.map(|life| {
            self.forgets = now + ROUND;
            Act::Forget(life)
        })
    }

    /// What is to be done about each shard, by what is stored of it.
    pub(super) fn step(&mut self, now: u64) -> Vec<Act> {
        let mut acts = Vec::new();
        for shard in (0_u16..).take(self.known.owners.len()) {
            let is_to_have = self.target(shard) == Some(&*self.me.host);
            if !is_to_have || self.mine.contains_key(&shard) || self.claiming.contains(&shard) {
                self.wanted.remove(&shard);
            } else if let Some(owner) = self.known.owners.get(usize::from(shard)).cloned() {
                acts.extend(self.pursue(shard, owner, now));
            }
        }
        acts
    }

    /// A shard that this host is to have and does not own.
    fn pursue(&mut self, shard: u16, Owner { host, claim, released }: Owner, now: u64) -> Option<Act> {
        // What this host had in its memory it has no more.
        let of_other = |owner: &String| *owner != self.me.host && self.living().contains(owner.as_str());
        let owner = host.filter(|_| !released).filter(of_other);
        let room = self.wanted.len() < AT_ONCE;
        let wanted = match (&owner, self.wanted.get_mut(&shard)) {
            (None, _) => None,
            (Some(_), Some(wanted)) => Some(wanted),
            (Some(_), None) if !room => return None,
            (Some(_), None) => Some(self.wanted.entry(shard).or_insert(Wanted { since: now, asked: None })),
        };
        if let (Some(owner), Some(wanted)) =
            (owner, wanted.filter(|of| now.saturating_sub(of.since) < HAND_OVER))
        {
            if wanted.asked.is_some_and(|asked| now.saturating_sub(asked) < ASK_AGAIN) {
                return None;
            }
            wanted.asked = Some(now);
            let (host, generation) = (self.me.host.clone(), self.assignment.0);
            return Some(Act::Say(Word::Want { owner, host, shard, generation }));
        }
        if now < self.claims {
            return None;
        }
        self.claiming.insert(shard);
        Some(Act::Claim { shard, from: claim })
    }
}
