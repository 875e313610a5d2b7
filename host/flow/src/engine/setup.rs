//! What the engine is made of at its start, and after a reset.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use super::fleet::{Fleet, Judged, Versions};
use super::side::Side;
use super::{Engine, Parts, now};
use crate::acquire::{Acquired, Expected};
use crate::activity::Counts;
use crate::batch::Origins;
use crate::commit::FULL_MESSAGES;
use crate::flow::{self, Flow};
use crate::loss::Tally;
use crate::plugin_log::LineRate;
use crate::reader::{Reader, Subscription};
use crate::regulator::Regulator;
use crate::replays::{self, Replays};
use crate::route::Routes;
use crate::shards::{Claimed, Plan, PlannedHandler};
use crate::workers::Shared;
use heddle_broker::Broker;
use heddle_values::batch::Keep;
use heddle_values::handlers::{HandlerIx, PerHandler};
use heddle_values::member::Member;
use heddle_values::names::Names;
use heddle_values::settings::{HandlerSettings, Settings};

/// The flow, as it goes on from what was taken over.
pub(super) fn flow(parts: &Parts) -> Flow {
    let Parts { settings, names, broker, acquired, me, generation, .. } = parts;
    let max_payload = broker.max_payload();
    let beginning = flow::Beginning {
        plan: plan(settings, acquired, me, max_payload),
        origins: Arc::new(origins(settings, names.clone(), me, max_payload)),
        claimed: Claimed::all(acquired.checkpoints.clone(), acquired.kept.gates.clone()),
        stateless: acquired.kept.stateless.clone(),
        full: FULL_MESSAGES,
        generation: *generation,
    };
    Flow::new(beginning, now())
}

/// What is the same for all shards while the host runs.
fn plan(settings: &Settings, acquired: &Acquired, me: &Member, max_payload: usize) -> Plan {
    Plan {
        host: me.host.clone(),
        shards: settings.shards,
        handlers: settings.handlers.map(|handler| PlannedHandler::of(handler)),
        streams: acquired.created.clone(),
        // What is in memory already may still add to it.
        checkpoint_bytes: max_payload * 2 / 5,
    }
}

/// What dead letters and effects say of where they come from.
fn origins(settings: &Settings, names: Names, me: &Member, max_payload: usize) -> Origins {
    let seconds = |age: Duration| u32::try_from(age.as_secs()).unwrap_or(u32::MAX).max(1);
    Origins {
        names,
        stream: Arc::clone(&settings.stream.name),
        host: me.host.clone(),
        handlers: settings.handlers.map(|handler| Arc::clone(&handler.name)),
        keep_dead_letters: settings
            .dead_letters_max_age
            .map_or(Keep::Always, |age| Keep::Seconds(seconds(age))),
        max_payload,
    }
}

/// What the names of cursors begin with. No name is used twice: a cursor of before a reset may still be on its way out.
fn prefix(settings: &Settings, flow: &Flow) -> String {
    let mut prefix = format!("heddle-{}-{}", settings.app, flow.plan().host);
    if flow.generation() > 0 {
        prefix.push_str(&format!("-r{}", flow.generation()));
    }
    prefix
}

/// One reader for each stream that has handlers which are not stopped, each handler at the lowest event it has not done.
pub(super) fn readers(settings: &Settings, sides: &PerHandler<Side>, flow: &Flow) -> Vec<(Reader, Routes)> {
    let prefix = prefix(settings, flow);
    let reader = |(stream, created): (&String, &u64)| {
        let mut routes = Routes::default();
        let mut subscriptions = Vec::new();
        let of_stream = sides.rows().filter(|(_, side)| *side.settings.stream == **stream);
        for (handler, side) in of_stream.filter(|(_, side)| side.stopped.is_none()) {
            let of = &side.settings;
            of.subscribe.iter().for_each(|pattern| routes.add(pattern, handler));
            let position = flow.shards().low(handler, 0);
            let subscribe = of.subscribe.clone();
            subscriptions.push((handler, Subscription { name: Arc::clone(&of.name), subscribe, position }));
        }
        let reader = Reader::new(&prefix, stream.as_str().into(), *created, subscriptions);
        (!reader.is_idle()).then_some((reader, routes))
    };
    flow.plan().streams.iter().filter_map(reader).collect()
}

/// What is kept for each handler.
pub(super) fn sides(
    settings: &Settings,
    broker: &Broker,
    versions: PerHandler<(Versions, mpsc::Sender<Judged>)>,
    (stopped, expected): (&PerHandler<Option<String>>, &Expected),
    held_back: &PerHandler<u64>,
) -> PerHandler<Side> {
    let side = |(handler, (versions, judged)): (HandlerIx, (Versions, mpsc::Sender<Judged>))| {
        let of = &settings.handlers[handler];
        let expected = expected[handler];
        Side {
            fleet: Fleet::new(shared(settings, of, broker), versions, judged),
            regulator: Regulator::new(of.outage, &of.pace, (held_back[handler], of.max_held)),
            settings: Arc::clone(of),
            ready: VecDeque::new(),
            running: 0,
            full_for: 0,
            stopped: stopped[handler].clone(),
            marked: expected.is_some(),
            tally: Tally::new(expected),
            counts: Counts::new(now()),
        }
    };
    settings.handlers.indices().zip(versions).map(side).collect()
}

/// What the runs of a handler share.
fn shared(settings: &Settings, handler: &HandlerSettings, broker: &Broker) -> Shared {
    let permits = usize::try_from(handler.pace.concurrency.get()).unwrap_or(usize::MAX);
    Shared {
        permits: Semaphore::new(permits),
        broker: broker.clone(),
        stream: Arc::clone(&settings.stream.name),
        lines: LineRate::default(),
    }
}

impl Engine {
    /// Where dead letters and what is held back are found.
    pub(super) fn replays(&self) -> Replays {
        Replays { broker: self.broker.clone(), origins: Arc::clone(self.flow.origins()) }
    }

    /// Begins to read requests, from the first one that is there.
    pub(super) fn read_requests(&mut self) {
        let created = self.flow.plan().streams.get(&*self.flow.origins().stream);
        let created = *created.expect("the application's own stream was there when it was taken over");
        let name = format!("{}-requests", prefix(&self.settings, &self.flow));
        self.replays = replays::start(self.replays(), &self.reading, created, name, &mut self.cursors);
        self.replaying = 0;
    }
}
