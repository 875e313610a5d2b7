//! What the engine sends out: events to the workers, batches to the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Engine, now, positions};
use crate::failpoint;
use crate::jobs::{Done, Job, Knowledge, Ran};
use crate::store::{Probe, store};
use crate::workers::Task;
use heddle_values::verdict::Verdict;

/// Batches under way at once, of different shards.
const MAX_BATCHES: usize = 4;

/// How long a batch that is not full waits after the one before. Measured: a batch costs the server as much as a
/// hundred messages, however small it is.
const LINGER: Duration = Duration::from_millis(1);

impl Engine {
    /// Begins the runs that there is room for.
    pub(super) fn dispatch(&mut self) {
        for handler in 0..self.ready.len() {
            while let Some(job) = self.next_job(handler) {
                if let Some(running) = self.running.get_mut(handler) {
                    *running += 1;
                }
                self.begin(job);
            }
        }
        self.queue.add(&mut self.dispatched);
    }

    fn begin(&mut self, job: Job) {
        let handler = job.place.handler;
        let (Some(fleet), Some((name, _))) = (self.fleets.get(handler), self.plan.handlers.get(handler))
        else {
            return;
        };
        let runner = fleet.of(&job.key);
        if let Some(failure) = self.condemned.remove(&(handler, job.event.position())) {
            let Job { generation, place, key, attempt, .. } = job;
            let verdict = Verdict::Failed(failure.into());
            let ran = Ran::not(runner.plugin.code().id(), attempt);
            let done = Done::Ran { generation, place, key, verdict, ran, loaded: None };
            self.jobs.spawn(std::future::ready(done));
            return;
        }
        let id = (handler, job.key.clone());
        let knowledge = match self.states.get(&id, now()) {
            Some(state) => Knowledge::Known(state),
            None => Knowledge::Stored(self.origins.names.state(job.place.shard, name, &job.key)),
        };
        let runner = Arc::clone(runner);
        self.dispatched.push(Task { runner, job, knowledge });
    }

    /// How long the next batch still waits; none: it does not wait, or there is none.
    pub(super) fn linger(&self) -> Option<Duration> {
        let waits = !self.hurry && self.under_way.is_empty() && !self.commits.is_empty();
        let left = LINGER.saturating_sub(self.sent.elapsed());
        (waits && !left.is_zero() && !self.commits.is_full()).then_some(left)
    }

    /// Sends the batches that are to be sent now.
    pub(super) fn commit(&mut self) {
        while self.under_way.len() < MAX_BATCHES && self.commits.is_due() && self.linger().is_none() {
            self.sent = Instant::now();
            let positions = positions(&self.readers, self.plan.handlers.len());
            let Some(batch) = self.commits.next(&self.shards, &positions, now()) else { return };
            let Some(probe) = Probe::of(&batch, &self.origins.names) else { return };
            let (broker, origins) = (self.broker.clone(), Arc::clone(&self.origins));
            let (messages, number) = (Arc::clone(&batch.messages), batch.number);
            self.jobs.spawn(async move {
                failpoint::hit(failpoint::BEFORE_COMMIT);
                let end = store(broker, origins, messages, number, probe).await;
                failpoint::hit(failpoint::AFTER_COMMIT);
                Done::Committed(number, end)
            });
            self.under_way.insert(number, batch);
        }
    }
}
