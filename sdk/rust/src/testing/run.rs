//! How an event ended.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::double::World;
use crate::event::Headers;
use crate::log::Level;
use crate::verdict::whole_milliseconds;
use crate::{Failure, Verdict};

/// The verdict on one event and what it left. After a failure there are no messages, there is no reply, and
/// the state is what it was before; only the log lines remain.
#[derive(Clone, Debug)]
#[must_use]
pub struct Run {
    verdict: Verdict,
    messages: Vec<Published>,
    reply: Option<Published>,
    state: Option<Vec<u8>>,
    logs: Vec<LogLine>,
}

impl Run {
    pub(super) fn new(verdict: Verdict, state: Option<Vec<u8>>, world: World) -> Self {
        let World { messages, reply, logs, .. } = world;
        let Err(failure) = verdict else { return Self { verdict, messages, reply, state, logs } };
        let verdict = Err(as_the_host_reads_it(failure));
        Self { verdict, messages: Vec::new(), reply: None, state, logs }
    }

    /// What the handler answered.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Asserts that the event is done.
    ///
    /// # Panics
    /// If it failed.
    #[track_caller]
    pub fn done(&self) -> &Self {
        if let Err(failure) = &self.verdict {
            fail(format_args!("expected the event to be done, but: {failure}"));
        }
        self
    }

    /// Asserts that the event is to be tried again, and answers with the reason.
    ///
    /// # Panics
    /// If the verdict is another one.
    #[must_use]
    #[track_caller]
    pub fn retried(&self) -> &str {
        match &self.verdict {
            Err(Failure::Retry(reason)) => reason,
            other => fail(format_args!("expected a retry, but: {other:?}")),
        }
    }

    /// Asserts that the event is deferred, and answers with the delay in whole milliseconds and the reason.
    ///
    /// # Panics
    /// If the verdict is another one.
    #[must_use]
    #[track_caller]
    pub fn deferred(&self) -> (Duration, &str) {
        match &self.verdict {
            Err(Failure::Defer { delay, reason }) => (*delay, reason),
            other => fail(format_args!("expected a deferral, but: {other:?}")),
        }
    }

    /// Asserts that the event is rejected, and answers with the reason.
    ///
    /// # Panics
    /// If the verdict is another one.
    #[must_use]
    #[track_caller]
    pub fn rejected(&self) -> &str {
        match &self.verdict {
            Err(Failure::Reject(reason)) => reason,
            other => fail(format_args!("expected a reject, but: {other:?}")),
        }
    }

    /// What was published, in order. The headers are those the handler gave.
    #[must_use]
    pub fn messages(&self) -> &[Published] {
        &self.messages
    }

    /// The subjects of what was published, in order.
    #[must_use]
    pub fn subjects(&self) -> Vec<&str> {
        self.messages.iter().map(Published::subject).collect()
    }

    /// The only message on `subject`.
    ///
    /// # Panics
    /// If there is none or more than one.
    #[must_use]
    #[track_caller]
    pub fn message(&self, subject: &str) -> &Published {
        let mut on_subject = self.messages.iter().filter(|message| message.subject == subject);
        match (on_subject.next(), on_subject.next()) {
            (Some(message), None) => message,
            _ => fail(format_args!(
                "expected one message on `{subject}` among {:?}, verdict {:?}",
                self.subjects(),
                self.verdict
            )),
        }
    }

    /// The answer to the event, on the inbox of its publisher.
    #[must_use]
    pub fn reply(&self) -> Option<&Published> {
        self.reply.as_ref()
    }

    /// The state of the event's key after the run.
    ///
    /// # Panics
    /// If it is not what `T` asks for.
    #[must_use]
    #[track_caller]
    pub fn state<T: DeserializeOwned>(&self) -> Option<T> {
        self.state.as_deref().map(|bytes| decode(bytes))
    }

    /// The state of the event's key after the run, as it was stored.
    #[must_use]
    pub fn state_bytes(&self) -> Option<&[u8]> {
        self.state.as_deref()
    }

    /// What was logged, in order.
    #[must_use]
    pub fn logs(&self) -> &[LogLine] {
        &self.logs
    }
}

/// A message that was published, or a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub(super) subject: String,
    pub(super) headers: Headers,
    pub(super) payload: Vec<u8>,
    pub(super) delay: Duration,
}

impl Published {
    /// The subject; of a reply the inbox.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The first value of a header. Upper and lower case differ.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The payload as text.
    ///
    /// # Panics
    /// If it is not UTF-8.
    #[must_use]
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).expect("the payload is UTF-8")
    }

    /// The payload as JSON.
    ///
    /// # Panics
    /// If it is not what `T` asks for.
    #[must_use]
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        decode(&self.payload)
    }

    /// The delay after the commit, in whole seconds; zero without one.
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// What counts for `limits.output`.
    pub(super) fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.subject.len() + headers + self.payload.len()
    }
}

/// A line of the handler's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// What it says.
    pub message: String,
}

fn as_the_host_reads_it(failure: Failure) -> Failure {
    match failure {
        Failure::Defer { delay, reason } => {
            let delay = Duration::from_millis(u64::from(whole_milliseconds(delay)));
            Failure::Defer { delay, reason }
        }
        other => other,
    }
}

#[track_caller]
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> T {
    match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(error) => fail(format_args!("{error} in: {}", String::from_utf8_lossy(bytes))),
    }
}

#[track_caller]
#[expect(clippy::panic, reason = "an expectation that does not hold fails the test")]
fn fail(message: std::fmt::Arguments<'_>) -> ! {
    panic!("{message}");
}
