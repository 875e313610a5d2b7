//! Now and then the engine looks at the streams themselves: whether their settings still suit the application, and whether
//! events are gone before their handlers came to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::side::{Side, position};
use super::{Engine, Error, Rooms, now};
use crate::acquire::way_back;
use crate::jobs::{self, Count, Counted};
use crate::loss::{Distance, Loss, Question};
use crate::reader::Room;
use heddle_broker::{Fault, Inspected, StreamState};
use heddle_values::handlers::HandlerIx;
use heddle_values::mark::{End, Left, Mark};
use heddle_values::settings::{HandlerSettings, Settings};
use heddle_values::subject::Pattern;

/// The interval at which the streams are inspected, in seconds. A handler that is behind for longer is watched for losses.
const EVERY: u64 = 10;

/// The least number of checks in the time that an event lives in its stream.
const TIMES_IN_A_LIFE: u64 = 4;

/// A handler may pass many messages of others without an event of its own. When there are that many, its progress is stored
/// all the same: after a kill, they would look like events that it has not come to.
const PASSED: u64 = 1_000;

/// What is known of the streams.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Seconds until the next look.
    wait: u64,
    under_way: bool,
    /// Where the streams began when the application was taken over.
    beginnings: BTreeMap<String, u64>,
    /// Where the streams ended at the last look.
    ends: BTreeMap<String, u64>,
    /// Where the handlers stood at the last look.
    positions: BTreeMap<HandlerIx, u64>,
    /// What was said of each stream's settings.
    said: BTreeMap<String, Vec<Fault>>,
}

impl Survey {
    /// For streams that are known already: what lies in them now is in front of its handlers.
    pub(super) fn new(streams: &BTreeMap<String, StreamState>) -> Self {
        let of = |place: fn(&StreamState) -> u64| {
            streams.iter().map(|(name, state)| (name.clone(), place(state))).collect()
        };
        Survey { beginnings: of(|state| state.first), ends: of(|state| state.last), ..Survey::default() }
    }
}

impl Engine {
    /// To be called once a second.
    pub(super) fn survey(&mut self) {
        if self.survey.under_way {
            return;
        }
        if let Some(less) = self.survey.wait.checked_sub(1) {
            self.survey.wait = less;
            return;
        }
        self.survey.under_way = true;
        let (broker, settings, names) =
            (self.broker.clone(), Arc::clone(&self.settings), self.flow.origins().names.clone());
        self.jobs.spawn(jobs::survey(broker, settings, names));
    }

    /// The streams were inspected; none: they could not be.
    pub(super) fn surveyed(&mut self, found: Option<Vec<Inspected>>) {
        self.survey.under_way = false;
        self.survey.wait = EVERY - 1;
        self.touch_lagging(PASSED);
        for Inspected { stream, state, suitability } in found.into_iter().flatten() {
            self.judge_settings(&stream, suitability.faults);
            let Some(state) = state else { continue };
            if self.flow.plan().streams.get(&stream).is_some_and(|created| *created != state.created) {
                // Its cursor finds out by itself.
                continue;
            }
            let life = state.max_age.as_secs();
            if life > 0 {
                self.survey.wait = self.survey.wait.min((life / TIMES_IN_A_LIFE).saturating_sub(1));
            }
            let end = self.survey.ends.insert(stream.clone(), state.last).unwrap_or(0);
            for handler in self.sides.indices() {
                let side = &self.sides[handler];
                if *side.settings.stream == *stream && side.stopped.is_none() {
                    self.look_for_losses(handler, &state, end);
                }
            }
        }
    }

    /// Says what cannot work any more, once.
    fn judge_settings(&mut self, stream: &str, faults: Vec<Fault>) {
        let said = self.survey.said.entry(stream.to_owned()).or_default();
        for fault in faults.iter().filter(|fault| !said.contains(fault)) {
            tracing::error!(
                stream,
                setting = fault.setting,
                "stream was changed so that the application cannot work with it: {fault}"
            );
        }
        if faults.is_empty() && !said.is_empty() {
            tracing::info!(stream, "stream suits the application again");
        }
        *said = faults;
    }

    /// A handler that has not come to where its stream `ended` at the last look is behind.
    fn look_for_losses(&mut self, handler: HandlerIx, state: &StreamState, ended: u64) {
        let position = position(&self.readers, handler);
        let low = self.flow.shards().low(handler, position);
        let Side { tally, settings, .. } = &mut self.sides[handler];
        let is_own = settings.stream == self.flow.origins().stream;
        let mut losses: Vec<Loss> = tally.passed(position).into_iter().collect();
        let behind = position <= ended;
        let gap = tally.unknown_from(position)..state.first;
        if behind && !is_own && !gap.is_empty() {
            tally.said(gap.end - 1);
            let events = gap.end - gap.start;
            losses.push(Loss { events, exact: false, from: gap.start, to: gap.end - 1 });
        }
        let question = if behind { tally.ask(position, state.last) } else { None };
        let known = tally.known_to(position);
        let stands = self.survey.positions.insert(handler, position) == Some(position);
        let rest = (stands && known >= position && self.may_read(handler))
            .then_some(Question { from: position, to: known });
        if question.is_some() || rest.is_some() || low <= ended {
            self.ask(handler, (question, rest), low, state);
        }
        losses.into_iter().for_each(|loss| self.lost(handler, loss));
        self.miss(handler, position);
    }

