//! Policies of a handler: retry and limits.

use std::num::NonZeroU32;
use std::time::Duration;

/// How long a key waits between two tries of an event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The bound of the first wait. Default 100 ms.
    pub initial: Duration,
    /// What each bound is multiplied with for the next, at least 1. Default 2.
    pub factor: f64,
    /// The largest bound. Default 30 s.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { initial: Duration::from_millis(100), factor: 2.0, max: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// The bound of the wait after `attempts` failures, counted from 1.
    pub fn bound(&self, attempts: u32) -> Duration {
        let exponent = i32::try_from(attempts.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.initial.as_secs_f64() * self.factor.powi(exponent);
        Duration::try_from_secs_f64(seconds).unwrap_or(self.max).min(self.max)
    }

    /// The wait after `attempts` failures: full jitter, anything from 0 to the bound.
    ///
    /// Source: Marc Brooker, "Exponential Backoff And Jitter", 2015.
    pub fn delay(&self, attempts: u32, random: u64) -> Duration {
        let bound = self.bound(attempts).as_nanos();
        let nanos = (bound * u128::from(random)) >> 64;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// When an event is tried again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// How often an event is run before it becomes a dead letter. Default 5.
    pub max_attempts: NonZeroU32,
    pub backoff: Backoff,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy { max_attempts: NonZeroU32::new(5).expect("5 is not 0"), backoff: Backoff::default() }
    }
}

/// What one event may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Run time of the plugin. Waiting inside a host call is bounded by five times of it. Default 2 s.
    pub time: Duration,
    /// Linear memory of the instance, in bytes. Default 64 MiB.
    pub memory: u64,
    /// Messages and replies. Default 100, at most 900.
    pub messages: u32,
    /// All messages and replies together, in bytes. Default 1 MiB.
    pub output: u64,
    /// The state of the key, in bytes. Default 256 KiB.
    pub state: u64,
}

/// The most messages of one event: they must fit into one batch of 1,000 together with the checkpoint, the
/// state and the schedule of each.
pub const MAX_MESSAGES: u32 = 900;

impl Default for Limits {
    fn default() -> Self {
        Limits {
            time: Duration::from_secs(2),
            memory: 64 << 20,
            messages: 100,
            output: 1 << 20,
            state: 256 << 10,
        }
    }
}

/// How long an instance of a plugin lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instances {
    /// Every event gets one of its own.
    Fresh,
    /// One instance serves so many events, one after the other.
    Reuse(NonZeroU32),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_grows_to_its_maximum_and_stays_below_the_bound() {
        let backoff = Backoff::default();
        assert_eq!(backoff.bound(1), Duration::from_millis(100));
        assert_eq!(backoff.bound(3), Duration::from_millis(400));
        assert_eq!(backoff.bound(60), Duration::from_secs(30));
        assert_eq!(backoff.bound(u32::MAX), Duration::from_secs(30));
        assert_eq!(backoff.delay(1, 0), Duration::ZERO);
        assert!(backoff.delay(3, u64::MAX) < backoff.bound(3));
        assert_eq!(backoff.delay(3, u64::MAX / 2).as_millis(), 199);
    }
}
