//! Policies of a handler: retry, what follows a dead letter, outages, rate and limits.

use std::num::NonZeroU32;
use std::time::Duration;

/// How long is waited between two tries: of an event, or of a request that the server did not answer.
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
        Backoff::doubling(Duration::from_millis(100), Duration::from_secs(30))
    }
}

impl Backoff {
    /// Waits that double.
    pub const fn doubling(initial: Duration, max: Duration) -> Self {
        Backoff { initial, factor: 2.0, max }
    }

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

/// What is done about a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Tried again, up to `max-attempts`.
    Retry,
    /// Tried again once, in a new instance; if the same happens again, a dead letter.
    Once,
    /// Never tried again.
    DeadLetter,
}

/// What is done about each cause that a handler does not decide upon by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answers {
    /// The plugin trapped or exited. Default retry.
    pub trap: Answer,
    /// Run time was used up. Default once.
    pub time: Answer,
    /// Memory was used up. Default once: an instance that serves many events may have leaked.
    pub memory: Answer,
    /// The stack was used up. Default dead letter.
    pub stack: Answer,
    /// Messages, their bytes or the state were more than allowed. Default dead letter.
    pub output: Answer,
    /// More host calls, or more bytes in one, than allowed. Default once.
    pub host_calls: Answer,
    /// An effect was refused for its subject or its headers. Default dead letter.
    pub effect: Answer,
    /// The handler could not read the payload. Default dead letter.
    pub decode: Answer,
    /// The server refuses to store the effects. Default dead letter.
    pub refused: Answer,
}

impl Default for Answers {
    fn default() -> Self {
        use Answer::{DeadLetter, Once, Retry};
        Answers {
            trap: Retry,
            time: Once,
            memory: Once,
            stack: DeadLetter,
            output: DeadLetter,
            host_calls: Once,
            effect: DeadLetter,
            decode: DeadLetter,
            refused: DeadLetter,
        }
    }
}

/// When an event is tried again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// How often an event is run before it becomes a dead letter. Default 5.
    pub max_attempts: NonZeroU32,
    /// How long after its first failure an event may still be tried again, deferrals included. Default 24 h.
    pub max_elapsed: Duration,
    /// How long the key waits between two tries.
    pub backoff: Backoff,
    /// What is done about causes that the handler does not decide upon by itself.
    pub on: Answers,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            max_attempts: NonZeroU32::new(5).expect("5 is not 0"),
            max_elapsed: Duration::from_secs(24 * 3600),
            backoff: Backoff::default(),
            on: Answers::default(),
        }
    }
}

/// What becomes of a key when one of its events becomes a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDeadLetter {
    /// The key goes on with its next event.
    #[default]
    Continue,
    /// The key's later events are held back, in order, until the dead letter is replayed or released.
    HoldKey,
}

/// When everything fails, so that it is no longer the events' fault.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutagePolicy {
    /// Within which time the keys must have failed. Default 10 s.
    pub window: Duration,
    /// How many different keys must have failed, with nothing that succeeds in between. Default 20.
    pub keys: u32,
    /// How long the circuit waits before each probe. Default 500 ms, growing by 2 to 5 s.
    pub probe: Backoff,
    /// How long the circuit may be open before failures count again. Default 24 h.
    pub max_open: Duration,
}

impl Default for OutagePolicy {
    fn default() -> Self {
        let (initial, max) = (Duration::from_millis(500), Duration::from_secs(5));
        OutagePolicy {
            window: Duration::from_secs(10),
            keys: 20,
            probe: Backoff { initial, factor: 2.0, max },
            max_open: Duration::from_secs(24 * 3600),
        }
    }
}

/// How fast a handler's events are begun.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Runs begun per second, above 0; none: as many as there are.
    pub rate: Option<f64>,
    /// Runs at once. Default 64.
    pub concurrency: NonZeroU32,
}

/// The most runs of one handler at once.
pub const MAX_CONCURRENCY: u32 = 64;

impl Default for Pace {
    fn default() -> Self {
        Pace { rate: None, concurrency: NonZeroU32::new(MAX_CONCURRENCY).expect("it is not 0") }
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
    /// Calls of the host's functions. Default 1,000,000.
    pub host_calls: u64,
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
            host_calls: 1_000_000,
        }
    }
}

/// How long an instance of a plugin lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instances {
    /// Every event gets one of its own.
    Fresh,
    /// One instance serves N events, one after the other.
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