    /// Has the events in front of a handler counted, and the lowest of them looked up.
    fn ask(
        &mut self,
        handler: HandlerIx,
        (question, rest): (Option<Question>, Option<Question>),
        low: u64,
        state: &StreamState,
    ) {
        let settings = &self.sides[handler].settings;
        let count = Count {
            generation: self.flow.generation(),
            handler,
            stream: Arc::clone(&settings.stream),
            filters: countable_of(&self.settings, settings, &self.flow.origins().names.stream_subjects()),
            question,
            rest,
            low,
        };
        self.jobs.spawn(jobs::count(self.broker.clone(), count, state.clone()));
    }

    /// The events in front of a handler were counted.
    pub(super) fn counted(&mut self, count: &Count, counted: Counted, state: &StreamState) {
        let (handler, Counted { events, rest, lowest }) = (count.handler, counted);
        let position = position(&self.readers, handler);
        let Side { tally, settings, .. } = &mut self.sides[handler];
        if count.question.is_some() {
            tally.answer(events);
        }
        // Neither is anything there, nor has anything come for a while: nothing will.
        let ended = count.rest.filter(|of| rest == Some(0) && of.from == position);
        let loss = ended.and_then(|of| tally.passed(of.to + 1));
        let distances =
            lowest.map(|(sequence, time)| Distance::all(state, sequence, time, now())).unwrap_or_default();
        let near = distances.into_iter().find(|distance| distance.is_near());
        if tally.warns(near.is_some())
            && let Some((left, (sequence, _))) = near.zip(lowest)
        {
            tracing::warn!(
                handler = &*settings.name,
                stream = &*settings.stream,
                sequence,
                %left,
                "events will soon be gone from the stream before the handler comes to them: less than a tenth of the retention is left"
            );
        }
        if let Some(loss) = loss {
            self.lost(handler, loss);
        }
        if let Some(of) = ended {
            self.miss(handler, of.to + 1);
        }
    }

    /// Events that were tried before the host started and have not come, though everything below `position` has, are lost.
    /// What the host before has written down is compared otherwise.
    fn miss(&mut self, handler: HandlerIx, position: u64) {
        for sequence in self.flow.take_missing(handler, position) {
            if !self.sides[handler].marked {
                self.lost(handler, Loss { events: 1, exact: true, from: sequence, to: sequence });
            }
        }
    }

    /// Says that events of a handler are lost.
    pub(super) fn lost(&mut self, handler: HandlerIx, loss: Loss) {
        let Side { settings, counts, .. } = &mut self.sides[handler];
        let (name, stream) = (&*settings.name, &*settings.stream);
        let Loss { events, exact, from, to } = loss;
        counts.lost(events);
        let what = match exact {
            true => format!("{events} events"),
            false => format!("up to {events} events (it is not known which of them it subscribes to)"),
        };
        tracing::error!(
            handler = name,
            stream,
            events,
            from,
            to,
            "{what} of stream `{stream}` are lost for handler `{name}`: they aged out, were purged or deleted before it came to them; sequences {from} to {to}"
        );
    }

    /// Whether a handler would be given what was there.
    fn may_read(&self, handler: HandlerIx) -> bool {
        let rooms = Rooms { shards: self.flow.shards(), sides: &self.sides };
        rooms.of(handler) != Room::None && !self.readers.iter().any(|(reader, _)| reader.is_held_up(handler))
    }

    /// A stream is not the one it was: its handlers are stopped, if it is not the application's own.
    pub(super) fn stop_reading(&mut self, reader: usize, reason: String) -> Result<(), Error> {
        let of = self.readers.get(reader).map(|(reader, _)| Arc::clone(reader.stream()));
        let Some(stream) = of.filter(|stream| *stream != self.flow.origins().stream) else {
            return Err(Error::Lost(reason));
        };
        self.readers.remove(reader);
        for side in self.sides.iter_mut().filter(|side| side.settings.stream == stream) {
            side.stopped = Some(reason.clone());
        }
        self.report_stopped(|of| of.stream == stream);
        Ok(())
    }

    /// Says what was found when the application was taken over.
    pub(super) fn report_beginning(&mut self, losses: Vec<(HandlerIx, Loss)>) {
        self.report_stopped(|_| true);
        for (handler, loss) in losses {
            let Side { tally, settings, .. } = &mut self.sides[handler];
            let beginning = self.survey.beginnings.get(&*settings.stream).copied().unwrap_or_default();
            // Behind the beginning of the stream, some of it may be there.
            tally.said(loss.to.min(beginning.saturating_sub(1)));
            self.lost(handler, loss);
        }
    }

