//! Reading, changing and removing single messages: what dead letters, requests and gates need.

use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_TTL};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Broker, Error, Stored, headers};
use heddle_values::dead_letter::DeadLetter;
use heddle_values::event::Headers;

/// What of messages is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Headers and payload.
    Whole,
    /// The payload is left out: quicker where it is large.
    Headers,
}

/// The server has no such message any more.
const NO_MESSAGE: [u64; 2] = [10037, 10057];

impl From<Stored> for DeadLetter {
    fn from(stored: Stored) -> Self {
        let Stored { sequence, headers, payload, time, .. } = stored;
        DeadLetter { sequence, stored: time, headers, payload }
    }
}

impl Broker {
    /// The first message of a subject, which may have wildcards, at or above a sequence, read from the stream's leader.
    pub async fn next_of(&self, stream: &str, subject: &str, sequence: u64) -> Result<Option<Stored>, Error> {
        Ok(self.raw_next(stream, subject, sequence).await?.map(Stored::from))
    }

    /// Removes a message. One that is gone already is no error.
    pub async fn delete(&self, stream: &str, sequence: u64) -> Result<(), Error> {
        let what = || format!("remove message {sequence} of stream `{stream}`");
        // Overwriting it on disk would cost more than the whole rest.
        let request = json!({ "seq": sequence, "no_erase": true });
        let answer = self.jetstream.request(format!("STREAM.MSG.DELETE.{stream}"), &request).await;
        let answer: Response<Value> = answer.map_err(|e| Error::asked(what(), &e))?;
        match answer {
            Response::Ok(_) => Ok(()),
            Response::Err { error } if NO_MESSAGE.contains(&error.error_code().0) => Ok(()),
            Response::Err { error } => Err(Error::asked(what(), &error)),
        }
    }

    /// Publishes the first message of a subject, kept for ever. None: there is one already.
    pub async fn publish_first(
        &self,
        subject: &str,
        headers: &Headers,
        payload: Bytes,
    ) -> Result<Option<u64>, Error> {
        self.send_first(subject, headers, payload).await?.await
    }

    /// Sends the first message of a subject, kept for ever; the future gives its sequence, or none if there is one already.
    /// What is sent one after the other is stored in that order.
    pub async fn send_first(
        &self,
        subject: &str,
        headers: &Headers,
        payload: Bytes,
    ) -> Result<impl Future<Output = Result<Option<u64>, Error>> + use<>, Error> {
        self.send_kept(subject, headers, payload, Some(0)).await
    }

    /// Publishes a message that is kept for ever.
    pub async fn publish_kept(&self, subject: &str, headers: &Headers, payload: Bytes) -> Result<(), Error> {
        self.send_kept(subject, headers, payload, None).await?.await.map(drop)
    }

    /// Sends a message that is kept for ever; then its sequence, or none if `expected_last` is not the subject's last one.
    pub async fn send_kept(
        &self,
        subject: &str,
        headers: &Headers,
        payload: Bytes,
        expected_last: Option<u64>,
    ) -> Result<impl Future<Output = Result<Option<u64>, Error>> + use<>, Error> {
        let what = format!("publish on `{subject}`");
        let mut map = headers::to_nats(headers).map_err(|e| Error::request(what.as_str(), e))?;
        map.insert(NATS_MESSAGE_TTL, "never");
        if let Some(expected) = expected_last {
            map.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string());
        }
        let sent = self.jetstream.publish_with_headers(subject.to_owned(), map, payload).await;
        let answer = sent.map_err(|e| Error::asked(what.as_str(), &e))?;
        Ok(async move {
            match answer.await {
                Ok(ack) => Ok(Some(ack.sequence)),
                Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(None),
                Err(error) => Err(Error::asked(what, &error)),
            }
        })
    }
}
