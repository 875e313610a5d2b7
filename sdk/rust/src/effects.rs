//! What a handler publishes and answers. The host judges every effect at once and holds it back until the
//! verdict.
//!
//! Nothing is checked here: the host is the only judge, and [`testing`](crate::testing) judges alike.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::event::Headers;
use crate::host;

/// Publishes `payload` as JSON. [`Message`] can do more.
///
/// # Errors
/// The host refused the message, or the payload cannot be written as JSON.
pub fn publish<T: Serialize + ?Sized>(subject: impl Into<String>, payload: &T) -> Result<(), EffectError> {
    Message::json(subject, payload)?.publish()
}

/// Answers the event with `payload` as JSON. [`Reply`] can do more.
///
/// # Errors
/// The publisher did not ask for an answer, or the payload cannot be written as JSON.
pub fn reply<T: Serialize + ?Sized>(payload: &T) -> Result<(), EffectError> {
    Reply::json(payload)?.send()
}

/// A message to publish in the application's stream.
///
/// ```
/// use std::time::Duration;
/// use heddle_sdk::{EffectError, Message};
///
/// fn remind() -> Result<(), EffectError> {
///     let hour = Duration::from_secs(3600);
///     Message::json("order.reminder.c1", &"o-17")?.header("Priority", "low").publish_after(hour)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a message does nothing until it is published"]
pub struct Message {
    subject: String,
    headers: Headers,
    payload: Vec<u8>,
}

impl Message {
    /// A message with a JSON payload.
    ///
    /// # Errors
    /// The payload cannot be written as JSON.
    pub fn json<T: Serialize + ?Sized>(subject: impl Into<String>, payload: &T) -> Result<Self, EffectError> {
        let subject = subject.into();
        match serde_json::to_vec(payload) {
            Ok(payload) => Ok(Self::bytes(subject, payload)),
            Err(error) => Err(EffectError::new(on(&subject), Refusal::not_json(&error))),
        }
    }

    /// A message with a text payload.
    pub fn text(subject: impl Into<String>, payload: impl Into<String>) -> Self {
        Self::bytes(subject, payload.into())
    }

    /// A message with any payload.
    pub fn bytes(subject: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
        Self { subject: subject.into(), headers: Vec::new(), payload: payload.into() }
    }

    /// Adds a header. Names may repeat; a message has at most 64. The host refuses names that begin with
    /// `Nats-` or `Heddle-`, and `traceparent`, which it sets itself.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Publishes the message if the event is done.
    ///
    /// # Errors
    /// The host refused the message.
    pub fn publish(self) -> Result<(), EffectError> {
        host::publish(&self.subject, self.headers, self.payload)
            .map_err(|refusal| EffectError::new(on(&self.subject), refusal))
    }

    /// Publishes the message after a delay, counted from the commit. It survives restarts of host and server.
    /// The host counts in whole seconds: a fraction counts as one more.
    ///
    /// # Errors
    /// The host refused the message, or the delay is more than `u32::MAX` seconds (136 years).
    pub fn publish_after(self, delay: Duration) -> Result<(), EffectError> {
        let result = match whole_seconds(delay) {
            Some(seconds) => host::publish_after(&self.subject, self.headers, self.payload, seconds),
            None => Err(Refusal::Invalid(format!("a delay of {} seconds is too long", delay.as_secs()))),
        };
        result.map_err(|refusal| EffectError::new(on(&self.subject), refusal))
    }
}

/// An answer to the event, on the inbox that its publisher gave in the header `Heddle-Reply-To`. It is sent
/// once after the commit and not repeated if the host dies in between.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a reply does nothing until it is sent"]
pub struct Reply {
    headers: Headers,
    payload: Vec<u8>,
}

impl Reply {
    /// An answer in JSON.
    ///
    /// # Errors
    /// The payload cannot be written as JSON.
    pub fn json<T: Serialize + ?Sized>(payload: &T) -> Result<Self, EffectError> {
        match serde_json::to_vec(payload) {
            Ok(payload) => Ok(Self::bytes(payload)),
            Err(error) => Err(EffectError::new("reply", Refusal::not_json(&error))),
        }
    }

    /// An answer in text.
    pub fn text(payload: impl Into<String>) -> Self {
        Self::bytes(payload.into())
    }

    /// An answer in any form.
    pub fn bytes(payload: impl Into<Vec<u8>>) -> Self {
        Self { headers: Vec::new(), payload: payload.into() }
    }

    /// Adds a header, under the same rules as [`Message::header`].
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends the answer once the event is done.
    ///
    /// # Errors
    /// The event has no `Heddle-Reply-To` header, or the host refused the answer.
    pub fn send(self) -> Result<(), EffectError> {
        host::reply(self.headers, self.payload).map_err(|refusal| EffectError::new("reply", refusal))
    }
}

/// An effect was refused. The handler may go on without it or fail the event: `?` makes a reject of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectError {
    effect: String,
    refusal: Refusal,
}

impl EffectError {
    pub(crate) fn new(effect: impl Into<String>, refusal: Refusal) -> Self {
        Self { effect: effect.into(), refusal }
    }

    /// Why it was refused.
    #[must_use]
    pub fn refusal(&self) -> &Refusal {
        &self.refusal
    }
}

impl fmt::Display for EffectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} refused: {}", self.effect, self.refusal)
    }
}

impl Error for EffectError {}

/// Why an effect was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The subject is outside the handler's `publishes`.
    NotGranted(String),
    /// The subject, a header or the payload cannot be published; the text says what is wrong.
    Invalid(String),
    /// Larger than allowed.
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// More messages than allowed for one event.
    TooMany {
        /// The limit.
        limit: u32,
    },
}

impl Refusal {
    pub(crate) fn not_json(error: &serde_json::Error) -> Self {
        Self::Invalid(format!("cannot be written as JSON: {error}"))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted(text) => write!(f, "not granted: {text}"),
            Self::Invalid(text) => write!(f, "invalid: {text}"),
            Self::TooLarge { limit } => write!(f, "too large: the limit is {limit} bytes"),
            Self::TooMany { limit } => write!(f, "too many messages: the limit is {limit}"),
        }
    }
}

impl Error for Refusal {}

fn on(subject: &str) -> String {
    format!("publish on `{subject}`")
}

fn whole_seconds(delay: Duration) -> Option<u32> {
    let fraction = u64::from(delay.subsec_nanos() > 0);
    let seconds = delay.as_secs().checked_add(fraction)?;
    u32::try_from(seconds).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_delay_is_never_shortened() {
        assert_eq!(whole_seconds(Duration::ZERO), Some(0));
        assert_eq!(whole_seconds(Duration::from_secs(2)), Some(2));
        assert_eq!(whole_seconds(Duration::from_millis(2001)), Some(3));
        assert_eq!(whole_seconds(Duration::MAX), None);
    }

    #[test]
    fn a_payload_that_is_no_json_is_refused_with_its_subject() {
        let odd = BTreeMap::from([((1, 2), 3)]);
        let error = Message::json("out.x", &odd).err();
        let text = "cannot be written as JSON: key must be a string".to_owned();
        assert_eq!(error, Some(EffectError::new("publish on `out.x`", Refusal::Invalid(text))));
    }
}
