//! Effects: what a handler asked for while it ran, and the rules for it.
//!
//! Promises that what [`Draft`] accepted can be stored: the server has no reason to refuse it. Whatever is
//! not accepted is answered to the handler and changes nothing.

use bytes::Bytes;
use thiserror::Error;

use super::event::Headers;
use super::limit::{Breach, Limit};
use super::names::{HEDDLE_PREFIX, NATS_PREFIX, TRACEPARENT};
use super::subject::{self, Pattern};

/// The most headers of one message.
pub const MAX_HEADERS: usize = 64;

/// What the host's own headers of a message can take at the most, in bytes.
pub const HEADER_RESERVE: usize = 4096;

/// What the headers of one message may take, in bytes: the server's limit is 64 KiB.
pub const MAX_HEADER_BYTES: usize = 65_535;

/// The largest message that a file store takes, with room to spare, in bytes.
pub const MAX_STORED: usize = 31 << 20;

/// The longest delay of `publish-after`: ten years, in seconds.
pub const MAX_DELAY_SECONDS: u32 = 10 * 365 * 24 * 3600;

/// A message that a handler publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where to publish, in full; accepted only within `publishes`.
    pub subject: Box<str>,
    /// What the handler set; the host adds its own when it commits.
    pub headers: Headers,
    /// Any bytes; subject, headers and payload together are bounded by [`Allowance::message`].
    pub payload: Bytes,
}

impl Message {
    /// What the message counts for against `limits.output`, in bytes.
    pub fn size(&self) -> usize {
        self.subject.len() + self.headers.size() + self.payload.len()
    }
}

/// When a message is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// In the commit.
    Now,
    /// N seconds after the commit; never 0.
    After(u32),
}

/// An answer to the publisher of the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The inbox.
    pub subject: Box<str>,
    /// What the handler set; nothing is added.
    pub headers: Headers,
    /// Any bytes; counts against the same limits as a message.
    pub payload: Bytes,
}

/// What becomes of the key's state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StateChange {
    /// It stays as it was before the event.
    #[default]
    Keep,
    /// The whole new value, in place of the one before; it may be empty.
    Set(Bytes),
    /// The key has no state afterwards.
    Clear,
}

impl StateChange {
    /// Makes the change.
    pub fn apply(&self, state: &mut Option<Bytes>) {
        match self {
            StateChange::Keep => {}
            StateChange::Set(value) => *state = Some(value.clone()),
            StateChange::Clear => *state = None,
        }
    }
}

/// All that one event had for an effect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// In the order in which they were published; those for now are stored in that order.
    pub messages: Vec<(Message, When)>,
    /// At most one. Sent after the commit and not part of it, so it may get lost.
    pub replies: Vec<Reply>,
    /// The last change that the handler asked for; by default none.
    pub state: StateChange,
}

/// Why an effect was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The subject, given here, is legal, but the operator has not granted it: no pattern of `publishes` matches.
    #[error("subject `{0}` is not within the handler's `publishes`")]
    NotGranted(String),
    /// It could never be stored or sent, for the reason given here: a bad subject, header or delay, or no inbox.
    #[error("{0}")]
    Invalid(String),
    /// More bytes than a limit allows.
    #[error("larger than the limit of {} bytes", .0.allowed)]
    TooLarge(Breach),
    /// More messages than a limit allows.
    #[error("more than the limit of {} messages", .0.allowed)]
    TooMany(Breach),
}

impl Refusal {
    /// The limit that was breached, if one was.
    pub fn breach(&self) -> Option<Breach> {
        match self {
            Refusal::TooLarge(breach) | Refusal::TooMany(breach) => Some(*breach),
            Refusal::NotGranted(_) | Refusal::Invalid(_) => None,
        }
    }
}

/// What a handler may ask for while one event runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// Where it may publish.
    pub publishes: Vec<Pattern>,
    /// How many messages and replies, at most 900, so that one event fits into one batch.
    pub messages: u32,
    /// All messages together, in bytes.
    pub output: u64,
    /// One message, in bytes: the server's `max_payload` less [`HEADER_RESERVE`].
    pub message: u64,
    /// The state of a key, in bytes.
    pub state: u64,
    /// What an inbox begins with, without the final dot.
    pub inbox_prefix: Box<str>,
}

