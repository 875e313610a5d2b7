//! Compaction: removes checkpoints and states that later ones have replaced.
//!
//! Both are appended, for a roll-up costs the server a walk over everything in between. Of checkpoints the host knows
//! which are the last, so all below the lowest of those can be removed now and then.
//!
//! States are many. When a shard has many old ones, those that were written after the last look will have made most
//! of the ones before it old; what is still the last of its key is written again, and everything below the last look
//! is removed at once. So the work for each old state is small however many keys there are, and no key needs to be
//! remembered.
//!
//! While it removes, the server serves nobody else. So it is done shard by shard, with long rests in between, and with
//! short ones only when there is far too much. Any of it may be given up anywhere without harm. Pure, but for what is
//! async; the time comes in as an argument.

use std::num::NonZeroU16;
use std::sync::Arc;

use super::jobs::Done;
use crate::broker::{Broker, Error, Stored};
use crate::values::names::Names;

/// Less old weight than this is left alone of a shard, if there are many. Measured: a removal holds the server for some milliseconds at least.
const MIN_STALE_OF_SHARD: u64 = 3_000;

/// So much old weight for each key is left alone.
const STALE_PER_KEY: u64 = 2;

/// A state weighs 1, and 1 for each so many bytes.
const BYTES_PER_WEIGHT: usize = 1024;

/// After a sweep, none is made for so many times as long as it took, so that few commits ever wait for one.
const REST: u64 = 300;

/// The same where there is so many times as much old weight as is left alone.
const PRESSING: u64 = 8;
const SHORT_REST: u64 = 3;

/// Sequences that are swept by one request.
const MAX_SWEEP: u64 = 500_000;

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
    Done::Cleaned
}

/// How many old states there are, as far as is known.
#[derive(Debug)]
pub struct Compaction {
    shards: Vec<Shard>,
    /// Less old weight of a shard is left alone.
    min_stale: u64,
    /// The shard that is swept, and since when, in milliseconds since 1970.
    under_way: Option<(u16, u64)>,
    /// When the last sweep ended, and how long it took, in milliseconds.
    last: (u64, u64),
}

#[derive(Debug, Clone, Default)]
struct Shard {
    /// What the last sweep left.
    known: Option<Left>,
    /// The weight of the states written since that replaced an earlier one, and how many are of new keys.
    replaced: u64,
    new: u64,
    /// The end of the stream when the last sweep began. The next sweep ends there.
    boundary: u64,
}

/// Whether somebody would wait for a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Events are committed: there is a rest after each sweep.
    Busy,
    /// Nothing is: there is no need to rest.
    Idle,
}

/// A look at a shard, and the removal of what is old below a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sweep {
    shard: u16,
    below: u64,
}

/// What a sweep left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    messages: u64,
    /// Of how many keys.
    keys: u64,
}

impl Compaction {
    /// For a number of shards. Less old weight than `min_stale` is left alone, over all of them.
    pub fn new(shards: NonZeroU16, min_stale: u64) -> Self {
        let of_shard = min_stale / u64::from(shards.get());
        let min_stale = of_shard.max(MIN_STALE_OF_SHARD.min(min_stale));
        Compaction {
            shards: vec![Shard::default(); shards.get().into()],
            min_stale,
            under_way: None,
            last: (0, 0),
        }
    }

    /// A state of a shard was committed, of so many bytes; `replaced`: it was not the first one of its key.
    pub fn wrote(&mut self, shard: u16, replaced: bool, bytes: usize) {
        let Some(shard) = self.shards.get_mut(usize::from(shard)) else { return };
        match replaced {
            true => shard.replaced += 1 + (bytes / BYTES_PER_WEIGHT) as u64,
            false => shard.new += 1,
        }
    }

    /// What is to be done now, if anything; `end` is a sequence that was committed, `now` in milliseconds since 1970.
    /// The first sweep of a shard only looks.
    pub fn next(&mut self, end: u64, now: u64, load: Load) -> Option<Sweep> {
        let (ended, took) = self.last;
        let rested = if load == Load::Idle { u64::MAX } else { now.saturating_sub(ended) };
        if self.under_way.is_some() || rested < took.saturating_mul(SHORT_REST) {
            return None;
        }
        let times = if rested < took.saturating_mul(REST) { PRESSING } else { 1 };
        let mut shards = (0_u16..).zip(&mut self.shards);
        let (number, shard) = shards.find(|(_, shard)| shard.is_due(self.min_stale, times))?;
        self.under_way = Some((number, now));
        (shard.replaced, shard.new) = (0, 0);
        Some(Sweep { shard: number, below: std::mem::replace(&mut shard.boundary, end) })
    }

