//! Atomic batches: all messages are stored, one after the other, or none.
//!
//! Source: NATS ADR-50, "JetStream Batch Publishing".

use std::collections::HashSet;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::client::{PublishError, PublishErrorKind, RequestError, RequestErrorKind};
use async_nats::header::{
    HeaderName, HeaderValue, NATS_BATCH_COMMIT, NATS_BATCH_ID, NATS_BATCH_SEQUENCE,
    NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_EXPECTED_STREAM, NATS_MESSAGE_TTL, NATS_ROLLUP, NATS_SCHEDULE,
    NATS_SCHEDULE_TARGET,
};
use futures::StreamExt;
use serde::Deserialize;
use thiserror::Error;

use super::shortage::shortage;
use super::{Broker, headers};
use heddle_values::batch::{BatchMessage, Keep};
use heddle_values::text::rfc3339;

/// How long the answers to single messages may still be on their way after the last one.
const ANSWERS_ON_THEIR_WAY: Duration = Duration::from_millis(250);

/// How long a denial may still be on its way to whoever takes it in when the answer is there: the server says it first.
const DENIAL_ON_ITS_WAY: Duration = Duration::from_millis(100);

/// A message of the batch is missing: it was refused or denied.
const INCOMPLETE: u64 = 10176;

/// Refusals for what a message is. All others are for what the stream or the server is at the moment (full, busy, without
/// a leader, changed by an operator), and may pass.
const CONTENT: [u64; 9] = [
    10054, // message exceeds the stream's maximum
    10097, // headers exceed the maximum
    10165, // TTL invalid
    10177, // header not supported in a batch
    10189, // schedule invalid
    10190, // schedule target invalid
    10191, // schedule TTL invalid
    10192, // schedule roll-up invalid
    10199, // batch too large
];

/// Refusals that say that another writer was faster, or that the batch is stored already.
const CONFLICT: [u64; 3] = [
    10071, // wrong last sequence
    10164, // wrong last sequence, without the number
    10201, // a message id that is known
];

/// A batch that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitAnswer {
    /// The sequence of the first message; the others follow without a gap.
    pub first: u64,
}

/// Why it is not known that a batch is stored.
#[derive(Debug, Clone, Error)]
pub enum CommitError {
    /// An expected last sequence was not met. Nothing was stored by this try.
    #[error("refused, another writer was faster: {0}")]
    Conflict(String),
    /// Nothing was stored; the same batch may be stored later.
    #[error("refused for now: {0}")]
    Passing(String),
    /// Nothing was stored, for there is no room; the same batch may be stored once somebody makes some.
    #[error("no room: {0}")]
    Full(String),
    /// Nothing was stored: the host's user may not publish on this subject.
    #[error("publishing on `{0}` is denied to the host's user")]
    Denied(String),
    /// Nothing was stored and never will be: something in the batch is at fault.
    #[error("refused: {0}")]
    Refused(String),
    /// There was no answer: the batch may be stored now, later or never.
    #[error("no answer: {0}")]
    Unanswered(String),
}

