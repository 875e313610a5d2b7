//! Attempts: what is known of an event that failed, and what follows when it fails again.
//!
//! [`decide`] is the only place where a failure becomes a retry or a dead letter.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::limit::Limit;
use super::policy::{Answer, RetryPolicy};
use super::position::Position;
use super::verdict::{CauseClass, Failure};

/// The longest cause that is kept of a retry, in bytes.
pub const MAX_CAUSE: usize = 100;

/// Failed runs whose times are kept.
pub const MAX_TIMES: usize = 8;

/// A retry that is under way. Times are in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Which event it is.
    pub position: Position,
    /// How many attempts are used up.
    pub attempts: u32,
    /// When the event failed for the first time. An outage begins it again.
    pub first: u64,
    /// When the next attempt is due.
    pub due: u64,
    /// Why the last one failed.
    pub class: CauseClass,
    /// Why the last one failed, in words: at most [`MAX_CAUSE`] bytes.
    pub cause: String,
    /// When the last [`MAX_TIMES`] runs failed, deferrals included, counted from `first`.
    pub times: Vec<u32>,
}

impl Attempt {
    /// What the attempt takes in a checkpoint at worst, in bytes.
    pub fn bytes(&self) -> usize {
        const PLAIN: usize = 40;
        PLAIN + self.cause.len() + 5 * self.times.len()
    }
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Run again after the delay. `attempts` is what has been used up by now.
    Again {
        /// Counted from now; zero: at once.
        delay: Duration,
        /// To be stored with the retry. Deferrals and failures of the host add nothing to it.
        attempts: u32,
    },
    /// Never run again.
    DeadLetter(Why),
}

/// Why an event is not run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its cause is not one to be tried again.
    Cause,
    /// `max-attempts` is used up.
    Attempts,
    /// `max-elapsed` is used up.
    Elapsed,
}

/// Decides what follows from `failure`. `before` is what is known of earlier failures of the event, `now` in
/// milliseconds since 1970; `random` is uniform over all of `u64` and spreads the back-off.
pub fn decide(
    policy: &RetryPolicy,
    before: Option<&Attempt>,
    failure: &Failure,
    now: u64,
    random: u64,
) -> Decision {
    let used = before.map_or(0, |attempt| attempt.attempts);
    let first = before.map_or(now, |attempt| attempt.first);
    let left = policy.max_elapsed.saturating_sub(Duration::from_millis(now.saturating_sub(first)));
    if failure.class == CauseClass::Host {
        return Decision::Again { delay: failure.delay.unwrap_or_default(), attempts: used };
    }
    if let Some(delay) = failure.delay {
        if left.is_zero() {
            return Decision::DeadLetter(Why::Elapsed);
        }
        return Decision::Again { delay: delay.min(left), attempts: used };
    }
    match answer(policy, failure) {
        Answer::DeadLetter => return Decision::DeadLetter(Why::Cause),
        Answer::Once if before.is_some_and(|attempt| attempt.class == failure.class) => {
            return Decision::DeadLetter(Why::Cause);
        }
        Answer::Once | Answer::Retry => {}
    }
    let attempts = used.saturating_add(1);
    if attempts >= policy.max_attempts.get() {
        return Decision::DeadLetter(Why::Attempts);
    }
    if left.is_zero() {
        return Decision::DeadLetter(Why::Elapsed);
    }
    Decision::Again { delay: policy.backoff.delay(attempts, random).min(left), attempts }
}

