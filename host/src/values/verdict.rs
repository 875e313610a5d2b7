//! Verdicts: how the run of an event ended, and what follows from it.
//!
//! [`decide`] is the only place where a failure becomes a retry or a dead letter.

use std::fmt;
use std::time::Duration;

use super::effects::Effects;
use super::policy::RetryPolicy;

/// How the run of an event ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The effects are to be committed.
    Done(Effects),
    /// The effects are forgotten.
    Failed(Failure),
}

/// A limit of the sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    Time,
    Memory,
    Stack,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Limit::Time => "time",
            Limit::Memory => "memory",
            Limit::Stack => "stack",
        })
    }
}

/// Why an event was not handled, as far as its handler is to blame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The handler wants another try.
    Retry { reason: String },
    /// The handler wants to see the event later.
    Defer { delay: Duration, reason: String },
    /// The handler never wants to see the event again.
    Reject { reason: String },
    /// The plugin trapped or exited.
    Trap { message: String },
    /// The plugin went beyond a limit.
    Limit { limit: Limit, message: String },
    /// The event has no key.
    NoKey { reason: String },
    /// The event's chain is longer than the hop limit.
    Hops { reason: String },
    /// The server refuses to store the effects, alone as well.
    Refused { reason: String },
}

/// The class of a cause, as dead letters and metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CauseClass {
    Retry,
    Defer,
    Reject,
    Trap,
    Limit,
    Key,
    Hops,
    Refused,
}

impl CauseClass {
    /// The class in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            CauseClass::Retry => "retry",
            CauseClass::Defer => "defer",
            CauseClass::Reject => "reject",
            CauseClass::Trap => "trap",
            CauseClass::Limit => "limit",
            CauseClass::Key => "key",
            CauseClass::Hops => "hops",
            CauseClass::Refused => "refused",
        }
    }
}

/// Why an event will not be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    pub class: CauseClass,
    pub message: String,
}

impl Failure {
    /// The failure as the cause of a dead letter.
    pub fn cause(&self) -> Cause {
        let (class, message) = match self {
            Failure::Retry { reason } => (CauseClass::Retry, reason.clone()),
            Failure::Defer { reason, .. } => (CauseClass::Defer, reason.clone()),
            Failure::Reject { reason } => (CauseClass::Reject, reason.clone()),
            Failure::Trap { message } => (CauseClass::Trap, message.clone()),
            Failure::Limit { limit, message } => (CauseClass::Limit, format!("{limit}: {message}")),
            Failure::NoKey { reason } => (CauseClass::Key, reason.clone()),
            Failure::Hops { reason } => (CauseClass::Hops, reason.clone()),
            Failure::Refused { reason } => (CauseClass::Refused, reason.clone()),
        };
        Cause { class, message }
    }
}

/// What follows from a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Run again after the delay. `attempts` is what has been used up by now.
    Again { delay: Duration, attempts: u32 },
    /// Never run again.
    DeadLetter(Cause),
}

/// Decides what follows from `failure`, the handler having used up `attempts` before this run.
///
/// `random` is uniform over all of `u64`; it spreads the back-off.
pub fn decide(policy: &RetryPolicy, attempts: u32, failure: &Failure, random: u64) -> Decision {
    match failure {
        Failure::Defer { delay, .. } => Decision::Again { delay: *delay, attempts },
        Failure::Retry { .. } | Failure::Trap { .. } => {
            let attempts = attempts.saturating_add(1);
            if attempts >= policy.max_attempts.get() {
                return Decision::DeadLetter(failure.cause());
            }
            Decision::Again { delay: policy.backoff.delay(attempts, random), attempts }
        }
        Failure::Reject { .. }
        | Failure::Limit { .. }
        | Failure::NoKey { .. }
        | Failure::Hops { .. }
        | Failure::Refused { .. } => Decision::DeadLetter(failure.cause()),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::values::policy::Backoff;

    fn policy() -> RetryPolicy {
        RetryPolicy { max_attempts: NonZeroU32::new(3).unwrap(), backoff: Backoff::default() }
    }

    fn retry() -> Failure {
        Failure::Retry { reason: "later".into() }
    }

    #[test]
    fn retries_end_with_a_dead_letter_after_max_attempts() {
        assert!(matches!(decide(&policy(), 0, &retry(), 0), Decision::Again { attempts: 1, .. }));
        assert!(matches!(decide(&policy(), 1, &retry(), 0), Decision::Again { attempts: 2, .. }));
        let Decision::DeadLetter(cause) = decide(&policy(), 2, &retry(), 0) else { panic!() };
        assert_eq!(cause.class, CauseClass::Retry);
    }

    #[test]
    fn a_deferral_is_not_an_attempt() {
        let delay = Duration::from_secs(9);
        let defer = Failure::Defer { delay, reason: String::new() };
        assert_eq!(decide(&policy(), 2, &defer, 0), Decision::Again { delay, attempts: 2 });
    }

    #[test]
    fn a_rejection_or_a_breached_limit_is_never_tried_again() {
        let reject = Failure::Reject { reason: String::new() };
        assert!(matches!(decide(&policy(), 0, &reject, 0), Decision::DeadLetter(_)));
        let limit = Failure::Limit { limit: Limit::Memory, message: String::new() };
        assert!(matches!(decide(&policy(), 0, &limit, 0), Decision::DeadLetter(_)));
    }
}
