//! What the engine takes in: events that were read, and the ends of jobs.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::task::JoinError;

use super::{Engine, Error, now, readers};
use crate::batch::{Batch, Unit};
use crate::compact::{self, Load};
use crate::jobs::{self, Done, MAX_LOGGED, Ran};
use crate::loss::{Loss, Tally};
use crate::reader::Read;
use crate::replays::Replayed;
use crate::shard::{Admission, Outcome, Rules, Settled};
use crate::shards::{HandlerIx, Place, Shards};
use crate::states::{State, States};
use crate::store::End;
use heddle_broker::CursorEvents;
use heddle_values::dead_letter::{Death, header_text};
use heddle_values::effects::When;
use heddle_values::event::{Event, HELD_BACK, REPLAYED, Replay, Source};
use heddle_values::key::Key;
use heddle_values::permissions::Permissions;
use heddle_values::verdict::{CauseClass, Failure, Verdict};

impl Engine {
    /// Some events were read.
    pub(super) fn read(&mut self, (reader, read): (usize, Read)) -> Result<(), Error> {
        let (events, handlers) = match read {
            Read::Events { events, handlers } => (events, handlers),
            Read::Lost(reason) => return self.stop_reading(reader, reason),
        };
        let CursorEvents { events, markers, next, .. } = events;
        let now = now();
        let mut found = Vec::new();
        for (sequence, subject) in markers {
            let Some((reader, routes)) = self.readers.get(reader) else { continue };
            routes.find(&subject, &mut found);
            found.retain(|handler| {
                let unseen = reader.position(*handler).is_some_and(|position| position <= sequence);
                unseen && handlers.contains(handler)
            });
            for handler in &found {
                self.counters.marker(*handler);
                self.came(*handler, sequence, true);
            }
        }
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
                let (key, failure) = settings.key_of(&event);
                let read = self.shards.read(*handler, Arc::clone(&event), key, now, &mut self.actions);
                condemn(&mut self.condemned, (*handler, event.position()), failure, read);
                self.came(*handler, event.sequence, read == Admission::Queued);
            }
        }
        if let Some((reader, _)) = self.readers.get_mut(reader) {
            reader.seen(&handlers, next);
        }
        Ok(())
    }

    /// Something that a handler subscribes to was read for it.
    fn came(&mut self, handler: HandlerIx, sequence: u64, undone: bool) {
        if let Some(tally) = self.tallies.get_mut(handler) {
            tally.came(sequence, undone);
        }
    }

    /// A dead letter is to be sent again, or a key to be released.
    pub(super) fn replayed(&mut self, returned: Replayed) -> Result<(), Error> {
        let (handler, event, key, failure) = match returned {
            Replayed::Lost(reason) => return Err(Error::Lost(reason)),
            Replayed::Gone { request } => {
                self.remove_requests(vec![(None, Replay { request, ..Replay::default() })]);
                return Ok(());
            }
            Replayed::Event { handler, event } => {
                let Some(settings) = self.settings.handlers.get(handler) else { return Ok(()) };
                let (key, failure) = settings.key_of(&event);
                (handler, event, key, failure)
            }
            Replayed::Release { handler, token, replay } => {
                let gates = self.shards.stored_gates();
                let mut of_handler = gates.into_iter().filter(|(place, _)| place.handler == handler);
                let Some((_, gate)) = of_handler.find(|(_, gate)| Key::new(&gate.key).token() == token)
                else {
                    self.remove_requests(vec![(None, replay)]);
                    return Ok(());
                };
                let stream = Arc::clone(&self.origins.stream);
                (handler, Event::release(stream, replay), Key::new(&gate.key), None)
            }
        };
        let place = Place { shard: key.shard(self.shards.count()), handler };
        let (replay, position) = (event.replay().unwrap_or_default(), event.position());
        let read = self.shards.read(handler, Arc::new(event), key, now(), &mut self.actions);
        condemn(&mut self.condemned, (handler, position), failure, read);
        match read {
            Admission::Queued => self.replaying += 1,
            // It was done before the host started.
            Admission::Known => self.remove_requests(vec![(Some(place), replay)]),
        }
        Ok(())
    }

    fn remove_requests(&mut self, done: Vec<(Option<Place>, Replay)>) {
        if !done.is_empty() {
            self.jobs.spawn(jobs::remove(self.replays(), self.generation, done));
        }
    }

    /// What was to be read again is not there any more.
    fn nowhere(&mut self, handler: HandlerIx, position: u64) {
        if position & REPLAYED != 0 {
            self.replaying = self.replaying.saturating_sub(1);
            let request = position & !REPLAYED;
            self.remove_requests(vec![(None, Replay { request, ..Replay::default() })]);
        } else if position & HELD_BACK != 0 {
            self.lost_held_back(handler, 1);
        } else {
            self.lost(handler, Loss { events: 1, exact: true, from: position, to: position });
        }
    }

    /// Events that were held back are nowhere any more. Which they are has been said by who looked for them.
    fn lost_held_back(&mut self, handler: HandlerIx, events: u64) {
        self.counters.lost(handler, events);
        if let Some(regulator) = self.regulators.get_mut(handler) {
            regulator.held_back = regulator.held_back.saturating_sub(events);
        }
    }

    /// Some jobs ended.
    pub(super) fn finished(&mut self, first: Result<Done, JoinError>) -> Result<(), Error> {
        let mut next = Some(first);
        while let Some(done) = next.take() {
            match done? {
                done @ Done::Ran { .. } => self.ran_many(vec![done]),
                Done::Fetched { generation, place, key, position, event }
                    if generation == self.generation =>
                {
                    if event.is_none() {
                        self.nowhere(place.handler, position);
                    }
                    self.shards.at(place, &mut self.actions, |track, actions| {
                        track.fetched(&key, position, event, now(), actions);
                    });
                }
                Done::TakenBack { generation, place, key, taken } if generation == self.generation => {
                    self.lost_held_back(place.handler, taken.lost);
                    self.shards.at(place, &mut self.actions, |track, actions| {
                        track.taken_back(&key, taken.events, taken.all, now(), actions);
                    });
                }
                // After a reset they may have been read again before they were removed: then they must still be known.
                Done::Removed { generation, requests } if generation == self.generation => {
                    requests.iter().for_each(|(place, request)| self.shards.removed(*place, *request));
                    self.moved = true;
                }
                Done::Committed(number, end) => self.committed(number, end)?,
                Done::Swept { left, took } => self.compaction.ended(left, took, now()),
                Done::Cleaned => self.checkpoints.ended(),
                Done::Permissions(permissions) => self.permissions = permissions,
                Done::Surveyed(found) => self.surveyed(found),
                Done::Counted(count, counted, state) if count.generation == self.generation => {
                    self.counted(&count, counted, &state);
                }
                Done::Fetched { .. }
                | Done::TakenBack { .. }
                | Done::Removed { .. }
                | Done::Counted(..)
                | Done::Nothing => {}
            }
            next = self.jobs.try_join_next();
        }
        Ok(())
    }

    /// Some events came to their verdicts.
    pub(super) fn ran_many(&mut self, ends: Vec<Done>) {
        for end in ends {
            let Done::Ran { generation, place, key, verdict, ran, loaded } = end else { continue };
            if let Some(running) = self.running.get_mut(place.handler) {
                *running -= 1;
            }
            if generation == self.generation {
                self.ran(place, key, verdict, ran, loaded);
            }
        }
    }

    /// An event came to its verdict.
    fn ran(&mut self, place: Place, key: Key, verdict: Verdict, ran: Ran, loaded: Option<State>) {
        let Some(settings) = self.settings.handlers.get(place.handler) else { return };
        let verdict = permitted(self.permissions.as_ref(), verdict);
        let id = (place.handler, key);
        if let Some(state) = loaded {
            self.states.loaded(id.clone(), state, now());
        }
        if let Verdict::Done(effects) = &verdict {
            self.states.changed(&id, &effects.state);
        }
        let retry = settings.retry;
        let blame = self.blame(place.handler, &id.1, &verdict, &ran);
        let rules = Rules { retry: &retry, blame, ran_by: Some(&ran.by) };
        let parked = self.shards.at(place, &mut self.actions, |track, actions| {
            track.finished(&id.1, verdict, rules, now(), rand::random(), actions)
        });
        if parked == Some(true) {
            self.parked(place.handler);
        }
    }

    /// A batch under way has come to its end.
    fn committed(&mut self, number: u64, end: End) -> Result<(), Error> {
        let Some(batch) = self.under_way.remove(&number) else { return Ok(()) };
        match end {
            End::Stored(first) => self.stored(batch, first),
            End::Fenced(host) => return Err(Error::Fenced(host)),
            End::Lost(reason) => return Err(Error::Lost(reason)),
            End::Refused(reason) => return self.refused(batch, &reason),
            End::Denied(subject) => {
                self.ask_permissions();
                return self.refused(batch, &denied(&subject));
            }
        }
        Ok(())
    }

    /// The server will never store a batch as it is: the event at fault is looked for, and ends without its effects.
    fn refused(&mut self, batch: Batch, reason: &str) -> Result<(), Error> {
        if batch.units.is_empty() {
            return Err(Error::Lost(format!("the server refuses the checkpoints: {reason}")));
        }
        tracing::error!(reason, "server refuses a commit for its content; looking for the event at fault");
        match self.commits.refused(batch) {
            None => {}
            Some(unit) if unit.minimal => {
                return Err(Error::Lost(format!("the server refuses even to name an event: {reason}")));
            }
            Some(unit) if matches!(unit.settled.outcome, Outcome::Dead(..) | Outcome::HeldBack) => {
                self.commits.push_front(Unit { minimal: true, ..unit });
            }
            Some(unit) => self.reset(&unit, reason),
        }
        Ok(())
    }

    fn stored(&mut self, mut batch: Batch, first: u64) {
        self.commits.stored(&batch, first);
        // First the low marks: what lies below need not be noted one by one.
        for (shard, _, checkpoint) in &batch.checkpoints {
            self.shards.committed(*shard, checkpoint);
        }
        let now = now();
        let end = first + (batch.messages.len() as u64).saturating_sub(1);
        // They stand before the units in the batch too: a gate may be closed again there.
        for (place, key, gate) in &batch.opened {
            self.shards.at(*place, &mut self.actions, |track, actions| {
                track.gate_stored(key, gate, now, actions);
            });
            let subject = self.held_subject(*place, key);
            self.jobs.spawn(jobs::forget(self.replays(), subject, gate.next));
        }
        let mut requests = Vec::new();
        for Unit { place, settled, .. } in &batch.units {
            self.shards.at(*place, &mut self.actions, |track, actions| {
                track.settled(settled, end, now, actions);
            });
            self.count(*place, settled);
            if let Some(replay) = settled.event.replay() {
                requests.push((Some(*place), replay));
            }
        }
        self.replaying = self.replaying.saturating_sub(requests.len());
        self.remove_requests(requests);
        for (id, changes) in &batch.states {
            self.compaction.wrote(self.states.committed(id, *changes, now));
        }
        self.end = first;
        self.compact(now, Load::Busy);
        if !batch.replies.is_empty() {
            self.jobs.spawn(jobs::reply(self.broker.clone(), std::mem::take(&mut batch.replies)));
        }
    }

    /// Counts an event that came to its end.
    fn count(&mut self, place: Place, settled: &Settled) {
        let taken_back = matches!(settled.event.source, Source::Held(_));
        if let Some(regulator) = self.regulators.get_mut(place.handler) {
            let more = u64::from(matches!(settled.outcome, Outcome::HeldBack));
            regulator.held_back = (regulator.held_back + more).saturating_sub(u64::from(taken_back));
        }
        match &settled.outcome {
            Outcome::Done(_) => self.counters.settled(place.handler, false),
            Outcome::Dead(death) => {
                self.counters.settled(place.handler, true);
                self.report_dead_letter(place, settled, death);
            }
            Outcome::HeldBack | Outcome::Released => {}
        }
    }

    /// Has what is old removed.
    pub(super) fn compact(&mut self, now: u64, load: Load) {
        let (stream, names) = (&self.origins.stream, &self.origins.names);
        if let Some(sweep) = self.compaction.next(self.end, now, load) {
            self.jobs.spawn(compact::run(self.broker.clone(), Arc::clone(stream), names.clone(), sweep));
        }
        if let Some(below) = self.checkpoints.next(self.commits.lowest_fence()) {
            let (broker, filter) = (self.broker.clone(), names.checkpoints());
            self.jobs.spawn(compact::remove(broker, Arc::clone(stream), filter, below));
        }
    }

    fn report_dead_letter(&self, place: Place, settled: &Settled, death: &Death) {
        tracing::warn!(
            event.id = settled.event.id(),
            handler = self.plan.handlers.get(place.handler).map(|(name, _)| &**name),
            shard = place.shard,
            attempts = death.attempts,
            key = settled.key.as_str(),
            cause = death.failure.kind(),
            fingerprint = death.failure.fingerprint(),
            reason = header_text(&death.failure.message, MAX_LOGGED),
            holds_key = settled.gate.is_some(),
            "event became a dead letter"
        );
    }

    /// Forgets everything after the last commit and reads it again. The event at fault becomes a
    /// dead letter without running: what its lane did after it was built on effects that cannot be stored.
    fn reset(&mut self, at_fault: &Unit, reason: &str) {
        let event = &at_fault.settled.event;
        tracing::error!(event.id = event.id(), reason, "event has effects that the server refuses");
        let failure = Failure::new(CauseClass::Refused, reason);
        self.condemned.insert((at_fault.place.handler, event.position()), failure);
        self.generation += 1;
        let checkpoints = self.commits.forget();
        let gates = self.shards.stored_gates();
        self.shards = Shards::new(self.plan.clone(), &checkpoints, gates, self.commits.known());
        self.states = States::default();
        self.ready.iter_mut().for_each(VecDeque::clear);
        self.actions.clear();
        self.shards.resume(now(), &mut self.actions);
        self.readers = readers((&self.settings, &self.stopped), &self.plan, &self.shards, self.generation);
        self.tallies.iter_mut().for_each(Tally::reset);
        self.read_requests();
    }
}

/// Why an event may not take effect that publishes on a subject.
fn denied(subject: &str) -> String {
    format!(
        "the server denies publishing on `{subject}`: grant the host's user to publish there (see `heddle permissions`), then replay"
    )
}

/// An event that wants to publish where the host's user is known to have no permission fails at once, before others
/// build on it.
fn permitted(permissions: Option<&Permissions>, verdict: Verdict) -> Verdict {
    let (Some(permissions), Verdict::Done(effects)) = (permissions, &verdict) else { return verdict };
    let now = effects.messages.iter().filter(|(_, when)| matches!(when, When::Now));
    let refused = now.map(|(message, _)| &*message.subject).find(|s| !permissions.publish.permit(s));
    match refused {
        Some(subject) => Verdict::Failed(Failure::new(CauseClass::Refused, denied(subject)).into()),
        None => verdict,
    }
}

/// Notes why an event may not run, if it waits to: one that is done already would never be asked for.
fn condemn(
    condemned: &mut HashMap<(HandlerIx, u64), Failure>,
    event: (HandlerIx, u64),
    failure: Option<Failure>,
    read: Admission,
) {
    if let (Some(failure), Admission::Queued) = (failure, read) {
        condemned.insert(event, failure);
    }
}