fn answer(policy: &RetryPolicy, failure: &Failure) -> Answer {
    let on = &policy.on;
    match (failure.class, failure.breach.map(|breach| breach.limit)) {
        (CauseClass::Retry | CauseClass::Defer | CauseClass::Host, _) => Answer::Retry,
        (CauseClass::Reject | CauseClass::Key | CauseClass::Hops | CauseClass::Unreadable, _) => {
            Answer::DeadLetter
        }
        (CauseClass::Decode, _) => on.decode,
        (CauseClass::Effect, _) => on.effect,
        (CauseClass::Trap, _) => on.trap,
        (CauseClass::Refused, _) => on.refused,
        (CauseClass::Limit, Some(Limit::Time) | None) => on.time,
        (CauseClass::Limit, Some(Limit::Memory | Limit::Table)) => on.memory,
        (CauseClass::Limit, Some(Limit::Stack)) => on.stack,
        (CauseClass::Limit, Some(Limit::Messages | Limit::Output | Limit::Message | Limit::State)) => {
            on.output
        }
        (CauseClass::Limit, Some(Limit::HostCalls | Limit::HostCall)) => on.host_calls,
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::limit::Breach;

    fn policy() -> RetryPolicy {
        let max_elapsed = Duration::from_secs(10);
        RetryPolicy { max_attempts: NonZeroU32::new(3).unwrap(), max_elapsed, ..RetryPolicy::default() }
    }

    fn after(attempts: u32, class: CauseClass) -> Attempt {
        Attempt {
            position: Position::Stream(1),
            attempts,
            first: 1_000,
            due: 0,
            class,
            cause: String::new(),
            times: Vec::new(),
        }
    }

    fn limit(limit: Limit) -> Failure {
        Failure::limit(Breach { limit, allowed: 1, used: Some(2) })
    }

    #[test]
    fn retries_end_with_a_dead_letter_after_max_attempts() {
        let retry = Failure::retry("later");
        let decide = |used: u32| {
            let before = (used > 0).then(|| after(used, CauseClass::Retry));
            decide(&policy(), before.as_ref(), &retry, 1_000, 0)
        };
        assert!(matches!(decide(0), Decision::Again { attempts: 1, .. }));
        assert!(matches!(decide(1), Decision::Again { attempts: 2, .. }));
        assert_eq!(decide(2), Decision::DeadLetter(Why::Attempts));
    }

    #[test]
    fn a_deferral_is_not_an_attempt_and_is_bounded_by_max_elapsed() {
        let before = after(2, CauseClass::Defer);
        let defer = Failure::defer(Duration::from_secs(9), "");
        let at = |now| decide(&policy(), Some(&before), &defer, now, 0);
        assert_eq!(at(1_000), Decision::Again { delay: Duration::from_secs(9), attempts: 2 });
        assert_eq!(at(9_000), Decision::Again { delay: Duration::from_secs(2), attempts: 2 });
        assert_eq!(at(11_000), Decision::DeadLetter(Why::Elapsed));
    }

    #[test]
    fn retries_end_with_max_elapsed_too() {
        let retry = Failure::retry("");
        let decision = decide(&policy(), Some(&after(1, CauseClass::Retry)), &retry, 11_000, 0);
        assert_eq!(decision, Decision::DeadLetter(Why::Elapsed));
    }

    #[test]
    fn a_limit_of_time_or_memory_is_tried_once_more_and_others_never() {
        let first = |of| decide(&policy(), None, &limit(of), 1_000, 0);
        let again = |of| decide(&policy(), Some(&after(1, CauseClass::Limit)), &limit(of), 1_000, 0);
        for of in [Limit::Time, Limit::Memory, Limit::HostCalls] {
            assert!(matches!(first(of), Decision::Again { attempts: 1, .. }), "{of:?}");
            assert_eq!(again(of), Decision::DeadLetter(Why::Cause), "{of:?}");
        }
        for of in [Limit::Stack, Limit::Messages, Limit::Output, Limit::State] {
            assert_eq!(first(of), Decision::DeadLetter(Why::Cause), "{of:?}");
        }
    }

    #[test]
    fn each_cause_has_the_answer_that_the_policy_gives_it() {
        let mut policy = policy();
        policy.on.effect = Answer::Retry;
        policy.on.trap = Answer::DeadLetter;
        policy.on.decode = Answer::Once;
        let first = |failure: &Failure| decide(&policy, None, failure, 0, 0);
        assert!(matches!(first(&Failure::new(CauseClass::Effect, "")), Decision::Again { .. }));
        assert!(matches!(first(&Failure::trap("")), Decision::DeadLetter(_)));
        assert!(matches!(first(&Failure::reject("cannot decode the payload: no")), Decision::Again { .. }));
        assert!(matches!(first(&Failure::reject("no such customer")), Decision::DeadLetter(_)));
        assert!(matches!(first(&Failure::new(CauseClass::Key, "")), Decision::DeadLetter(_)));
        assert!(matches!(first(&Failure::new(CauseClass::Unreadable, "")), Decision::DeadLetter(_)));
    }

    #[test]
    fn what_the_host_could_not_run_waits_for_as_long_as_it_takes() {
        let mut failure = Failure::new(CauseClass::Host, "no instance");
        failure.delay = Some(Duration::from_millis(500));
        let decision = decide(&policy(), Some(&after(2, CauseClass::Retry)), &failure, 1_000_000, 0);
        assert_eq!(decision, Decision::Again { delay: Duration::from_millis(500), attempts: 2 });
    }
}
