//! The world of a mix: one handler with the real shards and the real regulator, on virtual time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::num::{NonZeroU16, NonZeroU32};
use std::ops::Range;
use std::sync::Arc;

use heddle_flow::batch::{Origins, Unit};
use heddle_flow::flow::{Beginning, Flow, Job, Work};
use heddle_flow::regulator::{Candidate, Probes, Regulator};
use heddle_flow::shard::{Hurry, Outcome, Rules};
use heddle_flow::shards::{Claimed, Plan, PlannedHandler};
use heddle_sandbox::Outside;
use heddle_values::batch::Keep;
use heddle_values::checkpoint::{Checkpoint, Progress};
use heddle_values::effects::Effects;
use heddle_values::handlers::HandlerIx;
use heddle_values::key::Key;
use heddle_values::names::Names;
use heddle_values::policy::{OnDeadLetter, Pace, RetryPolicy};
use heddle_values::verdict::{Failure, Verdict};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::scene::{Circuit, Fate, Scene};
use super::{BEGINNING, EVENTS, ROOM, RUN, SLOW};

const SHARDS: u16 = 4;

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
    flow: Flow,
    regulator: Regulator,
    ready: VecDeque<Job>,
    running: BTreeMap<u64, Job>,
    ends: BinaryHeap<Reverse<(u64, u64)>>,
    next: u64,
    /// The next sequence of the application's stream.
    end: u64,
    opened: Option<u64>,
    story: Story,
}

impl<'a> World<'a> {
    pub(super) fn new(scene: &'a Scene) -> Self {
        let shards = NonZeroU16::new(SHARDS).expect("it is not 0");
        let plan = Plan {
            host: "host".to_owned(),
            shards,
            handlers: vec![PlannedHandler {
                name: "h".into(),
                stream: "S".into(),
                key: "{subject.1}".to_owned(),
                on_dead_letter: OnDeadLetter::Continue,
            }]
            .into(),
            streams: BTreeMap::from([("S".to_owned(), 1)]),
            checkpoint_bytes: usize::MAX,
        };
        let progress = Progress { stream: "S".to_owned(), low: 1, ..Progress::default() };
        let checkpoint = Checkpoint {
            shards: SHARDS,
            handlers: BTreeMap::from([("h".to_owned(), progress)]),
            ..Checkpoint::default()
        };
        let origins = Origins {
            names: Names::new("app"),
            stream: "A".into(),
            host: plan.host.clone(),
            handlers: vec!["h".into()].into(),
            keep_dead_letters: Keep::Always,
            max_payload: 1 << 20,
        };
        let beginning = Beginning {
            plan,
            origins: Arc::new(origins),
            claimed: Claimed::all(vec![(1, checkpoint); usize::from(SHARDS)], []),
            stateless: vec![true].into(),
            full: 1,
            generation: 0,
        };
        World {
            scene,
            policy: RetryPolicy { max_attempts: NonZeroU32::new(5).expect("5"), ..RetryPolicy::default() },
            random: StdRng::seed_from_u64(7),
            now: BEGINNING,
            flow: Flow::new(beginning, BEGINNING),
            regulator: Regulator::new(scene.policy(), &Pace::default(), (0, u64::MAX)),
            ready: VecDeque::new(),
            running: BTreeMap::new(),
            ends: BinaryHeap::new(),
            next: 1,
            end: 2,
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
            let mut times: Vec<u64> = self.flow.shards().next_wake().into_iter().collect();
            times.extend(self.regulator.next_begin(self.ready.len(), self.now));
            times.extend(self.ends.peek().map(|Reverse((at, _))| *at));
            times.extend((self.next <= EVENTS).then(|| self.now.max(BEGINNING + self.next)));
            let Some(next) = times.into_iter().min() else { break };
            self.now = next.max(self.now + 1);
            self.flow.wake(self.now);
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
            let held = self.flow.shards().held(HandlerIx::FIRST);
            if held.full > 0
                || held.events >= ROOM
                || self.regulator.stops_reading(&self.ready, |job| job.fresh)
            {
                return;
            }
            let event = self.scene.event(self.next);
            self.next += 1;
            let key = Key::new(event.subject.trim_start_matches("in."));
            self.flow.read(HandlerIx::FIRST, event, (key, None), self.now);
            self.act();
        }
    }

    fn probe(&mut self) {
        if self.regulator.probes(self.ready.len(), self.running.len(), self.now) == Probes::Wake
            && self.flow.hurry(HandlerIx::FIRST, Hurry::One, self.now) == 0
            && self.flow.shards().held(HandlerIx::FIRST).events == 0
        {
            self.regulator.nothing_to_try();
            self.noted();
        }
    }

    fn act(&mut self) {
        while !self.flow.waiting().is_empty() || !self.flow.commits().is_empty() {
            for placed in self.flow.actions() {
                match self.flow.perform(placed) {
                    None => {}
                    Some(Work::Run(job)) => self.ready.push_back(job),
                    Some(Work::Fetch { ticket, positions }) => {
                        for position in positions {
                            let sequence = position.in_stream().expect("nothing is held or replayed");
                            let (event, now) = (self.scene.event(sequence), self.now);
                            self.flow.fetched(&ticket, position, Some(event), now);
                        }
                    }
                    Some(Work::TakeBack { .. }) => unreachable!("nothing is held"),
                }
            }
            self.commit();
        }
    }

    fn commit(&mut self) {
        let Some(batch) = self.flow.next_batch(&vec![self.next].into(), self.now) else { return };
        let (number, first) = (batch.number, self.end);
        self.end += batch.messages.len() as u64;
        let Some(stored) = self.flow.stored(number, first, self.now) else { return };
        for Unit { settled, .. } in &stored.batch.units {
            let sequence = settled.event.sequence;
            match settled.outcome {
                Outcome::Dead(_) => self.story.dead.insert(sequence),
                _ => self.story.done.insert(sequence),
            };
            if self.scene.is_clean(sequence) {
                self.story.waits.push(self.now - BEGINNING - sequence);
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
            let (blame, change) = self.regulator.ended(event, &verdict, outside, self.now, random);
            if change.is_some() {
                self.noted();
            }
            let rules = Rules { retry: &self.policy, blame, ran_by: None };
            let (now, random) = (self.now, self.random.random());
            self.flow.ran(&job, verdict, None, rules, (now, random));
        }
    }

    /// The circuit has opened or closed.
    fn noted(&mut self) {
        let open = self.regulator.open_since();
        if let (Some(since), None) = (self.opened, open) {
            self.story.open.push(since - BEGINNING..self.now - BEGINNING);
            self.flow.hurry(HandlerIx::FIRST, Hurry::Probed, self.now);
        }
        self.opened = open;
    }
}
