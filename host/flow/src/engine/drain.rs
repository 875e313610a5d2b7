//! How the engine stops: nothing more is begun, what runs is awaited, and everything finished is committed.

use std::time::Duration;

use super::{Course, DRAIN_DEADLINE, Engine, Error};
use heddle_values::member::TTL_SECONDS;

/// How long the announcement may take to be withdrawn, and the mark to be left.
const FAREWELL: Duration = Duration::from_secs(2);

/// How often a host that drains says so: its successor waits for as long as it does.
const ANNOUNCEMENT: Duration = Duration::from_secs(1);

/// How long that may take: with the server away nothing else can be done either.
const SAYING: Duration = Duration::from_millis(250);

impl Engine {
    /// Stops: see [`run`](Self::run).
    pub(super) async fn drain(mut self, course: Course) -> Result<u64, Error> {
        self.hurry = true;
        self.drop_ready();
        let running = self.running();
        let uncommitted = self.flow.commits().waiting();
        match course {
            Course::Pause => tracing::debug!(running, uncommitted, "pausing: finishing what runs"),
            Course::Run | Course::Stop => {
                // At once: a successor may be starting already.
                self.me.draining = true;
                self.say_draining().await;
                tracing::info!(running, uncommitted, "stopping: finishing what runs")
            }
        }
        let drained = tokio::time::timeout(DRAIN_DEADLINE, self.finish_all()).await;
        match drained {
            Ok(result) => result?,
            Err(_) => {
                let events = self.flow.commits().waiting() + self.running();
                tracing::warn!(
                    events,
                    "stopped before everything was committed; these events will run again"
                );
            }
        }
        // The last word on what was done.
        self.tick();
        if course == Course::Pause {
            self.mark(true).await;
            return Ok(self.flow.generation());
        }
        let member = self.flow.origins().names.member(&self.me.host);
        // With the server away, this may wait for ever.
        let purge = self.broker.purge(&self.flow.origins().stream, &member);
        if !matches!(tokio::time::timeout(FAREWELL, purge).await, Ok(Ok(()))) {
            tracing::debug!("announcement stays until it expires");
        }
        // The announcement is gone by now: nothing of Heddle's own will be missing behind the mark.
        self.mark(false).await;
        Ok(self.flow.generation())
    }

    /// Says that this host drains, so that its successor waits for it. Awaited, for whatever came after the farewell would
    /// stay.
    async fn say_draining(&mut self) {
        let (subject, payload) = self.announcement();
        let said = self.broker.announce(&subject, payload.into(), TTL_SECONDS);
        if !matches!(tokio::time::timeout(SAYING, said).await, Ok(Ok(()))) {
            tracing::debug!("host could not say that it drains");
        }
    }

    async fn mark(&self, paused: bool) {
        // With the server away, this may wait for ever.
        let left = tokio::time::timeout(FAREWELL, self.leave_mark(paused)).await;
        if !matches!(left, Ok(Ok(()))) {
            tracing::debug!("no mark is left: the next host will know less of what was lost meanwhile");
        }
    }

    pub(super) async fn finish_all(&mut self) -> Result<(), Error> {
        let mut last_checkpoints = false;
        let mut announcement = tokio::time::interval(ANNOUNCEMENT);
        loop {
            self.act();
            self.drop_ready();
            self.commit();
            let busy = self.flow.under_way() > 0 || self.running() > 0;
            if !busy && self.flow.commits().is_empty() {
                if last_checkpoints {
                    return Ok(());
                }
                last_checkpoints = true;
                self.touch_lagging(0);
                continue;
            }
            // All arms are cancel-safe: each takes its input only when it is chosen.
            tokio::select! {
                Some(done) = self.jobs.join_next() => self.finished(done)?,
                Some(ends) = self.ends.recv() => self.ran_many(ends),
                _ = announcement.tick(), if self.me.draining => self.say_draining().await,
            }
        }
    }

    fn running(&self) -> usize {
        self.sides.iter().map(|side| side.running).sum()
    }

    /// What has not begun is left to another engine.
    fn drop_ready(&mut self) {
        self.sides.iter_mut().for_each(|side| side.ready.clear());
    }
}
