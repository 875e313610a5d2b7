//! The reference's view of held keys: what may run while a key is held, and what its gate in the stream must say.

use std::collections::{BTreeSet, VecDeque};

use heddle_flow::shard::Outcome;
use heddle_values::gate::Phase;
use heddle_values::names::Names;
use heddle_values::position::Position;

use crate::model::{Checked, Fault, Model, Promise, Task, TaskId, ensure};
use crate::scene::STREAM;
use crate::server::Server;

/// The way by which an event comes to its handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Stream,
    Held,
    Replay,
}

impl Way {
    /// The way of an event at a position.
    pub(crate) fn of(position: Position) -> Self {
        match position {
            Position::Replay(_) => Way::Replay,
            Position::Held(_) => Way::Held,
            Position::Stream(_) => Way::Stream,
        }
    }
}

/// How an event ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Done,
    Dead,
    HeldBack,
    Released,
}

impl Ending {
    pub(crate) fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Done(_) => Ending::Done,
            Outcome::Dead(_) => Ending::Dead,
            Outcome::HeldBack => Ending::HeldBack,
            Outcome::Released => Ending::Released,
        }
    }
}

/// What holds a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Hold {
    #[default]
    Nothing,
    /// The dead letter of this event.
    By(u64),
    /// What was held back and has not run yet.
    Rest,
}

/// A key of a handler. Events are told by their sequences in their stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    hold: Hold,
    /// What is held back, in order.
    held_back: VecDeque<u64>,
    /// Events that are dead letters.
    dead: BTreeSet<u64>,
}

impl View {
    /// Whether nothing of the key waits behind a dead letter.
    pub(crate) fn is_free(&self) -> bool {
        self.held_back.is_empty() && !matches!(self.hold, Hold::By(_))
    }

    /// Whether an event is a dead letter.
    pub(crate) fn is_dead(&self, event: u64) -> bool {
        self.dead.contains(&event)
    }

    /// Whether an event may take effect now.
    pub(crate) fn may_run(&self, way: Way, event: u64) -> Checked {
        let (holds, promise) = match way {
            Way::Stream => (self.is_free(), Promise::Gate),
            Way::Held => {
                let first = self.hold == Hold::Rest && self.held_back.front() == Some(&event);
                (first, Promise::HeldBack)
            }
            Way::Replay => (self.dead.contains(&event), Promise::Replay),
        };
        ensure(holds, promise, || format!("{event} comes by the way of {way:?} with {self:?}"))
    }

    /// An event ends; `holds`: a dead letter holds its key.
    pub(crate) fn ends(&mut self, way: Way, event: u64, ending: Ending, holds: bool) -> Checked {
        match (way, ending) {
            (Way::Stream, Ending::HeldBack) => {
                let text = || format!("{event} is held back with {self:?}");
                ensure(matches!(self.hold, Hold::By(_)), Promise::HeldBack, text)?;
                self.held_back.push_back(event);
                return Ok(());
            }
            (Way::Replay, Ending::Released) => {
                let known = event == 0 || self.dead.remove(&event);
                ensure(known, Promise::Replay, || format!("{event} is released with {self:?}"))?;
                if matches!(self.hold, Hold::By(_)) {
                    self.hold = Hold::Rest;
                }
                return Ok(());
            }
            (_, Ending::Done | Ending::Dead) => self.may_run(way, event)?,
            (_, Ending::HeldBack | Ending::Released) => {
                let text = format!("{event} of the way {way:?} ends as {ending:?}");
                return Err(Fault { promise: Promise::HeldBack, text });
            }
        }
        if way == Way::Held {
            self.held_back.pop_front();
        }
        if self.hold == Hold::Rest && way != Way::Held && self.held_back.is_empty() {
            self.hold = Hold::Nothing;
        }
        if ending == Ending::Done {
            self.dead.remove(&event);
            if self.hold == Hold::By(event) {
                self.hold = Hold::Rest;
            }
            return Ok(());
        }
        self.dead.insert(event);
        if holds && (way == Way::Held || self.hold == Hold::Nothing) {
            self.hold = Hold::By(event);
        }
        Ok(())
    }
}

impl Model {
    /// Whether the dead letters of a handler hold their keys.
    pub(crate) fn holds_keys(&self, handler: usize) -> bool {
        self.scene.handlers.get(handler).is_some_and(|handler| handler.holds)
    }

