//! Compaction: keeps of many subjects the last message, and removes the older ones at once.
//!
//! The server removes what lies below a sequence by walking over the messages once, whatever their subjects. It also
//! can remove the older messages of one subject, but walks over everything in between to find them: with many
//! subjects that costs as much for each message that goes.

use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_TTL};
use async_nats::jetstream::consumer::{DeliverPolicy, PullConsumer};
use async_nats::jetstream::context::PublishErrorKind;
use futures::{StreamExt, TryStreamExt};

use super::connect::chain;
use super::{Broker, Error, Stored, delivered, headers};

/// Messages that are moved at once.
const MOVING: usize = 64;

/// What was found under a filter, and what was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// How many subjects there are.
    pub subjects: u64,
    /// How many messages were written again.
    pub messages: u64,
}

impl Broker {
    /// Counts the messages under `filter`. Also the sequence of the first one; 0 if there is none.
    pub async fn extent(&self, stream: &str, filter: &str) -> Result<(u64, u64), Error> {
        let what = || format!("count the messages under `{filter}`");
        let all = self.observer(stream, &[filter], DeliverPolicy::All, what()).await?;
        let first = all.fetch().max_messages(1).messages().await;
        let first = first.map_err(|e| Error::request(what(), chain(&e)))?.next().await;
        self.dismiss(stream, &all).await;
        let first = match first {
            None => 0,
            Some(Err(error)) => return Err(Error::request(what(), error)),
            Some(Ok(message)) => message.info().map_err(|e| Error::request(what(), e))?.stream_sequence,
        };
        Ok((all.cached_info().num_pending, first))
    }

    /// Writes every message again that is the last one of its subject under `filter`, lies below `boundary`, and is
    /// wanted. Afterwards nothing below that boundary is a last message that is wanted.
    ///
    /// Each is written only if it still is the last one, so that nobody's newer message is covered.
    pub async fn carry(
        &self,
        stream: &str,
        filter: &str,
        boundary: u64,
        wanted: impl Fn(&Stored) -> bool,
    ) -> Result<Carried, Error> {
        let what = format!("list the last messages under `{filter}`");
        let consumer = self.observer(stream, &[filter], DeliverPolicy::LastPerSubject, what).await?;
        let subjects = consumer.cached_info().num_pending;
        let messages = self.carry_from(&consumer, filter, boundary, wanted).await;
        // As long as it is there, the server counts anew for it whenever something is removed.
        self.dismiss(stream, &consumer).await;
        Ok(Carried { subjects, messages: messages? })
    }

    async fn carry_from(
        &self,
        consumer: &PullConsumer,
        filter: &str,
        boundary: u64,
        wanted: impl Fn(&Stored) -> bool,
    ) -> Result<u64, Error> {
        let what = || format!("carry the last messages under `{filter}` on");
        let broken = |error: &dyn std::error::Error| Error::request(what(), chain(error));
        let left = usize::try_from(consumer.cached_info().num_pending).unwrap_or(usize::MAX);
        if left == 0 || boundary == 0 {
            return Ok(0);
        }
        // In the order of their sequences: those below the boundary come first.
        let messages = consumer.stream().messages().await.map_err(|error| broken(&error))?;
        let old = messages
            .take(left)
            .map(|message| {
                let message = message.map_err(|error| broken(&error))?;
                delivered(&message).map_err(|cause| Error::request(what(), cause))
            })
            .try_take_while(|stored| std::future::ready(Ok(stored.sequence < boundary)))
            .try_filter(|stored| std::future::ready(wanted(stored)));
        let moved = old.map_ok(|stored| self.write_again(stored)).try_buffer_unordered(MOVING);
        moved.try_fold(0, |count, ()| std::future::ready(Ok(count + 1))).await
    }

    async fn write_again(&self, stored: Stored) -> Result<(), Error> {
        let what = || format!("carry `{}` on", stored.subject);
        let mut map = headers::to_nats(&stored.headers).map_err(|e| Error::request(what(), e))?;
        map.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, stored.sequence.to_string());
        map.insert(NATS_MESSAGE_TTL, "never");
        let (subject, payload) = (stored.subject.clone(), stored.payload);
        let sent = self.jetstream.publish_with_headers(subject, map, payload).await;
        let answer = match sent {
            Ok(answer) => answer.await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(_) => Ok(()),
            // Somebody wrote it since: then it is no longer below the boundary.
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(()),
            Err(error) => Err(Error::request(what(), chain(&error))),
        }
    }

    /// Removes all messages under `filter` below a sequence. How many there were.
    pub async fn purge_below(&self, stream: &str, filter: &str, sequence: u64) -> Result<u64, Error> {
        let what = || format!("purge `{filter}` below {sequence}");
        let handle =
            self.jetstream.get_stream_no_info(stream).await.map_err(|e| Error::request(what(), e))?;
        let purged = handle.purge().filter(filter).sequence(sequence).await;
        purged.map(|answer| answer.purged).map_err(|e| Error::request(what(), chain(&e)))
    }
}
