//! The reference's view of the stream: every batch that is built or stored is held against what was published.

use std::collections::{BTreeMap, BTreeSet};

use heddle::flow::batch::Batch;
use heddle::values::batch::BatchMessage;
use heddle::values::checkpoint::{Checkpoint, Progress};
use heddle::values::names::{CAUSE, HANDLER, Names, dead};

use crate::model::{Checked, Fault, Model, Promise, Retry, Task, TaskId, ensure};
use crate::scene::Fate;
use crate::server::Server;

/// Every event that is done publishes its count here.
pub(crate) const COUNTED: &str = "out.counted";

/// What one message of a batch tells of an event's end.
enum End {
    /// Done, being the so-many-th of its key since the state was cleared.
    Done(u64),
    Dead {
        class: String,
        attempts: u32,
    },
}

impl Model {
    fn handler(&self, name: &str) -> Option<usize> {
        self.scene.handlers.iter().position(|handler| handler.name == name)
    }

    /// A batch was built: its checkpoints must know every attempt that is used up by now.
    pub(crate) fn built(&self, batch: &Batch, id_of: impl Fn(usize, u64) -> TaskId) -> Checked {
        let units = batch.units.iter();
        let taken: BTreeSet<TaskId> =
            units.map(|unit| id_of(unit.place.handler, unit.settled.event.sequence)).collect();
        for (shard, _, checkpoint) in &batch.checkpoints {
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
            let open = |sequence: u64, task: &Task| {
                !task.committed && !task.lost && !taken.contains(&(handler, sequence))
            };
            let expected: BTreeMap<u64, Retry> = self
                .of_track(handler, shard)
                .filter(|(sequence, task)| open(*sequence, task))
                .filter_map(|(sequence, task)| Some((sequence, task.retry?)))
                .collect();
            let is_lost = |sequence| self.tasks.get(&(handler, sequence)).is_some_and(|task| task.lost);
            let found: BTreeMap<u64, Retry> = progress
                .attempts
                .iter()
                .filter(|attempt| !is_lost(attempt.position))
                .map(|a| (a.position, Retry { attempts: a.attempts, due: a.due }))
                .collect();
            ensure(found == expected, Promise::Attempts, || {
                format!("checkpoint {shard} of {name} knows {found:?}, not {expected:?}")
            })?;
        }
        Ok(())
    }

    /// A batch is stored.
    pub(crate) fn stored(
        &mut self,
        batch: &Batch,
        server: &Server,
        names: &Names,
        id_of: impl Fn(usize, u64) -> TaskId,
    ) -> Checked {
        let mut changed = BTreeSet::new();
        for message in batch.messages.iter() {
            if let Some((id, end)) = self.end_of(message) {
                self.commit(id, end)?;
                changed.insert((id.0, self.task(id)?.key.clone()));
            }
        }
        for unit in &batch.units {
            let id = id_of(unit.place.handler, unit.settled.event.sequence);
            let committed = self.task(id)?.committed;
            ensure(committed, Promise::NothingLost, || {
                format!("{id:?} was taken, and nothing of it stored")
            })?;
        }
        for (handler, key) in changed {
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

    fn end_of(&self, message: &BatchMessage) -> Option<(TaskId, End)> {
        let header = |name| message.headers.get(name);
        if let (Some(class), Some(name)) = (header(dead::CAUSE_CLASS), header(dead::HANDLER)) {
            let id = (self.handler(name)?, header(dead::SEQUENCE)?.parse().ok()?);
            let attempts = header(dead::ATTEMPTS)?.parse().ok()?;
            return Some((id, End::Dead { class: class.to_owned(), attempts }));
        }
        if message.subject != COUNTED {
            return None;
        }
        let sequence = header(CAUSE)?.rsplit('/').next()?.parse().ok()?;
        let count = std::str::from_utf8(&message.payload).ok()?.parse().ok()?;
        Some(((self.handler(header(HANDLER)?)?, sequence), End::Done(count)))
    }

    /// One event's end is stored.
    fn commit(&mut self, id: TaskId, end: End) -> Checked {
        let task = self.task(id)?.clone();
        let lane = self.lanes.get(&(id.0, task.key.clone())).cloned().unwrap_or_default();
        ensure(!task.committed && !task.lost, Promise::ExactlyOnce, || {
            format!("{id:?} ends again: {task:?}")
        })?;
        for sequence in lane.sequences.iter().take_while(|sequence| **sequence < id.1) {
            let earlier = self.tasks.get(&(id.0, *sequence));
            let over = earlier.is_none_or(|task| task.committed || task.lost);
            ensure(over, Promise::ExactlyOnce, || format!("{id:?} is stored before {sequence}"))?;
        }
        ensure(id.1 > lane.last, Promise::ExactlyOnce, || format!("{id:?} is stored after {}", lane.last))?;
        let count = match &end {
            End::Done(count) => {
                ensure(*count == lane.count + 1, Promise::ExactlyOnce, || {
                    format!("{id:?} counts {count} after {}", lane.count)
                })?;
                if task.fate == (Fate::Done { clears: true }) { 0 } else { *count }
            }
            End::Dead { .. } => lane.count,
        };
        self.judge(id, &task, &end)?;
        self.task(id)?.committed = true;
        if let Some(lane) = self.lanes.get_mut(&(id.0, task.key)) {
            lane.last = id.1;
            lane.count = count;
        }
        Ok(())
    }

    /// Whether an event deserved its end.
    fn judge(&self, id: TaskId, task: &Task, end: &End) -> Checked {
        let Some(handler) = self.scene.handlers.get(id.0) else { return Ok(()) };
        let max = handler.policy.max_attempts.get();
        match end {
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
        for (sequence, task) in self.of_track(handler, shard) {
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
