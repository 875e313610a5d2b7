//! Verdicts: how the run of an event ended, and why it failed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::effects::Effects;
use super::fingerprint::fingerprint;
use super::limit::Breach;

/// How the run of an event ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The effects are to be committed.
    Done(Effects),
    /// The effects are forgotten.
    Failed(Box<Failure>),
}

/// The class of a cause, as dead letters and counters name it. Checkpoints hold its place in this list: new ones come
/// at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CauseClass {
    /// The handler wanted another try.
    Retry,
    /// The handler wanted to see the event later.
    Defer,
    /// The handler never wants to see the event again.
    Reject,
    /// The handler could not read the payload.
    Decode,
    /// The handler gave up after the host had refused an effect for its subject or its headers.
    Effect,
    /// The plugin trapped or exited.
    Trap,
    /// A limit was breached.
    Limit,
    /// The event has no key.
    Key,
    /// The event's chain is longer than the hop limit.
    Hops,
    /// The server refuses to store the effects, alone as well.
    Refused,
    /// The host could not run the event. It waits, and that is not counted.
    Host,
    /// The event's subject or headers cannot be read.
    Unreadable,
}

impl CauseClass {
    /// All classes.
    pub const ALL: [CauseClass; 12] = [
        CauseClass::Retry,
        CauseClass::Defer,
        CauseClass::Reject,
        CauseClass::Decode,
        CauseClass::Effect,
        CauseClass::Trap,
        CauseClass::Limit,
        CauseClass::Key,
        CauseClass::Hops,
        CauseClass::Refused,
        CauseClass::Host,
        CauseClass::Unreadable,
    ];

    /// The class in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            CauseClass::Retry => "retry",
            CauseClass::Defer => "defer",
            CauseClass::Reject => "reject",
            CauseClass::Decode => "decode",
            CauseClass::Effect => "effect",
            CauseClass::Trap => "trap",
            CauseClass::Limit => "limit",
            CauseClass::Key => "key",
            CauseClass::Hops => "hops",
            CauseClass::Refused => "refused",
            CauseClass::Host => "host",
            CauseClass::Unreadable => "unreadable",
        }
    }
}

/// What the reason of a rejection begins with if the payload could not be read. Part of the contract, see `wit/`.
pub const DECODE_PREFIX: &str = "cannot decode";

/// Why an event was not handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Decides, with `breach`, whether the event is tried again.
    pub class: CauseClass,
    /// The reason for people. It may be the words of the plugin: of any length, and with control characters.
    pub message: String,
    /// The delay after which a deferred event is to run again, without an attempt being counted.
    pub delay: Option<Duration>,
    /// The limit that was exceeded. `None`: the cause is another one.
    pub breach: Option<Breach>,
    /// The plugin's frames, the innermost first; empty where there was no trap.
    pub backtrace: Vec<String>,
    /// The last lines that the plugin wrote.
    pub logs: Vec<String>,
}

impl Failure {
    /// A failure of this class.
    pub fn new(class: CauseClass, message: impl Into<String>) -> Self {
        let message = message.into();
        Failure { class, message, delay: None, breach: None, backtrace: Vec::new(), logs: Vec::new() }
    }

    /// The handler wants another try.
    pub fn retry(reason: impl Into<String>) -> Self {
        Failure::new(CauseClass::Retry, reason)
    }

    /// The handler wants to see the event later.
    pub fn defer(delay: Duration, reason: impl Into<String>) -> Self {
        Failure { delay: Some(delay), ..Failure::new(CauseClass::Defer, reason) }
    }

    /// The handler never wants to see the event again.
    pub fn reject(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        let class = if reason.starts_with(DECODE_PREFIX) { CauseClass::Decode } else { CauseClass::Reject };
        Failure::new(class, reason)
    }

    /// The plugin trapped or exited.
    pub fn trap(message: impl Into<String>) -> Self {
        Failure::new(CauseClass::Trap, message)
    }

    /// A limit was breached.
    pub fn limit(breach: Breach) -> Self {
        Failure { breach: Some(breach), ..Failure::new(CauseClass::Limit, breach.to_string()) }
    }

    /// This failure, where the host had refused something before that may be why.
    #[must_use]
    pub fn after(mut self, refused: Option<String>) -> Self {
        if let Some(refused) = refused {
            self.message = format!("{}; {refused}", self.message);
        }
        self
    }

    /// Class and limit in one word, as counters name them: `trap`, `limit:time`.
    pub fn kind(&self) -> String {
        match self.breach {
            Some(breach) => format!("{}:{}", self.class.as_str(), breach.limit.as_str()),
            None => self.class.as_str().to_owned(),
        }
    }

    /// What failures of the same cause have in common.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.kind(), &self.message, &self.backtrace)
    }
}