impl CommitError {
    /// Whether the same batch may be stored later without anybody changing the settings or the stream.
    pub fn may_pass(&self) -> bool {
        match self {
            CommitError::Conflict(_) | CommitError::Passing(_) | CommitError::Unanswered(_) => true,
            CommitError::Full(_) | CommitError::Denied(_) | CommitError::Refused(_) => false,
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    seq: u64,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// Whether the server's answers to each message are listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// Only the last answer counts. It tells all that is stored, but not always why something is not: when a message
    /// is refused, the batch is merely incomplete.
    Last,
    /// Every answer: finds out which message is at fault.
    Each,
}

impl Broker {
    /// Stores all messages of a batch in `stream`, or none. `id` has at most 64 characters and is used
    /// once.
    pub async fn commit(
        &self,
        stream: &str,
        id: &str,
        batch: &[BatchMessage],
        listen: Listen,
    ) -> Result<CommitAnswer, CommitError> {
        let (last, others) =
            batch.split_last().ok_or_else(|| CommitError::Refused("batch is empty".to_owned()))?;
        let began = Instant::now();
        // Everything is encoded before anything is sent: a batch that cannot be sent whole is not begun.
        let mut encoded = Vec::with_capacity(batch.len());
        for (index, message) in batch.iter().enumerate() {
            encoded.push(encode(id, index + 1, message)?);
        }
        let ear = match listen {
            Listen::Last => None,
            Listen::Each => Some(self.listen().await?),
        };
        let mut headers = encoded.into_iter();
        for (message, headers) in others.iter().zip(headers.by_ref()) {
            let (subject, payload) = (message.subject.clone(), message.payload.clone());
            let sent = match &ear {
                None => self.client.publish_with_headers(subject, headers, payload).await,
                Some(ear) => {
                    let inbox = ear.inbox.clone();
                    self.client.publish_with_reply_and_headers(subject, inbox, headers, payload).await
                }
            };
            sent.map_err(unsent)?;
        }
        let mut final_headers = headers.next().unwrap_or_default();
        final_headers.insert(NATS_BATCH_COMMIT, HeaderValue::from(1));
        // Once is enough: a batch that goes to several streams is incomplete in each.
        final_headers.insert(NATS_EXPECTED_STREAM, stream);
        let request = async_nats::Request::new().headers(final_headers).payload(last.payload.clone());
        // Cancel-safe: a request that is dropped is only not waited for.
        let answer = tokio::select! {
            answer = self.answer_to(stream, &last.subject, request) => answer?,
            // A message that is denied is not answered. Without the last one there is no batch.
            denied = self.denials.publish_denied(began, |subject| subject == last.subject) => {
                return Err(CommitError::Denied(denied));
            }
        };
        let error = match decide(&answer.payload, batch.len() as u64) {
            Err(error) => error,
            stored => return stored,
        };
        if matches!(error, CommitError::Passing(_))
            && let Some(denied) = self.denied_of(batch, began, &answer.payload).await
        {
            return Err(CommitError::Denied(denied));
        }
        match ear {
            Some(ear) => Err(ear.refusal().await.unwrap_or(error)),
            None => Err(error),
        }
    }

    /// If a batch is incomplete: which of its subjects the server has denied since it was begun.
    async fn denied_of(&self, batch: &[BatchMessage], began: Instant, answer: &[u8]) -> Option<String> {
        if read(answer).ok()?.error?.err_code != INCOMPLETE {
            return None;
        }
        let subjects: HashSet<&str> = batch.iter().map(|message| &*message.subject).collect();
        let denied = self.denials.publish_denied(began, |subject| subjects.contains(subject));
        tokio::time::timeout(DENIAL_ON_ITS_WAY, denied).await.ok()
    }

    async fn listen(&self) -> Result<Ear, CommitError> {
        let inbox = self.client.new_inbox();
        let answers = self.client.subscribe(inbox.clone()).await;
        let answers = answers.map_err(|error| CommitError::Unanswered(error.to_string()))?;
        Ok(Ear { inbox, answers })
    }
}

/// Hears the answers to the single messages of a batch.
struct Ear {
    inbox: String,
    answers: async_nats::Subscriber,
}

impl Ear {
    /// The first refusal for what a message is. The answers were sent before the last one, so they are here or on
    /// their way.
    async fn refusal(mut self) -> Option<CommitError> {
        while let Ok(Some(answer)) = tokio::time::timeout(ANSWERS_ON_THEIR_WAY, self.answers.next()).await {
            if let Err(refusal @ CommitError::Refused(_)) = decide(&answer.payload, 1) {
                return Some(refusal);
            }
        }
        None
    }
}

/// The library refuses by itself what the server would refuse.
fn unsent(error: PublishError) -> CommitError {
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded | PublishErrorKind::InvalidSubject => {
            CommitError::Refused(error.to_string())
        }
        PublishErrorKind::Send => CommitError::Unanswered(error.to_string()),
    }
}

pub(super) fn unanswered(error: RequestError) -> CommitError {
    match error.kind() {
        RequestErrorKind::MaxPayloadExceeded | RequestErrorKind::InvalidSubject => {
            CommitError::Refused(error.to_string())
        }
        _ => CommitError::Unanswered(error.to_string()),
    }
}

fn decide(answer: &[u8], count: u64) -> Result<CommitAnswer, CommitError> {
    let (seq, refusal) = match read(answer) {
        Ok(Answer { seq, error }) => (seq, error),
        Err(error) => return Err(CommitError::Unanswered(format!("answer is not understood: {error}"))),
    };
    let Some(refusal) = refusal else {
        return Ok(CommitAnswer { first: (seq + 1).saturating_sub(count) });
    };
    let text = format!("{} ({})", refusal.description, refusal.err_code);
    Err(if CONFLICT.contains(&refusal.err_code) {
        CommitError::Conflict(text)
    } else if CONTENT.contains(&refusal.err_code) {
        CommitError::Refused(text)
    } else if let Some(what) = shortage(refusal.err_code) {
        CommitError::Full(format!("{what}: {text}"))
    } else {
        CommitError::Passing(text)
    })
}

fn read(answer: &[u8]) -> Result<Answer, serde_json::Error> {
    serde_json::from_slice(answer)
}

fn encode(id: &str, sequence: usize, message: &BatchMessage) -> Result<HeaderMap, CommitError> {
    let invalid = |text: String| CommitError::Refused(format!("message on `{}`: {text}", message.subject));
    let mut map = headers::to_nats(&message.headers).map_err(invalid)?;
    let mut set = |name: HeaderName, value: &str| -> Result<(), CommitError> {
        let value: HeaderValue = value.parse().map_err(|_| invalid(format!("value of `{name}`")))?;
        map.insert(name, value);
        Ok(())
    };
    set(NATS_BATCH_ID, id)?;
    set(NATS_BATCH_SEQUENCE, &sequence.to_string())?;
    if let Some(expected) = message.expected_last {
        set(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, &expected.to_string())?;
    }
    if message.rollup {
        set(NATS_ROLLUP, "sub")?;
    }
    match message.keep {
        Keep::Stream => {}
        Keep::Always => set(NATS_MESSAGE_TTL, "never")?,
        Keep::Seconds(seconds) => set(NATS_MESSAGE_TTL, &format!("{seconds}s"))?,
    }
    if let Some(schedule) = &message.schedule {
        let since = schedule.at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let nanos = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        set(NATS_SCHEDULE, &format!("@at {}", rfc3339(nanos)))?;
        set(NATS_SCHEDULE_TARGET, &schedule.target)?;
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_of_the_server_is_told_apart() {
        let stored = decide(br#"{"stream":"S","seq":12,"batch":"b","count":3}"#, 3).unwrap();
        assert_eq!(stored, CommitAnswer { first: 10 });
        let refused = |code: u64, err_code: u64| {
            let text = format!(r#"{{"error":{{"code":{code},"err_code":{err_code},"description":"d"}}}}"#);
            decide(text.as_bytes(), 1).unwrap_err()
        };
        assert!(matches!(refused(400, 10071), CommitError::Conflict(_)));
        assert!(matches!(refused(503, 10008), CommitError::Passing(_)));
        for full in [10002, 10023, 10026, 10027, 10028, 10047, 10077] {
            assert!(matches!(refused(400, full), CommitError::Full(_)), "{full}");
        }
        assert!(matches!(refused(400, 10054), CommitError::Refused(_)));
        assert!(matches!(refused(400, 10176), CommitError::Passing(_)));
        assert!(matches!(decide(b"", 1), Err(CommitError::Unanswered(_))));
    }
}
