//! Where a microsecond goes: the parts of an event's journey, each alone on one thread. The same pieces are what the
//! criterion benches in `benches/parts.rs` measure.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, bail};
use bytes::Bytes;
use heddle_flow::batch::Origins;
use heddle_flow::commit::FULL_MESSAGES;
use heddle_flow::flow::{Beginning, Flow, Job, Work};
use heddle_flow::route::Routes;
use heddle_flow::shard::{Action, Blame, Rules, Settled};
use heddle_flow::shards::{Claimed, Place, Placed, Plan, PlannedHandler, Shards};
use heddle_sandbox::{Call, Plugin, Policy, Sandbox, SandboxSettings};
use heddle_tests::{heddle, plugin, workspace};
use heddle_values::batch::Keep;
use heddle_values::checkpoint::{Checkpoint, Progress};
use heddle_values::effects::{Allowance, Effects, Message, StateChange, When};
use heddle_values::event::{Event, Headers, Source};
use heddle_values::handlers::HandlerIx;
use heddle_values::key::{Key, KeyTemplate};
use heddle_values::names::Names;
use heddle_values::policy::{Instances, Limits, OnDeadLetter, RetryPolicy};
use heddle_values::settings::Grants;
use heddle_values::verdict::Verdict;
use serde::Serialize;

use crate::workload::{self, INPUT, Workload};

/// How often a part is measured; the fastest counts, for what comes on top is the machine's.
const TRIES: usize = 5;

/// Events of one try.
const EVENTS: u32 = 20_000;

/// Keys of the events.
const KEYS: u64 = 1_000;

/// Rounds of work by which the time of one is taken.
const ROUNDS: u32 = 1_000_000;

/// What one part of an event's journey takes.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// What the table of parts calls it.
    pub name: &'static str,
    /// Nanoseconds of one thread for each event.
    pub nanos: f64,
}

fn time(mut event: impl FnMut()) -> f64 {
    let one = |_| {
        let began = Instant::now();
        (0..EVENTS).for_each(|_| event());
        began.elapsed().as_nanos() as f64 / f64::from(EVENTS)
    };
    (0..TRIES).map(one).fold(f64::INFINITY, f64::min)
}

/// All parts.
pub async fn all() -> Result<Vec<Part>> {
    let mut routing = routing()?;
    let mut lanes = Lanes::new();
    let mut batches = Batches::new();
    let mut parts = vec![
        Part { name: "route and key", nanos: time(|| drop(black_box(routing()))) },
        Part { name: "lane: read, finished, settled", nanos: time(|| lanes.event()) },
        Part { name: "batch: gathered, built", nanos: time(|| batches.event()) },
    ];
    let (reused, fresh) = (runs(Instances::Reuse(NonZeroU32::MAX)).await?, runs(Instances::Fresh).await?);
    parts.push(Part { name: "call: lower, run, lift", nanos: reused });
    parts.push(Part { name: "instantiate (fresh only)", nanos: fresh - reused });
    Ok(parts)
}

async fn runs(instances: Instances) -> Result<f64> {
    let bench = Guest::new(instances).await?;
    let mut best = f64::INFINITY;
    for _ in 0..TRIES {
        let began = Instant::now();
        for number in 0..EVENTS {
            bench.run(u64::from(number) + 1, workload::Job::Echo).await?;
        }
        best = best.min(began.elapsed().as_nanos() as f64 / f64::from(EVENTS));
    }
    Ok(best)
}

/// What a round of the guest's work takes, in nanoseconds.
pub async fn nanos_per_round() -> Result<f64> {
    let guest = Guest::new(Instances::Reuse(NonZeroU32::MAX)).await?;
    let mut best = f64::INFINITY;
    for sequence in 1..=TRIES as u64 {
        let began = Instant::now();
        guest.run(sequence, workload::Job::Work(ROUNDS)).await?;
        best = best.min(began.elapsed().as_nanos() as f64 / f64::from(ROUNDS));
    }
    Ok(best)
}

/// An event of the benchmark's job.
pub fn event(sequence: u64, job: workload::Job) -> Event {
    let workload = Workload { keys: KEYS, handlers: 1, payload: 256, events: 1, job };
    Event {
        stream: INPUT.into(),
        sequence,
        subject: workload.subject(sequence).into(),
        time: 1_700_000_000_000_000_000,
        headers: Headers::default(),
        payload: workload.template().into(),
        source: Source::Stream,
    }
}

