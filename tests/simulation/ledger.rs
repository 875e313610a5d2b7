//! The reference's view of the stream: every batch that is built or stored is held against what was published.

use std::collections::{BTreeMap, BTreeSet};

use heddle_flow::batch::Batch;
use heddle_values::batch::BatchMessage;
use heddle_values::checkpoint::{Checkpoint, Progress};
use heddle_values::handlers::HandlerIx;
use heddle_values::names::{CAUSE, HANDLER, Names, dead, held, replay};
use heddle_values::position::Position;

use crate::gates::{Ending, Way};
use crate::model::{Checked, Fault, Lane, Model, Promise, Retry, Task, TaskId, ensure};
use crate::scene::Fate;
use crate::server::Server;

/// Every event that is done publishes its count here.
pub(crate) const COUNTED: &str = "out.counted";

/// What one message of a batch tells of an event's end.
enum End {
    /// Done, being the nth of its key since the state was cleared.
    Done(u64),
    Dead {
        class: String,
        attempts: u32,
    },
    /// Held back at a sequence.
    HeldBack(u64),
    Released,
}

impl End {
    fn ending(&self) -> Ending {
        match self {
            End::Done(_) => Ending::Done,
            End::Dead { .. } => Ending::Dead,
            End::HeldBack(_) => Ending::HeldBack,
            End::Released => Ending::Released,
        }
    }
}

impl Model {
    fn handler(&self, name: &str) -> Option<usize> {
        self.scene.handlers.iter().position(|handler| handler.name == name)
    }

    /// A batch was built: its checkpoints must know every attempt that is used up by now, in the shards `of` which the host
    /// has not lost.
    pub(crate) fn built(
        &self,
        batch: &Batch,
        of: impl Fn(u16) -> bool,
        id_of: impl Fn(HandlerIx, Position) -> TaskId,
    ) -> Checked {
        let units = batch.units.iter();
        let taken: BTreeSet<TaskId> =
            units.map(|unit| id_of(unit.place.handler, unit.settled.event.position())).collect();
        for (shard, _, checkpoint) in batch.checkpoints.iter().filter(|(shard, ..)| of(*shard)) {
            self.knows_attempts(*shard, checkpoint, &taken)?;
        }
        Ok(())
    }

    /// Nothing waits for a commit: the checkpoint that is stored must know every attempt.
    pub(crate) fn knows_attempts(
        &self,
        shard: u16,
        checkpoint: &Checkpoint,
        taken: &BTreeSet<TaskId>,
    ) -> Checked {
        for (name, progress) in &checkpoint.handlers {
            let Some(handler) = self.handler(name) else { continue };
            let open = |position: Position, task: &Task| {
                !task.committed && !task.lost && !taken.contains(&(handler, position))
            };
            let hurried = |position| self.tasks.get(&(handler, position)).is_some_and(|task| task.hurried);
            let retry = |position, retry: Retry| match hurried(position) {
                true => (position, Retry { due: 0, ..retry }),
                false => (position, retry),
            };
            let expected: BTreeMap<Position, Retry> = self
                .of_track(handler, shard)
                .filter(|(position, task)| open(*position, task))
                .filter_map(|(position, task)| Some((position, task.retry?)))
                .map(|(position, found)| retry(position, found))
                .collect();
            let is_lost = |position| self.tasks.get(&(handler, position)).is_some_and(|task| task.lost);
            let found: BTreeMap<Position, Retry> = progress
                .attempts
                .iter()
                .filter(|attempt| !is_lost(attempt.position))
                .map(|a| retry(a.position, Retry { attempts: a.attempts, due: a.due }))
                .collect();
            ensure(found == expected, Promise::Attempts, || {
                format!("checkpoint {shard} of {name} knows {found:?}, not {expected:?}")
            })?;
        }
        Ok(())
    }

