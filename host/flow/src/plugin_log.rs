//! What plugins write into the log, and how much of it: a handler's lines are bounded per second, whatever its version.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::flow::Job;
use super::jobs::MAX_LOGGED;
use heddle_sandbox::{LogLevel, Run};
use heddle_values::text::header_text;
use heddle_values::verdict::Verdict;

/// Lines per second that a handler's plugin may write into the log.
const LINES_PER_SECOND: usize = 2_000;

/// How much of a plugin's log was written in this second, and how much was left out since that was last said.
#[derive(Debug, Default)]
pub(super) struct LineRate(Mutex<(Option<Instant>, usize, usize)>);

impl LineRate {
    /// How many of N lines may be written now.
    fn take(&self, lines: usize) -> usize {
        let mut rate = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, written, left_out) = &mut *rate;
        if since.is_none_or(|since| since.elapsed() >= Duration::from_secs(1)) {
            if *left_out > 0 {
                tracing::warn!(target: "heddle::plugin", left_out, "more lines than a handler may write in a second");
            }
            (*since, *written, *left_out) = (Some(Instant::now()), 0, 0);
        }
        let allowed = lines.min(LINES_PER_SECOND - *written);
        *written += allowed;
        *left_out += lines - allowed;
        allowed
    }
}

/// Writes what a run had to say into the log, under the fields of its event.
pub(super) fn report(handler: &str, lines: &LineRate, job: &Job, run: &Run) {
    let Job { event, key, place, attempt, .. } = job;
    let failed = match &run.verdict {
        Verdict::Done(_) => None,
        Verdict::Failed(failure) => Some(failure),
    };
    if failed.is_none() && run.logs.is_empty() && run.logs_dropped == 0 {
        return;
    }
    let span = tracing::info_span!(
        "event",
        event.id = event.id(),
        handler,
        shard = place.shard,
        attempt,
        key = key.as_str()
    );
    let _entered = span.enter();
    let allowed = lines.take(run.logs.len());
    for line in run.logs.iter().take(allowed) {
        let text = line.text.as_str();
        match line.level {
            LogLevel::Trace => tracing::trace!(target: "heddle::plugin", "{text}"),
            LogLevel::Debug => tracing::debug!(target: "heddle::plugin", "{text}"),
            LogLevel::Info => tracing::info!(target: "heddle::plugin", "{text}"),
            LogLevel::Warn => tracing::warn!(target: "heddle::plugin", "{text}"),
            LogLevel::Error => tracing::error!(target: "heddle::plugin", "{text}"),
        }
    }
    if run.logs_dropped > 0 && lines.take(1) > 0 {
        tracing::warn!(target: "heddle::plugin", dropped = run.logs_dropped, "more lines than one event may write");
    }
    if let Some(failure) = failed {
        let reason = header_text(&failure.message, MAX_LOGGED);
        tracing::debug!(cause = failure.kind(), reason, "event failed");
    }
}
