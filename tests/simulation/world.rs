//! The world: a stream, a host, the reference, and what can happen next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use heddle_flow::shards::Shards;
use heddle_values::checkpoint::Checkpoint;
use heddle_values::handlers::{HandlerIx, PerHandler};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::host::Host;
use crate::model::{Checked, Model, Promise, ensure};
use crate::replays::Removal;
use crate::sabotage::Sabotage;
use crate::scene::Scene;
use crate::server::Server;

/// When the world begins, in milliseconds since 1970.
const BEGINNING: u64 = 1_000_000;

/// How often idle shards may write their checkpoint, in milliseconds.
pub(crate) const TICK: u64 = 1_000;

/// Everything there is.
pub(crate) struct World {
    pub(crate) scene: Arc<Scene>,
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) random: StdRng,
    pub(crate) now: u64,
    pub(crate) ticked: u64,
    pub(crate) server: Server,
    pub(crate) model: Model,
    /// The host whose turn it is.
    pub(crate) host: Host,
    /// All others that live.
    pub(crate) others: VecDeque<Host>,
    /// Those that died, and may have sent something that has not arrived yet.
    pub(crate) dead: Vec<Host>,
    /// What a wrong host has read of each shard.
    pub(crate) seen: BTreeMap<u16, Checkpoint>,
    pub(crate) lives: u32,
    /// How many shards were claimed one by one.
    pub(crate) claims: u64,
    /// How many batches were refused because a shard was lost.
    pub(crate) fenced: u64,
}

impl World {
    pub(crate) fn new(scene: Scene, sabotage: Option<Sabotage>) -> Checked<Self> {
        let scene = Arc::new(scene);
        let mut random = StdRng::seed_from_u64(!scene.seed);
        let mut server = Server::new();
        server.fences = sabotage != Some(Sabotage::StoresLateBatches);
        let mut model = Model::new(Arc::clone(&scene));
        let handlers = match scene.hosts > 1 {
            // All have the same file.
            true => (0..scene.handlers.len()).collect(),
            false => some_handlers(&scene, &mut random),
        };
        let name = "host-0".to_owned();
        let host = Host::acquire(&scene, name, handlers, BEGINNING, (&mut server, &mut model, sabotage))?;
        Ok(World {
            scene,
            sabotage,
            random,
            now: BEGINNING,
            ticked: BEGINNING,
            server,
            model,
            host,
            others: VecDeque::new(),
            dead: Vec::new(),
            seen: BTreeMap::new(),
            lives: 1,
            claims: 0,
            fenced: 0,
        })
    }

    pub(crate) fn is(&self, sabotage: Sabotage) -> bool {
        self.sabotage == Some(sabotage)
    }

    pub(crate) fn act(&mut self) -> Checked {
        self.host.act(&mut self.model, self.sabotage)
    }

    pub(crate) fn publish(&mut self) {
        let subject = self.scene.subject(&mut self.random);
        let event = self.server.publish(subject, self.now * 1_000_000);
        self.model.published(&event);
    }

    pub(crate) fn expire(&mut self) {
        for _ in 0..self.random.random_range(1..4) {
            if let Some(sequence) = self.server.expire() {
                self.model.gone(sequence);
            }
        }
    }

    /// Whether a handler is read for.
    pub(crate) fn has_room(&self, handler: HandlerIx) -> bool {
        let held = self.host.flow.shards().held(handler);
        held.events < self.scene.room && held.full == 0
    }

    /// Whether the stream holds events that a handler has not seen, of whatever kind.
    pub(crate) fn has_unread(&self, handler: HandlerIx) -> bool {
        !self.server.events_from(self.host.positions.of_handler(handler), 1).is_empty()
    }

