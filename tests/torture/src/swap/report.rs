//! The report: one page of figures.

use serde::Serialize;

use super::Plan;
use super::swapper::{Marks, Tally};
use crate::judge::Verdict;
use crate::streams::now;

/// How long after a change its cost is looked for, in nanoseconds.
const AFTER: u64 = 100_000_000;

/// What is noted may have happened so much earlier, in nanoseconds.
const BEFORE: u64 = 10_000_000;

/// A part of the campaign.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phase {
    what: &'static str,
    /// In nanoseconds since 1970.
    began: u64,
}

impl Phase {
    pub(super) fn begin(what: &'static str) -> Self {
        Phase { what, began: now() }
    }
}

/// The host's memory at a time.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Memory {
    when: &'static str,
    mib: u64,
}

impl Memory {
    pub(super) fn of(when: &'static str, bytes: u64) -> Self {
        Memory { when, mib: bytes >> 20 }
    }
}

/// How long effects took, in milliseconds.
#[derive(Debug, Clone, Serialize)]
struct Latency {
    of: &'static str,
    events: usize,
    p50: f64,
    p99: f64,
    most: f64,
}

impl Latency {
    fn new(of: &'static str, mut micros: Vec<u32>) -> Self {
        micros.sort_unstable();
        let at = |share: f64| {
            let index = (micros.len() as f64 * share) as usize;
            micros.get(index.min(micros.len().saturating_sub(1))).copied().unwrap_or(0)
        };
        let millis = |micros: u32| f64::from(micros) / 1_000.0;
        Latency {
            of,
            events: micros.len(),
            p50: millis(at(0.5)),
            p99: millis(at(0.99)),
            most: millis(at(1.0)),
        }
    }
}

/// What a campaign found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    seed: u64,
    swaps: usize,
    rate: u64,
    seconds_of_swaps: f64,
    #[serde(flatten)]
    tally: Tally,
    /// From the file to the whole change, in the median.
    swap_ms_median: u32,
    events: u64,
    lost: u64,
    repeated: u64,
    reordered: u64,
    /// Effects of a version after a later one of the same key.
    back: u64,
    /// Events less what the states of all keys count.
    torn: i64,
    dead_letters: usize,
    faults: Vec<String>,
    memory: Vec<Memory>,
    latency_ms: Vec<Latency>,
    /// What the 100 ms after a change to a good version add to p99, in milliseconds, against the time without swaps.
    added_p99_ms: f64,
}

impl Report {
    pub(super) fn new(
        plan: &Plan,
        (phases, memory): (&[Phase], &[Memory]),
        (tally, marks): (Tally, &Marks),
        verdict: Verdict,
        (torn, dead_letters): (i64, usize),
    ) -> Self {
        let mut millis = tally.millis.clone();
        millis.sort_unstable();
        let latencies = latencies(&verdict.latencies, phases, marks);
        let p99 = |index: usize| latencies.get(index).map_or(0.0, |latency| latency.p99);
        let added_p99_ms = p99(3) - p99(0);
        let length = |phase: usize| {
            let began = |index: usize| phases.get(index).map_or(0, |phase| phase.began);
            began(phase + 1).saturating_sub(began(phase)) as f64 / 1e9
        };
        let Verdict { events, lost, repeated, reordered, back, told, .. } = verdict;
        Report {
            seed: plan.seed,
            swaps: plan.swaps,
            rate: plan.rate,
            seconds_of_swaps: length(1),
            swap_ms_median: millis.get(millis.len() / 2).copied().unwrap_or(0),
            tally,
            events,
            lost,
            repeated,
            reordered,
            back,
            torn,
            dead_letters,
            faults: told,
            memory: memory.to_vec(),
            latency_ms: latencies,
            added_p99_ms,
        }
    }

    /// Whether every promise was kept.
    pub fn is_sound(&self) -> bool {
        let faults = [self.lost, self.repeated, self.reordered, self.back];
        faults == [0; 4]
            && self.torn == 0
            && self.dead_letters == 0
            && self.faults.is_empty()
            && self.events > 0
    }
}

/// Latencies without swaps, in the time of the swaps, after it, and right after each kind of change.
fn latencies(all: &[(u64, u32)], phases: &[Phase], marks: &Marks) -> Vec<Latency> {
    let of_phase = |index: usize| {
        let began = |index: usize| phases.get(index).map_or(u64::MAX, |phase| phase.began);
        let within = began(index)..began(index + 1);
        let micros = all.iter().filter(|(due, _)| within.contains(due)).map(|(_, micros)| *micros);
        Latency::new(phases.get(index).map_or("", |phase| phase.what), micros.collect())
    };
    let after = |of, marks: &[u64]| {
        let is_after = |due: u64| {
            let next = marks.partition_point(|mark| mark.saturating_sub(BEFORE) <= due);
            next.checked_sub(1).and_then(|last| marks.get(last)).is_some_and(|mark| due < mark + AFTER)
        };
        let micros = all.iter().filter(|(due, _)| is_after(*due)).map(|(_, micros)| *micros);
        Latency::new(of, micros.collect())
    };
    vec![
        of_phase(0),
        of_phase(1),
        of_phase(2),
        after("100 ms after a good version came", &marks.taken),
        after("100 ms after a bad version came or went", &marks.tried),
        after("100 ms after a version was refused", &marks.refused),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_told_apart_by_when_an_event_was_due() {
        let second = 1_000_000_000;
        let phases = [0, 10, 20, 30].map(|began| Phase { what: "", began: began * second });
        let all: Vec<(u64, u32)> =
            (0..30_000).map(|n| (n * 1_000_000, if n < 10_000 { 1_000 } else { 5_000 })).collect();
        let found =
            latencies(&all, &phases, &Marks { taken: vec![11 * second, 12 * second], ..Marks::default() });
        let counts: Vec<usize> = found.iter().map(|latency| latency.events).collect();
        assert_eq!(counts, [10_000, 10_000, 10_000, 220, 0, 0]);
        assert_eq!([found[0].p99, found[1].p50], [1.0, 5.0]);
    }
}
