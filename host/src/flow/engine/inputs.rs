//! What the engine takes in: events that were read, and the ends of jobs.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::task::JoinError;

use super::{Engine, Error, now, readers};
use crate::broker::CursorEvents;
use crate::flow::batch::{Batch, Unit};
use crate::flow::compact;
use crate::flow::jobs::{self, Done, MAX_LOGGED};
use crate::flow::reader::Read;
use crate::flow::shard::{Outcome, Settled};
use crate::flow::shards::{Place, Shards};
use crate::flow::states::{State, States};
use crate::flow::store::End;
use crate::values::dead_letter::header_text;
use crate::values::key::Key;
use crate::values::verdict::{Failure, Verdict};

impl Engine {
    /// Some events were read.
    pub(super) fn read(&mut self, (reader, read): (usize, Read)) -> Result<(), Error> {
        let (events, handlers) = match read {
            Read::Events { events, handlers } => (events, handlers),
            Read::Lost(reason) => return Err(Error::Lost(reason)),
        };
        let CursorEvents { events, next, .. } = events;
        let now = now();
        let mut found = Vec::new();
        for event in events {
            if self.origins.names.is_internal(&event.subject) {
                continue;
            }
            self.moved = true;
            let Some((reader, routes)) = self.readers.get(reader) else { continue };
            routes.find(&event.subject, &mut found);
            found.retain(|handler| {
                let unseen = reader.position(*handler).is_some_and(|position| position <= event.sequence);
                unseen && handlers.contains(handler)
            });
            let event = Arc::new(event);
            for handler in &found {
                let Some(settings) = self.settings.handlers.get(*handler) else { continue };
                let key = settings.key.key(&event).unwrap_or_else(|error| {
                    // It becomes a dead letter in a lane of its own.
                    let reason = error.to_string();
                    self.condemned.insert((*handler, event.sequence), Failure::NoKey { reason });
                    Key::new(&event.id())
                });
                self.shards.read(*handler, Arc::clone(&event), key, now, &mut self.actions);
            }
        }
        if let Some((reader, _)) = self.readers.get_mut(reader) {
            reader.seen(&handlers, next);
        }
        Ok(())
    }

    /// Some jobs ended.
    pub(super) fn finished(&mut self, first: Result<Done, JoinError>) -> Result<(), Error> {
        let mut next = Some(first);
        while let Some(done) = next.take() {
            match done? {
                done @ Done::Ran { .. } => self.ran_many(vec![done]),
                Done::Fetched { generation, place, key, sequence, event }
                    if generation == self.generation =>
                {
                    self.shards.at(place, &mut self.actions, |track, actions| {
                        track.fetched(&key, sequence, event, now(), actions);
                    });
                }
                Done::Committed(number, end) => self.committed(number, end)?,
                Done::Swept(left) => self.compaction.ended(left, now()),
                Done::Removed => self.checkpoints.ended(),
                Done::Fetched { .. } | Done::Nothing => {}
            }
            next = self.jobs.try_join_next();
        }
        Ok(())
    }

    /// Some events came to their verdicts.
    pub(super) fn ran_many(&mut self, ends: Vec<Done>) {
        for end in ends {
            let Done::Ran { generation, place, key, verdict, loaded } = end else { continue };
            if let Some(running) = self.running.get_mut(place.handler) {
                *running -= 1;
            }
            if generation == self.generation {
                self.ran(place, key, verdict, loaded);
            }
        }
    }

    /// An event came to its verdict.
    fn ran(&mut self, place: Place, key: Key, verdict: Verdict, loaded: Option<State>) {
        let Some(settings) = self.settings.handlers.get(place.handler) else { return };
        let id = (place.handler, key);
        if let Some(state) = loaded {
            self.states.loaded(id.clone(), state, now());
        }
        if let Verdict::Done(effects) = &verdict {
            self.states.changed(&id, &effects.state);
        }
        let (policy, random) = (settings.retry, rand::random());
        self.shards.at(place, &mut self.actions, |track, actions| {
            track.finished(&id.1, verdict, &policy, now(), random, actions);
        });
    }

