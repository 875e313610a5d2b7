//! Compaction: removes checkpoints and states that later ones have replaced.
//!
//! Both are appended, for a roll-up costs the server a walk over everything in between. Of checkpoints the host knows
//! which are the last, so all below the lowest of those can be removed now and then.
//!
//! States are many. When there are many old ones, those that were written after the last look will have made most of the
//! ones before it old; what is still the last of its key is written again, and everything below the last look is removed.
//! So the work for each old state is small however many keys there are, and no key needs to be remembered.
//!
//! What is removed costs the server a walk over all messages in between, whatever their subjects: so the states of all
//! shards go in one walk. While it walks, the server serves nobody else: so the walk is cut into short pieces with
//! rests in between, and there is a long rest after it unless there is far too much. Any of it may be given up anywhere
//! without harm. Pure, but for what is async; the time comes in as an argument.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::states::Written;
use heddle_broker::{Broker, Error, Stored};
use heddle_values::names::Names;

/// Old weight that is left alone, for each key.
const STALE_PER_KEY: u64 = 2;

/// A state weighs 1, and 1 for each N bytes.
const BYTES_PER_WEIGHT: usize = 1024;

/// After a pass, none is made for N times as long as the server worked for it, so that few commits ever wait for
/// one.
const LONG_REST: u32 = 300;

/// There is no long rest where there is N times as much old weight as is left alone.
const PRESSING: u64 = 8;

/// The rest after a piece of a pass: N times as long as the server worked for it.
const SHORT_REST: u32 = 3;

/// There is no rest after a piece where there is N times as much old weight as is left alone: then commits must wait, or it
/// would grow for ever.
const FAR_TOO_MUCH: u64 = 64;

/// After a pass that failed there is no other for at least this long, in milliseconds.
const AFTER_FAILURE: u64 = 30_000;

/// Sequences that the server walks over for one request.
const PIECE: u64 = 100_000;

/// The keys of more shards than one are listed at once only if there are no more.
const LISTED_AT_ONCE: u64 = 20_000;

/// Old checkpoints are removed every N sequences.
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
pub(super) async fn remove(broker: Broker, stream: Arc<str>, filter: String, below: u64) {
    if let Err(error) = broker.purge_below(&stream, &filter, below).await {
        tracing::warn!(%error, "removing old checkpoints failed; it is tried again");
    }
}

/// How many old states there are, as far as is known.
#[derive(Debug)]
pub struct Compaction {
    shards: NonZeroU16,
    /// Less old weight is left alone.
    min_stale: u64,
    /// What the last pass that succeeded left.
    known: Option<Left>,
    /// The weight of the states written since that replaced an earlier one, how many are of new keys, and how many keys lost
    /// theirs.
    replaced: u64,
    new: u64,
    cleared: u64,
    /// The end of the stream when the last pass began. The next pass ends there.
    boundary: u64,
    under_way: bool,
    /// After a failure, no pass begins before this time, in milliseconds since 1970.
    not_before: u64,
    /// When the last pass ended, and how long the server worked for it, in milliseconds.
    last: (u64, u64),
}

/// Whether commits would wait for a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Events are committed: there is a rest after each pass.
    Busy,
    /// Nothing is: there is no need to rest.
    Idle,
}

/// A pass over all states, and the removal of what is old below a sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    below: u64,
    /// Whose keys are listed at once; none: those of all shards.
    parts: Vec<Option<u16>>,
    /// The rest after each piece: N times as long as the server worked for it.
    rest: u32,
}

/// What a pass left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    messages: u64,
    /// The keys that these states are of.
    keys: u64,
}

impl Compaction {
    /// For a number of shards. Less old weight than `min_stale` is left alone.
    pub fn new(shards: NonZeroU16, min_stale: u64) -> Self {
        Compaction {
            shards,
            min_stale,
            known: None,
            replaced: 0,
            new: 0,
            cleared: 0,
            boundary: 0,
            under_way: false,
            not_before: 0,
            last: (0, 0),
        }
    }

    /// A state was committed.
    pub fn wrote(&mut self, written: Written) {
        match written {
            Written::First => self.new += 1,
            Written::Over(bytes) => self.replaced += 1 + (bytes / BYTES_PER_WEIGHT) as u64,
            Written::Cleared => self.cleared += 1,
            Written::Nothing => {}
        }
    }

