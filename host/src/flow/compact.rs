//! Compaction: removes checkpoints and states that later ones have replaced.
//!
//! Both are appended, for a roll-up costs the server a walk over everything in between. Of checkpoints the host knows
//! which are the last, so all below the lowest of those can be removed now and then.
//!
//! States are many. Those that were written after the last look will have made most older ones old by the next
//! look; what is still the last of its key then is written again, and everything below the last look is removed at
//! once. So the work for each old version is small however many keys there are, and no key needs to be remembered.
//! Pure, but for [`run`]; it may be given up anywhere without harm.

use std::sync::Arc;

use super::jobs::Done;
use crate::broker::{Broker, Error, Stored, Survey};
use crate::values::names::{Names, STATE_CLEARED};

/// Fewer old versions than this are left alone.
const MIN_STALE: u64 = 20_000;

/// So many old versions for each key are left alone.
const STALE_PER_KEY: u64 = 2;

/// Sequences that are swept by one request. The server answers nobody else while it sweeps: some milliseconds.
const MIN_SWEEP: u64 = 5_000;

/// The server looks at every key once a request: with many keys, a request sweeps more.
const KEYS_PER_SEQUENCE: u64 = 10;

/// Old checkpoints are removed every so many sequences.
const CHECKPOINT_SWEEP: u64 = 20_000;

/// Which checkpoints were removed.
#[derive(Debug, Default)]
pub struct Checkpoints {
    removed_below: u64,
    under_way: bool,
}

impl Checkpoints {
    /// Below which sequence they are to be removed now, if at all; `lowest` is the first that is still needed.
    pub fn next(&mut self, lowest: u64) -> Option<u64> {
        if self.under_way || lowest < self.removed_below.saturating_add(CHECKPOINT_SWEEP) {
            return None;
        }
        self.under_way = true;
        self.removed_below = lowest;
        Some(lowest)
    }

    /// A removal has ended. If it failed, the next one makes up for it.
    pub fn ended(&mut self) {
        self.under_way = false;
    }
}

/// Removes the checkpoints below a sequence.
pub(super) async fn remove(broker: Broker, stream: Arc<str>, filter: String, below: u64) -> Done {
    if let Err(error) = broker.purge_below(&stream, &filter, below).await {
        tracing::debug!(%error, "old checkpoints stay for now");
    }
    Done::Removed
}

/// How much there is to be removed, as far as is known.
#[derive(Debug, Default)]
pub struct Compaction {
    /// What was there at the last look.
    known: Option<Survey>,
    /// Messages written since.
    written: u64,
    /// The end of the stream at the last look. The next sweep ends there.
    boundary: u64,
    under_way: bool,
}

/// A look, and the removal of what is old below a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sweep {
    below: u64,
}

impl Compaction {
    /// States were committed.
    pub fn wrote(&mut self, states: usize) {
        self.written += states as u64;
    }

    /// What is to be done now, if anything; `end` is a sequence that was committed. The first sweep only looks.
    pub fn next(&mut self, end: u64) -> Option<Sweep> {
        if self.under_way || self.written == 0 || !self.is_due() {
            return None;
        }
        self.under_way = true;
        self.written = 0;
        Some(Sweep { below: std::mem::replace(&mut self.boundary, end) })
    }

    fn is_due(&self) -> bool {
        let Some(known) = self.known else { return true };
        let bound = MIN_STALE.max(known.subjects.saturating_mul(STALE_PER_KEY));
        // Between two sweeps about as much is old as was written in between. More than that an earlier host has left.
        let left_behind = known.messages.saturating_sub(known.subjects) >= 3 * bound;
        self.written >= bound || left_behind
    }

    /// A sweep has ended; none: it failed, and there is another one when as much has been written again.
    pub fn ended(&mut self, found: Option<Survey>) {
        self.under_way = false;
        self.known = found.or(Some(Survey { messages: 0, subjects: 0, first: 0 }));
    }
}

