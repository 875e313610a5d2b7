//! Following a stream from outside: what `tail`, a replay's outcomes and the comparison of versions need.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::cursor::{Cursor, CursorPlan, Delivery};
use super::{Broker, Error, Stored};
use heddle_values::event::Event;
use heddle_values::subject::{Pattern, common_cover};

/// How long the server keeps the consumer when nobody reads from it any more.
const IDLE: Duration = Duration::from_secs(30);

/// Messages of a stream as they come, each once, in order, whatever they are and whatever the connection does.
pub struct EventTail {
    cursor: Cursor,
    /// Reads for the cursor, while somebody waits for a message.
    reading: BoxFuture<'static, ()>,
    /// What lies below is not wanted.
    start: u64,
    /// No filters: everything.
    filters: Vec<Pattern>,
    read: VecDeque<Event>,
}

impl EventTail {
    /// The next message. Waits for as long as it takes; fails if the stream is not the one it was. Cancel-safe.
    pub async fn next(&mut self) -> Result<Stored, Error> {
        loop {
            while let Some(event) = self.read.pop_front() {
                let wanted = |filter: &Pattern| filter.matches(&event.subject);
                let falls_under = self.filters.is_empty() || self.filters.iter().any(wanted);
                if falls_under && event.sequence >= self.start {
                    return Ok(stored(event));
                }
            }
            let delivery = poll_fn(|context| {
                let delivered = self.cursor.poll_next(context);
                if delivered.is_pending() && self.reading.as_mut().poll(context).is_ready() {
                    // It may have said why it ended.
                    return self.cursor.poll_next(context);
                }
                delivered
            });
            match delivery.await {
                Some(Delivery::Events(events)) => self.read.extend(events.events),
                Some(Delivery::Lost(reason)) => return Err(Error::request("read on", reason)),
                None => return Err(Error::request("read on", "reading has ended")),
            }
        }
    }
}

fn stored(event: Event) -> Stored {
    let Event { sequence, subject, headers, payload, time, .. } = event;
    Stored { sequence, subject: subject.into(), headers, payload, time, marker: false }
}

impl Broker {
    /// Follows a stream: from a sequence on, or from its end. It has a connection of its own, which a message that
    /// cannot be read may end.
    pub async fn tail(
        &self,
        stream: &str,
        filters: &[Pattern],
        start: Option<u64>,
    ) -> Result<EventTail, Error> {
        let state = self.stream_state(stream).await?;
        let start = start.unwrap_or(state.last + 1);
        let plan = CursorPlan {
            stream: Arc::from(stream),
            created: state.created,
            name: format!("heddle-tail-{:016x}", rand::random::<u64>()),
            // A cursor cannot begin behind the end.
            start: start.min(state.last + 1),
            filter: common_cover(filters),
        };
        let (cursor, reading) = self.beside("tail").await?.cursor_kept(plan, IDLE);
        let (reading, filters) = (Box::pin(reading), filters.to_vec());
        Ok(EventTail { cursor, reading, start, filters, read: VecDeque::new() })
    }
}