    /// The gate in the stream must cover exactly the events that are held back, no more and no less.
    pub(crate) fn gate_fits(&self, id: TaskId, server: &Server, names: &Names) -> Checked {
        let (Some(task), Some(handler)) = (self.tasks.get(&id), self.scene.handlers.get(id.0)) else {
            return Ok(());
        };
        let Some(lane) = self.lanes.get(&(id.0, task.key.clone())) else { return Ok(()) };
        let (view, token) = (&lane.stored, task.key.token());
        let gate = server.gate(&names.gate(task.shard, &handler.name, &token));
        let held_back = gate.map_or(Vec::new(), |gate| {
            let subject = names.held(task.shard, &handler.name, &token);
            server.held_back(&subject, gate.next).map(|(_, event)| event).collect()
        });
        let says = |text: &str| format!("gate of {} {text}: {gate:?}, {held_back:?}, {view:?}", task.key);
        if let Hold::By(event) = view.hold {
            let by = format!("{STREAM}/{event}");
            let closed = gate.is_some_and(|gate| gate.phase == Phase::Closed && gate.event == by);
            ensure(closed, Promise::Gate, || says("is not closed"))?;
        } else {
            let closed = gate.is_some_and(|gate| gate.phase == Phase::Closed);
            ensure(!closed, Promise::Gate, || says("is closed"))?;
        }
        ensure(view.held_back == held_back, Promise::HeldBack, || says("does not fit"))
    }

    /// An event that was held back is in the stream.
    pub(crate) fn held_back(&mut self, handler: usize, event: u64, at: u64) -> Checked {
        let fate = self.scene.fate(handler, event);
        let of_stream = self.task((handler, Position::Stream(event)))?;
        of_stream.held_back = Some(at);
        let task = Task::new(of_stream.key.clone(), of_stream.shard, event, fate);
        self.tasks.insert((handler, Position::Held(at)), task);
        Ok(())
    }

    /// Events that were held back were handed to the shards.
    pub(crate) fn taken_back(&mut self, handler: usize, positions: impl Iterator<Item = Position>) {
        for position in positions {
            if let Some(task) = self.tasks.get_mut(&(handler, position)) {
                task.read = true;
            }
        }
    }

    /// A request was stored, to send the dead letter of an event again, for the nth time; or to release its key.
    pub(crate) fn requested(&mut self, like: TaskId, request: u64, times: u32, event: u64) -> Checked {
        let of_stream = self.task(like)?;
        let (key, shard) = (of_stream.key.clone(), of_stream.shard);
        let fate = self.scene.fate_of_replay(like.0, event, times);
        self.tasks.insert((like.0, Position::Replay(request)), Task::new(key, shard, event, fate));
        Ok(())
    }

    /// Nothing more will come of a request.
    pub(crate) fn dropped(&mut self, request: u64) {
        for handler in 0..self.scene.handlers.len() {
            if let Some(task) = self.tasks.get_mut(&(handler, Position::Replay(request))) {
                task.lost |= !task.committed;
            }
        }
    }

    /// A request is no longer in the stream.
    pub(crate) fn removed(&mut self, request: u64) {
        for handler in 0..self.scene.handlers.len() {
            if let Some(task) = self.tasks.get_mut(&(handler, Position::Replay(request))) {
                task.gone = true;
            }
        }
    }

    /// At the end no key is held, and every dead letter is that of an event which is not done.
    pub(crate) fn nothing_is_held(&self, server: &Server) -> Checked {
        for ((handler, key), lane) in &self.lanes {
            ensure(lane.stored.is_free(), Promise::HeldBack, || {
                format!("{key} of handler {handler} is held: {:?}", lane.stored)
            })?;
        }
        for dead_letter in server.dead_letters() {
            let handler =
                self.scene.handlers.iter().position(|handler| handler.name == dead_letter.handler());
            let id = handler.zip(dead_letter.place().map(|(_, event)| Position::Stream(event)));
            let lane = id.and_then(|id| self.lanes.get(&(id.0, self.tasks.get(&id)?.key.clone())));
            let is_dead = lane.zip(id).is_some_and(|(lane, (_, event))| {
                event.in_stream().is_some_and(|event| lane.stored.is_dead(event))
            });
            ensure(is_dead, Promise::Replay, || format!("{id:?} is over and still a dead letter"))?;
        }
        Ok(())
    }
}