    /// A sweep has ended; none: it failed, and there is another one when as much has been written again.
    pub fn ended(&mut self, left: Option<Left>, now: u64) {
        let Some((shard, began)) = self.under_way.take() else { return };
        self.last = (now, now.saturating_sub(began));
        if let Some(shard) = self.shards.get_mut(usize::from(shard)) {
            shard.known = left.or(Some(shard.known.unwrap_or_default()));
        }
    }
}

impl Shard {
    fn is_due(&self, min_stale: u64, times: u64) -> bool {
        let Some(known) = self.known else { return self.replaced > 0 && times == 1 };
        let bound =
            min_stale.max((known.keys + self.new).saturating_mul(STALE_PER_KEY)).saturating_mul(times);
        // Between two sweeps about as much is old as was written in between. More than that an earlier host has left.
        let left_behind = known.messages.saturating_sub(known.keys) >= 3 * bound;
        self.replaced >= bound || left_behind
    }
}

/// Writes again what is still the last of its key in the range of the sweep, and removes everything else there.
pub(super) async fn run(broker: Broker, stream: Arc<str>, names: Names, sweep: Sweep) -> Done {
    let left = sweep_states(&broker, &stream, &names.states_in(sweep.shard), sweep.below).await;
    if let Err(error) = &left {
        tracing::debug!(%error, shard = sweep.shard, "old states stay for now");
    }
    Done::Swept(left.ok())
}

