//! What comes a second time: requests for dead letters, and what was held back.
//!
//! As in the engine, a request is read and its dead letter looked up a while before it is taken in, and removals are made
//! in steps, in between which a host may die.

use std::collections::VecDeque;
use std::sync::Arc;

use heddle_flow::flow::Ticket;
use heddle_flow::shard::Admission;
use heddle_flow::shards::Place;
use heddle_values::event::{Event, Replay};
use heddle_values::gate::Phase;
use heddle_values::handlers::HandlerIx;
use heddle_values::key::Key;
use heddle_values::position::Position;
use rand::RngExt;

use crate::host::Host;
use crate::model::Checked;
use crate::sabotage::Sabotage;
use crate::scene::STREAM;
use crate::server::{Request, Server, Wish};
use crate::world::{World, choose};

/// Events that are taken back at once, at the most.
const TAKE_BACK: usize = 32;

/// A look for what was held back.
#[derive(Debug)]
pub(crate) struct TakeBack {
    pub(crate) ticket: Ticket,
    pub(crate) next: u64,
}

/// What was held back and has run.
#[derive(Debug)]
pub(crate) struct Forget {
    pub(crate) subject: String,
    pub(crate) below: u64,
}

/// A request that is done, to be removed after its dead letter.
#[derive(Debug, Clone)]
pub(crate) struct Removal {
    generation: u64,
    place: Place,
    pub(crate) replay: Replay,
    /// Whether the first of both is removed.
    pub(crate) begun: bool,
}

/// What came of a request.
#[derive(Debug)]
enum Replayed {
    Event { handler: HandlerIx, event: Event },
    Release { handler: HandlerIx, shard: u16, token: String, replay: Replay },
    Gone { request: u64 },
}

/// What of all this is under way.
#[derive(Debug, Default)]
pub(crate) struct Replays {
    /// The next request to be read.
    next: u64,
    /// Requests that were read.
    read: VecDeque<Replayed>,
    pub(crate) removals: Vec<Removal>,
    pub(crate) take_back: Vec<TakeBack>,
    pub(crate) forget: Vec<Forget>,
}

impl Replays {
    pub(crate) fn remove(&mut self, place: Place, replay: Replay, generation: u64) {
        self.removals.push(Removal { generation, place, replay, begun: false });
    }

    /// All requests are read again.
    pub(crate) fn begin_anew(&mut self) {
        self.next = 0;
        self.read.clear();
    }
}

impl World {
    /// Somebody asks for a dead letter, or for a key to be released.
    pub(crate) fn request(&mut self) -> Checked {
        let releases = self.random.random_range(0..5) == 0;
        if self.random.random_range(0..8) == 0 {
            let closed = self.server.gates().filter(|(_, gate)| gate.phase == Phase::Closed);
            let subjects: Vec<String> = closed.map(|(subject, _)| subject.to_owned()).collect();
            let index = choose(&mut self.random, subjects.len());
            return index.and_then(|index| subjects.get(index)).map_or(Ok(()), |it| self.release(it));
        }
        let dead_letters: Vec<u64> =
            self.server.dead_letters().map(|dead_letter| dead_letter.sequence).collect();
        let Some(index) = choose(&mut self.random, dead_letters.len()) else { return Ok(()) };
        self.replay(dead_letters.get(index).copied().unwrap_or_default(), releases)
    }

    /// Asks for a dead letter; only one that closed a gate can be released.
    fn replay(&mut self, dead_letter: u64, releases: bool) -> Checked {
        let Some(known) = self.server.dead_letter(dead_letter) else { return Ok(()) };
        let (name, times) = (known.handler().to_owned(), known.replays() + 1);
        let handler = self.scene.handlers.iter().position(|handler| handler.name == name);
        let Some((handler, (_, event))) = handler.zip(known.place()) else { return Ok(()) };
        let id = known.event_id();
        let holds = self.server.gates().any(|(subject, gate)| {
            let of_handler = self
                .host
                .flow
                .origins()
                .names
                .parse_gate(subject)
                .is_some_and(|(_, other, _)| *other == name);
            of_handler && gate.phase == Phase::Closed && gate.event == id
        });
        let wish = Wish::DeadLetter { dead_letter, release: releases && holds };
        match self.server.request(Request { handler: name, wish }) {
            Some(request) => self.model.requested((handler, Position::Stream(event)), request, times, event),
            None => Ok(()),
        }
    }