/// The effects of an event that is running.
#[derive(Debug, Default)]
pub struct Draft {
    effects: Effects,
    bytes: u64,
    refused: Option<Refusal>,
}

impl Draft {
    /// Takes a message or says why not.
    pub fn publish(&mut self, message: Message, when: When, allowance: &Allowance) -> Result<(), Refusal> {
        let taken = self.take_message(message, when, allowance);
        self.note(taken)
    }

    /// Takes an answer for `inbox`, the value of the event's `Heddle-Reply-To`.
    pub fn reply(
        &mut self,
        inbox: Option<&str>,
        headers: Headers,
        payload: Bytes,
        allowance: &Allowance,
    ) -> Result<(), Refusal> {
        let taken = self.take_reply(inbox, headers, payload, allowance);
        self.note(taken)
    }

    /// Takes a new state or says why not.
    pub fn set_state(&mut self, value: Bytes, allowance: &Allowance) -> Result<(), Refusal> {
        let allowed = allowance.state.min(allowance.message);
        let size = value.len() as u64;
        if size > allowed {
            return self.note(Err(too_large(Limit::State, allowed, size)));
        }
        self.effects.state = StateChange::Set(value);
        Ok(())
    }

    /// Refuses what no draft can hold.
    pub fn refuse(&mut self, why: String) -> Refusal {
        let refusal = Refusal::Invalid(why);
        self.refused = Some(refusal.clone());
        refusal
    }

    /// The last refusal.
    pub fn refused(&self) -> Option<&Refusal> {
        self.refused.as_ref()
    }

    fn note(&mut self, answer: Result<(), Refusal>) -> Result<(), Refusal> {
        if let Err(refusal) = &answer {
            self.refused = Some(refusal.clone());
        }
        answer
    }

    fn take_message(&mut self, message: Message, when: When, allowance: &Allowance) -> Result<(), Refusal> {
        subject::check(&message.subject).map_err(|error| Refusal::Invalid(error.to_string()))?;
        check_reserved(&message.subject)?;
        if !allowance.publishes.iter().any(|pattern| pattern.matches(&message.subject)) {
            return Err(Refusal::NotGranted(message.subject.into()));
        }
        if let When::After(seconds) = when
            && seconds > MAX_DELAY_SECONDS
        {
            return Err(Refusal::Invalid(format!("delay is longer than {MAX_DELAY_SECONDS} seconds")));
        }
        check_headers(&message.headers)?;
        self.account(message.size(), allowance)?;
        self.effects.messages.push((message, when));
        Ok(())
    }

    fn take_reply(
        &mut self,
        inbox: Option<&str>,
        headers: Headers,
        payload: Bytes,
        allowance: &Allowance,
    ) -> Result<(), Refusal> {
        let inbox = inbox
            .ok_or_else(|| Refusal::Invalid(format!("event has no header `{}`", super::names::REPLY_TO)))?;
        subject::check(inbox).map_err(|error| Refusal::Invalid(error.to_string()))?;
        let is_inbox = inbox.strip_prefix(&*allowance.inbox_prefix).is_some_and(|rest| rest.starts_with('.'));
        if !is_inbox {
            return Err(Refusal::Invalid(format!(
                "`{inbox}` is not an inbox: it does not begin with `{}.`",
                allowance.inbox_prefix
            )));
        }
        if !self.effects.replies.is_empty() {
            return Err(Refusal::Invalid("event has been answered already".to_owned()));
        }
        check_headers(&headers)?;
        self.account(inbox.len() + headers.size() + payload.len(), allowance)?;
        self.effects.replies.push(Reply { subject: inbox.into(), headers, payload });
        Ok(())
    }

    /// Forgets the state.
    pub fn clear_state(&mut self) {
        self.effects.state = StateChange::Clear;
    }