    /// What is to be done now, if anything; `end` is a sequence that was committed, `now` in milliseconds since 1970.
    /// The first pass only looks.
    pub fn next(&mut self, end: u64, now: u64, load: Load) -> Option<Pass> {
        let (ended, took) = self.last;
        let is_rested = now.saturating_sub(ended) >= took.saturating_mul(LONG_REST.into());
        let times = if load == Load::Idle || is_rested { 1 } else { PRESSING };
        if self.under_way || now < self.not_before || !self.is_due(times) {
            return None;
        }
        let rest = if self.is_due(FAR_TOO_MUCH) { 0 } else { SHORT_REST };
        self.under_way = true;
        let keys = self.keys();
        (self.replaced, self.new, self.cleared) = (0, 0, 0);
        let parts = match keys {
            Some(0..=LISTED_AT_ONCE) => vec![None],
            _ => (0..self.shards.get()).map(Some).collect(),
        };
        Some(Pass { below: std::mem::replace(&mut self.boundary, end), parts, rest })
    }

    /// How many keys have a state, as far as is known.
    fn keys(&self) -> Option<u64> {
        self.known.map(|known| (known.keys + self.new).saturating_sub(self.cleared))
    }

    /// Whether there is N times as much old weight as is left alone.
    fn is_due(&self, times: u64) -> bool {
        let (Some(known), Some(keys)) = (self.known, self.keys()) else {
            return self.replaced > 0 && times <= PRESSING;
        };
        let for_keys = keys.saturating_mul(STALE_PER_KEY);
        let bound = self.min_stale.max(for_keys).saturating_mul(times);
        // Between two passes about as much is old as was written in between. More than that an earlier host has left.
        let left_behind = known.messages.saturating_sub(known.keys) >= 3 * bound;
        self.replaced >= bound || left_behind
    }

    /// A pass has ended, for which the server worked `took` milliseconds; none: it failed, and there is another one after a
    /// while, once as much has been written again.
    pub fn ended(&mut self, left: Option<Left>, took: u64, now: u64) {
        self.under_way = false;
        self.last = (now, took);
        match left {
            Some(_) => self.known = left,
            None => {
                self.not_before = now.saturating_add(AFTER_FAILURE);
                // What an earlier host has left is no reason to try again at once.
                self.known = self.known.map(|known| Left { messages: known.keys, ..known });
            }
        }
    }
}

/// Lets the server do its work in pieces, each with a rest after it.
struct Pieces {
    rest: u32,
    worked: Duration,
}

impl Pieces {
    async fn work<T>(&mut self, piece: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let done = piece.await;
        let took = began.elapsed();
        self.worked += took;
        tokio::time::sleep(took * self.rest).await;
        done
    }
}

/// Writes again what is still the last of its key in the range of the pass, and removes everything else there. What is left;
/// none: it failed. And how long the server worked for it, in milliseconds.
pub(super) async fn run(broker: Broker, stream: Arc<str>, names: Names, pass: Pass) -> (Option<Left>, u64) {
    let mut pieces = Pieces { rest: pass.rest, worked: Duration::ZERO };
    let left = Box::pin(compact_states(&broker, &stream, &names, pass, &mut pieces)).await;
    if let Err(error) = &left {
        tracing::warn!(%error, "compaction failed; it is tried again later");
    }
    let took = u64::try_from(pieces.worked.as_millis()).unwrap_or(u64::MAX);
    (left.ok(), took)
}