    /// Asks for the key of a gate to be released.
    fn release(&mut self, gate: &str) -> Checked {
        let Some((shard, name, token)) = self.host.flow.origins().names.parse_gate(gate) else {
            return Ok(());
        };
        let wish = Wish::Key { shard, token: token.to_owned() };
        let handler = self.scene.handlers.iter().position(|handler| handler.name == name);
        let of_key = |handler| {
            let mut tasks = self.model.of_stream(handler, shard);
            tasks
                .find(|(_, task)| task.key.token() == token)
                .map(|(sequence, _)| (handler, Position::Stream(sequence)))
        };
        let Some(like) = handler.and_then(of_key) else { return Ok(()) };
        match self.server.request(Request { handler: name.to_owned(), wish }) {
            Some(request) => self.model.requested(like, request, 0, 0),
            None => Ok(()),
        }
    }

    /// At the end every key that is held is asked for. Whether there was one.
    pub(crate) fn request_what_holds(&mut self) -> Checked<bool> {
        let before = self.server.requests.len();
        let closed = self.server.gates().filter(|(_, gate)| gate.phase == Phase::Closed);
        let closed: Vec<_> = closed.map(|(subject, gate)| (subject.to_owned(), gate.clone())).collect();
        for (subject, gate) in closed {
            let name = self.host.flow.origins().names.parse_gate(&subject).map_or("", |(_, name, _)| name);
            let closes = |dead_letter: &&heddle_values::dead_letter::DeadLetter| {
                dead_letter.handler() == name && dead_letter.event_id() == gate.event
            };
            match self.server.dead_letters().filter(closes).last().map(|dead_letter| dead_letter.sequence) {
                Some(dead_letter) => {
                    let releases = self.random.random_range(0..6) == 0;
                    self.replay(dead_letter, releases)?;
                }
                None => self.release(&subject)?,
            }
        }
        Ok(self.server.requests.len() > before)
    }

    /// The next request is read, and its dead letter.
    pub(crate) fn look(&mut self) -> bool {
        let next = self.host.replays.next;
        let Some((sequence, request)) = self.server.requests.range(next..).next() else { return false };
        let returned = self.host.resolve(*sequence, request, &self.server);
        self.host.replays.next = *sequence + 1;
        self.host.replays.read.extend(returned);
        true
    }

    /// A request that was read is handed to the shards.
    pub(crate) fn take_in(&mut self) -> Checked<bool> {
        let Some(returned) = self.host.replays.read.pop_front() else { return Ok(false) };
        let generation = self.host.flow.generation();
        let (handler, event, key) = match returned {
            Replayed::Gone { request } => {
                let replay = Replay { request, ..Replay::default() };
                self.model.dropped(request);
                self.host.replays.remove(Place::default(), replay, generation);
                return Ok(true);
            }
            Replayed::Event { handler, event } => {
                let number = self.host.handlers[handler];
                let key = self.scene.handlers.get(number).and_then(|of| of.key(&event));
                let Some(key) = key else { return Ok(true) };
                (handler, event, key)
            }
            // Its owner does it.
            Replayed::Release { shard, .. } if !self.host.flow.shards().owns(shard) => return Ok(true),
            // It is on its way.
            Replayed::Release { shard, replay, .. }
                if self.host.flow.shards().was_handed(shard, replay.request) =>
            {
                return Ok(true);
            }
            Replayed::Release { handler, shard, token, replay } => {
                let gates = self.host.flow.shards().stored_gates();
                let mut of_handler = gates.into_iter().filter(|(place, _)| place.handler == handler);
                let gate = of_handler.find(|(_, gate)| Key::new(&gate.key).token() == token);
                let Some((_, gate)) = gate else {
                    if self.host.is_owner(shard) {
                        self.model.dropped(replay.request);
                    }
                    self.host.replays.remove(Place::default(), replay, generation);
                    return Ok(true);
                };
                (handler, Event::release(STREAM.into(), replay), Key::new(&gate.key))
            }
        };
        let place = self.host.flow.place(handler, &key);
        let (position, replay) = (event.position(), event.replay().unwrap_or_default());
        let admission = self.host.flow.read(handler, Arc::new(event), (key, None), self.now);
        if self.host.is_owner(place.shard) {
            self.model.admitted(self.host.id(handler, position), admission)?;
        }
        if admission == Admission::Known {
            self.host.replays.remove(place, replay, generation);
        }
        Ok(true)
    }

