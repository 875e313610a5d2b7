//! Bounds how long a plugin may wait inside host calls.
//!
//! Waiting is what counts, not the time on the wall: a plugin that stands in line for a processor, because others keep
//! the machine busy, has done nothing wrong.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Set by the engine's clock when it makes a plugin give way to others.
#[derive(Debug, Clone, Default)]
pub(super) struct GaveWay(Arc<AtomicBool>);

impl GaveWay {
    /// The plugin gives way now, and wants to go on.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// A run that ends with none once it has waited for longer than its limit.
pub(super) struct Bounded<F> {
    run: Pin<Box<F>>,
    gave_way: GaveWay,
    limit: Duration,
    waited: Duration,
    waiting_since: Option<Instant>,
    /// Made when the run waits for the first time: most never do.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<F> Bounded<F> {
    pub(super) fn new(run: F, gave_way: GaveWay, limit: Duration) -> Self {
        Bounded {
            run: Box::pin(run),
            gave_way,
            limit,
            waited: Duration::ZERO,
            waiting_since: None,
            alarm: None,
        }
    }
}

impl<F: Future> Future for Bounded<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
        if let Poll::Ready(output) = self.run.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        if self.gave_way.take() {
            return Poll::Pending;
        }
        let left = self.limit.saturating_sub(self.waited);
        if left.is_zero() {
            return Poll::Ready(None);
        }
        let now = Instant::now();
        self.waiting_since = Some(now);
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(now + left)));
        alarm.as_mut().reset(now + left);
        match alarm.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waiting_is_bounded() {
        let limit = Duration::from_secs(1);
        let nap = |seconds: f64| tokio::time::sleep(Duration::from_secs_f64(seconds));
        let short = async {
            nap(0.4).await;
            nap(0.4).await;
        };
        assert_eq!(Bounded::new(short, GaveWay::default(), limit).await, Some(()));
        let long = async {
            nap(0.6).await;
            nap(0.6).await;
        };
        assert_eq!(Bounded::new(long, GaveWay::default(), limit).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn giving_way_is_not_waiting() {
        let gave_way = GaveWay::default();
        let flag = gave_way.clone();
        let busy = async {
            for _ in 0..10 {
                flag.set();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        assert_eq!(Bounded::new(busy, gave_way, Duration::from_secs(2)).await, Some(()));
    }
}