async fn sweep_states(broker: &Broker, stream: &str, filter: &str, end: u64) -> Result<Left, Error> {
    let (messages, first) = broker.extent(stream, filter).await?;
    // The mark of a cleared state means the same as no message at all.
    let is_state = |message: &Stored| !message.is_cleared();
    let carried = broker.carry(stream, filter, end, is_state).await?;
    let (mut below, mut removed) = (first, 0);
    while below < end {
        below = below.saturating_add(MAX_SWEEP).min(end);
        removed += broker.purge_below(stream, filter, below).await?;
    }
    tracing::debug!(
        filter,
        keys = carried.subjects,
        carried = carried.messages,
        removed,
        "old states were removed"
    );
    let messages = (messages + carried.messages).saturating_sub(removed);
    Ok(Left { messages, keys: carried.subjects })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As long as it stands still, sweeps take no time and there is no rest.
    const NOW: u64 = 5;

    const MIN_STALE: u64 = 50_000;

    fn left(messages: u64, keys: u64) -> Option<Left> {
        Some(Left { messages, keys })
    }

    fn one_shard() -> Compaction {
        Compaction::new(NonZeroU16::MIN, MIN_STALE)
    }

    fn write(compaction: &mut Compaction, shard: u16, replaced: u64, new: u64) {
        (0..replaced).for_each(|_| compaction.wrote(shard, true, 8));
        (0..new).for_each(|_| compaction.wrote(shard, false, 8));
    }

    #[test]
    fn the_first_sweep_only_looks_and_the_next_comes_when_enough_was_written() {
        let mut compaction = one_shard();
        assert_eq!(compaction.next(7, NOW, Load::Busy), None);
        write(&mut compaction, 0, 1, 0);
        assert_eq!(compaction.next(10, NOW, Load::Busy), Some(Sweep { shard: 0, below: 0 }));
        write(&mut compaction, 0, 1_000_000, 0);
        assert_eq!(compaction.next(20, NOW, Load::Busy), None, "one at a time");
        compaction.ended(left(1_000, 1_000), NOW);
        assert_eq!(compaction.next(30, NOW, Load::Busy), Some(Sweep { shard: 0, below: 10 }));
        compaction.ended(left(110_000, 1_000), NOW);
        write(&mut compaction, 0, 49_999, 0);
        assert_eq!(compaction.next(40, NOW, Load::Busy), None);
        write(&mut compaction, 0, 1, 0);
        assert_eq!(compaction.next(50, NOW, Load::Busy), Some(Sweep { shard: 0, below: 30 }));
    }

    #[test]
    fn shards_are_swept_one_after_the_other_and_many_shards_sooner() {
        let mut compaction = Compaction::new(NonZeroU16::new(100).unwrap(), MIN_STALE);
        write(&mut compaction, 3, 1, 0);
        write(&mut compaction, 70, 1, 0);
        assert_eq!(compaction.next(10, NOW, Load::Busy), Some(Sweep { shard: 3, below: 0 }));
        assert_eq!(compaction.next(11, NOW, Load::Busy), None);
        compaction.ended(left(1, 1), NOW);
        assert_eq!(compaction.next(12, NOW, Load::Busy), Some(Sweep { shard: 70, below: 0 }));
        compaction.ended(left(1, 1), NOW);
        write(&mut compaction, 3, 2_999, 0);
        assert_eq!(compaction.next(13, NOW, Load::Busy), None);
        write(&mut compaction, 3, 1, 0);
        assert_eq!(compaction.next(14, NOW, Load::Busy), Some(Sweep { shard: 3, below: 10 }));
    }

    #[test]
    fn many_keys_may_have_more_old_states_and_new_keys_have_none() {
        let mut compaction = one_shard();
        write(&mut compaction, 0, 1, 0);
        compaction.next(1, NOW, Load::Busy);
        compaction.ended(left(150_000, 100_000), NOW);
        write(&mut compaction, 0, 399_999, 100_000);
        assert_eq!(compaction.next(1, NOW, Load::Busy), None);
        write(&mut compaction, 0, 1, 0);
        assert!(compaction.next(2, NOW, Load::Busy).is_some());
    }

    #[test]
    fn what_an_earlier_host_left_behind_is_removed_at_once() {
        let mut compaction = one_shard();
        write(&mut compaction, 0, 1, 0);
        compaction.next(500, NOW, Load::Busy);
        compaction.ended(left(1_000_000, 10), NOW);
        write(&mut compaction, 0, 1, 0);
        assert_eq!(compaction.next(600, NOW, Load::Busy), Some(Sweep { shard: 0, below: 500 }));
    }

    #[test]
    fn a_sweep_that_failed_is_tried_again_after_as_many_writes() {
        let mut compaction = one_shard();
        write(&mut compaction, 0, 1, 0);
        compaction.next(5, NOW, Load::Busy);
        compaction.ended(None, NOW);
        write(&mut compaction, 0, 1, 0);
        assert_eq!(compaction.next(6, NOW, Load::Busy), None);
        write(&mut compaction, 0, 100_000, 0);
        assert!(compaction.next(7, NOW, Load::Busy).is_some());
    }

    #[test]
    fn there_is_a_long_rest_after_a_sweep_and_a_short_one_if_there_is_far_too_much() {
        let mut compaction = one_shard();
        write(&mut compaction, 0, 1, 0);
        compaction.next(1, 1_000, Load::Busy);
        compaction.ended(left(1, 1), 1_010);
        write(&mut compaction, 0, 100_000, 0);
        assert_eq!(compaction.next(2, 4_009, Load::Busy), None);
        write(&mut compaction, 0, 300_000, 0);
        assert_eq!(compaction.next(3, 1_039, Load::Busy), None);
        assert!(compaction.next(4, 1_040, Load::Busy).is_some());
        compaction.ended(left(1, 1), 1_050);
        write(&mut compaction, 0, 100_000, 0);
        assert_eq!(compaction.next(5, 4_049, Load::Busy), None);
        assert!(compaction.next(5, 4_050, Load::Busy).is_some());
    }

    #[test]
    fn an_idle_application_needs_no_rest_and_the_next_load_has_one() {
        let mut compaction = one_shard();
        write(&mut compaction, 0, 1, 0);
        compaction.next(1, 1_000, Load::Idle);
        compaction.ended(left(1, 1), 1_010);
        write(&mut compaction, 0, 100_000, 0);
        assert_eq!(
            compaction.next(2, 1_011, Load::Busy),
            None,
            "the sweep took 10 ms also where nobody waited"
        );
        assert!(compaction.next(2, 1_011, Load::Idle).is_some());
    }

    #[test]
    fn fewer_old_states_may_be_left_than_a_shard_would_have() {
        let mut compaction = Compaction::new(NonZeroU16::new(4).unwrap(), 100);
        write(&mut compaction, 1, 1, 0);
        compaction.next(1, NOW, Load::Busy);
        compaction.ended(left(1, 1), NOW);
        write(&mut compaction, 1, 99, 0);
        assert_eq!(compaction.next(2, NOW, Load::Busy), None);
        write(&mut compaction, 1, 1, 0);
        assert!(compaction.next(3, NOW, Load::Busy).is_some());
    }

    #[test]
    fn large_states_weigh_more() {
        let mut compaction = one_shard();
        compaction.wrote(0, true, 8);
        compaction.next(1, NOW, Load::Busy);
        compaction.ended(left(1, 1), NOW);
        (0..49).for_each(|_| compaction.wrote(0, true, 1 << 20));
        assert!(compaction.next(2, NOW, Load::Busy).is_some());
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
}
