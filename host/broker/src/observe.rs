//! Looking at a stream from outside: what `status`, `tail` and `publish` need, and the announcements of
//! hosts.

use std::time::Duration;

use async_nats::header::{HeaderValue, NATS_MESSAGE_TTL, NATS_ROLLUP};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::context::GetStreamByNameErrorKind;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Broker, Error, Stored, delivered, headers};
use heddle_values::errors::chain;
use heddle_values::event::Headers;
use heddle_values::subject::Pattern;

/// How many messages lie in front of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerLag {
    /// How many messages the server counted under the filters; markers and Heddle's own messages count if they match.
    pub pending: u64,
}

/// Where a published message was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The stream that stores the message's subject.
    pub stream: String,
    /// The sequence of the last message published; of a duplicate, that of the message stored before.
    pub sequence: u64,
    /// How many were not stored again, as the stream has one of the same `Nats-Msg-Id`.
    pub duplicates: u64,
}

/// Messages of a stream as they come.
pub(super) struct StreamTail {
    messages: pull::Stream,
    /// How many have come.
    received: u64,
}

impl StreamTail {
    /// The next message; an error if one before it did not arrive.
    pub(super) async fn next_without_gap(&mut self) -> Result<Stored, Error> {
        let (sent, stored) = self.receive().await?;
        self.received += 1;
        if sent != self.received {
            return Err(Error::request("read on", "messages were lost with a connection"));
        }
        Ok(stored)
    }

    /// The next message, and as which one the server sent it.
    async fn receive(&mut self) -> Result<(u64, Stored), Error> {
        let broken = |cause: String| Error::Request { what: "read on".to_owned(), cause };
        let message = self.messages.next().await.ok_or_else(|| broken("the server ended it".to_owned()))?;
        let message = message.map_err(|error| broken(chain(&error)))?;
        let sent = message.info().map_err(|error| broken(error.to_string()))?.consumer_sequence;
        Ok((sent, delivered(&message).map_err(broken)?))
    }
}

/// A consumer that changes nothing: without acks, in memory, gone by itself when nobody reads from it.
pub(super) fn observing<F: ToString>(filters: &[F], deliver_policy: DeliverPolicy) -> pull::Config {
    pull::Config {
        deliver_policy,
        ack_policy: AckPolicy::None,
        filter_subjects: filters.iter().map(ToString::to_string).collect(),
        inactive_threshold: Duration::from_secs(30),
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    }
}

impl Broker {
    /// Publishes into a stream and waits until it is stored.
    pub async fn publish(
        &self,
        subject: &str,
        headers: &Headers,
        payload: Bytes,
    ) -> Result<Published, Error> {
        self.publish_many(subject, headers, payload, 1).await
    }

    /// Publishes the same message `count` times, many at a time, and waits until all are stored. Says
    /// where the last one is.
    pub async fn publish_many(
        &self,
        subject: &str,
        headers: &Headers,
        payload: Bytes,
        count: u64,
    ) -> Result<Published, Error> {
        let failed = |cause: String| Error::Request { what: format!("publish on `{subject}`"), cause };
        let map = headers::to_nats(headers).map_err(failed)?;
        let one = |_| {
            let (map, payload) = (map.clone(), payload.clone());
            async move {
                let ack = self.jetstream.publish_with_headers(subject.to_owned(), map, payload).await?;
                ack.await
            }
        };
        let acks = futures::stream::iter(0..count).map(one).buffered(256);
        let last = acks
            .try_fold((None, 0), |(_, duplicates), ack| async move {
                let duplicates = duplicates + u64::from(ack.duplicate);
                Ok((Some(ack), duplicates))
            })
            .await;
        let (last, duplicates) = last.map_err(|error| failed(chain(&error)))?;
        let ack = last.ok_or_else(|| failed("nothing was to be published".to_owned()))?;
        Ok(Published { stream: ack.stream, sequence: ack.sequence, duplicates })
    }

