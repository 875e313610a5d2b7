//! Groups of several hosts in worlds where messages are late, lost and repeated, hosts die, stand still, come and leave, and
//! NATS nodes stand still: whatever happened, in the end every shard has one host that lives, and each has its share.

mod host;
mod world;

use heddle_cluster::group::Owner;
use rand::RngExt;

use world::{SHARDS, STEP, Sabotage, World};

/// A world with some faults, and a while without any.
fn troubled(seed: u64, sabotage: Option<Sabotage>) -> World {
    let mut world = World::new(seed, 1 + seed as usize % 5, sabotage);
    for _ in 0..world.random.random_range(1..12) {
        world.fault();
        let time = world.random.random_range(50..6_000);
        world.run(time);
    }
    world.lossy = false;
    world.run(40_000);
    world
}

#[test]
fn whatever_happened_every_shard_has_one_host_in_the_end_and_each_host_its_share() {
    (0..100).for_each(|seed| troubled(seed, None).assert_at_rest(seed));
}

#[test]
fn a_host_that_does_one_thing_wrong_is_found_out() {
    for sabotage in [Sabotage::NeverVerifies, Sabotage::ReadsOnce, Sabotage::NeverProposes] {
        let found = (0..30).any(|seed| troubled(seed, Some(sabotage)).at_rest().is_err());
        assert!(found, "{sabotage:?} leaves everything well");
    }
    // These only cost time, and moves.
    let drained = |sabotage| {
        let mut world = World::new(1, 3, sabotage);
        let name = world.some_host().unwrap();
        world.drain(&name);
        world.run(2_000);
        !world.hosts.contains_key(&name)
    };
    assert!(drained(None) && !drained(Some(Sabotage::IsDeafToWants)));
}

#[test]
fn the_shards_of_a_host_that_is_killed_are_claimed_within_two_and_a_half_seconds() {
    for seed in 0..30 {
        let mut world = World::new(seed, 3, None);
        world.assert_at_rest(seed);
        let name = world.some_host().unwrap();
        world.hosts.remove(&name);
        let killed = world.now;
        world.run(10_000);
        world.assert_at_rest(seed);
        let late = world.stream.owners.iter().map(|(.., at)| at.saturating_sub(killed)).max().unwrap();
        assert!(late <= 2_500, "seed {seed}: {late} ms");
    }
}

#[test]
fn a_host_that_comes_takes_its_share_and_nothing_else_moves() {
    for seed in 0..30 {
        let mut world = World::new(seed, 2, None);
        let before = world.stream.moves;
        world.join();
        world.run(15_000);
        world.assert_at_rest(seed);
        let moved = world.stream.moves - before;
        assert!(moved <= u64::from(SHARDS).div_ceil(3), "seed {seed}: {moved} moved");
    }
}

#[test]
fn a_host_that_drains_is_empty_within_a_second_and_a_half() {
    for seed in 0..30 {
        let mut world = World::new(seed, 3, None);
        let name = world.some_host().unwrap();
        world.drain(&name);
        let began = world.now;
        while world.hosts.contains_key(&name) && world.now < began + 10_000 {
            world.run(STEP);
        }
        let took = world.now - began;
        assert!(took <= 1_500, "seed {seed}: {took} ms");
        world.run(5_000);
        world.assert_at_rest(seed);
    }
}

#[test]
fn a_frozen_node_is_not_taken_for_the_death_of_its_hosts() {
    for seed in 0..30 {
        let mut world = World::new(seed, 3, None);
        let before = world.stream.moves;
        world.frozen.insert(seed as usize % 3, world.now + 30_000);
        world.run(30_000);
        world.assert_at_rest(seed);
        assert_eq!(world.stream.moves, before, "seed {seed}: shards have moved");
    }
}

#[test]
fn a_host_that_lives_and_cannot_claim_leaves_its_shards_to_others() {
    for seed in 0..10 {
        let mut world = World::new(seed, 2, None);
        world.join();
        let newcomer =
            world.hosts.iter().find(|(_, host)| host.claims.is_empty()).map(|(name, _)| name.clone());
        let newcomer = newcomer.unwrap();
        world.hosts.get_mut(&newcomer).unwrap().unable = true;
        world.run(40_000);
        let owned = |world: &World| {
            let lives =
                |owner: &Owner| owner.host.as_ref().is_some_and(|host| world.hosts.contains_key(host));
            world.stream.owners.iter().filter(|(owner, ..)| lives(owner) && !owner.released).count()
        };
        assert_eq!(owned(&world), usize::from(SHARDS), "seed {seed}");
        assert!(world.hosts[&newcomer].claims.is_empty());
    }
}

#[test]
fn a_dead_host_is_missed_however_many_others_come_and_go_and_its_record_is_removed_one_day() {
    for seed in 0..10 {
        let mut world = World::new(seed, 3, None);
        let name = world.some_host().unwrap();
        world.hosts.remove(&name);
        let killed = world.now;
        // Each of them has only read of the dead one, and knows nothing of its own.
        for _ in 0..10 {
            world.join();
            world.run(2_000);
        }
        let left =
            world.stream.owners.iter().filter(|(owner, ..)| owner.host.as_ref() == Some(&name)).count();
        assert_eq!(left, 0, "seed {seed}: after {} ms", world.now - killed);
        world.run(70_000);
        world.assert_at_rest(seed);
        assert!(!world.stream.members.contains_key(&name), "seed {seed}: its record is still there");
    }
}

#[test]
fn an_idle_group_says_little() {
    let mut world = World::new(1, 3, None);
    let name = world.some_host().unwrap();
    let mut acts = Vec::new();
    for _ in 0..1_000 {
        world.run(STEP);
        let now = world.now;
        acts.extend(world.hosts.get_mut(&name).unwrap().group.look(now));
    }
    assert_eq!(acts, [], "it has done all in its turn");
    let words = world.hosts.values().map(|host| host.inbox.len()).sum::<usize>();
    assert!(words < 30, "{words} words are on their way");
}
