//! What the engine takes in: events that were read, and the ends of runs and jobs.

use std::sync::Arc;

use tokio::task::JoinError;

use super::side::Side;
use super::{Engine, Error, now};
use crate::jobs::{self, Done};
use crate::loss::Loss;
use crate::reader::Read;
use crate::replays::{Replayed, Taken};
use crate::shard::{Admission, Rules};
use crate::shards::Place;
use crate::workers::Ended;
use heddle_broker::CursorEvents;
use heddle_values::effects::When;
use heddle_values::event::{Event, Replay};
use heddle_values::handlers::HandlerIx;
use heddle_values::permissions::Permissions;
use heddle_values::position::Position;
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
            self.handlers_of(reader, &subject, sequence, &handlers, &mut found);
            for handler in &found {
                self.sides[*handler].counts.marker();
                self.sides[*handler].tally.came(sequence, true);
            }
        }
        for event in events {
            if self.flow.origins().names.is_internal(&event.subject) {
                continue;
            }
            self.moved = true;
            self.handlers_of(reader, &event.subject, event.sequence, &handlers, &mut found);
            let event = Arc::new(event);
            for handler in &found {
                let side = &mut self.sides[*handler];
                let key = side.settings.key_of(&event);
                let admission = self.flow.read(*handler, Arc::clone(&event), key, now);
                side.tally.came(event.sequence, admission == Admission::Queued);
            }
        }
        if let Some((reader, _)) = self.readers.get_mut(reader) {
            reader.seen(&handlers, next);
        }
        Ok(())
    }

    /// Those of the `handlers` that a message is for and that have not seen it.
    fn handlers_of(
        &self,
        reader: usize,
        subject: &str,
        sequence: u64,
        handlers: &[HandlerIx],
        found: &mut Vec<HandlerIx>,
    ) {
        let (reader, routes) = self.readers.get(reader).expect("a reader that has read is there");
        routes.find(subject, found);
        found.retain(|handler| {
            let unseen = reader.position(*handler).is_some_and(|position| position <= sequence);
            unseen && handlers.contains(handler)
        });
    }

    /// A dead letter is to be replayed, or a key to be released.
    pub(super) fn replayed(&mut self, replayed: Replayed) -> Result<(), Error> {
        let (handler, event, key) = match replayed {
            Replayed::Lost(reason) => return Err(Error::Lost(reason)),
            Replayed::Gone { request } => {
                self.remove_requests(vec![(None, Replay { request, ..Replay::default() })]);
                return Ok(());
            }
            Replayed::Event { handler, event } => {
                let key = self.sides[handler].settings.key_of(&event);
                (handler, event, key)
            }
            Replayed::Release { handler, key, replay } => {
                let (place, shards) = (self.flow.place(handler, &key), self.flow.shards());
                if !shards.owns(place.shard) || shards.was_handed(place.shard, replay.request) {
                    // The owner of the shard does it, or it is on its way.
                    return Ok(());
                }
                let mut gates = shards.gates_of(place.shard).into_iter();
                if !gates.any(|(of, gate)| of == handler && *gate.key == *key.as_str()) {
                    self.remove_requests(vec![(None, replay)]);
                    return Ok(());
                }
                let stream = Arc::clone(&self.flow.origins().stream);
                (handler, Event::release(stream, replay), (key, None))
            }
        };
        let (place, replay) = (self.flow.place(handler, &key.0), event.replay().unwrap_or_default());
        match self.flow.read(handler, Arc::new(event), key, now()) {
            Admission::Queued => self.replaying += 1,
            // It is on its way, or the owner of its shard does it.
            Admission::Again | Admission::Elsewhere => {}
            // It is done, and is still to be removed.
            Admission::Known => self.remove_requests(vec![(Some(place), replay)]),
        }
        Ok(())
    }

    pub(super) fn remove_requests(&mut self, done: Vec<(Option<Place>, Replay)>) {
        if !done.is_empty() {
            self.jobs.spawn(jobs::remove(self.replays(), self.flow.generation(), done));
        }
    }

    /// An event that was to be read again is no longer stored.
    fn nowhere(&mut self, handler: HandlerIx, position: Position) {
        match position {
            Position::Replay(request) => {
                self.replaying = self.replaying.saturating_sub(1);
                self.remove_requests(vec![(None, Replay { request, ..Replay::default() })]);
            }
            Position::Held(_) => self.lost_held_back(handler, 1),
            Position::Stream(at) => self.lost(handler, Loss { events: 1, exact: true, from: at, to: at }),
        }
    }

    /// Events that were held back are lost. The job that read them has logged which.
    fn lost_held_back(&mut self, handler: HandlerIx, events: u64) {
        let Side { counts, regulator, .. } = &mut self.sides[handler];
        counts.lost(events);
        regulator.released(events);
    }

    /// Some jobs ended.
    pub(super) fn finished(&mut self, first: Result<Done, JoinError>) -> Result<(), Error> {
        let mut next = Some(first);
        while let Some(done) = next.take() {
            match done? {
                Done::Fetched { ticket, position, event } => {
                    let is_nowhere = event.is_none();
                    if self.flow.fetched(&ticket, position, event, now()) && is_nowhere {
                        self.nowhere(ticket.place.handler, position);
                    }
                }
                Done::TakenBack { ticket, taken } => {
                    let Taken { events, lost, all } = taken;
                    if self.flow.taken_back(&ticket, events, all, now()) {
                        self.lost_held_back(ticket.place.handler, lost);
                    }
                }
                Done::Removed { generation, requests } => {
                    self.moved |= self.flow.removed(generation, &requests);
                }
                Done::Committed(number, end) => self.committed(number, end)?,
                Done::Compacted { left, took } => self.compaction.ended(left, took, now()),
                Done::Cleaned => self.checkpoints.ended(),
                Done::Permissions(permissions) => self.permissions = permissions,
                Done::Surveyed(found) => self.surveyed(found),
                // After a reset, what was counted is in front of the handler again.
                Done::Counted(counted) if self.flow.is_since_reset(counted.0.generation) => {
                    let (count, counted, state) = *counted;
                    self.counted(&count, counted, &state);
                }
                Done::LeftoversRemoved(counts) => counts.into_iter().for_each(|(handler, events)| {
                    self.sides[handler].regulator.released(events);
                }),
                Done::Counted(..) | Done::Nothing => {}
            }
            next = self.jobs.try_join_next();
        }
        Ok(())
    }

    /// Some runs ended.
    pub(super) fn ran_many(&mut self, ends: Vec<Ended>) {
        for ended in ends {
            self.sides[ended.job.place.handler].running -= 1;
            if self.flow.hears(ended.job.place.shard, ended.job.generation) {
                self.ran(ended);
            }
        }
    }

    /// An event came to its verdict.
    fn ran(&mut self, ended: Ended) {
        let ended = Ended { verdict: permitted(self.permissions.as_ref(), ended.verdict), ..ended };
        let blame = self.blame(&ended);
        let Ended { job, verdict, by, loaded, .. } = ended;
        let handler = job.place.handler;
        let rules = Rules { retry: &self.sides[handler].settings.retry, blame, ran_by: Some(&by) };
        let chance = (now(), rand::random());
        if self.flow.ran(&job, verdict, loaded, rules, chance) {
            self.parked(handler);
        }
    }
}

/// Why an event may not take effect that publishes on a subject.
pub(super) fn denied(subject: &str) -> String {
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
