//! The world of a mix: one handler with the real shards and the real regulator, on virtual time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::num::{NonZeroU16, NonZeroU32};
use std::ops::Range;
use std::sync::Arc;

use heddle_flow::regulator::{Candidate, Probes, Regulator};
use heddle_flow::shard::{Action, Blame, Hurry, Outcome, Rules};
use heddle_flow::shards::{Place, Placed, Plan, Shards};
use heddle_sandbox::Outside;
use heddle_values::checkpoint::{Checkpoint, Progress};
use heddle_values::effects::Effects;
use heddle_values::event::Event;
use heddle_values::key::Key;
use heddle_values::policy::{OnDeadLetter, Pace, RetryPolicy};
use heddle_values::verdict::{Failure, Verdict};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::scene::{Circuit, Fate, Scene};
use super::{BEGINNING, EVENTS, ROOM, RUN, SLOW};

const SHARDS: u16 = 4;

struct Job {
    key: Key,
    event: Arc<Event>,
    attempt: u32,
    fresh: bool,
    place: Place,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Story {
    pub(super) done: BTreeSet<u64>,
    pub(super) dead: BTreeSet<u64>,
    /// From publication to end, of the events of clean keys, in milliseconds.
    pub(super) waits: Vec<u64>,
    /// When the circuit was open, counted from the beginning.
    pub(super) open: Vec<Range<u64>>,
    pub(super) ended: u64,
}

impl Story {
    pub(super) fn p99(&mut self) -> u64 {
        self.waits.sort_unstable();
        self.waits.get(self.waits.len() * 99 / 100).copied().unwrap_or_default()
    }

    pub(super) fn time_open(&self) -> u64 {
        self.open.iter().map(|open| open.end - open.start).sum()
    }
}

pub(super) struct World<'a> {
    scene: &'a Scene,
    policy: RetryPolicy,
    random: StdRng,
    now: u64,
    shards: Shards,
    regulator: Regulator,
    ready: VecDeque<Job>,
    running: BTreeMap<u64, Job>,
    ends: BinaryHeap<Reverse<(u64, u64)>>,
    actions: Vec<Placed>,
    next: u64,
    opened: Option<u64>,
    story: Story,
}

impl<'a> World<'a> {
    pub(super) fn new(scene: &'a Scene) -> Self {
        let shards = NonZeroU16::new(SHARDS).expect("it is not 0");
        let plan = Plan {
            host: "host".to_owned(),
            shards,
            handlers: vec![("h".into(), "S".into())],
            streams: BTreeMap::from([("S".to_owned(), 1)]),
            keys: vec!["{subject.1}".to_owned()],
            on_dead_letter: vec![OnDeadLetter::Continue],
            checkpoint_bytes: usize::MAX,
        };
        let progress = Progress { stream: "S".to_owned(), low: 1, ..Progress::default() };
        let checkpoint = Checkpoint {
            shards: SHARDS,
            handlers: BTreeMap::from([("h".to_owned(), progress)]),
            ..Checkpoint::default()
        };
        let checkpoints = vec![checkpoint; usize::from(SHARDS)];
        World {
            scene,
            policy: RetryPolicy { max_attempts: NonZeroU32::new(5).expect("5"), ..RetryPolicy::default() },
            random: StdRng::seed_from_u64(7),
            now: BEGINNING,
            shards: Shards::new(plan, &checkpoints, Vec::new(), 0),
            regulator: Regulator::new(scene.policy(), &Pace::default(), (0, u64::MAX)),
            ready: VecDeque::new(),
            running: BTreeMap::new(),
            ends: BinaryHeap::new(),
            actions: Vec::new(),
            next: 1,
            opened: None,
            story: Story::default(),
        }
    }

    /// Runs until everything has ended, or until `limit`.
    pub(super) fn run(mut self, limit: u64) -> Story {
        while self.story.done.len() + self.story.dead.len() < EVENTS as usize && self.now < limit {
            self.read();
            self.probe();
            self.act();
            self.begin();
            self.act();
            let mut times: Vec<u64> = self.shards.next_wake().into_iter().collect();
            times.extend(self.regulator.next_begin(self.ready.len(), self.now));
            times.extend(self.ends.peek().map(|Reverse((at, _))| *at));
            times.extend((self.next <= EVENTS).then(|| self.now.max(BEGINNING + self.next)));
            let Some(next) = times.into_iter().min() else { break };
            self.now = next.max(self.now + 1);
            self.shards.wake(self.now, &mut self.actions);
            self.end();
            self.act();
        }
        let end = self.now - BEGINNING;
        self.story.open.extend(self.opened.map(|since| since - BEGINNING..end));
        self.story.ended = end;
        self.story
    }

