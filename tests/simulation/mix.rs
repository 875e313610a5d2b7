//! Mixes: whatever the shares of events that succeed, fail for a while or fail for good, everything ends, in bounded
//! time, keys without bad events are not delayed, and only a real outage opens the circuit for long.
//!
//! One handler on virtual time, with the real shards and the real regulator. An event fails by the number of its attempt,
//! as the attempts of a handler that asks for it do: what uses up no attempt fails for ever.

mod scene;
mod world;

use heddle_values::policy::RetryPolicy;

use scene::{Circuit, Fate, MAX_OPEN, Scene, Shares};
use world::{Story, World};

/// Events that are published, a thousand a second.
const EVENTS: u64 = 8_000;

/// What a run takes, in milliseconds.
const RUN: u64 = 2;
const SLOW: u64 = 500;

/// As many events are in memory at the most.
const ROOM: usize = 16_384;

/// When the first event is published, in milliseconds since 1970.
const BEGINNING: u64 = 1_000_000;

fn play(scene: &Scene) -> Story {
    // Ten hours: what is not over by then never is.
    World::new(scene).run(BEGINNING + 36_000_000)
}

fn scene(shares: Shares, keys: u64, circuit: Circuit) -> Scene {
    Scene { shares, keys, circuit, outage: 0..0 }
}

const MIXES: [Shares; 8] = [
    Shares { flaky: 300, poison: 0, rejected: 0, slow: 0 },
    Shares { flaky: 60, poison: 30, rejected: 0, slow: 0 },
    Shares { flaky: 0, poison: 100, rejected: 0, slow: 0 },
    Shares { flaky: 0, poison: 200, rejected: 0, slow: 0 },
    Shares { flaky: 0, poison: 500, rejected: 0, slow: 0 },
    Shares { flaky: 0, poison: 0, rejected: 300, slow: 0 },
    Shares { flaky: 50, poison: 50, rejected: 50, slow: 5 },
    Shares { flaky: 250, poison: 200, rejected: 50, slow: 0 },
];

#[test]
fn whatever_the_mix_every_event_ends_as_it_should_and_in_bounded_time() {
    for shares in MIXES {
        for keys in [50, 2_000, 50_000] {
            for circuit in [Circuit::Off, Circuit::Sees, Circuit::Guesses] {
                let scene = scene(shares, keys, circuit);
                let story = play(&scene);
                let what = || format!("{shares:?}, {keys} keys, circuit {circuit:?}");
                for sequence in 1..=EVENTS {
                    let dies = matches!(scene.fate(sequence), Fate::Poison | Fate::Rejected);
                    let ended = if dies { &story.dead } else { &story.done };
                    assert!(
                        ended.contains(&sequence),
                        "event {sequence} does not end, or wrongly: {}",
                        what()
                    );
                }
                // What can only guess may take a tail of bad events for an outage, but not for long.
                let guesses = if circuit == Circuit::Guesses { 3 * MAX_OPEN } else { 0 };
                let bound = EVENTS + scene.longest_chain(&RetryPolicy::default()) + 5_000 + guesses;
                assert!(story.ended <= bound, "{} ms, {bound} allowed: {}", story.ended, what());
            }
        }
    }
}

#[test]
fn keys_without_bad_events_are_not_delayed_by_others() {
    for keys in [50, 2_000, 50_000] {
        let clean = play(&scene(Shares::default(), keys, Circuit::Sees)).p99();
        for (shares, circuit) in MIXES.iter().flat_map(|of| [(*of, Circuit::Sees), (*of, Circuit::Guesses)]) {
            let mut story = play(&scene(shares, keys, circuit));
            let p99 = story.p99();
            assert!(
                p99 <= 2 * clean + 10,
                "{p99} ms, {clean} ms when all is well: {shares:?}, {keys} keys, open {:?}",
                story.open
            );
            if circuit == Circuit::Sees {
                assert_eq!(story.time_open(), 0, "{shares:?}, {keys} keys: {:?}", story.open);
            }
        }
    }
}

#[test]
fn a_real_outage_uses_up_no_innocent_event_and_is_over_soon_after() {
    for (shares, keys) in [
        (Shares::default(), 2_000),
        (Shares { flaky: 100, poison: 30, rejected: 20, slow: 0 }, 2_000),
        (Shares { flaky: 0, poison: 400, rejected: 0, slow: 0 }, 2_000),
        (Shares { flaky: 60, poison: 30, rejected: 0, slow: 0 }, 50),
    ] {
        let (from, to) = (5_000, 605_000);
        let scene = Scene { outage: from..to, ..scene(shares, keys, Circuit::Sees) };
        let story = play(&scene);
        let dead = story.dead.iter().filter(|n| !matches!(scene.fate(**n), Fate::Poison | Fate::Rejected));
        assert_eq!(dead.count(), 0, "{shares:?}: innocent events are dead letters");
        let opened = story.open.first().map_or(u64::MAX, |open| open.start);
        assert!(opened < from + 1_000, "{shares:?}: noticed after {} ms", opened.saturating_sub(from));
        assert_eq!(story.done.len() + story.dead.len(), EVENTS as usize, "{shares:?}: it is stuck");
        let closed = story.open.iter().filter(|open| open.end > to).map(|open| open.end).max();
        // The longest wait of a probe, for each bad event that may be tried before a good one.
        assert!(closed.is_some_and(|closed| closed < to + 60_000), "{shares:?}: {:?}", story.open);
    }
}

#[test]
fn a_handler_of_which_everything_fails_still_ends_once_the_circuit_was_open_for_its_longest_time() {
    let poison = Shares { flaky: 0, poison: 500, rejected: 0, slow: 0 };
    let story = play(&Scene { outage: 0..u64::MAX, ..scene(poison, 2_000, Circuit::Guesses) });
    assert_eq!(story.dead.len(), EVENTS as usize, "{} are done", story.done.len());
}
