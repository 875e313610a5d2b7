//! Reading many messages under a filter, and changing single ones: what dead letters, requests and gates need.

use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_TTL};
use async_nats::jetstream::consumer::{DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use super::connect::chain;
use super::observe::observing;
use super::{Broker, Error, Stored, delivered, headers};
use crate::values::event::Headers;

/// Messages that are asked for at once.
const PAGE: usize = 2_000;

/// What of messages is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Whole,
    /// The payload is left out: quicker where it is large.
    Headers,
}

/// The server has no such message any more.
const NO_MESSAGE: [u64; 2] = [10037, 10057];

impl Broker {
    /// Every message under `filter` at or above `start` that is there now, in the order of the stream.
    pub async fn all(
        &self,
        stream: &str,
        filter: &str,
        start: u64,
        part: Part,
    ) -> Result<impl Stream<Item = Result<Stored, Error>> + use<>, Error> {
        let policy = DeliverPolicy::ByStartSequence { start_sequence: start.max(1) };
        self.found(stream, filter, policy, (part, PAGE)).await
    }

    /// The last message of every subject under `filter`.
    pub async fn last_of_each(&self, stream: &str, filter: &str) -> Result<Vec<Stored>, Error> {
        let policy = DeliverPolicy::LastPerSubject;
        self.found(stream, filter, policy, (Part::Whole, PAGE)).await?.try_collect().await
    }

    /// What a consumer delivers until there is no more, so many messages at a time. It vanishes by itself.
    pub(super) async fn found(
        &self,
        stream: &str,
        filter: &str,
        policy: DeliverPolicy,
        (part, page): (Part, usize),
    ) -> Result<impl Stream<Item = Result<Stored, Error>> + use<>, Error> {
        let what = format!("read the messages under `{filter}`");
        let config = pull::Config { headers_only: part == Part::Headers, ..observing(&[filter], policy) };
        let handle = self.jetstream.get_stream_no_info(stream).await;
        let handle = handle.map_err(|e| Error::request(what.as_str(), chain(&e)))?;
        let consumer: PullConsumer =
            handle.create_consumer(config).await.map_err(|e| Error::request(what.as_str(), chain(&e)))?;
        // What is removed meanwhile is not waited for: each request takes what is there and ends.
        let pages = stream::try_unfold(consumer, move |consumer| {
            let what = what.clone();
            async move {
                let failed = |cause: String| Error::request(what.as_str(), cause);
                let page = consumer.fetch().max_messages(page).messages().await;
                let page = page.map_err(|e| failed(chain(&e)))?;
                let read = page.map(|message| {
                    let message = message.map_err(|e| failed(chain(&*e)))?;
                    delivered(&message).map_err(failed)
                });
                let read: Vec<Stored> = read.try_collect().await?;
                Ok((!read.is_empty()).then(|| (stream::iter(read).map(Ok), consumer)))
            }
        });
        Ok(pages.try_flatten())
    }

    /// The first message of a subject at or above a sequence, read from the stream's leader.
    pub async fn next_of(&self, stream: &str, subject: &str, sequence: u64) -> Result<Option<Stored>, Error> {
        Ok(self.raw_next(stream, subject, sequence).await?.map(Stored::from))
    }

    /// Removes a message. One that is gone already is no error.
    pub async fn delete(&self, stream: &str, sequence: u64) -> Result<(), Error> {
        let what = || format!("remove message {sequence} of stream `{stream}`");
        // Overwriting it on disk would cost more than the whole rest.
        let request = json!({ "seq": sequence, "no_erase": true });
        let answer = self.jetstream.request(format!("STREAM.MSG.DELETE.{stream}"), &request).await;
        let answer: Response<Value> = answer.map_err(|e| Error::request(what(), chain(&e)))?;
        match answer {
            Response::Ok(_) => Ok(()),
            Response::Err { error } if NO_MESSAGE.contains(&error.error_code().0) => Ok(()),
            Response::Err { error } => Err(Error::request(what(), error)),
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

    /// The same in two steps: what is sent one after the other is stored in that order.
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
        let answer = sent.map_err(|e| Error::request(what.as_str(), chain(&e)))?;
        Ok(async move {
            match answer.await {
                Ok(ack) => Ok(Some(ack.sequence)),
                Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(None),
                Err(error) => Err(Error::request(what, chain(&error))),
            }
        })
    }
}
