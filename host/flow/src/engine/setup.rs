//! What the engine is made of at its start, and after a reset.

use std::sync::Arc;

use super::Engine;
use crate::acquire::Acquired;
use crate::reader::{Reader, Subscription};
use crate::regulator::Regulator;
use crate::replays::{self, Replays};
use crate::route::Routes;
use crate::shards::{PlacedGate, Plan, Shards};
use heddle_values::checkpoint::Checkpoint;
use heddle_values::member::Member;
use heddle_values::settings::{HandlerSettings, Settings};

/// What is the same for all shards while the host runs.
pub(super) fn plan(settings: &Settings, acquired: &Acquired, me: &Member, max_payload: usize) -> Plan {
    let handlers = settings.handlers.iter();
    Plan {
        host: me.host.clone(),
        shards: settings.shards,
        handlers: handlers.clone().map(|h| (Arc::clone(&h.name), Arc::clone(&h.stream))).collect(),
        streams: acquired.created.clone(),
        keys: handlers.clone().map(|handler| handler.key.as_str().to_owned()).collect(),
        on_dead_letter: handlers.map(|handler| handler.on_dead_letter).collect(),
        // What is in memory already may still add to it.
        checkpoint_bytes: max_payload * 2 / 5,
    }
}

/// What the names of cursors begin with. No name is used twice: a cursor of before a reset may still be on its way out.
fn prefix(settings: &Settings, plan: &Plan, generation: u64) -> String {
    let mut prefix = format!("heddle-{}-{}", settings.app, plan.host);
    if generation > 0 {
        prefix.push_str(&format!("-r{generation}"));
    }
    prefix
}

/// One reader for each stream that has handlers which are not stopped, each handler at the lowest event it has not done.
pub(super) fn readers(
    (settings, stopped): (&Settings, &[Option<String>]),
    plan: &Plan,
    shards: &Shards,
    generation: u64,
) -> Vec<(Reader, Routes)> {
    let prefix = prefix(settings, plan, generation);
    let reader = |(stream, created): (&String, &u64)| {
        let mut routes = Routes::default();
        let mut subscriptions = Vec::new();
        let of_stream = settings.handlers.iter().enumerate().filter(|(_, of)| *of.stream == **stream);
        for (handler, of) in
            of_stream.filter(|(handler, _)| stopped.get(*handler).is_none_or(Option::is_none))
        {
            of.subscribe.iter().for_each(|pattern| routes.add(pattern, handler));
            let position = shards.low(handler, 0);
            let subscribe = of.subscribe.clone();
            subscriptions.push((handler, Subscription { name: Arc::clone(&of.name), subscribe, position }));
        }
        let reader = Reader::new(&prefix, stream.as_str().into(), *created, subscriptions);
        (!reader.is_idle()).then_some((reader, routes))
    };
    plan.streams.iter().filter_map(reader).collect()
}

/// The next sequence that each handler has not seen.
pub(super) fn positions(readers: &[(Reader, Routes)], handlers: usize) -> Vec<u64> {
    let mut positions = vec![0; handlers];
    for (handler, position) in readers.iter().flat_map(|(reader, _)| reader.positions()) {
        if let Some(slot) = positions.get_mut(handler) {
            *slot = position;
        }
    }
    positions
}

/// The shards as the checkpoints have them.
pub(super) fn shards(plan: &Plan, stored: &[(u64, Checkpoint)], gates: Vec<PlacedGate>) -> Shards {
    let checkpoints: Vec<Checkpoint> = stored.iter().map(|(_, checkpoint)| checkpoint.clone()).collect();
    let known = stored.iter().map(|(sequence, _)| *sequence).max().unwrap_or(0);
    Shards::new(plan.clone(), &checkpoints, gates, known)
}

/// What regulates each handler, given how many of its events are held back.
pub(super) fn regulators(settings: &Settings, held_back: &[u64]) -> Vec<Regulator> {
    let regulator = |(handler, held_back): (&Arc<HandlerSettings>, &u64)| {
        Regulator::new(handler.outage, &handler.pace, (*held_back, handler.max_held))
    };
    settings.handlers.iter().zip(held_back).map(regulator).collect()
}

impl Engine {
    /// Where dead letters and what is held back are found.
    pub(super) fn replays(&self) -> Replays {
        Replays {
            broker: self.broker.clone(),
            names: self.origins.names.clone(),
            stream: Arc::clone(&self.origins.stream),
            handlers: self.plan.handlers.iter().map(|(name, _)| Arc::clone(name)).collect(),
        }
    }

    /// Begins to read requests, from the first one that is there.
    pub(super) fn read_requests(&mut self) {
        let created = self.plan.streams.get(&*self.origins.stream).copied().unwrap_or_default();
        let name = format!("{}-requests", prefix(&self.settings, &self.plan, self.generation));
        self.replays = replays::start(self.replays(), &self.reading, created, name, &mut self.cursors);
        self.replaying = 0;
    }
}