    /// What this event has made of the state so far.
    pub fn state(&self) -> &StateChange {
        &self.effects.state
    }

    /// All that was accepted.
    pub fn finish(self) -> Effects {
        self.effects
    }

    fn account(&mut self, size: usize, allowance: &Allowance) -> Result<(), Refusal> {
        let size = size as u64;
        if size > allowance.message {
            return Err(too_large(Limit::Message, allowance.message, size));
        }
        let count = self.effects.messages.len() + self.effects.replies.len();
        if count >= allowance.messages as usize {
            let (allowed, used) = (u64::from(allowance.messages), Some(count as u64 + 1));
            return Err(Refusal::TooMany(Breach { limit: Limit::Messages, allowed, used }));
        }
        if self.bytes + size > allowance.output {
            return Err(too_large(Limit::Output, allowance.output, self.bytes + size));
        }
        self.bytes += size;
        Ok(())
    }
}

fn too_large(limit: Limit, allowed: u64, used: u64) -> Refusal {
    Refusal::TooLarge(Breach { limit, allowed, used: Some(used) })
}

/// The first tokens that no handler may publish under: the server's, the host's, the dead letters.
pub const RESERVED_TOKENS: [&str; 3] = ["_heddle", "dead", "_INBOX"];

/// Whether a subject belongs to the server, the host or the dead letters.
pub fn is_reserved(subject: &str) -> bool {
    let first = subject.split('.').next().unwrap_or_default();
    first.starts_with('$') || RESERVED_TOKENS.contains(&first)
}

fn check_reserved(subject: &str) -> Result<(), Refusal> {
    if is_reserved(subject) {
        return Err(Refusal::Invalid(format!("subject `{subject}` is reserved")));
    }
    Ok(())
}

/// Whether a header belongs to the server or the host.
pub fn is_reserved_header(name: &str) -> bool {
    let begins =
        |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    begins(NATS_PREFIX) || begins(HEDDLE_PREFIX) || name.eq_ignore_ascii_case(TRACEPARENT)
}

fn check_headers(headers: &Headers) -> Result<(), Refusal> {
    if headers.len() > MAX_HEADERS {
        return Err(Refusal::Invalid(format!("more than {MAX_HEADERS} headers")));
    }
    if headers.size() + HEADER_RESERVE > MAX_HEADER_BYTES {
        return Err(Refusal::Invalid(format!(
            "headers have {} bytes, more than {}",
            headers.size(),
            MAX_HEADER_BYTES - HEADER_RESERVE
        )));
    }
    for (name, value) in headers.iter() {
        check_header_name(name)?;
        if value.chars().any(char::is_control) {
            return Err(Refusal::Invalid(format!("value of header `{name}` has a control character")));
        }
        if value.trim() != value {
            return Err(Refusal::Invalid(format!(
                "value of header `{name}` begins or ends with white space"
            )));
        }
    }
    Ok(())
}