    /// The stream that stores what is published on a subject, if there is one.
    pub async fn stream_of(&self, subject: &str) -> Result<Option<String>, Error> {
        match self.jetstream.stream_by_subject(subject).await {
            Ok(name) => Ok(Some(name)),
            Err(error) if error.kind() == GetStreamByNameErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(Error::Request { what: format!("find the stream of `{subject}`"), cause: chain(&error) })
            }
        }
    }

    /// Replaces the only message of a subject; it vanishes after `ttl_seconds`.
    pub async fn announce(&self, subject: &str, payload: Bytes, ttl_seconds: u32) -> Result<(), Error> {
        let what = || format!("publish on `{subject}`");
        let mut map = async_nats::HeaderMap::new();
        map.insert(NATS_ROLLUP, "sub");
        map.insert(NATS_MESSAGE_TTL, HeaderValue::from(format!("{ttl_seconds}s").as_str()));
        let ack = self.jetstream.publish_with_headers(subject.to_owned(), map, payload).await;
        ack.map_err(|e| Error::asked(what(), &e))?.await.map_err(|e| Error::asked(what(), &e))?;
        Ok(())
    }

    /// What the clock of the server says that answers for a stream; none if it does not tell.
    pub async fn clock(&self, stream: &str) -> Result<Option<OffsetDateTime>, Error> {
        let answer = self.jetstream.request(format!("STREAM.INFO.{stream}"), &()).await;
        let answer: serde_json::Value =
            answer.map_err(|e| Error::asked(format!("ask for the time of stream `{stream}`"), &e))?;
        let time = answer.get("ts").and_then(|time| time.as_str());
        Ok(time.and_then(|time| OffsetDateTime::parse(time, &Rfc3339).ok()))
    }

    /// All subjects of a stream under `filter`, with how many messages each has.
    pub async fn subjects(&self, stream: &str, filter: &str) -> Result<Vec<(String, usize)>, Error> {
        let what = || format!("list the subjects under `{filter}`");
        let handle = self.jetstream.get_stream_no_info(stream).await;
        let handle = handle.map_err(|e| Error::asked(what(), &e))?;
        let rows = handle.info_with_subjects(filter).await.map_err(|e| Error::asked(what(), &e))?;
        rows.try_collect().await.map_err(|e| Error::asked(what(), &e))
    }

    /// How many messages under any of `filters` lie at or above `start`. Counted by the server.
    pub async fn count_from<F: ToString>(
        &self,
        stream: &str,
        filters: &[F],
        start: u64,
    ) -> Result<ConsumerLag, Error> {
        let what = || format!("count the events of stream `{stream}`");
        let policy = DeliverPolicy::ByStartSequence { start_sequence: start.max(1) };
        let consumer = self.observer(stream, filters, policy, what()).await?;
        let pending = consumer.cached_info().num_pending;
        self.dismiss(stream, &consumer).await;
        Ok(ConsumerLag { pending })
    }

    /// The sequence of the first message at or after a time, in nanoseconds since 1970; the next one to be
    /// stored if there is none.
    pub async fn first_at(&self, stream: &str, time: u64) -> Result<u64, Error> {
        let what = || format!("find the first event of stream `{stream}` at a time");
        let start_time = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(time))
            .map_err(|e| Error::request(what(), e))?;
        let policy = DeliverPolicy::ByStartTime { start_time };
        let consumer = self.observer::<Pattern>(stream, &[], policy, what()).await?;
        // Nothing is delivered: who knows what it would be. The consumer says in front of what it was made.
        let first = consumer.cached_info().delivered.stream_sequence + 1;
        self.dismiss(stream, &consumer).await;
        Ok(first)
    }

    /// Follows a stream from where a policy says, through the connection for reading.
    pub(super) async fn follow<F: ToString>(
        &self,
        stream: &str,
        filters: &[F],
        policy: DeliverPolicy,
    ) -> Result<StreamTail, Error> {
        let what = || format!("follow stream `{stream}`");
        let reading = self.for_reading().living().await?;
        let consumer = reading.observer(stream, filters, policy, what()).await?;
        let messages = consumer
            .stream()
            .heartbeat(Duration::from_secs(2))
            .expires(Duration::from_secs(10))
            .messages()
            .await
            .map_err(|e| Error::asked(what(), &e))?;
        Ok(StreamTail { messages, received: 0 })
    }

    /// A consumer that changes nothing.
    pub(super) async fn observer<F: ToString>(
        &self,
        stream: &str,
        filters: &[F],
        deliver_policy: DeliverPolicy,
        what: String,
    ) -> Result<PullConsumer, Error> {
        let config = observing(filters, deliver_policy);
        let handle = self.jetstream.get_stream_no_info(stream).await;
        let handle = handle.map_err(|e| Error::asked(what.as_str(), &e))?;
        handle.create_consumer(config).await.map_err(|e| Error::asked(what, &e))
    }

    /// Takes an observer away that is no longer needed.
    pub(super) async fn dismiss(&self, stream: &str, observer: &PullConsumer) {
        if let Ok(stream) = self.jetstream.get_stream_no_info(stream).await {
            // It would vanish by itself as well.
            stream.delete_consumer(&observer.cached_info().name).await.ok();
        }
    }

    /// Subscribes to a subject outside any stream: answers to a published message.
    pub async fn answers(&self) -> Result<(String, impl Stream<Item = (Headers, Bytes)> + use<>), Error> {
        let inbox = self.client.new_inbox();
        let messages = self.client.subscribe(inbox.clone()).await;
        let messages = messages.map_err(|e| Error::request("subscribe to an inbox", e))?;
        let answers = messages.map(|m| (headers::from_nats(m.headers.as_ref()), m.payload));
        Ok((inbox, answers))
    }
}
