//! What the engine sends out: events to the workers, batches to the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::side::positions;
use super::{Engine, now};
use crate::failpoint;
use crate::flow::{Job, Start};
use crate::jobs::Done;
use crate::store::{Probe, store};
use crate::workers::{Ended, Knowledge, Task};

/// Batches under way at once, of different shards.
const MAX_BATCHES: usize = 4;

/// How long a batch that is not full waits after the one before. Measured: a batch costs the server as much as a
/// hundred messages, however small it is.
const LINGER: Duration = Duration::from_millis(1);

impl Engine {
    /// Begins the runs that there is room for. Whether one ended at once.
    pub(super) fn dispatch(&mut self) -> bool {
        let mut ended = Vec::new();
        for handler in self.sides.indices() {
            while let Some(job) = self.next_job(handler) {
                self.sides[handler].running += 1;
                ended.extend(self.begin(job));
            }
        }
        self.queue.add(&mut self.dispatched);
        let any = !ended.is_empty();
        self.ran_many(ended);
        any
    }

    /// Begins a run; an event that may not run has ended by this.
    fn begin(&mut self, job: Job) -> Option<Ended> {
        let runner = self.sides[job.place.handler].fleet.of(&job.key);
        let knowledge = match self.flow.start(&job, now()) {
            Start::Refused(failure) => return Some(Ended::without_run(job, runner, failure)),
            Start::With(state) => Knowledge::Known(state),
            Start::After(subject) => Knowledge::Stored(subject),
        };
        self.dispatched.push(Task { runner: Arc::clone(runner), job, knowledge });
        None
    }

    /// How long the next batch still waits; none: it does not wait, or there is none.
    pub(super) fn linger(&self) -> Option<Duration> {
        let commits = self.flow.commits();
        let waits = !self.hurry && self.flow.under_way() == 0 && !commits.is_empty();
        let left = LINGER.saturating_sub(self.sent.elapsed());
        (waits && !left.is_zero() && !commits.is_full()).then_some(left)
    }

    /// Sends the batches that are to be sent now.
    pub(super) fn commit(&mut self) {
        while self.flow.under_way() < MAX_BATCHES && self.flow.commits().is_due() && self.linger().is_none() {
            self.sent = Instant::now();
            let positions = positions(&self.readers, &self.sides).into();
            let origins = Arc::clone(self.flow.origins());
            let Some(batch) = self.flow.next_batch(&positions, now()) else { return };
            let probes = Probe::all(batch, &origins.names);
            let (messages, number) = (Arc::clone(&batch.messages), batch.number);
            let broker = self.broker.clone();
            self.jobs.spawn(async move {
                failpoint::hit(failpoint::BEFORE_COMMIT);
                let end = store(broker, origins, messages, number, probes).await;
                failpoint::hit(failpoint::AFTER_COMMIT);
                Done::Committed(number, end)
            });
        }
    }
}
