//! What a handler answers, and how errors become answers.
//!
//! Only the errors of this crate convert by themselves, because only of them it is known whether another try
//! can help. For all others the handler decides.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::{DecodeError, EffectError, config};

/// What becomes of an event: `Ok(())` is done.
pub type Verdict = Result<(), Failure>;

/// Why an event was not handled. Everything the handler did while it ran is forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Try again after the handler's back-off, up to `max-attempts`; then the event becomes a dead letter.
    Retry(String),
    /// Try again after at least the delay. Not counted as an attempt.
    Defer {
        /// The least time until the next run, in whole milliseconds: a fraction counts as one more. The most
        /// is `u32::MAX` milliseconds, about 49 days; what is longer is cut to it.
        delay: Duration,
        /// Shown to operators.
        reason: String,
    },
    /// Never try again: the event becomes a dead letter at once.
    Reject(String),
}

impl Failure {
    /// Asks for another try after the handler's back-off.
    pub fn retry(reason: impl fmt::Display) -> Self {
        Self::Retry(reason.to_string())
    }

    /// Asks for another try after at least `delay`, which is not counted as an attempt.
    pub fn defer(delay: Duration, reason: impl fmt::Display) -> Self {
        Self::Defer { delay, reason: reason.to_string() }
    }

    /// Gives the event up: it becomes a dead letter at once.
    pub fn reject(reason: impl fmt::Display) -> Self {
        Self::Reject(reason.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retry(reason) => write!(f, "retry: {reason}"),
            Self::Defer { delay, reason } => write!(f, "defer by {delay:?}: {reason}"),
            Self::Reject(reason) => write!(f, "reject: {reason}"),
        }
    }
}

impl Error for Failure {}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::reject(error)
    }
}

impl From<EffectError> for Failure {
    fn from(error: EffectError) -> Self {
        Self::reject(error)
    }
}

impl From<config::Error> for Failure {
    fn from(error: config::Error) -> Self {
        Self::retry(error)
    }
}

/// Decides what an error means for the event. The reason is the error with all its causes.
///
/// ```
/// use heddle_sdk::{Event, OrFail, Verdict};
///
/// fn handler(event: &Event) -> Verdict {
///     let amount: u64 = event.text()?.parse().or_reject()?;
///     let rate: u64 = std::fs::read_to_string("rate.txt").or_retry()?.parse().or_retry()?;
///     heddle_sdk::publish("price.set", &(amount * rate))?;
///     Ok(())
/// }
/// ```
pub trait OrFail<T> {
    /// Another try may help: [`Failure::Retry`].
    ///
    /// # Errors
    /// The error as a retry.
    fn or_retry(self) -> Result<T, Failure>;

    /// Another try may help, but not before `delay` has passed: [`Failure::Defer`].
    ///
    /// # Errors
    /// The error as a deferral.
    fn or_defer(self, delay: Duration) -> Result<T, Failure>;

    /// No other try can help: [`Failure::Reject`].
    ///
    /// # Errors
    /// The error as a reject.
    fn or_reject(self) -> Result<T, Failure>;
}

impl<T, E: Into<Box<dyn Error>>> OrFail<T> for Result<T, E> {
    fn or_retry(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::Retry(chain(error.into().as_ref())))
    }

    fn or_defer(self, delay: Duration) -> Result<T, Failure> {
        self.map_err(|error| Failure::Defer { delay, reason: chain(error.into().as_ref()) })
    }

    fn or_reject(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::Reject(chain(error.into().as_ref())))
    }
}

/// A delay as the host takes it. A fraction counts as one more, so that no delay is shortened; what does not
/// fit is cut to the most there is.
pub(crate) fn whole_milliseconds(delay: Duration) -> u32 {
    u32::try_from(delay.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

/// An error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Refusal;

    fn broken_json() -> Result<u64, DecodeError> {
        serde_json::from_str("nope").map_err(|cause| DecodeError::new("payload", cause))
    }

    #[test]
    fn a_decode_error_becomes_a_reject_with_its_cause() {
        let failure = broken_json().map_err(Failure::from).err();
        let text = "cannot decode the payload: expected ident at line 1 column 2";
        assert_eq!(failure, Some(Failure::reject(text)));
    }

    #[test]
    fn an_effect_error_becomes_a_reject_that_says_which() {
        let error = EffectError::new("publish on `out.x`", Refusal::TooMany { limit: 3 });
        let text = "publish on `out.x` refused: too many messages: the limit is 3";
        assert_eq!(Failure::from(error), Failure::reject(text));
    }

    #[test]
    fn a_config_error_becomes_a_retry() {
        let error = config::Error::new("limit", "x", "not a number");
        assert_eq!(Failure::from(error), Failure::retry("config `limit` cannot be `x`: not a number"));
    }

    #[test]
    fn a_deferral_is_never_shortened_but_by_what_fits() {
        assert_eq!(whole_milliseconds(Duration::ZERO), 0);
        assert_eq!(whole_milliseconds(Duration::from_micros(1001)), 2);
        assert_eq!(whole_milliseconds(Duration::MAX), u32::MAX);
    }

    #[test]
    fn other_errors_become_what_the_handler_says() {
        let parse = || "x".parse::<u8>();
        let text = "invalid digit found in string";
        let delay = Duration::from_secs(1);
        assert_eq!(parse().or_retry(), Err(Failure::retry(text)));
        assert_eq!(parse().or_reject(), Err(Failure::reject(text)));
        assert_eq!(parse().or_defer(delay), Err(Failure::defer(delay, text)));
        assert_eq!(Err::<u8, _>("plain text").or_retry(), Err(Failure::retry("plain text")));
    }
}