async fn compact_states(
    broker: &Broker,
    stream: &str,
    names: &Names,
    pass: Pass,
    pieces: &mut Pieces,
) -> Result<Left, Error> {
    // The mark of a cleared state means the same as no message at all.
    let is_state = |message: &Stored| !message.is_cleared();
    let (mut messages, mut keys, mut carried) = (0, 0, 0);
    for part in pass.parts {
        let filter = part.map_or_else(|| names.states(), |shard| names.states_in(shard));
        let of_part = pieces.work(Box::pin(broker.carry(stream, &filter, pass.below, is_state))).await?;
        messages += of_part.before + of_part.messages;
        keys += of_part.subjects;
        carried += of_part.messages;
    }
    let filter = names.states();
    let mut below = broker.next_of(stream, &filter, 1).await?.map_or(0, |first| first.sequence);
    let mut removed = 0;
    while below < pass.below {
        below = below.saturating_add(PIECE).min(pass.below);
        removed += pieces.work(broker.purge_below(stream, &filter, below)).await?;
    }
    tracing::debug!(keys, carried, removed, took = ?pieces.worked, "old states were removed");
    Ok(Left { messages: messages.saturating_sub(removed), keys })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As long as it stands still, there is no rest.
    const NOW: u64 = 5;

    const MIN_STALE: u64 = 50_000;

    fn left(messages: u64, keys: u64) -> Option<Left> {
        Some(Left { messages, keys })
    }

    fn of_shards(shards: u16) -> Compaction {
        Compaction::new(NonZeroU16::new(shards).unwrap(), MIN_STALE)
    }

    /// One that has looked, at sequence 10, and found nothing.
    fn looked() -> Compaction {
        let mut compaction = of_shards(1);
        write(&mut compaction, 1, 0);
        compaction.next(10, NOW, Load::Busy).unwrap();
        compaction.ended(left(1, 1), 0, NOW);
        compaction
    }

    fn write(compaction: &mut Compaction, replaced: u64, new: u64) {
        (0..replaced).for_each(|_| compaction.wrote(Written::Over(8)));
        (0..new).for_each(|_| compaction.wrote(Written::First));
    }

    fn below(compaction: &mut Compaction, end: u64) -> Option<u64> {
        compaction.next(end, NOW, Load::Busy).map(|pass| pass.below)
    }

    #[test]
    fn the_first_sweep_only_looks_and_the_next_comes_when_enough_was_written() {
        let mut compaction = of_shards(1);
        assert_eq!(below(&mut compaction, 7), None);
        write(&mut compaction, 1, 0);
        assert_eq!(below(&mut compaction, 10), Some(0));
        write(&mut compaction, 1_000_000, 0);
        assert_eq!(below(&mut compaction, 20), None, "one at a time");
        compaction.ended(left(1_000, 1_000), 0, NOW);
        assert_eq!(below(&mut compaction, 30), Some(10));
        compaction.ended(left(110_000, 1_000), 0, NOW);
        write(&mut compaction, 49_999, 0);
        assert_eq!(below(&mut compaction, 40), None);
        write(&mut compaction, 1, 0);
        assert_eq!(below(&mut compaction, 50), Some(30));
    }

    #[test]
    fn keys_are_listed_shard_by_shard_unless_there_are_few() {
        let mut compaction = of_shards(3);
        write(&mut compaction, 1, 0);
        let parts = |compaction: &mut Compaction| compaction.next(1, NOW, Load::Busy).unwrap().parts;
        assert_eq!(
            parts(&mut compaction),
            [Some(0), Some(1), Some(2)],
            "nobody knows yet how many there are"
        );
        compaction.ended(left(1, LISTED_AT_ONCE), 0, NOW);
        write(&mut compaction, MIN_STALE, 0);
        assert_eq!(parts(&mut compaction), [None]);
        compaction.ended(left(1, LISTED_AT_ONCE), 0, NOW);
        write(&mut compaction, MIN_STALE, 1);
        assert_eq!(parts(&mut compaction), [Some(0), Some(1), Some(2)]);
    }

    #[test]
    fn many_keys_may_have_more_old_states_and_new_keys_have_none() {
        let mut compaction = looked();
        write(&mut compaction, MIN_STALE, 0);
        compaction.next(1, NOW, Load::Busy).unwrap();
        compaction.ended(left(150_000, 100_000), 0, NOW);
        write(&mut compaction, 399_999, 100_000);
        assert_eq!(below(&mut compaction, 1), None);
        write(&mut compaction, 1, 0);
        assert!(below(&mut compaction, 2).is_some());
    }

    #[test]
    fn what_an_earlier_host_left_behind_is_removed_at_once() {
        let mut compaction = of_shards(1);
        write(&mut compaction, 1, 0);
        compaction.next(500, NOW, Load::Busy).unwrap();
        compaction.ended(left(1_000_000, 10), 0, NOW);
        write(&mut compaction, 1, 0);
        assert_eq!(below(&mut compaction, 600), Some(500));
    }

    #[test]
    fn a_sweep_that_failed_is_tried_again_after_a_while_and_as_many_writes() {
        let mut compaction = looked();
        write(&mut compaction, MIN_STALE, 0);
        compaction.next(5, NOW, Load::Busy).unwrap();
        compaction.ended(left(1_000_000, 10), 0, NOW);
        assert!(below(&mut compaction, 6).is_some(), "an earlier host has left much");
        compaction.ended(None, 0, NOW);
        write(&mut compaction, MIN_STALE, 0);
        assert_eq!(compaction.next(7, NOW + AFTER_FAILURE - 1, Load::Idle), None);
        assert!(compaction.next(7, NOW + AFTER_FAILURE, Load::Busy).is_some());
        compaction.ended(None, 0, NOW + AFTER_FAILURE);
        let later = NOW + 2 * AFTER_FAILURE;
        assert_eq!(compaction.next(8, later, Load::Idle), None, "nothing was written since");
    }

    #[test]
    fn after_a_first_look_that_failed_keys_are_listed_shard_by_shard_still() {
        let mut compaction = of_shards(3);
        write(&mut compaction, 1, 0);
        compaction.next(1, NOW, Load::Busy).unwrap();
        compaction.ended(None, 0, NOW);
        write(&mut compaction, 1, 0);
        let again = compaction.next(2, NOW + AFTER_FAILURE, Load::Busy).unwrap();
        assert_eq!(again.parts.len(), 3);
    }

    #[test]
    fn keys_that_come_and_go_keep_no_old_state_of_others_in_the_stream() {
        let mut compaction = looked();
        for _ in 0..MIN_STALE {
            [Written::First, Written::Over(8), Written::Cleared, Written::Nothing]
                .into_iter()
                .for_each(|written| compaction.wrote(written));
        }
        assert!(below(&mut compaction, 3).is_some());
    }

    #[test]
    fn there_is_a_long_rest_after_a_sweep_unless_there_is_far_too_much() {
        let mut compaction = looked();
        write(&mut compaction, 100_000, 0);
        compaction.next(1, 1_000, Load::Busy).unwrap();
        compaction.ended(left(1, 1), 10, 1_050);
        write(&mut compaction, 399_999, 0);
        assert_eq!(compaction.next(2, 4_049, Load::Busy), None);
        write(&mut compaction, 1, 0);
        assert!(compaction.next(3, 1_051, Load::Busy).is_some());
        compaction.ended(left(1, 1), 10, 1_090);
        write(&mut compaction, 100_000, 0);
        assert_eq!(compaction.next(4, 4_089, Load::Busy), None);
        assert!(compaction.next(4, 4_090, Load::Busy).is_some());
    }

    #[test]
    fn a_sweep_rests_between_its_pieces_unless_states_would_grow_for_ever() {
        let rest = |written, load| {
            let mut compaction = looked();
            write(&mut compaction, written, 0);
            compaction.next(1, NOW, load).unwrap().rest
        };
        assert_eq!(rest(MIN_STALE, Load::Busy), SHORT_REST);
        assert_eq!(rest(MIN_STALE, Load::Idle), SHORT_REST, "the load may come back before it ends");
        assert_eq!(rest(FAR_TOO_MUCH * MIN_STALE - 1, Load::Busy), SHORT_REST);
        assert_eq!(rest(FAR_TOO_MUCH * MIN_STALE, Load::Busy), 0);
    }

    #[test]
    fn an_idle_application_needs_no_long_rest_and_the_next_load_has_one() {
        let mut compaction = looked();
        write(&mut compaction, 100_000, 0);
        compaction.next(1, 1_000, Load::Idle).unwrap();
        compaction.ended(left(1, 1), 10, 1_010);
        write(&mut compaction, 100_000, 0);
        assert_eq!(
            compaction.next(2, 1_011, Load::Busy),
            None,
            "the pass took 10 ms also where nobody waited"
        );
        assert!(compaction.next(2, 1_011, Load::Idle).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_has_a_rest_after_each_piece() {
        for (rest, rests) in [(SHORT_REST, true), (0, false)] {
            let mut pieces = Pieces { rest, worked: Duration::ZERO };
            let began = tokio::time::Instant::now();
            pieces.work(async { std::hint::black_box((0..100_000).sum::<u64>()) }).await;
            assert_eq!(began.elapsed() > Duration::ZERO, rests, "{rest}");
        }
    }

    #[test]
    fn large_states_weigh_more() {
        let mut compaction = looked();
        (0..49).for_each(|_| compaction.wrote(Written::Over(1 << 20)));
        assert!(below(&mut compaction, 3).is_some());
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