    /// A look for what was held back comes back.
    pub(crate) fn take_back(&mut self) -> bool {
        let Some(index) = choose(&mut self.random, self.host.replays.take_back.len()) else { return false };
        let TakeBack { ticket, next } = self.host.replays.take_back.swap_remove(index);
        let most = self.random.random_range(1..=TAKE_BACK);
        let subject = self.host.flow.held_subject(ticket.place, &ticket.key);
        let found = self.server.held_back(&subject, next).take(most);
        let events = found.filter_map(|(at, _)| self.server.taken_back(at).map(Arc::new));
        let events: Vec<Arc<Event>> = events.collect();
        let all = events.len() < most || self.is(Sabotage::OpensTooEarly);
        let positions: Vec<Position> = events.iter().map(|event| event.position()).collect();
        let heard = self.host.flow.taken_back(&ticket, events, all, self.now);
        if heard && self.host.is_owner(ticket.place.shard) {
            let number = self.host.handlers[ticket.place.handler];
            self.model.taken_back(number, positions.into_iter());
        }
        true
    }

    /// One of two steps is made to remove a request, or what has run after it was held back is removed.
    pub(crate) fn remove(&mut self) -> bool {
        if let Some(Forget { subject, below }) = self.host.replays.forget.pop() {
            self.server.forget(&subject, below);
            return true;
        }
        let Some(index) = choose(&mut self.random, self.host.replays.removals.len()) else { return false };
        let dead_letter_first = !self.is(Sabotage::RemovesRequestsFirst);
        let Some(removal) = self.host.replays.removals.get_mut(index) else { return false };
        let Replay { request, dead_letter, .. } = removal.replay;
        if removal.begun == dead_letter_first {
            self.server.requests.remove(&request);
            self.model.removed(request);
        } else {
            self.server.remove_dead_letter(dead_letter);
        }
        if !std::mem::replace(&mut removal.begun, true) {
            return true;
        }
        let Removal { place, generation, .. } = self.host.replays.removals.swap_remove(index);
        self.host.flow.removed(generation, &[(Some(place), request)]);
        true
    }
}

impl Host {
    /// What a request asks for, as things are now; none if its handler is not there.
    fn resolve(&self, sequence: u64, request: &Request, server: &Server) -> Option<Replayed> {
        let handler = self.flow.plan().handlers.find(|handler| *handler.name == *request.handler)?;
        Some(match &request.wish {
            Wish::Key { shard, token } => {
                let replay = Replay { request: sequence, dead_letter: 0, times: 0, release: true };
                Replayed::Release { handler, shard: *shard, token: token.clone(), replay }
            }
            Wish::DeadLetter { dead_letter, release } => {
                let event = server
                    .dead_letter(*dead_letter)
                    .and_then(|dead_letter| dead_letter.sent_again(sequence, *release));
                event.map_or(Replayed::Gone { request: sequence }, |event| Replayed::Event { handler, event })
            }
        })
    }

    /// Reads an event again, by its position.
    pub(crate) fn read_again(&self, position: Position, server: &Server) -> Option<Arc<Event>> {
        match position {
            Position::Stream(sequence) => server.event(sequence),
            Position::Held(at) => server.taken_back(at).map(Arc::new),
            Position::Replay(sequence) => {
                match self.resolve(sequence, server.requests.get(&sequence)?, server)? {
                    Replayed::Event { event, .. } => Some(Arc::new(event)),
                    Replayed::Release { replay, .. } => Some(Arc::new(Event::release(STREAM.into(), replay))),
                    Replayed::Gone { .. } => None,
                }
            }
        }
    }
}
