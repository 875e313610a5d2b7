//! What follows when the server has stored a batch, or will not.

use std::sync::Arc;

use super::inputs::denied;
use super::{Engine, Error, now, readers};
use crate::batch::Unit;
use crate::compact::Load;
use crate::flow::{Refused, Stored};
use crate::jobs::{self, MAX_LOGGED};
use crate::shard::{Outcome, Settled};
use crate::shards::Place;
use crate::store::End;
use heddle_values::dead_letter::Death;
use heddle_values::event::Source;
use heddle_values::text::header_text;

impl Engine {
    /// A batch under way has come to its end.
    pub(super) fn committed(&mut self, number: u64, end: End) -> Result<(), Error> {
        match end {
            End::Stored(first) => {
                self.stored(number, first);
                Ok(())
            }
            End::Fenced(lost) => Err(Error::Fenced(lost.into_values().next().unwrap_or_default())),
            End::Lost(reason) => Err(Error::Lost(reason)),
            End::Refused(reason) => self.refused(number, &reason),
            End::Denied(subject) => {
                self.ask_permissions();
                self.refused(number, &denied(&subject))
            }
        }
    }

    /// The server will never store a batch as it is: the event at fault is found, and ends without its effects.
    fn refused(&mut self, number: u64, reason: &str) -> Result<(), Error> {
        let refused = self.flow.refused(number).expect("a batch that is refused was under way");
        tracing::error!(reason, "server refuses a commit for its content; looking for the event at fault");
        match refused {
            Refused::Again => Ok(()),
            Refused::AtFault(unit) => {
                self.reset(&unit, reason);
                Ok(())
            }
            Refused::Checkpoints => Err(Error::Lost(format!("the server refuses the checkpoints: {reason}"))),
            Refused::Named => Err(Error::Lost(format!("the server refuses even to name an event: {reason}"))),
        }
    }

    fn stored(&mut self, number: u64, first: u64) {
        let now = now();
        let stored = self.flow.stored(number, first, now);
        let Stored { mut batch, drained, replayed, states, .. } =
            stored.expect("a batch that is stored was under way");
        for (subject, below) in drained {
            self.jobs.spawn(jobs::forget(self.replays(), subject, below));
        }
        batch.units.iter().for_each(|Unit { place, settled, .. }| self.count(*place, settled));
        self.replaying = self.replaying.saturating_sub(replayed.len());
        self.remove_requests(replayed.into_iter().map(|(place, replay)| (Some(place), replay)).collect());
        states.into_iter().for_each(|written| self.compaction.wrote(written));
        self.end = first;
        self.compact(now, Load::Busy);
        if !batch.replies.is_empty() {
            self.jobs.spawn(jobs::reply(self.broker.clone(), std::mem::take(&mut batch.replies)));
        }
    }

    /// Counts an event that came to its end.
    fn count(&mut self, place: Place, settled: &Settled) {
        let side = &mut self.sides[place.handler];
        let taken_back = u64::from(matches!(settled.event.source, Source::Held(_)));
        let more = u64::from(matches!(settled.outcome, Outcome::HeldBack));
        side.regulator.held_back = (side.regulator.held_back + more).saturating_sub(taken_back);
        match &settled.outcome {
            Outcome::Done(_) => side.counts.settled(false),
            Outcome::Dead(death) => {
                side.counts.settled(true);
                self.report_dead_letter(place, settled, death);
            }
            Outcome::HeldBack | Outcome::Released => {}
        }
    }

    /// Has what is old removed.
    pub(super) fn compact(&mut self, now: u64, load: Load) {
        let origins = self.flow.origins();
        let (stream, names) = (&origins.stream, &origins.names);
        if let Some(pass) = self.compaction.next(self.end, now, load) {
            self.jobs.spawn(jobs::compact(self.broker.clone(), Arc::clone(stream), names.clone(), pass));
        }
        if let Some(below) = self.checkpoints.next(self.flow.commits().lowest_fence()) {
            let (broker, filter) = (self.broker.clone(), names.checkpoints());
            self.jobs.spawn(jobs::clean(broker, Arc::clone(stream), filter, below));
        }
    }

    fn report_dead_letter(&self, place: Place, settled: &Settled, death: &Death) {
        tracing::warn!(
            event.id = settled.event.id(),
            handler = &**self.flow.name(place.handler),
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

    /// Forgets everything after the last commit and reads it again: see [`Flow::reset`](crate::flow::Flow::reset).
    fn reset(&mut self, at_fault: &Unit, reason: &str) {
        tracing::error!(
            event.id = at_fault.settled.event.id(),
            reason,
            "event has effects that the server refuses"
        );
        self.flow.reset(at_fault, reason, now());
        for side in &mut self.sides {
            side.ready.clear();
            side.tally.reset();
        }
        self.readers = readers(&self.settings, &self.sides, &self.flow);
        self.read_requests();
    }
}