    /// Says which handlers are stopped, and what to do.
    fn report_stopped(&self, which: impl Fn(&HandlerSettings) -> bool) {
        for Side { settings, stopped, .. } in &self.sides {
            if let Some(reason) = stopped.as_ref().filter(|_| which(settings)) {
                let (handler, stream) = (&*settings.name, &*settings.stream);
                let way_back = way_back(handler);
                tracing::error!(
                    handler,
                    stream,
                    "handler is stopped, the others go on: {reason}; {way_back}"
                );
            }
        }
    }

    /// Writes down how far the application has come, so that the next host can tell what was lost since.
    pub(super) async fn leave_mark(&self, paused: bool) -> Result<(), heddle_broker::Error> {
        let (shards, origins) = (self.flow.shards(), self.flow.origins());
        let commits = shards.owned().map(|shard| self.flow.commits().committed(shard));
        let commit = commits.map(|checkpoint| checkpoint.commit).max().unwrap_or_default();
        let mut mark = Mark { host: self.me.host.clone(), commit, paused, ..Mark::default() };
        for (reader, _) in &self.readers {
            let stream = &**reader.stream();
            let Some(created) = self.flow.plan().streams.get(stream) else { continue };
            if let Some((_, state)) = self.broker.stream_facts(stream).await?
                && state.created == *created
            {
                mark.streams.insert(stream.to_owned(), End { created: *created, last: state.last });
            }
        }
        let internal = origins.names.stream_subjects();
        for (handler, Side { settings, tally, stopped, .. }) in self.sides.rows() {
            let Some(end) = mark.streams.get(&*settings.stream).filter(|_| stopped.is_none()) else {
                continue;
            };
            let position = position(&self.readers, handler);
            let (outstanding, from) = tally.outstanding(position);
            let question = Question { from, to: end.last };
            let filters = countable_of(&self.settings, settings, &internal);
            let counted = jobs::count_events(&self.broker, &settings.stream, &filters, question).await?;
            let events = shards.unfinished(handler) + outstanding + counted;
            let low = shards.low(handler, position);
            mark.handlers.insert(settings.name.to_string(), Left { low, events });
        }
        let payload = serde_json::to_vec(&mark).expect("a mark is plain data").into();
        self.broker.publish_kept(&origins.names.mark(), &Default::default(), payload).await
    }
}

/// What of a handler's subscription is counted.
fn countable_of(settings: &Settings, handler: &HandlerSettings, internal: &[String]) -> Vec<Pattern> {
    let internal: Vec<Pattern> = internal.iter().filter_map(|subject| subject.parse().ok()).collect();
    let is_own = handler.stream == settings.stream.name;
    countable(&handler.subscribe, is_own.then_some((&*settings.stream.subjects, &*internal)))
}

/// What falls under `subscribe`, but nothing of Heddle's own and nothing twice. In the `own` stream, there are events and
/// what is internal.
fn countable(subscribe: &[Pattern], own: Option<(&[Pattern], &[Pattern])>) -> Vec<Pattern> {
    let mut filters: Vec<Pattern> = Vec::new();
    for pattern in subscribe {
        match own {
            // What it covers only in part is left out: fewer are expected then than come, which is no loss.
            Some((events, internal)) if internal.iter().any(|of| of.overlaps(pattern)) => {
                filters.extend(events.iter().filter(|subject| pattern.covers(subject)).cloned());
            }
            _ => filters.push(pattern.clone()),
        }
    }
    let covered = |index: usize, pattern: &Pattern| {
        let others = filters.iter().enumerate().filter(|(other, _)| *other != index);
        let mut covering = others.filter(|(_, of)| of.covers(pattern));
        // Of two that are the same, the first stays.
        covering.any(|(other, of)| other < index || !pattern.covers(of))
    };
    let kept = filters.iter().enumerate().filter(|(index, pattern)| !covered(*index, pattern));
    kept.map(|(_, pattern)| pattern.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(subscribe: &[&str], is_own: bool, expected: &[&str]) {
        let patterns =
            |texts: &[&str]| -> Vec<Pattern> { texts.iter().map(|text| text.parse().unwrap()).collect() };
        let (events, internal) = (patterns(&["in.>", "out.>"]), patterns(&["_heddle.t.>", "dead.t.>"]));
        let found = countable(&patterns(subscribe), is_own.then_some((&*events, &*internal)));
        assert_eq!(found, patterns(expected));
    }

    #[test]
    fn what_is_counted_is_events_and_each_once() {
        check(&["in.*"], true, &["in.*"]);
        check(&[">"], true, &["in.>", "out.>"]);
        check(&[">"], false, &[">"]);
        check(&["in.a", "in.*", "in.*", "out.b"], true, &["in.*", "out.b"]);
        check(&["*.t.x"], true, &[]);
    }
}