    /// A batch under way has come to its end.
    fn committed(&mut self, number: u64, end: End) -> Result<(), Error> {
        let Some(batch) = self.under_way.remove(&number) else { return Ok(()) };
        match end {
            End::Stored(first) => self.stored(batch, first),
            End::Fenced(host) => return Err(Error::Fenced(host)),
            End::Lost(reason) => return Err(Error::Lost(reason)),
            End::Refused(reason) if batch.units.is_empty() => {
                return Err(Error::Lost(format!("the server refuses the checkpoints: {reason}")));
            }
            End::Refused(reason) => {
                tracing::error!(
                    reason,
                    "server refuses a commit for its content; looking for the event at fault"
                );
                match self.commits.refused(batch) {
                    None => {}
                    Some(unit) if unit.minimal => {
                        return Err(Error::Lost(format!(
                            "the server refuses even a bare dead letter: {reason}"
                        )));
                    }
                    Some(unit) if matches!(unit.settled.outcome, Outcome::Dead(..)) => {
                        self.commits.push_front(Unit { minimal: true, ..unit });
                    }
                    Some(unit) => self.reset(&unit, &reason),
                }
            }
        }
        Ok(())
    }

    fn stored(&mut self, mut batch: Batch, first: u64) {
        self.commits.stored(&batch, first);
        // First the low marks: what lies below need not be noted one by one.
        for (shard, _, checkpoint) in &batch.checkpoints {
            self.shards.committed(*shard, checkpoint);
        }
        for Unit { place, settled, .. } in &batch.units {
            self.shards.at(*place, &mut self.actions, |track, _| track.settled(&settled.event));
            let dead = matches!(settled.outcome, Outcome::Dead(..));
            self.counters.settled(place.handler, dead);
            if dead {
                self.report_dead_letter(*place, settled);
            }
        }
        let now = now();
        for (shard, id, changes) in &batch.states {
            let (replaced, bytes) = self.states.committed(id, *changes, now);
            self.compaction.wrote(*shard, replaced, bytes);
        }
        self.end = first;
        self.compact(now);
        if !batch.replies.is_empty() {
            self.jobs.spawn(jobs::reply(self.broker.clone(), std::mem::take(&mut batch.replies)));
        }
    }

    /// Has removed what is old, `moment` being now, in milliseconds since 1970.
    pub(super) fn compact(&mut self, moment: u64) {
        let (stream, names) = (&self.origins.stream, &self.origins.names);
        if let Some(sweep) = self.compaction.next(self.end, moment) {
            self.jobs.spawn(compact::run(self.broker.clone(), Arc::clone(stream), names.clone(), sweep));
        }
        if let Some(below) = self.checkpoints.next(self.commits.lowest_fence()) {
            let (broker, filter) = (self.broker.clone(), names.checkpoints());
            self.jobs.spawn(compact::remove(broker, Arc::clone(stream), filter, below));
        }
    }

    fn report_dead_letter(&self, place: Place, settled: &Settled) {
        let Outcome::Dead(cause, attempts) = &settled.outcome else { return };
        tracing::warn!(
            event.id = settled.event.id(),
            handler = self.plan.handlers.get(place.handler).map(|(name, _)| &**name),
            shard = place.shard,
            attempts,
            key = settled.key.as_str(),
            cause = cause.class.as_str(),
            reason = header_text(&cause.message, MAX_LOGGED),
            "event became a dead letter"
        );
    }

    /// Forgets everything after the last commit and reads it again. The event at fault becomes a dead
    /// letter without running: what its lane did after it was built on effects that cannot be stored.
    fn reset(&mut self, at_fault: &Unit, reason: &str) {
        let event = &at_fault.settled.event;
        tracing::error!(event.id = event.id(), reason, "event has effects that the server refuses");
        let failure = Failure::Refused { reason: reason.to_owned() };
        self.condemned.insert((at_fault.place.handler, event.sequence), failure);
        self.generation += 1;
        let checkpoints = self.commits.forget();
        self.shards = Shards::new(self.plan.clone(), &checkpoints);
        self.states = States::default();
        self.ready.iter_mut().for_each(VecDeque::clear);
        self.actions.clear();
        self.readers = readers(&self.settings, &self.plan, &self.shards, self.generation);
    }
}
