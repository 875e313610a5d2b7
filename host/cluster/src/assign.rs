//! Assignment: which host is to own which shard.
//!
//! Promises that it follows from who lives and from what each is to have already, and from nothing else: whoever computes it
//! comes to the same. That every host has its share, to within one shard; that no shard moves which need not; and that in a
//! rolling upgrade shards go to hosts of the newer version, and nothing else moves until the roll is over.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

/// A host that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub host: String,
    /// How large its share is, compared with others'.
    pub weight: NonZeroU32,
    /// Whether it runs the newest version that any of them does.
    pub newest: bool,
    /// Whether all its shards are to go to others.
    pub draining: bool,
}

/// What a host is to have.
struct Share<'a> {
    of: &'a Candidate,
    quota: usize,
    has: usize,
}

/// The host that each shard is to have, by shard; none: there is nobody who could have it. `owners` are those stored: none
/// for a shard that was given up. A host that drains keeps its shards only as long as there is no other.
pub fn assign<'a>(owners: &[Option<&str>], candidates: &'a [Candidate]) -> Vec<Option<&'a str>> {
    let find = |host: &str| candidates.iter().find(|candidate| candidate.host == host);
    let mut active: Vec<&Candidate> = candidates.iter().filter(|candidate| !candidate.draining).collect();
    active.sort_by(|one, other| one.host.cmp(&other.host));
    active.dedup_by(|one, other| one.host == other.host);
    if active.is_empty() {
        let stays = |owner: &Option<&str>| owner.and_then(find).map(|candidate| candidate.host.as_str());
        return owners.iter().map(stays).collect();
    }
    let is_rolling = active.iter().any(|of| of.newest) && active.iter().any(|of| !of.newest);
    let mut shares = shares(owners, active, is_rolling);
    let mut assigned = Vec::new();
    for owner in owners {
        let share = owner.and_then(|owner| shares.iter_mut().find(|share| share.of.host == owner));
        // While the version is rolled out nobody gives up what he has: it would move once more.
        let kept = share.filter(|share| is_rolling || share.has < share.quota);
        assigned.push(kept.map(|share| {
            share.has += 1;
            share.of.host.as_str()
        }));
    }
    for shard in assigned.iter_mut().filter(|shard| shard.is_none()) {
        let emptiest = shares.iter_mut().min_by(|one, other| {
            let full = |share: &Share<'_>| (share.has >= share.quota, is_rolling && !share.of.newest);
            full(one).cmp(&full(other)).then_with(|| fuller(one, other)).then(one.of.host.cmp(&other.of.host))
        });
        if let Some(share) = emptiest {
            share.has += 1;
            *shard = Some(&share.of.host);
        }
    }
    assigned
}

/// How one host's load compares with that of another, each for its weight.
fn fuller(one: &Share<'_>, other: &Share<'_>) -> std::cmp::Ordering {
    let load = |share: &Share<'_>, by: &Share<'_>| share.has as u64 * u64::from(by.of.weight.get());
    load(one, other).cmp(&load(other, one))
}