    fn read(&mut self) {
        while self.next <= EVENTS && BEGINNING + self.next <= self.now {
            let held = self.shards.held(0);
            if held.full > 0
                || held.events >= ROOM
                || self.regulator.stops_reading(&self.ready, |job| job.fresh)
            {
                return;
            }
            let event = self.scene.event(self.next);
            self.next += 1;
            let key = Key::new(event.subject.trim_start_matches("in."));
            self.shards.read(0, event, key, self.now, &mut self.actions);
            self.act();
        }
    }

    fn probe(&mut self) {
        if self.regulator.probes(self.ready.len(), self.running.len(), self.now) == Probes::Wake
            && self.shards.hurry(0, Hurry::One, self.now, &mut self.actions) == 0
            && self.shards.held(0).events == 0
        {
            self.regulator.nothing_to_try();
            self.noted();
        }
    }

    fn act(&mut self) {
        while !self.actions.is_empty() {
            for Placed { place, action } in std::mem::take(&mut self.actions) {
                let now = self.now;
                match action {
                    Action::Run { key, event, attempt, fresh } => {
                        self.ready.push_back(Job { key, event, attempt, fresh, place });
                    }
                    Action::Settle(settled) => {
                        let sequence = settled.event.sequence;
                        match settled.outcome {
                            Outcome::Dead(_) => self.story.dead.insert(sequence),
                            _ => self.story.done.insert(sequence),
                        };
                        if self.scene.is_clean(sequence) {
                            self.story.waits.push(now - BEGINNING - sequence);
                        }
                        let taken = BTreeMap::from([(0, BTreeSet::from([sequence]))]);
                        let checkpoint = self.shards.checkpoint(place.shard, &taken, &[self.next], 1);
                        self.shards.at(place, &mut self.actions, |track, actions| {
                            track.settled(&settled, 0, now, actions);
                        });
                        self.shards.committed(place.shard, &checkpoint);
                    }
                    Action::Fetch { key, positions } => {
                        for position in positions {
                            let event = self.scene.event(position);
                            self.shards.at(place, &mut self.actions, |track, actions| {
                                track.fetched(&key, position, Some(event), now, actions);
                            });
                        }
                    }
                    Action::Record | Action::WakeAt { .. } => {}
                    Action::TakeBack { .. } | Action::Open { .. } => unreachable!("nothing is held"),
                }
            }
        }
    }

    fn begin(&mut self) {
        while let Some(job) = self.regulator.next(
            self.running.len(),
            &mut self.ready,
            |job| Candidate { key: &job.key, fresh: job.fresh },
            self.now,
        ) {
            let takes = if self.scene.fate(job.event.sequence) == Fate::Slow { SLOW } else { RUN };
            self.ends.push(Reverse((self.now + takes, job.event.sequence)));
            self.running.insert(job.event.sequence, job);
        }
    }

    fn end(&mut self) {
        while self.ends.peek().is_some_and(|Reverse((at, _))| *at <= self.now) {
            let Some(Reverse((_, sequence))) = self.ends.pop() else { return };
            let Some(job) = self.running.remove(&sequence) else { continue };
            let down = self.scene.outage.contains(&(self.now - BEGINNING));
            let verdict = match self.scene.fate(sequence) {
                Fate::Rejected => Verdict::Failed(Failure::reject("rejected").into()),
                _ if down => Verdict::Failed(Failure::retry("outage").into()),
                Fate::Poison => Verdict::Failed(Failure::retry("poison").into()),
                Fate::Flaky(times) if job.attempt <= times => Verdict::Failed(Failure::trap("flaky").into()),
                _ => Verdict::Done(Effects::default()),
            };
            let event = Candidate { key: &job.key, fresh: job.fresh };
            let outside = match self.scene.circuit {
                Circuit::Sees if down => Outside::Failed,
                Circuit::Sees => Outside::Answered,
                Circuit::Off | Circuit::Guesses => Outside::Unseen,
            };
            let random = self.random.random();
            let (outage, change) = self.regulator.ended(event, &verdict, outside, self.now, random);
            if change.is_some() {
                self.noted();
            }
            let blame = if outage { Blame::Outage } else { Blame::Event };
            let rules = Rules { retry: &self.policy, blame, ran_by: None };
            let (now, random) = (self.now, self.random.random());
            self.shards.at(job.place, &mut self.actions, |track, actions| {
                track.finished(&job.key, verdict, rules, now, random, actions);
            });
        }
    }

    /// The circuit has opened or closed.
    fn noted(&mut self) {
        let open = self.regulator.open_since();
        if let (Some(since), None) = (self.opened, open) {
            self.story.open.push(since - BEGINNING..self.now - BEGINNING);
            self.shards.hurry(0, Hurry::Probed, self.now, &mut self.actions);
        }
        self.opened = open;
    }
}
