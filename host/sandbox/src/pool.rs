//! The pool: how many instances may live at once, and who waits for a place.
//!
//! Promises that an event waits for a place and never fails because there is none, in the order in which events asked, and
//! that instances which are kept for a later event give way to events that wait, the oldest first. A place counts what
//! an instance of its component really takes of the engine's pool.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::needs::Needs;

/// The whole pool. A place is a share of it, so that one number bounds whatever runs out first.
const WHOLE: u32 = 1 << 20;

/// What the engine's pool is set up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Capacity {
    pub(super) instances: u32,
    pub(super) core_instances: u32,
    pub(super) memories: u32,
    pub(super) tables: u32,
}

impl Capacity {
    /// Room for about this number of instances: of a compiled language all of them, of an interpreted one a fifth.
    pub(super) fn new(instances: u32) -> Self {
        Capacity {
            instances,
            // A component of Rust has 3 core instances, one of JavaScript 11, one of Python 38.
            core_instances: instances.saturating_mul(8).max(400),
            memories: instances.saturating_mul(2).max(100),
            tables: instances.saturating_mul(4).max(400),
        }
    }

    /// The share of the whole that an instance takes: that of what runs out first. None: it never fits.
    pub(super) fn share(&self, needs: Needs) -> Option<u32> {
        let parts = [
            (1, self.instances),
            (needs.core_instances, self.core_instances),
            (needs.memories, self.memories),
            (needs.tables, self.tables),
        ];
        let share = parts
            .into_iter()
            .map(|(part, whole)| (u64::from(part) * u64::from(WHOLE)).div_ceil(u64::from(whole.max(1))));
        share.max().and_then(|share| u32::try_from(share).ok()).filter(|share| *share <= WHOLE)
    }
}

/// A place in the pool, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

/// The places of one sandbox.
pub(super) struct Pool {
    capacity: Capacity,
    places: Arc<Semaphore>,
    /// Events that wait for a place.
    waiting: AtomicUsize,
    /// Where instances are kept. A lock, because plugins come and go on any thread; it is held while they are listed.
    kept: Mutex<Vec<Weak<dyn GivesWay + Send + Sync>>>,
}

/// Instances that are kept, as far as the pool knows them.
trait GivesWay {
    /// Since when the oldest is kept.
    fn oldest(&self) -> Option<Instant>;

    /// Drops the oldest. Whether there was one.
    fn give_way(&self) -> bool;
}

impl Pool {
    pub(super) fn new(capacity: Capacity) -> Arc<Self> {
        Arc::new(Pool {
            capacity,
            places: Arc::new(Semaphore::new(WHOLE as usize)),
            waiting: AtomicUsize::new(0),
            kept: Mutex::default(),
        })
    }

    pub(super) fn capacity(&self) -> &Capacity {
        &self.capacity
    }