/// Finds the handlers and the key of an event.
pub fn routing() -> Result<impl FnMut() -> Option<Key>> {
    let template: KeyTemplate = "{subject.2}".parse()?;
    let mut routes = Routes::default();
    routes.add(&"in.0.*".parse()?, HandlerIx::FIRST);
    let (event, mut found) = (event(1, workload::Job::Echo), Vec::new());
    Ok(move || {
        routes.find(&event.subject, &mut found);
        template.key(&event).ok()
    })
}

fn effects(payload: Bytes, count: u64) -> Effects {
    let message = Message { subject: "out.0.k1".into(), headers: Headers::default(), payload };
    let state = StateChange::Set(Bytes::copy_from_slice(&count.to_le_bytes()));
    Effects { messages: vec![(message, When::Now)], state, ..Effects::default() }
}

fn plan() -> Plan {
    Plan {
        host: "h0123456789ab".into(),
        shards: NonZeroU16::new(16).unwrap_or(NonZeroU16::MIN),
        handlers: vec![PlannedHandler {
            name: "h0".into(),
            stream: INPUT.into(),
            key: "{subject.2}".into(),
            on_dead_letter: OnDeadLetter::Continue,
        }]
        .into(),
        streams: BTreeMap::from([(INPUT.to_owned(), 1)]),
        checkpoint_bytes: 400_000,
    }
}

fn checkpoints(plan: &Plan) -> Vec<Checkpoint> {
    let progress = Progress { stream: INPUT.into(), low: 1, ..Progress::default() };
    let checkpoint = Checkpoint {
        host: plan.host.clone(),
        shards: plan.shards.get(),
        handlers: BTreeMap::from([("h0".to_owned(), progress)]),
        ..Checkpoint::default()
    };
    vec![checkpoint; plan.shards.get().into()]
}

/// Lanes that events go through.
pub struct Lanes {
    shards: Shards,
    next: u64,
    keys: Vec<Key>,
    payload: Bytes,
    actions: Vec<Placed>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self::new()
    }
}

impl Lanes {
    /// Empty ones.
    pub fn new() -> Self {
        let plan = plan();
        let checkpoints = checkpoints(&plan).into_iter().map(|checkpoint| (1, checkpoint));
        let mut shards = Shards::new(plan);
        for claimed in Claimed::all(checkpoints, []) {
            shards.claim(&claimed, (0, 0), 0, &mut Vec::new());
        }
        Lanes {
            shards,
            next: 1,
            keys: (0..KEYS).map(|key| Key::new(&format!("k{key}"))).collect(),
            payload: event(1, workload::Job::Echo).payload,
            actions: Vec::new(),
        }
    }

    /// An event is read, has run and is committed.
    pub fn event(&mut self) {
        let Some(settled) = self.settle() else { return };
        let place = Place { shard: settled.key.shard(self.shards.count()), handler: HandlerIx::FIRST };
        self.shards.at(place, &mut self.actions, |track, actions| track.settled(&settled, 0, 0, actions));
        if self.next.is_multiple_of(1_000) {
            let progress = self.shards.checkpoint(place.shard, &BTreeMap::new(), &vec![self.next].into(), 1);
            self.shards.committed(place.shard, &progress);
        }
    }

    /// An event is read and has run.
    fn settle(&mut self) -> Option<Settled> {
        let key = self.keys.get((self.next % KEYS) as usize)?.clone();
        let event = Event { payload: self.payload.clone(), ..event_of(self.next) };
        self.next += 1;
        let place = Place { shard: key.shard(self.shards.count()), handler: HandlerIx::FIRST };
        self.shards.read(place.handler, Arc::new(event), key.clone(), 0, &mut self.actions);
        self.actions.clear();
        let verdict = Verdict::Done(effects(self.payload.clone(), self.next));
        self.shards.at(place, &mut self.actions, |track, actions| {
            let rules = Rules { retry: &RetryPolicy::default(), blame: Blame::Event, ran_by: None };
            track.finished(&key, verdict, rules, 0, 0, actions);
        });
        self.actions.drain(..).find_map(|placed| match placed.action {
            Action::Settle(settled) => Some(settled),
            _ => None,
        })
    }
}

fn event_of(sequence: u64) -> Event {
    Event {
        stream: INPUT.into(),
        sequence,
        subject: "in.0.k1".into(),
        time: 0,
        headers: Headers::default(),
        payload: Bytes::new(),
        source: Source::Stream,
    }
}

