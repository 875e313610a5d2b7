//! The simulation: shards, commits and checkpoints, driven as the engine drives them by thousands of random worlds,
//! each held against a reference that shares no code with them.
//!
//! Every world comes from a seed, so that what fails once fails always. A failure says the seed.

mod acquire;
mod batches;
mod gates;
mod host;
mod hosts;
mod ledger;
mod mix;
mod model;
mod replays;
mod runs;
mod sabotage;
mod scene;
mod server;
mod steps;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use model::{Checked, Fault, Promise};
use sabotage::Sabotage;
use steps::Tally;

/// How many worlds every promise is held against, unless `cargo xtask simulate` asks for more.
const SEEDS: u64 = 3_000;

/// Names how many worlds, and the seed of the first.
const WORLDS_VARIABLE: &str = "HEDDLE_WORLDS";

/// How many worlds a wrong host may take to be found out.
const PATIENCE: u64 = 300;

struct Outcome {
    seed: u64,
    checked: Checked<Tally>,
}

fn run(seed: u64, sabotage: Option<Sabotage>) -> Outcome {
    let checked = catch_unwind(AssertUnwindSafe(|| steps::run(seed, sabotage)));
    let panicked = || Err(Fault { promise: Promise::Calm, text: "it panics".to_owned() });
    Outcome { seed, checked: checked.unwrap_or_else(|_| panicked()) }
}

/// The seeds of all worlds: `<how many>` or `<how many>@<the first>`.
#[expect(clippy::disallowed_methods, reason = "whoever runs the simulation says how long")]
fn seeds() -> std::ops::Range<u64> {
    let Ok(wanted) = std::env::var(WORLDS_VARIABLE) else { return 0..SEEDS };
    let (count, first) = wanted.split_once('@').unwrap_or((&wanted, "0"));
    let number =
        |text: &str| text.parse::<u64>().expect("HEDDLE_WORLDS is a number, or two with an @ between");
    let first = number(first);
    first..first.saturating_add(number(count))
}

/// All worlds, each run once for all promises.
static WORLDS: LazyLock<Vec<Outcome>> = LazyLock::new(|| {
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get() as u64);
    std::thread::scope(|scope| {
        let part = |first: u64| {
            move || seeds().skip(first as usize).step_by(threads as usize).map(|seed| run(seed, None))
        };
        let workers: Vec<_> =
            (0..threads).map(|n| scope.spawn(move || part(n)().collect::<Vec<_>>())).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("panics are caught")).collect()
    })
});

#[track_caller]
fn holds(promise: Promise) {
    let faults = WORLDS.iter().filter_map(|world| Some((world.seed, world.checked.as_ref().err()?)));
    let broken: Vec<_> = faults.filter(|(_, fault)| fault.promise == promise).collect();
    if let Some((seed, fault)) = broken.first() {
        assert!(
            broken.is_empty(),
            "{} of {} worlds break it; seed {seed}: {}",
            broken.len(),
            WORLDS.len(),
            fault.text
        );
    }
}

#[test]
fn one_event_of_a_lane_runs_at_a_time_in_the_order_of_the_stream() {
    holds(Promise::Order);
}

#[test]
fn effects_and_states_are_stored_once_in_order_and_together() {
    holds(Promise::ExactlyOnce);
}

#[test]
fn every_event_ends_as_done_or_as_a_dead_letter() {
    holds(Promise::NothingLost);
}

#[test]
fn only_what_deserves_it_becomes_a_dead_letter() {
    holds(Promise::Innocence);
}

#[test]
fn a_checkpoint_claims_what_is_committed_and_nothing_else_and_never_goes_back() {
    holds(Promise::Checkpoint);
}

#[test]
fn attempts_are_bounded_and_survive_a_crash_once_they_are_recorded() {
    holds(Promise::Attempts);
}

#[test]
fn nothing_runs_before_it_is_due() {
    holds(Promise::BackOff);
}

#[test]
fn nothing_is_held_once_all_is_settled() {
    holds(Promise::Held);
}

#[test]
fn the_window_is_full_before_a_checkpoint_outgrows_its_bytes() {
    holds(Promise::Window);
}

#[test]
fn no_later_event_of_a_held_key_takes_effect_before_its_replay_or_release() {
    holds(Promise::Gate);
}

#[test]
fn what_is_held_back_runs_once_in_order_and_none_of_it_is_lost() {
    holds(Promise::HeldBack);
}

#[test]
fn a_dead_letter_that_is_sent_again_takes_effect_once() {
    holds(Promise::Replay);
}

#[test]
fn there_is_a_next_step_until_all_is_done() {
    holds(Promise::Progress);
}

#[test]
fn no_world_makes_it_panic() {
    holds(Promise::Calm);
}

#[test]
fn the_worlds_are_eventful() {
    let sum = WORLDS
        .iter()
        .filter_map(|world| world.checked.as_ref().ok())
        .fold(Tally::default(), |sum, tally| sum.plus(tally));
    assert!(sum.tasks > 100_000 && sum.runs > sum.tasks as u64 && sum.lost > 1_000, "{sum:?}");
    assert!(sum.held_back > 10_000 && sum.replays > 10_000 && sum.free_runs > 3_000, "{sum:?}");
    assert!(sum.claims > 10_000 && sum.fenced > 1_000, "{sum:?}");
}

#[test]
fn a_host_that_does_one_thing_wrong_is_found_out() {
    for (sabotage, promise) in Sabotage::ALL {
        let found = (0..PATIENCE)
            .map(|seed| run(seed, Some(sabotage)))
            .find(|world| matches!(&world.checked, Err(fault) if fault.promise == promise));
        assert!(found.is_some(), "{sabotage:?} breaks {promise:?} in none of {PATIENCE} worlds");
    }
}