fn check_header_name(name: &str) -> Result<(), Refusal> {
    let legal = |c: char| c.is_ascii_graphic() && c != ':';
    if name.is_empty() || name.len() > 256 || !name.chars().all(legal) {
        return Err(Refusal::Invalid(format!("`{}` cannot name a header", name.escape_debug())));
    }
    if is_reserved_header(name) {
        return Err(Refusal::Invalid(format!("header `{name}` is reserved")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowance() -> Allowance {
        Allowance {
            publishes: vec!["out.>".parse().unwrap()],
            messages: 3,
            output: 1000,
            message: 600,
            state: 100,
            inbox_prefix: "_INBOX".into(),
        }
    }

    fn message(subject: &str, headers: &[(&str, &str)], bytes: usize) -> Message {
        Message {
            subject: subject.into(),
            headers: Headers::from_pairs(headers.iter().map(|(name, value)| ((*name).to_owned(), *value))),
            payload: vec![b'x'; bytes].into(),
        }
    }

    #[track_caller]
    fn refused(message: Message) -> Refusal {
        Draft::default().publish(message, When::Now, &allowance()).unwrap_err()
    }

    #[test]
    fn what_is_within_the_allowance_is_accepted() {
        let mut draft = Draft::default();
        draft.publish(message("out.a", &[("Kind", "x y")], 5), When::Now, &allowance()).unwrap();
        draft.publish(message("out.a", &[], 5), When::After(5), &allowance()).unwrap();
        draft.set_state("s".into(), &allowance()).unwrap();
        assert_eq!(draft.finish().messages.len(), 2);
    }

    #[test]
    fn forged_subjects_are_refused() {
        assert!(matches!(refused(message("in.a", &[], 0)), Refusal::NotGranted(_)));
        for subject in ["out.*", "out.>", "", "out..a", "out.a\r\n", "out. a"] {
            assert!(matches!(refused(message(subject, &[], 0)), Refusal::Invalid(_)), "{subject:?}");
        }
        let everything = Allowance { publishes: vec![">".parse().unwrap()], ..allowance() };
        for subject in ["$JS.API.STREAM.DELETE.X", "_heddle.a.checkpoint.0", "dead.a.b.c", "_INBOX.x"] {
            let answer = Draft::default().publish(message(subject, &[], 0), When::Now, &everything);
            assert!(matches!(answer, Err(Refusal::Invalid(_))), "{subject}");
        }
    }

    #[test]
    fn forged_headers_are_refused() {
        for (name, value) in [
            ("Nats-Msg-Id", "1"),
            ("nats-rollup", "sub"),
            ("Heddle-Cause", "x"),
            ("TraceParent", "x"),
            ("a:b", "x"),
            ("a b", "x"),
            ("", "x"),
            ("a\r\nb", "x"),
            ("a", "x\r\nNats-Rollup: all"),
            ("a", " x"),
        ] {
            let answer = refused(message("out.a", &[(name, value)], 0));
            assert!(matches!(answer, Refusal::Invalid(_)), "{name:?}: {value:?}");
        }
        let big = "x".repeat(63_000);
        assert!(matches!(refused(message("out.a", &[("a", &big)], 0)), Refusal::Invalid(_)));
        let bomb: Vec<(&str, &str)> = vec![("a", "b"); MAX_HEADERS + 1];
        assert!(matches!(refused(message("out.a", &bomb, 0)), Refusal::Invalid(_)));
    }

    #[test]
    fn count_and_bytes_are_bounded() {
        assert_eq!(refused(message("out.a", &[], 700)), too_large(Limit::Message, 600, 705));
        let mut draft = Draft::default();
        draft.publish(message("out.a", &[], 500), When::Now, &allowance()).unwrap();
        let answer = draft.publish(message("out.a", &[], 500), When::Now, &allowance());
        assert_eq!(answer, Err(too_large(Limit::Output, 1000, 1010)));
        draft.publish(message("out.a", &[], 5), When::Now, &allowance()).unwrap();
        draft.publish(message("out.a", &[], 5), When::Now, &allowance()).unwrap();
        let answer = draft.publish(message("out.a", &[], 5), When::Now, &allowance());
        let breach = Breach { limit: Limit::Messages, allowed: 3, used: Some(4) };
        assert_eq!(answer, Err(Refusal::TooMany(breach)));
        assert_eq!(draft.refused().and_then(Refusal::breach), Some(breach));
        let answer = draft.set_state(vec![0; 101].into(), &allowance());
        assert_eq!(answer, Err(too_large(Limit::State, 100, 101)));
    }

    #[test]
    fn a_reply_goes_to_an_inbox_only() {
        let mut draft = Draft::default();
        let mut reply = |inbox| draft.reply(inbox, Headers::default(), Bytes::new(), &allowance());
        assert!(reply(Some("_INBOX.abc.1")).is_ok());
        assert!(reply(Some("_INBOX.abc.1")).is_err(), "a second reply");
        assert!(reply(None).is_err());
        assert!(reply(Some("out.a")).is_err());
        assert!(reply(Some("_INBOXES.a")).is_err());
        assert!(reply(Some("_INBOX.*")).is_err());
    }
}