/// The flow, from an event that was read to the batch that its end is stored with.
pub struct Batches {
    flow: Flow,
    keys: Vec<Key>,
    payload: Bytes,
    next: u64,
    end: u64,
}

impl Default for Batches {
    fn default() -> Self {
        Self::new()
    }
}

impl Batches {
    /// Empty ones.
    pub fn new() -> Self {
        let plan = plan();
        let origins = Origins {
            names: Names::new("bench"),
            stream: "OUT".into(),
            host: plan.host.clone(),
            handlers: vec!["h0".into()].into(),
            keep_dead_letters: Keep::Always,
            max_payload: 1 << 20,
        };
        let beginning = Beginning {
            claimed: Claimed::all(checkpoints(&plan).into_iter().map(|checkpoint| (1, checkpoint)), []),
            plan,
            origins: Arc::new(origins),
            stateless: vec![true].into(),
            full: FULL_MESSAGES,
            generation: 0,
        };
        Batches {
            flow: Flow::new(beginning, 1_000),
            keys: (0..KEYS).map(|key| Key::new(&format!("k{key}"))).collect(),
            payload: event(1, workload::Job::Echo).payload,
            next: 1,
            end: 100,
        }
    }

    /// An event goes through its lane and into the next batch; a full batch is built and counts as stored.
    pub fn event(&mut self) {
        let Some(key) = self.keys.get((self.next % KEYS) as usize).cloned() else { return };
        let event = Event { payload: self.payload.clone(), ..event_of(self.next) };
        self.next += 1;
        self.flow.read(HandlerIx::FIRST, Arc::new(event), (key, None), 1_000);
        while !self.flow.waiting().is_empty() {
            for placed in self.flow.actions() {
                if let Some(Work::Run(job)) = self.flow.perform(placed) {
                    self.run(&job);
                }
            }
        }
        if !self.flow.commits().is_full() {
            return;
        }
        while let Some(batch) = self.flow.next_batch(&vec![self.next].into(), 1_000) {
            let (number, messages) = (batch.number, batch.messages.len() as u64);
            black_box(self.flow.stored(number, self.end, 1_000));
            self.end += messages;
        }
    }

    fn run(&mut self, job: &Job) {
        black_box(self.flow.start(job, 1_000));
        let verdict = Verdict::Done(effects(self.payload.clone(), self.next));
        let rules = Rules { retry: &RetryPolicy::default(), blame: Blame::Event, ran_by: None };
        self.flow.ran(job, verdict, None, rules, (1_000, 0));
    }
}

/// A checkpoint with a thousand done events above its low mark.
pub fn checkpoint() -> Checkpoint {
    let mut checkpoint = checkpoints(&plan()).swap_remove(0);
    for progress in checkpoint.handlers.values_mut() {
        progress.done = (1_000..5_000).step_by(4).collect();
    }
    checkpoint
}

/// The guest `echo` in a sandbox.
pub struct Guest {
    plugin: Plugin,
    _sandbox: Sandbox,
}

impl Guest {
    /// Admits it.
    pub async fn new(instances: Instances) -> Result<Self> {
        let artifacts = workspace().join("target/test-artifacts");
        let settings = SandboxSettings { instances: 64, max_memory: 64 << 20, artifacts, compiler: heddle() };
        let sandbox = Sandbox::new(settings)?;
        let limits = Limits::default();
        let allowance = Allowance {
            publishes: vec!["out.>".parse()?],
            messages: limits.messages,
            output: limits.output,
            message: 1 << 20,
            state: limits.state,
            inbox_prefix: "_INBOX".into(),
        };
        let policy = Policy {
            handler: "h0".into(),
            allowance,
            limits,
            instances,
            config: BTreeMap::new(),
            grants: Grants::default(),
        };
        let plugin = sandbox.admit(&plugin("echo"), Arc::new(policy)).await?;
        Ok(Guest { plugin, _sandbox: sandbox })
    }

    /// Runs it.
    pub async fn run(&self, sequence: u64, job: workload::Job) -> Result<()> {
        let call =
            Call { event: Arc::new(event(sequence, job)), key: Key::new("k1"), attempt: 1, state: None };
        match self.plugin.run(call).await.verdict {
            Verdict::Done(effects) => {
                black_box(effects);
                Ok(())
            }
            Verdict::Failed(failure) => bail!("the guest failed: {}", failure.message),
        }
    }
}
