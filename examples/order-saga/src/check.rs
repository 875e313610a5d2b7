//! The checker: a pure function over everything the stream holds.
//!
//! It promises to name every breach of what the saga and the host promise: an event lost, repeated, out of
//! order, without a cause or with a wrong one; a decision or a sum that does not follow from the events
//! before it; a dead letter. It follows each order and each customer through the stream by what the messages
//! say, and only then compares the headers of the host with what it found.

mod cause;
mod content;
mod credit;
mod lives;
mod order;

#[cfg(test)]
mod faults;
#[cfg(test)]
pub(crate) mod model;

use std::fmt;

use serde::Serialize;

use self::lives::Lives;
use crate::event::{Event, Message, Reading};
use crate::orders::Order;

/// What the stream is checked against.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The stream's name, as the host writes it in `Heddle-Cause`.
    pub stream: &'a str,
    /// What a customer may have reserved at a time.
    pub limit: u64,
    /// The item that is no longer made.
    pub discontinued: &'a str,
    /// The orders whose storage the server acknowledged; others may be in the stream too.
    pub acknowledged: &'a [Acknowledged],
}

/// An order the server said it stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// What was placed.
    pub order: Order,
    /// Where the server said it is.
    pub sequence: u64,
}

/// What kind of promise is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// An event that must be there is not.
    Lost,
    /// An event is there more than once.
    Duplicate,
    /// Events of a customer are not in the order of what they came from.
    Reorder,
    /// An event is there though nothing before it can have caused it.
    Phantom,
    /// A header of the host names another event than the one it came from.
    WrongCause,
    /// An event says something that does not follow from the order.
    WrongContent,
    /// A credit decision or a sum does not follow from the events before it.
    Credit,
    /// The notices of a customer are not numbered 1, 2, 3…
    Notice,
    /// An event was given up.
    DeadLetter,
    /// A message that is none of the saga's.
    Unreadable,
}

/// One broken promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// What kind.
    pub rule: Rule,
    /// The message that shows it, or that is missing its successor.
    pub sequence: u64,
    /// What is wrong, for people.
    pub text: String,
}

impl Fault {
    fn new(rule: Rule, sequence: u64, text: impl Into<String>) -> Self {
        Self { rule, sequence, text: text.into() }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Duplicate => "duplicate",
            Self::Reorder => "out of order",
            Self::Phantom => "without cause",
            Self::WrongCause => "wrong cause",
            Self::WrongContent => "wrong content",
            Self::Credit => "wrong credit",
            Self::Notice => "wrong number",
            Self::DeadLetter => "dead letter",
            Self::Unreadable => "unreadable",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at sequence {}: {}", self.rule, self.sequence, self.text)
    }
}

/// What the checker found.
#[derive(Debug)]
pub struct Report {
    /// The events of the saga, in stream order.
    pub events: Vec<Event>,
    /// How many events were given up.
    pub dead_letters: u64,
    /// Every broken promise, in stream order.
    pub faults: Vec<Fault>,
}

/// Checks all messages of the stream, given in stream order.
pub fn check(messages: &[Message], terms: &Terms<'_>) -> Report {
    let mut faults = Vec::new();
    let (events, dead_letters) = read(messages, &mut faults);
    let lives = Lives::of(&events);
    lives::acknowledged(&lives, terms, &mut faults);
    lives::once(&lives, &mut faults);
    order::lanes(&events, &lives, &mut faults);
    order::notices(&events, &mut faults);
    cause::check(&events, &lives, terms, &mut faults);
    content::check(&lives, terms, &mut faults);
    credit::answers(&events, &lives, terms, &mut faults);
    credit::bounds(&events, terms, &mut faults);
    faults.sort_by_key(|fault| fault.sequence);
    Report { events, dead_letters, faults }
}

/// Reads the saga's events; what is none of them is a fault, but for the host's own messages.
fn read(messages: &[Message], faults: &mut Vec<Fault>) -> (Vec<Event>, u64) {
    let mut events = Vec::new();
    let mut dead_letters = 0;
    for message in messages {
        match Event::read(message) {
            Reading::Event(event) => events.push(event),
            Reading::Internal => {}
            Reading::DeadLetter => {
                dead_letters += 1;
                let text = format!("`{}` ({})", message.subject, host_headers(message));
                faults.push(Fault::new(Rule::DeadLetter, message.sequence, text));
            }
            Reading::Unreadable(why) => {
                let text = format!("`{}`: {why}", message.subject);
                faults.push(Fault::new(Rule::Unreadable, message.sequence, text));
            }
        }
    }
    (events, dead_letters)
}

/// What the host wrote about a message, on one line.
pub fn host_headers(message: &Message) -> String {
    let ours = message.headers.iter().filter(|(name, _)| name.starts_with("Heddle-"));
    let lines: Vec<_> = ours.map(|(name, value)| format!("{name}: {value}")).collect();
    match lines.is_empty() {
        true => "no Heddle headers".to_owned(),
        false => lines.join(", "),
    }
}
