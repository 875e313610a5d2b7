//! The consumer of a cursor: made or moved to where the cursor stands, with the filter that reads fastest.

use async_nats::jetstream;
use async_nats::jetstream::consumer::{PullConsumer, pull};

use super::{EVERYTHING, Reader, Stop};
use crate::broker::connect::chain;
use crate::broker::{Error, StreamState, consumer};
use crate::values::subject::Pattern;

/// A cursor that has more messages than this in front of it has far to go.
const FAR_FROM_THE_END: u64 = 10_000;

/// So many messages are read rather than to let the server look for the one that is wanted.
const READ_IN_VAIN: u64 = 5;

/// Whether a pattern covers everything that a stream holds.
fn covers_all(pattern: &Pattern, subjects: &[String]) -> bool {
    let covered = |subject: &String| subject.parse().is_ok_and(|subject: Pattern| pattern.covers(&subject));
    subjects.iter().all(covered)
}

impl Reader {
    /// The filter that reads fastest. To find the next message under a wildcard, the server looks at each subject of a
    /// block that falls under it: with a thousand of them that takes longer than reading several messages in vain.
    /// Only near the end of the stream it goes from message to message.
    async fn filter(&self, state: &StreamState) -> Result<String, Stop> {
        let Some(filter) = &self.plan.filter else { return Ok(String::new()) };
        let left = (state.last + 1).saturating_sub(self.next);
        if covers_all(filter, &state.subjects) {
            return Ok(String::new());
        }
        if left > FAR_FROM_THE_END {
            let wanted = self.broker.count_from(&self.plan.stream, std::slice::from_ref(filter), self.next);
            if wanted.await?.pending.saturating_mul(READ_IN_VAIN) > left {
                return Ok(String::new());
            }
        }
        Ok(filter.to_string())
    }

    pub(super) async fn make_consumer(&mut self, state: &StreamState) -> Result<PullConsumer, Stop> {
        let filter = self.filter(state).await?;
        self.read_filter = if filter.is_empty() { EVERYTHING.to_owned() } else { filter.clone() };
        let what = || format!("make consumer `{}`", self.plan.name);
        let config = consumer::of_cursor(&self.plan.name, filter, self.idle);
        let stream = self.broker.jetstream.get_stream_no_info(&*self.plan.stream).await;
        let stream = stream.map_err(|e| Error::request(what(), chain(&e)))?;
        let consumer = match stream.create_consumer(config.clone()).await {
            Ok(consumer) => consumer,
            Err(_) => self.replace(&stream, config).await?,
        };
        if self.sender.is_closed() {
            return Err(Stop::Unwanted);
        }
        stream
            .reset_consumer(&self.plan.name, Some(self.next))
            .await
            .map_err(|e| Error::request(format!("move consumer `{}`", self.plan.name), chain(&e)))?;
        Ok(consumer)
    }

    /// A consumer of that name is there that cannot be changed into the one that is needed.
    async fn replace(
        &self,
        stream: &jetstream::stream::Stream<()>,
        config: pull::Config,
    ) -> Result<PullConsumer, Stop> {
        // If it cannot be deleted, creating it says why.
        stream.delete_consumer(&self.plan.name).await.ok();
        let made = stream.create_consumer(config).await;
        Ok(made.map_err(|e| Error::request(format!("make consumer `{}`", self.plan.name), chain(&e)))?)
    }
}