    /// A place for an instance that takes such a share, if there is one now.
    pub(super) fn try_place(&self, share: u32) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_many_owned(share).ok()?;
        Some(Place { _permit: permit })
    }

    /// A place for an instance that takes such a share, as soon as there is one.
    pub(super) async fn place(&self, share: u32) -> Place {
        if let Some(place) = self.try_place(share) {
            return place;
        }
        // Counted before the kept ones are asked: one that is put back later sees that somebody waits.
        let _waiting = Waiting::begin(&self.waiting);
        while self.make_room() {
            if let Some(place) = self.try_place(share) {
                return place;
            }
        }
        let permit = Arc::clone(&self.places).acquire_many_owned(share).await;
        Place { _permit: permit.expect("the places are never closed") }
    }

    /// Drops the instance that has been kept the longest. Whether there was one.
    fn make_room(&self) -> bool {
        let mut kept = self.kept();
        kept.retain(|of_plugin| of_plugin.strong_count() > 0);
        let all = kept.iter().filter_map(Weak::upgrade);
        let oldest = all.filter_map(|of_plugin| Some((of_plugin.oldest()?, of_plugin)));
        let oldest = oldest.min_by_key(|(since, _)| *since);
        drop(kept);
        oldest.is_some_and(|(_, of_plugin)| of_plugin.give_way())
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Weak<dyn GivesWay + Send + Sync>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts an event as long as it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Instances of one plugin that wait for their next event.
pub(super) struct Kept<T> {
    pool: Arc<Pool>,
    /// Oldest first. A lock, because runs end on any thread and the critical section is one push or pop.
    idle: Mutex<VecDeque<(Instant, T)>>,
}

impl<T: Send + 'static> Kept<T> {
    pub(super) fn new(pool: &Arc<Pool>) -> Arc<Self> {
        let kept = Arc::new(Kept { pool: Arc::clone(pool), idle: Mutex::default() });
        let weak = Arc::downgrade(&kept);
        pool.kept().push(weak);
        kept
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The one that was used last: its memory is warm, and the others grow old and can go.
    pub(super) fn take(&self) -> Option<T> {
        self.idle().pop_back().map(|(_, instance)| instance)
    }

    /// Keeps an instance, unless an event waits for its place: then the oldest of all gives way.
    pub(super) fn put(&self, instance: T) {
        self.idle().push_back((Instant::now(), instance));
        if self.pool.waiting.load(Ordering::SeqCst) > 0 {
            self.pool.make_room();
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.idle().len()
    }

    /// Drops what has not been used for so long, but for a number that is always kept.
    pub(super) fn trim(&self, unused: Duration, keep: usize) {
        loop {
            let mut idle = self.idle();
            let old = idle.front().is_some_and(|(since, _)| since.elapsed() >= unused);
            if !old || idle.len() <= keep {
                return;
            }
            let gone = idle.pop_front();
            // An instance takes a while to be taken apart.
            drop(idle);
            drop(gone);
        }
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<(Instant, T)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + 'static> GivesWay for Kept<T> {
    fn oldest(&self) -> Option<Instant> {
        self.idle().front().map(|(since, _)| *since)
    }

    fn give_way(&self) -> bool {
        let gone = self.idle().pop_front();
        gone.is_some()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn pool() -> Arc<Pool> {
        Pool::new(Capacity { instances: 4, core_instances: 12, memories: 8, tables: 8 })
    }

    fn share(core_instances: u32) -> u32 {
        pool().capacity.share(Needs { core_instances, ..Needs::default() }).unwrap()
    }

    #[test]
    fn a_place_counts_what_runs_out_first() {
        assert_eq!(share(1), WHOLE / 4, "one of four instances");
        assert_eq!(share(12), WHOLE, "all core instances");
        let capacity = pool().capacity;
        assert_eq!(capacity.share(Needs { core_instances: 13, ..Needs::default() }), None);
        let needs = Needs { core_instances: 1, memories: 1, tables: 4 };
        assert_eq!(capacity.share(needs), Some(WHOLE / 2), "half of the tables");
    }

    #[tokio::test]
    async fn an_event_waits_for_a_place_until_one_is_free() {
        let pool = pool();
        let mut taken: Vec<Place> = (0..4).map(|_| pool.try_place(share(1)).unwrap()).collect();
        let mut waits = Box::pin(pool.place(share(1)));
        assert!(waits.as_mut().now_or_never().is_none());
        drop(taken.pop());
        assert!(waits.now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_large_component_is_not_passed_over_by_small_ones() {
        let pool = pool();
        let taken: Vec<Place> = (0..4).map(|_| pool.try_place(share(1)).unwrap()).collect();
        let mut large = Box::pin(pool.place(share(6)));
        assert!(large.as_mut().now_or_never().is_none());
        let mut small = Box::pin(pool.place(share(1)));
        assert!(small.as_mut().now_or_never().is_none());
        let mut taken = taken.into_iter();
        drop(taken.next());
        assert!(small.as_mut().now_or_never().is_none(), "the first place is the large one's");
        drop(taken.next());
        assert!(large.now_or_never().is_some());
    }

    #[tokio::test]
    async fn kept_instances_give_way_the_oldest_first_whosever_they_are() {
        let pool = pool();
        let (one, other) = (Kept::new(&pool), Kept::new(&pool));
        one.put((1, pool.try_place(share(1)).unwrap()));
        other.put((2, pool.try_place(share(1)).unwrap()));
        one.put((3, pool.try_place(share(1)).unwrap()));
        other.put((4, pool.try_place(share(1)).unwrap()));
        let _place = pool.place(share(1)).now_or_never().expect("the oldest gives way");
        assert_eq!((one.count(), other.count()), (1, 2));
        let _large = pool.place(share(6)).now_or_never().expect("two more give way");
        assert_eq!((one.count(), other.count()), (0, 1));
        assert_eq!(other.take().map(|(number, _)| number), Some(4));
    }

    #[tokio::test]
    async fn what_is_put_back_while_an_event_waits_gives_way_to_it() {
        let pool = pool();
        let kept = Kept::new(&pool);
        let busy: Vec<Place> = (0..4).map(|_| pool.try_place(share(1)).unwrap()).collect();
        let mut waits = Box::pin(pool.place(share(1)));
        assert!(waits.as_mut().now_or_never().is_none());
        busy.into_iter().for_each(|place| kept.put(place));
        assert!(waits.now_or_never().is_some());
        assert_eq!(kept.count(), 0, "each made room as long as somebody waited");
    }

    #[test]
    fn what_is_not_used_for_long_goes_but_for_some() {
        let kept = Kept::new(&pool());
        (0..4).for_each(|number| kept.put(number));
        kept.trim(Duration::from_secs(60), 1);
        assert_eq!(kept.count(), 4);
        kept.trim(Duration::ZERO, 1);
        assert_eq!((kept.count(), kept.take()), (1, Some(3)));
    }
}
