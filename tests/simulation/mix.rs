//! Mixes: whatever the shares of events that succeed, fail for a while or fail for good, everything ends, in bounded
//! time, keys without bad events are not delayed, and only a real outage opens the circuit for long.
//!
//! One handler on virtual time, with the real shards and the real regulator. An event fails by the number of its attempt,
//! as the attempts of a handler that asks for it do: what uses up no attempt fails for ever.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::num::{NonZeroU16, NonZeroU32};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use heddle::flow::regulator::{Candidate, Probes, Regulator};
use heddle::flow::shard::{Action, Blame, Hurry, Outcome, Rules};
use heddle::flow::shards::{Place, Placed, Plan, Shards};
use heddle::sandbox::Outside;
use heddle::values::checkpoint::{Checkpoint, Progress};
use heddle::values::effects::Effects;
use heddle::values::event::{Event, Headers, Source};
use heddle::values::key::Key;
use heddle::values::policy::{OnDeadLetter, OutagePolicy, Pace, RetryPolicy};
use heddle::values::verdict::{Failure, Verdict};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const SHARDS: u16 = 4;

/// Events that are published, a thousand a second.
const EVENTS: u64 = 8_000;

/// What a run takes, in milliseconds.
const RUN: u64 = 2;
const SLOW: u64 = 500;

/// As many events are in memory at the most.
const ROOM: usize = 16_384;

/// When the first event is published, in milliseconds since 1970.
const BEGINNING: u64 = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Ok,
    Slow,
    /// Fails at its first attempts.
    Flaky(u32),
    Poison,
    Rejected,
}

/// Shares of events in a thousand; the rest succeeds.
#[derive(Debug, Clone, Copy, Default)]
struct Shares {
    flaky: u32,
    poison: u32,
    rejected: u32,
    slow: u32,
}

/// Whether there is a circuit, and what it knows of the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Circuit {
    Off,
    /// Whether the outside answers, as for a handler that calls it over HTTP.
    Sees,
    /// Nothing but the verdicts.
    Guesses,
}

/// How long the circuit of a handler may be open that can only guess.
const MAX_OPEN: u64 = 60_000;

#[derive(Debug, Clone)]
struct Scene {
    shares: Shares,
    /// The events of every other key all succeed.
    keys: u64,
    circuit: Circuit,
    /// When nothing succeeds that depends on the outside, counted from the beginning.
    outage: Range<u64>,
}

impl Scene {
    fn policy(&self) -> Option<OutagePolicy> {
        match self.circuit {
            Circuit::Off => None,
            Circuit::Sees => Some(OutagePolicy::default()),
            Circuit::Guesses => {
                let max_open = Duration::from_millis(MAX_OPEN);
                Some(OutagePolicy { max_open, ..OutagePolicy::default() })
            }
        }
    }

    fn key(&self, sequence: u64) -> u64 {
        StdRng::seed_from_u64(sequence ^ 0x5eed).random_range(0..self.keys)
    }

    fn is_clean(&self, sequence: u64) -> bool {
        self.key(sequence) % 2 == 0
    }

    fn fate(&self, sequence: u64) -> Fate {
        if self.is_clean(sequence) {
            return Fate::Ok;
        }
        let mut random = StdRng::seed_from_u64(sequence);
        let mut left = random.random_range(0..1_000_u32);
        // Half of all keys are clean: the others have twice the share.
        let Shares { flaky, poison, rejected, slow } = self.shares;
        for (share, fate) in [
            (flaky, Fate::Flaky(random.random_range(1..=2))),
            (poison, Fate::Poison),
            (rejected, Fate::Rejected),
            (slow, Fate::Slow),
        ] {
            if left < 2 * share {
                return fate;
            }
            left -= 2 * share;
        }
        Fate::Ok
    }

    fn event(&self, sequence: u64) -> Arc<Event> {
        Arc::new(Event {
            stream: "S".into(),
            sequence,
            subject: format!("in.{}", self.key(sequence)).into(),
            time: (BEGINNING + sequence) * 1_000_000,
            headers: Headers::default(),
            payload: Bytes::new(),
            source: Source::Stream,
        })
    }

    /// The longest that the retries of any key's events can take together, in milliseconds.
    fn longest_chain(&self, policy: &RetryPolicy) -> u64 {
        let mut of_keys: BTreeMap<u64, u64> = BTreeMap::new();
        let bound = |attempts: u32| policy.backoff.bound(attempts).as_millis() as u64;
        for sequence in 1..=EVENTS {
            let waits = match self.fate(sequence) {
                Fate::Flaky(times) => (1..=times).map(bound).sum(),
                Fate::Poison => (1..policy.max_attempts.get()).map(bound).sum(),
                Fate::Slow => SLOW,
                Fate::Ok | Fate::Rejected => 0,
            };
            *of_keys.entry(self.key(sequence)).or_default() += waits;
        }
        of_keys.into_values().max().unwrap_or_default()
    }
}

struct Job {
    key: Key,
    event: Arc<Event>,
    attempt: u32,
    fresh: bool,
    place: Place,
}

/// What came of it.
#[derive(Debug, Default)]
struct Story {
    done: BTreeSet<u64>,
    dead: BTreeSet<u64>,
    /// From publication to end, of the events of clean keys, in milliseconds.
    waits: Vec<u64>,
    /// When the circuit was open, counted from the beginning.
    open: Vec<Range<u64>>,
    ended: u64,
}

impl Story {
    fn p99(&mut self) -> u64 {
        self.waits.sort_unstable();
        self.waits.get(self.waits.len() * 99 / 100).copied().unwrap_or_default()
    }

    fn time_open(&self) -> u64 {
        self.open.iter().map(|open| open.end - open.start).sum()
    }
}

struct World<'a> {
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
    fn new(scene: &'a Scene) -> Self {
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
    fn run(mut self, limit: u64) -> Story {
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