/// How many shards each host is to have: its part, rounded down, and what is left to those that have the most already, so
/// that the least moves.
fn shares<'a>(owners: &[Option<&str>], active: Vec<&'a Candidate>, is_rolling: bool) -> Vec<Share<'a>> {
    let mut owned: BTreeMap<&str, usize> = BTreeMap::new();
    for owner in owners.iter().flatten() {
        *owned.entry(owner).or_default() += 1;
    }
    let weights: u64 = active.iter().map(|of| u64::from(of.weight.get())).sum();
    let part = |of: &Candidate| owners.len() as u64 * u64::from(of.weight.get());
    let share = |of: &'a Candidate| Share { of, quota: (part(of) / weights) as usize, has: 0 };
    let mut shares: Vec<Share<'a>> = active.into_iter().map(share).collect();
    let left = owners.len() - shares.iter().map(|share| share.quota).sum::<usize>();
    let surplus = |share: &Share<'_>| {
        let has = owned.get(share.of.host.as_str()).copied().unwrap_or(0);
        let goes_on = is_rolling && share.of.newest;
        // With equal weights all have the same rest.
        (goes_on, has > share.quota, part(share.of) % weights, has)
    };
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by_key(|index| shares.get(*index).map(|share| std::cmp::Reverse(surplus(share))));
    for index in order.into_iter().take(left) {
        if let Some(share) = shares.get_mut(index) {
            share.quota += 1;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn candidate(host: &str) -> Candidate {
        Candidate { host: host.to_owned(), weight: NonZeroU32::MIN, newest: true, draining: false }
    }

    fn hosts(names: &[&str]) -> Vec<Candidate> {
        names.iter().map(|name| candidate(name)).collect()
    }

    fn of(assigned: &[Option<&str>], host: &str) -> usize {
        assigned.iter().filter(|owner| **owner == Some(host)).count()
    }

    fn moved(before: &[Option<&str>], after: &[Option<&str>]) -> usize {
        before.iter().zip(after).filter(|(before, after)| before.is_some() && before != after).count()
    }

    #[test]
    fn every_host_has_its_share_to_within_one_and_what_fits_stays() {
        let mut random = StdRng::seed_from_u64(1);
        for _ in 0..2_000 {
            let shards = random.random_range(1..130);
            let names: Vec<String> = (0..random.random_range(1..8)).map(|n| format!("h{n}")).collect();
            let living: Vec<&str> =
                names.iter().map(String::as_str).filter(|_| random.random_bool(0.7)).collect();
            let owners: Vec<Option<&str>> = (0..shards)
                .map(|_| names.get(random.random_range(0..names.len() + 1)).map(String::as_str))
                .collect();
            let candidates = hosts(&living);
            let assigned = assign(&owners, &candidates);
            if living.is_empty() {
                assert_eq!(of(&assigned, "h0"), 0);
                continue;
            }
            let floor = shards / living.len();
            let counts: Vec<usize> = living.iter().map(|host| of(&assigned, host)).collect();
            assert_eq!(counts.iter().sum::<usize>(), shards);
            assert!(
                counts.iter().all(|count| (floor..=shards.div_ceil(living.len())).contains(count)),
                "{counts:?}"
            );
            // Only what its owner has too much of, or that has no owner, moves.
            let mut has: Vec<usize> = living.iter().map(|host| of(&owners, host)).collect();
            has.sort_unstable_by_key(|has| std::cmp::Reverse(*has));
            let quota = |place: usize| floor + usize::from(place < shards % living.len());
            let surplus: usize = has.iter().enumerate().map(|(at, has)| has.saturating_sub(quota(at))).sum();
            let homeless = owners.iter().flatten().filter(|owner| !living.contains(owner)).count();
            assert_eq!(moved(&owners, &assigned), surplus + homeless, "{owners:?} {living:?}");
            assert_eq!(assign(&assigned, &candidates), assigned, "it comes to rest");
        }
    }

    #[test]
    fn a_host_that_comes_is_given_no_more_than_its_share_and_no_two_others_exchange_any() {
        for shards in [1, 7, 64, 512] {
            let two = hosts(&["a", "b"]);
            let before = assign(&vec![None; shards], &two);
            let three = hosts(&["a", "b", "c"]);
            let after = assign(&before, &three);
            assert_eq!(moved(&before, &after), of(&after, "c"));
            assert!(of(&after, "c") <= shards.div_ceil(3));
        }
    }

    #[test]
    fn the_shards_of_a_dead_host_go_to_all_that_live() {
        let four = hosts(&["a", "b", "c", "d"]);
        let before = assign(&[None; 64], &four);
        let three = hosts(&["a", "b", "c"]);
        let after = assign(&before, &three);
        assert_eq!(moved(&before, &after), 16);
        let mut counts = ["a", "b", "c"].map(|host| of(&after, host));
        counts.sort_unstable();
        assert_eq!(counts, [21, 21, 22]);
    }

    #[test]
    fn a_host_that_drains_has_nothing_unless_it_is_the_only_one() {
        let two = hosts(&["a", "b"]);
        let before = assign(&[None; 64], &two);
        let drains = |names: &[&str]| {
            let drain = |of: &Candidate| Candidate { draining: names.contains(&&*of.host), ..of.clone() };
            two.iter().map(drain).collect::<Vec<_>>()
        };
        let (one, both) = (drains(&["a"]), drains(&["a", "b"]));
        assert_eq!(of(&assign(&before, &one), "a"), 0);
        assert_eq!(of(&assign(&before, &one), "b"), 64);
        assert_eq!(assign(&before, &both), before, "with nobody else it goes on");
    }

    #[test]
    fn a_heavier_host_has_a_larger_share() {
        let mut two = hosts(&["a", "b"]);
        two[1].weight = NonZeroU32::new(3).unwrap();
        let assigned = assign(&[None; 64], &two);
        assert_eq!((of(&assigned, "a"), of(&assigned, "b")), (16, 48));
        assert_eq!(assign(&assigned, &two), assigned);
    }

    #[test]
    fn in_a_rolling_upgrade_where_new_hosts_come_first_each_shard_moves_once() {
        let old = |name: &str| Candidate { newest: false, ..candidate(name) };
        let start = hosts(&["a1", "b1", "c1"]);
        let mut owners = assign(&[None; 64], &start);
        let mut moves = vec![0; 64];
        let rounds = [
            vec![candidate("a2"), old("a1"), old("b1"), old("c1")],
            vec![candidate("a2"), old("b1"), old("c1")],
            vec![candidate("a2"), candidate("b2"), old("b1"), old("c1")],
            vec![candidate("a2"), candidate("b2"), old("c1")],
            vec![candidate("a2"), candidate("b2"), candidate("c2"), old("c1")],
            hosts(&["a2", "b2", "c2"]),
        ];
        for round in &rounds {
            let next = assign(&owners, round);
            for (moves, (before, after)) in moves.iter_mut().zip(owners.iter().zip(&next)) {
                *moves += usize::from(before != after);
            }
            owners = next;
        }
        assert_eq!(moves, [1; 64]);
        let mut counts = ["a2", "b2", "c2"].map(|host| of(&owners, host));
        counts.sort_unstable();
        assert_eq!(counts, [21, 21, 22]);
    }
}