    /// A batch is stored; `first` is the sequence of its first message.
    pub(crate) fn stored(
        &mut self,
        (batch, first): (&Batch, u64),
        server: &Server,
        names: &Names,
        id_of: impl Fn(HandlerIx, Position) -> TaskId,
    ) -> Checked {
        let mut changed = BTreeMap::new();
        for (message, at) in batch.messages.iter().zip(first..) {
            let after = batch.messages.iter().skip(usize::try_from(at - first).unwrap_or_default() + 1);
            if let Some((id, end)) = self.end_of(message, at, after, names) {
                self.commit(id, end)?;
                changed.insert((id.0, self.task(id)?.key.clone()), id);
            }
        }
        for unit in &batch.units {
            let id = id_of(unit.place.handler, unit.settled.event.position());
            let committed = self.task(id)?.committed;
            ensure(committed, Promise::NothingLost, || {
                format!("{id:?} was taken, and nothing of it stored")
            })?;
        }
        for ((handler, key), id) in changed {
            self.gate_fits(id, server, names)?;
            let name = self.scene.handlers.get(handler).map_or("", |handler| &handler.name);
            let state = server.state(&names.state(key.shard(self.scene.shards.get()), name, &key));
            let count = self.lanes.get(&(handler, key.clone())).map_or(0, |lane| lane.count);
            let expected = (count > 0).then(|| count.to_string());
            ensure(
                state.as_deref() == expected.as_ref().map(String::as_bytes),
                Promise::ExactlyOnce,
                || format!("state of {key} for {name} is {state:?}, not {expected:?}"),
            )?;
        }
        for (shard, index, meant) in &batch.checkpoints {
            let payload = batch.messages.get(*index).map(|message| &message.payload);
            let read = payload.and_then(|payload| Checkpoint::decode(payload).ok());
            ensure(read.as_ref() == Some(meant), Promise::Checkpoint, || {
                format!("checkpoint {meant:?} reads back as {read:?}")
            })?;
            self.checkpoint(*shard, meant)?;
        }
        Ok(())
    }