    /// One delivery for some of the handlers that have room. Whether there was one.
    ///
    /// If it `repeats`, it begins before what they have seen, and hands that on again.
    pub(crate) fn read(&mut self, repeats: bool) -> Checked<bool> {
        let with_room: Vec<HandlerIx> = self.host.handlers.indices().filter(|h| self.has_room(*h)).collect();
        let behind: Vec<HandlerIx> = with_room.iter().copied().filter(|h| self.has_unread(*h)).collect();
        let Some(index) = choose(&mut self.random, behind.len()) else { return Ok(false) };
        let leader = behind.get(index).copied();
        let mut readers: Vec<HandlerIx> =
            with_room.into_iter().filter(|h| Some(*h) == leader || self.random.random_bool(0.7)).collect();
        let positions = &self.host.positions;
        readers.sort_by_key(|handler| positions.of_handler(*handler));
        let mut start = readers.first().map_or(0, |first| positions.of_handler(*first));
        if repeats {
            start = start.saturating_sub(self.random.random_range(0..20));
        }
        let events = self.server.events_from(start, self.scene.delivery);
        let Some(last) = events.last().map(|event| event.sequence) else { return Ok(false) };
        for event in events {
            for handler in &readers {
                let (number, position) = self.host.id(*handler, event.position());
                let key = self.scene.handlers.get(number).and_then(|of| of.key(&event));
                let Some(key) = key else { continue };
                let (place, positions) = (self.host.flow.place(*handler, &key), &self.host.positions);
                let again = repeats && positions.of(place) == positions.of_handler(*handler);
                if !positions.takes(place, event.sequence) && !again {
                    continue;
                }
                let admission = self.host.flow.read(*handler, Arc::clone(&event), (key, None), self.now);
                if self.host.is_owner(place.shard) {
                    self.model.admitted((number, position), admission)?;
                }
                self.host.moved = true;
            }
        }
        let ahead = if self.is(Sabotage::ReadsAheadOfItself) { 10 } else { 1 };
        let mut news = false;
        for handler in readers {
            news |= self.host.positions.of_handler(handler) < last + ahead;
            self.host.positions.seen(handler, last + ahead);
        }
        self.host.holds(&self.model)?;
        Ok(news)
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, milliseconds: u64) {
        self.now += milliseconds;
        for host in self.others.iter_mut().chain([&mut self.host]) {
            host.flow.wake(self.now);
        }
    }

    /// The host dies; another takes over, perhaps with other handlers.
    pub(crate) fn crash(&mut self, all_handlers: bool) -> Checked {
        let handlers = if all_handlers {
            (0..self.scene.handlers.len()).collect::<PerHandler<usize>>()
        } else {
            some_handlers(&self.scene, &mut self.random)
        };
        let name = format!("host-{}", self.lives);
        self.lives += 1;
        let all = (&mut self.server, &mut self.model, self.sabotage);
        let next = Host::acquire(&self.scene, name, handlers, self.now, all)?;
        let last = std::mem::replace(&mut self.host, next);
        if self.is(Sabotage::ForgetsToReread) {
            let same = self.host.handlers == last.handlers;
            self.host.positions = if same { last.positions } else { self.host.positions.clone() };
        }
        // What the last one had still to remove may yet be removed.
        for Removal { replay, .. } in last.replays.removals.into_iter().filter(|removal| removal.begun) {
            if self.random.random_bool(0.5) && !self.is(Sabotage::RemovesRequestsFirst) {
                self.server.requests.remove(&replay.request);
                self.model.removed(replay.request);
            }
        }
        // What was under way may still arrive: it is fenced.
        let Host { mut flow, handlers, under_way, .. } = last;
        let names = flow.origins().names.clone();
        for (number, answer) in under_way {
            let Some(late) = flow.batch_mut(number).filter(|_| answer.is_none()) else { continue };
            let Ok(first) = self.server.store(&late.messages) else { continue };
            let id_of = |handler: HandlerIx, position| (handlers[handler], position);
            self.model.stored((late, first), &self.server, &names, id_of)?;
            let text = || format!("batch of a dead host is stored at {first}");
            ensure(self.is(Sabotage::StoresLateBatches), Promise::ExactlyOnce, text)?;
        }
        Ok(())
    }

    /// What the shards would say next, for a failure.
    pub(crate) fn picture(&self) -> String {
        let lows = |shards: &Shards| -> Vec<u64> {
            self.host.handlers.indices().map(|handler| shards.low(handler, u64::MAX)).collect()
        };
        let shards = self.host.flow.shards();
        let held: Vec<_> = self.host.handlers.indices().map(|h| shards.held(h)).collect();
        let open: BTreeSet<_> =
            self.model.tasks.iter().filter(|(_, t)| !t.committed && !t.lost).map(|(id, _)| *id).collect();
        format!(
            "time {}, lows {:?}, positions {:?}, held {held:?}, open {open:?}",
            self.now,
            lows(shards),
            self.host.positions
        )
    }
}

/// Some of the scene's handlers, in any order.
fn some_handlers(scene: &Scene, random: &mut StdRng) -> PerHandler<usize> {
    let mut handlers: Vec<usize> = (0..scene.handlers.len()).filter(|_| random.random_bool(0.8)).collect();
    if handlers.is_empty() {
        handlers.push(0);
    }
    if random.random_bool(0.5) {
        handlers.reverse();
    }
    handlers.into()
}

pub(crate) fn choose(random: &mut StdRng, length: usize) -> Option<usize> {
    (length > 0).then(|| random.random_range(0..length))
}