/// Writes again what is still the last of its key in the range of the sweep, and removes everything else there.
pub(super) async fn run(broker: Broker, stream: Arc<str>, names: Names, sweep: Sweep) -> Done {
    let found = sweep_states(&broker, &stream, &names.states(), sweep).await;
    if let Err(error) = &found {
        tracing::debug!(%error, "old versions of states stay for now");
    }
    Done::Swept(found.ok())
}

async fn sweep_states(broker: &Broker, stream: &str, filter: &str, sweep: Sweep) -> Result<Survey, Error> {
    let before = broker.survey(stream, filter).await?;
    if sweep.below <= before.first {
        return Ok(before);
    }
    // The mark of a cleared state means the same as no message at all.
    let is_state = |message: &Stored| message.headers.get(STATE_CLEARED).is_none();
    let carried = broker.carry(stream, filter, sweep.below, is_state).await?;
    let step = MIN_SWEEP.max(before.subjects / KEYS_PER_SEQUENCE);
    let mut below = before.first;
    while below < sweep.below {
        below = below.saturating_add(step).min(sweep.below);
        broker.purge_below(stream, filter, below).await?;
    }
    let after = broker.survey(stream, filter).await?;
    let removed = (before.messages + carried).saturating_sub(after.messages);
    tracing::debug!(carried, removed, "old versions of states were removed");
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(messages: u64, subjects: u64) -> Option<Survey> {
        Some(Survey { messages, subjects, first: 1 })
    }

    #[test]
    fn the_first_sweep_only_looks_and_the_next_comes_when_enough_was_written() {
        let mut compaction = Compaction::default();
        assert_eq!(compaction.next(7), None);
        compaction.wrote(1);
        assert_eq!(compaction.next(10), Some(Sweep { below: 0 }));
        compaction.wrote(1_000_000);
        assert_eq!(compaction.next(20), None, "one at a time");
        compaction.ended(survey(1_000, 1_000));
        assert_eq!(compaction.next(30), Some(Sweep { below: 10 }));
        compaction.ended(survey(30_000, 1_000));
        compaction.wrote(19_999);
        assert_eq!(compaction.next(40), None);
        compaction.wrote(1);
        assert_eq!(compaction.next(50), Some(Sweep { below: 30 }));
    }

    #[test]
    fn many_keys_may_have_more_old_versions() {
        let mut compaction = Compaction { known: survey(3_000_000, 1_000_000), ..Compaction::default() };
        compaction.wrote(1_999_999);
        assert_eq!(compaction.next(1), None);
        compaction.wrote(1);
        assert!(compaction.next(2).is_some());
    }

    #[test]
    fn what_an_earlier_host_left_behind_is_removed_at_once() {
        let mut compaction = Compaction::default();
        compaction.wrote(1);
        compaction.next(500);
        compaction.ended(survey(1_000_000, 10));
        compaction.wrote(1);
        assert_eq!(compaction.next(600), Some(Sweep { below: 500 }));
    }

    #[test]
    fn old_checkpoints_are_removed_now_and_then_and_one_removal_at_a_time() {
        let mut checkpoints = Checkpoints::default();
        assert_eq!(checkpoints.next(19_999), None);
        assert_eq!(checkpoints.next(20_000), Some(20_000));
        assert_eq!(checkpoints.next(90_000), None);
        checkpoints.ended();
        assert_eq!(checkpoints.next(39_999), None);
        assert_eq!(checkpoints.next(40_000), Some(40_000));
    }

    #[test]
    fn a_sweep_that_failed_is_tried_again_after_as_many_writes() {
        let mut compaction = Compaction::default();
        compaction.wrote(1);
        compaction.next(5);
        compaction.ended(None);
        compaction.wrote(1);
        assert_eq!(compaction.next(6), None);
        compaction.wrote(20_000);
        assert!(compaction.next(7).is_some());
    }
}
