//! The consumer of a cursor: made where it can be read, with the filter that reads fastest, and left where its server
//! has gone silent.

use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream;
use async_nats::jetstream::consumer::{PullConsumer, pull};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::{Again, EVERYTHING, Reader, Stop};
use crate::{Broker, Error, StreamState, consumer};
use heddle_values::subject::Pattern;

/// How long a request of a cursor waits at first. It grows by half with each that gets no answer: to make a
/// consumer in a large stream the server may have to count for long.
pub(super) const FIRST_PATIENCE: Duration = Duration::from_secs(1);
const MAX_PATIENCE: Duration = Duration::from_secs(16);

/// How many consumers are asked for where an earlier one was on a silent server, and how long after each other: the
/// server places them by chance, also on the silent one, and while the cluster elects it makes none. An election takes
/// 4 to 8 s.
const ATTEMPTS: u32 = 16;
const APART: Duration = Duration::from_millis(300);

/// How long the server keeps such a consumer when nobody reads from it.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// A cursor that has more messages than this in front of it has far to go.
const FAR_FROM_THE_END: u64 = 10_000;

/// N messages are read rather than to let the server look for the one that is wanted.
const READ_IN_VAIN: u64 = 5;

/// Whether a pattern covers everything that a stream holds.
fn covers_all(pattern: &Pattern, subjects: &[String]) -> bool {
    let covered = |subject: &String| subject.parse().is_ok_and(|subject: Pattern| pattern.covers(&subject));
    subjects.iter().all(covered)
}

impl Broker {
    /// Takes a consumer away, if it is there. Nobody waits for the answer.
    async fn forget_consumer(&self, stream: &str, name: &str) {
        let subject = format!("{}.CONSUMER.DELETE.{stream}.{name}", self.api);
        self.client.publish(subject, bytes::Bytes::new()).await.ok();
    }
}

impl Reader {
    /// A consumer has one copy. Where its server is frozen it can be neither read nor deleted nor made again, so another
    /// one takes its place, under another name and perhaps on another server. The old one vanishes by itself at the latest.
    pub(super) async fn leave_a_silent_one(&mut self) {
        self.broker.forget_consumer(&self.plan.stream, &self.name).await;
        self.patience = (self.patience * 3 / 2).min(MAX_PATIENCE);
        self.silent = true;
    }

    /// The filter that reads fastest. To find the next message under a wildcard, the server looks at each subject of a
    /// block that falls under it: with a thousand of them that takes longer than reading several unwanted messages.
    /// Only near the end of the stream it goes from message to message.
    async fn filter(&self, state: &StreamState) -> Result<String, Stop> {
        let Some(filter) = &self.plan.filter else { return Ok(String::new()) };
        let left = (state.last + 1).saturating_sub(self.next);
        if covers_all(filter, &state.subjects) {
            return Ok(String::new());
        }
        // To count is to have another consumer made. Where that takes long the filter will do.
        if left > FAR_FROM_THE_END && !self.silent {
            let wanted = self.broker.count_from(&self.plan.stream, std::slice::from_ref(filter), self.next);
            if let Ok(wanted) = tokio::time::timeout(self.patience, wanted).await
                && wanted?.pending.saturating_mul(READ_IN_VAIN) > left
            {
                return Ok(String::new());
            }
        }
        Ok(filter.to_string())
    }

    pub(super) async fn make_consumer(&mut self, state: &StreamState) -> Result<PullConsumer, Stop> {
        let filter = self.filter(state).await?;
        self.read_filter = if filter.is_empty() { EVERYTHING.to_owned() } else { filter.clone() };
        let name = if self.silent { &self.plan.name } else { &self.name };
        let config = consumer::of_cursor(name, filter, self.idle);
        let stream = self.broker.within(self.patience).get_stream_no_info(&*self.plan.stream).await;
        let stream = stream.map_err(|e| Error::asked(self.what(), &e))?;
        let consumer = match std::mem::take(&mut self.silent) {
            true => {
                let several = first_of_several(self.broker.clone(), stream.clone(), config);
                let (name, consumer) = self.read_until(several).await??;
                self.name = name;
                consumer
            }
            false => match stream.create_consumer(config.clone()).await {
                Ok(consumer) => consumer,
                Err(error) => match Error::asked(self.what(), &error) {
                    error @ Error::Unanswered { .. } => return Err(error.into()),
                    _ => self.replace(&stream, config).await?,
                },
            },
        };
        if self.sender.is_closed() {
            return Err(Stop::Unwanted);
        }
        stream
            .reset_consumer(&self.name, Some(self.next))
            .await
            .map_err(|e| Error::asked(format!("move consumer `{}`", self.name), &e))?;
        Ok(consumer)
    }

    fn what(&self) -> String {
        format!("make consumer `{}`", self.name)
    }

    /// A consumer of that name is there that cannot be changed into the one that is needed.
    async fn replace(
        &self,
        stream: &jetstream::stream::Stream<()>,
        config: pull::Config,
    ) -> Result<PullConsumer, Stop> {
        // If it cannot be deleted, creating it says why.
        stream.delete_consumer(&self.name).await.ok();
        let made = stream.create_consumer(config).await;
        Ok(made.map_err(|e| Error::asked(self.what(), &e))?)
    }
}

/// Asks for consumers under names that begin with that of `config`, one after the other, until one is there. The others are
/// taken away; if their server is frozen they vanish by themselves.
async fn first_of_several(
    broker: Broker,
    stream: jetstream::stream::Stream<()>,
    config: pull::Config,
) -> Result<(String, PullConsumer), Stop> {
    let config = pull::Config { inactive_threshold: config.inactive_threshold.min(FORGOTTEN), ..config };
    let prefix = config.durable_name.clone().unwrap_or_default();
    let (mut attempts, mut names) = (FuturesUnordered::new(), Vec::new());
    let mut failure = Again::Failed("no consumer was made".to_owned());
    for attempt in 0_u32.. {
        // Without a connection they would all be asked for together once there is one.
        if attempt < ATTEMPTS && broker.client.connection_state() == State::Connected {
            let name = format!("{prefix}-{:04x}", rand::random::<u16>());
            let config = pull::Config { durable_name: Some(name.clone()), ..config.clone() };
            let stream = &stream;
            names.push(name.clone());
            attempts.push(async move { (name, stream.create_consumer(config).await) });
        } else if attempt >= ATTEMPTS && attempts.is_empty() {
            break;
        }
        let until = tokio::time::sleep(APART);
        tokio::pin!(until);
        loop {
            // Cancel-safe: attempts stay in their set.
            let (name, made) = tokio::select! {
                Some(made) = attempts.next() => made,
                () = &mut until => break,
            };
            match made {
                Ok(consumer) => {
                    drop(attempts);
                    let unused = names.iter().filter(|other| **other != name);
                    for other in unused {
                        broker.forget_consumer(&stream_of(&consumer), other).await;
                    }
                    return Ok((name, consumer));
                }
                Err(error) => {
                    let error = Error::asked(format!("make consumer `{name}`"), &error);
                    failure = Again::Failed(error.to_string());
                }
            }
        }
    }
    Err(Stop::Silent(failure))
}

/// The stream that a consumer reads.
fn stream_of(consumer: &PullConsumer) -> String {
    consumer.cached_info().stream_name.clone()
}
