//! The reference's view of held keys: what may run while a key is held, and what its gate in the stream must say.

use std::collections::{BTreeSet, VecDeque};

use heddle_flow::shard::Outcome;
use heddle_values::event::{REPLAYED, SET_ASIDE};
use heddle_values::gate::Phase;
use heddle_values::names::Names;

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
    pub(crate) fn of(position: u64) -> Self {
        match position {
            REPLAYED.. => Way::Replay,
            SET_ASIDE.. => Way::Held,
            _ => Way::Stream,
        }
    }
}

/// How an event ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Done,
    Dead,
    Aside,
    Released,
}

impl Ending {
    pub(crate) fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Done(_) => Ending::Done,
            Outcome::Dead(_) => Ending::Dead,
            Outcome::SetAside => Ending::Aside,
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
    /// What was set aside and has not run yet.
    Rest,
}

/// A key of a handler. Events are told by their sequences in their stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    hold: Hold,
    /// What is set aside, in order.
    aside: VecDeque<u64>,
    /// Events that are dead letters.
    dead: BTreeSet<u64>,
}

impl View {
    /// Whether nothing of the key waits behind a dead letter.
    pub(crate) fn is_free(&self) -> bool {
        self.aside.is_empty() && !matches!(self.hold, Hold::By(_))
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
                let first = self.hold == Hold::Rest && self.aside.front() == Some(&event);
                (first, Promise::Aside)
            }
            Way::Replay => (self.dead.contains(&event), Promise::Replay),
        };
        ensure(holds, promise, || format!("{event} comes by the way of {way:?} with {self:?}"))
    }

    /// An event ends; `holds`: a dead letter holds its key.
    pub(crate) fn ends(&mut self, way: Way, event: u64, ending: Ending, holds: bool) -> Checked {
        match (way, ending) {
            (Way::Stream, Ending::Aside) => {
                let text = || format!("{event} is set aside with {self:?}");
                ensure(matches!(self.hold, Hold::By(_)), Promise::Aside, text)?;
                self.aside.push_back(event);
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
            (_, Ending::Aside | Ending::Released) => {
                let text = format!("{event} of the way {way:?} ends as {ending:?}");
                return Err(Fault { promise: Promise::Aside, text });
            }
        }
        if way == Way::Held {
            self.aside.pop_front();
        }
        if self.hold == Hold::Rest && way != Way::Held && self.aside.is_empty() {
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

    /// The gate in the stream must hold back what is set aside, no more and no less.
    pub(crate) fn gate_fits(&self, id: TaskId, server: &Server, names: &Names) -> Checked {
        let (Some(task), Some(handler)) = (self.tasks.get(&id), self.scene.handlers.get(id.0)) else {
            return Ok(());
        };
        let Some(lane) = self.lanes.get(&(id.0, task.key.clone())) else { return Ok(()) };
        let (view, token) = (&lane.stored, task.key.token());
        let gate = server.gate(&names.gate(task.shard, &handler.name, &token));
        let aside = gate.map_or(Vec::new(), |gate| {
            let subject = names.held(task.shard, &handler.name, &token);
            server.set_aside(&subject, gate.next).map(|(_, event)| event).collect()
        });
        let says = |text: &str| format!("gate of {} {text}: {gate:?}, {aside:?}, {view:?}", task.key);
        if let Hold::By(event) = view.hold {
            let by = format!("{STREAM}/{event}");
            let closed = gate.is_some_and(|gate| gate.phase == Phase::Closed && gate.event == by);
            ensure(closed, Promise::Gate, || says("is not closed"))?;
        } else {
            let closed = gate.is_some_and(|gate| gate.phase == Phase::Closed);
            ensure(!closed, Promise::Gate, || says("is closed"))?;
        }
        ensure(view.aside == aside, Promise::Aside, || says("does not fit"))
    }

    /// An event that was set aside is in the stream.
    pub(crate) fn set_aside(&mut self, handler: usize, event: u64, at: u64) -> Checked {
        let fate = self.scene.fate(handler, event);
        let of_stream = self.task((handler, event))?;
        of_stream.aside = Some(at);
        let task = Task::new(of_stream.key.clone(), of_stream.shard, event, fate);
        self.tasks.insert((handler, SET_ASIDE | at), task);
        Ok(())
    }

    /// Events that were set aside were handed to the shards.
    pub(crate) fn taken_back(&mut self, handler: usize, positions: impl Iterator<Item = u64>) {
        for position in positions {
            if let Some(task) = self.tasks.get_mut(&(handler, position)) {
                task.read = true;
            }
        }
    }

    /// A request was stored, to send the dead letter of an event again, for the so-many-th time; or to release its key.
    pub(crate) fn requested(&mut self, like: TaskId, request: u64, times: u32, event: u64) -> Checked {
        let of_stream = self.task(like)?;
        let (key, shard) = (of_stream.key.clone(), of_stream.shard);
        let fate = self.scene.fate_of_replay(like.0, event, times);
        self.tasks.insert((like.0, REPLAYED | request), Task::new(key, shard, event, fate));
        Ok(())
    }

    /// Nothing more will come of a request.
    pub(crate) fn dropped(&mut self, request: u64) {
        for handler in 0..self.scene.handlers.len() {
            if let Some(task) = self.tasks.get_mut(&(handler, REPLAYED | request)) {
                task.lost |= !task.committed;
            }
        }
    }

    /// A request is no longer in the stream.
    pub(crate) fn removed(&mut self, request: u64) {
        for handler in 0..self.scene.handlers.len() {
            if let Some(task) = self.tasks.get_mut(&(handler, REPLAYED | request)) {
                task.gone = true;
            }
        }
    }

    /// At the end no key is held, and every dead letter is that of an event which is not done.
    pub(crate) fn nothing_is_held(&self, server: &Server) -> Checked {
        for ((handler, key), lane) in &self.lanes {
            ensure(lane.stored.is_free(), Promise::Aside, || {
                format!("{key} of handler {handler} is held: {:?}", lane.stored)
            })?;
        }
        for dead_letter in server.dead_letters() {
            let handler =
                self.scene.handlers.iter().position(|handler| handler.name == dead_letter.handler());
            let id = handler.zip(dead_letter.place().map(|(_, event)| event));
            let lane = id.and_then(|id| self.lanes.get(&(id.0, self.tasks.get(&id)?.key.clone())));
            let is_dead = lane.zip(id).is_some_and(|(lane, (_, event))| lane.stored.is_dead(event));
            ensure(is_dead, Promise::Replay, || format!("{id:?} is over and still a dead letter"))?;
        }
        Ok(())
    }
}