    /// The end that a message of a batch tells of, its sequence being `at`.
    fn end_of<'a>(
        &self,
        message: &BatchMessage,
        at: u64,
        after: impl Iterator<Item = &'a BatchMessage>,
        names: &Names,
    ) -> Option<(TaskId, End)> {
        let header = |name| message.headers.get(name);
        if let (Some(class), Some(name)) = (header(dead::CAUSE_CLASS), header(dead::HANDLER)) {
            let id = (self.handler(name)?, Position::Stream(header(dead::SEQUENCE)?.parse().ok()?));
            let attempts = header(dead::ATTEMPTS)?.parse().ok()?;
            let end = End::Dead { class: class.to_owned(), attempts };
            return Some((self.position(id, request_of(after, names)), end));
        }
        if let Some(sequence) = header(held::SEQUENCE) {
            let rest = message.subject.strip_prefix(names.all_held().trim_end_matches('>'))?;
            let handler = self.handler(rest.split('.').nth(1)?)?;
            return Some(((handler, Position::Stream(sequence.parse().ok()?)), End::HeldBack(at)));
        }
        if let Some((handler, request, outcome)) = replayed(message, names) {
            let end = (outcome == replay::RELEASED).then_some(End::Released);
            return end.map(|end| Some(((self.handler(handler)?, Position::Replay(request)), end)))?;
        }
        if message.subject != COUNTED {
            return None;
        }
        let cause = Position::Stream(header(CAUSE)?.rsplit('/').next()?.parse().ok()?);
        let count = std::str::from_utf8(&message.payload).ok()?.parse().ok()?;
        let id = (self.handler(header(HANDLER)?)?, cause);
        Some((self.position(id, request_of(after, names)), End::Done(count)))
    }

    /// By which way an event came that ends now.
    fn position(&self, id: TaskId, request: Option<u64>) -> TaskId {
        let held_back = self.tasks.get(&id).and_then(|task| task.held_back);
        let again = request.map(Position::Replay).or(held_back.map(Position::Held));
        (id.0, again.unwrap_or(id.1))
    }

    /// One event's end is stored.
    fn commit(&mut self, id: TaskId, end: End) -> Checked {
        let task = self.task(id)?.clone();
        let empty = Lane::default();
        let lane = self.lanes.get(&(id.0, task.key.clone())).unwrap_or(&empty);
        ensure(!task.committed && !task.lost, Promise::ExactlyOnce, || {
            format!("{id:?} ends again: {task:?}")
        })?;
        let (way, ending, holds) = (Way::of(id.1), end.ending(), self.holds_keys(id.0));
        let of_stream = lane.sequences.iter().filter(|_| way == Way::Stream);
        for sequence in of_stream.take_while(|sequence| Position::Stream(**sequence) < id.1) {
            let earlier = self.tasks.get(&(id.0, Position::Stream(*sequence)));
            let over = earlier.is_none_or(|task| task.committed || task.lost);
            ensure(over, Promise::ExactlyOnce, || format!("{id:?} is stored before {sequence}"))?;
        }
        ensure(way != Way::Stream || id.1 > Position::Stream(lane.last), Promise::ExactlyOnce, || {
            format!("{id:?} is stored after {}", lane.last)
        })?;
        let count = match &end {
            End::Done(count) => {
                ensure(*count == lane.count + 1, Promise::ExactlyOnce, || {
                    format!("{id:?} counts {count} after {}", lane.count)
                })?;
                if task.fate == (Fate::Done { clears: true }) { 0 } else { *count }
            }
            End::Dead { .. } | End::HeldBack(_) | End::Released => lane.count,
        };
        self.judge(id, &task, &end)?;
        self.task(id)?.committed = true;
        if let Some(lane) = self.lanes.get_mut(&(id.0, task.key)) {
            lane.last = id.1.in_stream().unwrap_or(lane.last);
            lane.count = count;
            lane.stored.ends(way, task.event, ending, holds)?;
        }
        if let (End::HeldBack(at), Position::Stream(sequence)) = (end, id.1) {
            self.held_back(id.0, sequence, at)?;
        }
        Ok(())
    }

    /// Whether an event deserved its end.
    fn judge(&self, id: TaskId, task: &Task, end: &End) -> Checked {
        let Some(handler) = self.scene.handlers.get(id.0) else { return Ok(()) };
        let max = handler.policy.max_attempts.get();
        match end {
            End::HeldBack(_) | End::Released => Ok(()),
            End::Done(_) => {
                let hopeless =
                    matches!(task.fate, Fate::Hopeless | Fate::Rejected | Fate::OverLimit | Fate::Refused);
                ensure(!hopeless, Promise::Innocence, || format!("{id:?} is done: {task:?}"))
            }
            End::Dead { class, attempts } => {
                let cause = task.fate.cause(&handler.policy).map(|class| class.as_str());
                ensure(cause == Some(class.as_str()), Promise::Innocence, || {
                    format!("{id:?} is dead because of {class}: {task:?}")
                })?;
                let tries = ["retry", "trap"].contains(&class.as_str());
                let fits = if tries { *attempts == max } else { (1..=max).contains(attempts) };
                ensure(fits, Promise::Attempts, || format!("{id:?} is dead after {attempts} of {max}"))
            }
        }
    }

    /// A checkpoint is stored.
    pub(crate) fn checkpoint(&mut self, shard: u16, checkpoint: &Checkpoint) -> Checked {
        for (name, progress) in &checkpoint.handlers {
            let Some(handler) = self.handler(name) else { continue };
            let before = self.lows.insert((shard, handler), progress.low).unwrap_or_default();
            ensure(progress.low >= before, Promise::Checkpoint, || {
                format!("low mark of {name} in {shard} goes back from {before} to {}", progress.low)
            })?;
            self.claims(handler, shard, progress)?;
        }
        Ok(())
    }

    /// A progress claims what is committed, and nothing else that is not lost.
    fn claims(&self, handler: usize, shard: u16, progress: &Progress) -> Checked {
        let says = |text: &str, what: u64| {
            let text = format!("progress of handler {handler} in shard {shard} {text} {what}: {progress:?}");
            Fault { promise: Promise::Checkpoint, text }
        };
        if let Some(below) = progress.done.iter().find(|done| *done < progress.low) {
            return Err(says("keeps, below its low mark,", below));
        }
        for (position, task) in self.of_track(handler, shard) {
            let Some(request) = position.request() else { continue };
            let noted = progress.replayed.contains(request);
            if noted && !task.committed {
                return Err(says("takes for done the request", request));
            }
            if task.committed && !task.gone && !noted {
                return Err(says("has forgotten the request", request));
            }
        }
        for (sequence, task) in self.of_stream(handler, shard) {
            let claimed = sequence < progress.low || progress.done.contains(sequence);
            if claimed && !task.committed && !task.lost {
                return Err(says("claims", sequence));
            }
            if task.committed && !claimed {
                return Err(says("has forgotten", sequence));
            }
        }
        Ok(())
    }
}

/// Handler, request and outcome, if a message says what came of a request.
fn replayed<'a>(message: &'a BatchMessage, names: &Names) -> Option<(&'a str, u64, &'a str)> {
    let rest = message.subject.strip_prefix(names.all_replayed().trim_end_matches('>'))?;
    let (handler, request) = rest.split_once('.')?;
    Some((handler, request.parse().ok()?, message.headers.get(replay::OUTCOME)?))
}

/// The request by which the event came whose messages go on with these, if one did.
fn request_of<'a>(after: impl Iterator<Item = &'a BatchMessage>, names: &Names) -> Option<u64> {
    for message in after {
        let of_next = message.subject == COUNTED
            || message.headers.get(dead::CAUSE_CLASS).is_some()
            || message.headers.get(held::SEQUENCE).is_some();
        if of_next {
            return None;
        }
        if let Some((_, request, outcome)) = replayed(message, names) {
            return (outcome != replay::RELEASED).then_some(request);
        }
    }
    None
}
