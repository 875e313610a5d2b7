//! The judge: waits until every event has ended or nothing moves, and reads the stream to say what became of each.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use async_nats::jetstream;
use heddle_tests::{Checker, wait_for};
use serde::Serialize;

use super::class::Class;
use super::{Cell, NUMBER, Plan};

/// How often it is counted how many events have ended.
const INTERVAL: Duration = Duration::from_millis(200);

/// The stream of the application.
const STREAM: &str = "T";

/// How far a cell has come.
pub(super) struct Progress<'a> {
    jetstream: &'a jetstream::Context,
}

impl<'a> Progress<'a> {
    pub(super) fn new(jetstream: &'a jetstream::Context) -> Self {
        Progress { jetstream }
    }

    /// Waits until N events have ended. How many are left if nothing ends for `patience`.
    pub(super) async fn until_all_ended(&self, events: u64, patience: Duration) -> Result<u64> {
        let checker = Checker::new(self.jetstream.clone(), STREAM);
        let (mut last, mut since) = (0, Instant::now());
        let mut ticks = tokio::time::interval(INTERVAL);
        loop {
            ticks.tick().await;
            let effects = wait_for("effects are counted", || checker.count("out.>")).await;
            let dead = wait_for("dead letters are counted", || checker.count("dead.>")).await;
            let ended = u64::try_from(effects + dead).context("there are not that many events")?;
            if ended >= events {
                return Ok(0);
            }
            if ended > last {
                (last, since) = (ended, Instant::now());
            } else if since.elapsed() > patience {
                return Ok(events - ended);
            }
        }
    }
}

/// What is right and wrong with a cell.
#[derive(Debug, Default, Serialize)]
pub struct Verdict {
    /// Events that had not ended when nothing moved any more.
    pub stuck: u64,
    pub done: usize,
    pub dead: usize,
    /// Events with neither effect nor dead letter.
    pub lost: usize,
    /// Events that ended otherwise than their class says.
    pub wrong: usize,
    /// Effects and dead letters that came more than once.
    pub repeated: usize,
    /// Effects of a key that are out of order.
    pub reordered: usize,
}

impl Verdict {
    /// Whether everything ended, and rightly.
    pub fn is_sound(&self) -> bool {
        self.stuck + (self.lost + self.wrong + self.repeated + self.reordered) as u64 == 0
    }

    /// Reads the stream.
    pub(super) async fn of(
        jetstream: &jetstream::Context,
        plan: &Plan,
        cell: Cell,
        stuck: u64,
    ) -> Result<Self> {
        let checker = Checker::new(jetstream.clone(), STREAM);
        let mut verdict = Verdict { stuck, ..Verdict::default() };
        // By its place in the stream: the number of an event and its subject, which its key is a part of.
        let mut events: BTreeMap<u64, (u64, String)> = BTreeMap::new();
        let mut done: BTreeSet<u64> = BTreeSet::new();
        let mut dead: BTreeSet<u64> = BTreeSet::new();
        let mut last_of_keys: BTreeMap<String, u64> = BTreeMap::new();
        for row in checker.rows("").await {
            let event = |sequence: u64| events.get(&sequence).cloned().context("an effect without an event");
            if row.subject.starts_with("in.") {
                let number = row.header(NUMBER).parse().context("an event without a number")?;
                events.insert(row.sequence, (number, row.subject));
            } else if row.subject.starts_with("out.") {
                let cause = row.cause();
                let (number, subject) = event(cause)?;
                verdict.repeated += usize::from(!done.insert(number));
                let last = last_of_keys.insert(subject, cause).unwrap_or_default();
                verdict.reordered += usize::from(cause < last);
            } else if row.subject.starts_with("dead.") {
                let sequence = row.header("Heddle-Dead-Sequence");
                let (number, _) = event(sequence.parse().context("a dead letter without its event")?)?;
                verdict.repeated += usize::from(!dead.insert(number));
            }
        }
        for number in 1..=plan.events {
            let dies = Class::of(plan.seed, &cell, number).dies();
            match (done.contains(&number), dead.contains(&number)) {
                (false, false) => verdict.lost += 1,
                (is_done, is_dead) => verdict.wrong += usize::from(is_done == dies || is_dead != dies),
            }
        }
        (verdict.done, verdict.dead) = (done.len(), dead.len());
        Ok(verdict)
    }
}
