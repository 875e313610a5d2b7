//! Cursors: reading a stream in order from a sequence on.
//!
//! A cursor is a pull consumer without acks. It may be thrown away and made anew at any time: whatever
//! goes wrong (a lost connection, a server that restarts, a consumer that was deleted or that somebody
//! else reads from) ends in a new consumer right after the last event that was handed on. Nothing is
//! handed on twice or left out.

mod consumer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::PullConsumer;
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;

use consumer::FIRST_PATIENCE;

use super::connect::chain;
use super::{Broker, Error, StreamState, headers, nanos};
use crate::values::event::{Event, Source};
use crate::values::subject::Pattern;

/// Events per pull request. Measured: more does not read faster.
const PULL_EVENTS: usize = 256;

/// Bytes per pull request.
const PULL_BYTES: usize = 8 << 20;

/// Deliveries that wait to be taken. More are not asked for.
const WAITING_DELIVERIES: usize = 2;

const PULL_EXPIRES: Duration = Duration::from_secs(5);
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long a cursor must have been quiet before it asks how far the stream has come.
const QUIET: Duration = Duration::from_millis(250);

/// How many looks in a row must find that the server has delivered more than has arrived, before somebody else is taken
/// to read from the consumer.
const MAX_MISMATCHES: u32 = 4;

/// The longest wait between two tries to make a cursor.
const MAX_DELAY: Duration = Duration::from_secs(2);

/// What a cursor reads.
#[derive(Debug, Clone)]
pub struct CursorPlan {
    pub stream: Arc<str>,
    /// When the stream was created. A stream that was made anew since ends the cursor.
    pub created: u64,
    /// The consumer's name, as the usual tools show it.
    pub name: String,
    /// The first sequence to be read.
    pub start: u64,
    /// None reads everything.
    pub filter: Option<Pattern>,
}

/// What a cursor hands on.
#[derive(Debug)]
pub enum Delivery {
    /// Events in the order of the stream, possibly none.
    Events(CursorEvents),
    /// The stream is not the one it was. The cursor has ended.
    Lost(String),
}

/// Some events of a cursor.
#[derive(Debug)]
pub struct CursorEvents {
    pub events: Vec<Event>,
    /// Every event of the cursor below this sequence has been handed on.
    pub next: u64,
    /// How many events of the cursor are still to be read.
    pub pending: u64,
}

/// The receiving end of a cursor. The cursor ends when it is dropped.
#[derive(Debug)]
pub struct Cursor {
    deliveries: mpsc::Receiver<Delivery>,
}

impl Cursor {
    /// The next delivery. Cancel-safe: nothing is taken before it is returned.
    pub fn poll_next(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<Option<Delivery>> {
        self.deliveries.poll_recv(context)
    }
}

impl Broker {
    /// A cursor, and the task that reads for it.
    pub fn cursor(&self, plan: CursorPlan) -> (Cursor, impl Future<Output = ()> + Send + 'static) {
        let (sender, deliveries) = mpsc::channel(WAITING_DELIVERIES);
        let next = plan.start.max(1);
        let name = plan.name.clone();
        let reader = Reader {
            broker: self.clone(),
            plan,
            sender,
            next,
            paused: false,
            silent: false,
            name,
            patience: FIRST_PATIENCE,
        };
        (Cursor { deliveries }, reader.run())
    }
}

const BROKEN_OFF: &str = "reading broke off";

/// How often reading may break off at one place before a message there is taken to be the reason.
const MAX_BROKEN_HERE: u32 = 5;

const STOLEN: &str = "somebody else reads from this consumer";

/// Why reading stopped.
enum Stop {
    /// Nobody wants the events any more.
    Unwanted,
    /// The stream is not the one it was.
    Lost(String),
    /// The cursor is made anew.
    Again(String),
    /// The cursor is made anew under another name: the server that holds the consumer does not answer.
    Silent(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error {
            Error::NoStream(name) => Stop::Lost(format!("stream `{name}` was deleted")),
            Error::Unanswered { .. } => Stop::Silent(chain(&error)),
            error => Stop::Again(chain(&error)),
        }
    }
}

struct Reader {
    broker: Broker,
    plan: CursorPlan,
    sender: mpsc::Sender<Delivery>,
    /// The next sequence to be handed on.
    next: u64,
    /// Whether the last delivery had to wait so long that the pull request ran out meanwhile.
    paused: bool,
    /// The consumer's name: the plan's, and a number if a server that held an earlier one went silent.
    name: String,
    /// Whether the server that held the consumer went silent.
    silent: bool,
    patience: Duration,
}

impl Reader {
    async fn run(mut self) {
        let mut failures = 0_u32;
        let mut broken_here = 0_u32;
        loop {
            let before = self.next;
            let stop = self.read().await;
            if let Stop::Silent(_) = stop {
                self.leave_a_silent_one().await;
            }
            match stop {
                Stop::Unwanted => return self.remove().await,
                Stop::Lost(reason) => {
                    // The receiver may be gone, and then nobody needs to know.
                    self.sender.send(Delivery::Lost(reason)).await.ok();
                    return;
                }
                Stop::Again(reason) | Stop::Silent(reason) => {
                    failures = if self.next > before { 1 } else { failures.saturating_add(1) };
                    let broken = self.next == before && reason.starts_with(BROKEN_OFF);
                    broken_here = if broken { broken_here + 1 } else { 0 };
                    if broken_here == MAX_BROKEN_HERE {
                        tracing::error!(
                            cursor = self.plan.name,
                            next = self.next,
                            "reading does not get past this place: a message behind it may have a subject or headers that are not UTF-8; remove it from the stream"
                        );
                    }
                    if std::mem::take(&mut self.paused) {
                        tracing::debug!(cursor = self.plan.name, reason, "cursor is made anew after a pause");
                    } else {
                        tracing::warn!(
                            cursor = self.plan.name,
                            next = self.next,
                            reason,
                            "cursor is made anew"
                        );
                    }
                }
            }
            let delay = Duration::from_millis(20).saturating_mul(1 << failures.min(7)).min(MAX_DELAY);
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.sender.closed() => return,
            }
        }
    }

    /// Takes the consumer away. It would vanish by itself as well.
    async fn remove(&self) {
        if let Ok(stream) = self.broker.jetstream.get_stream_no_info(&*self.plan.stream).await {
            stream.delete_consumer(&self.name).await.ok();
        }
    }

    async fn read(&mut self) -> Stop {
        match self.read_on().await {
            Ok(never) => match never {},
            Err(stop) => stop,
        }
    }

    async fn read_on(&mut self) -> Result<std::convert::Infallible, Stop> {
        let state = self.check_stream().await?;
        let consumer = self.make_consumer(&state).await?;
        let again =
            |what: &str, error: &dyn std::error::Error| Stop::Again(format!("{what}: {}", chain(error)));
        let mut messages = consumer
            .stream()
            .max_messages_per_batch(PULL_EVENTS)
            .max_bytes_per_batch(PULL_BYTES.max(2 * self.broker.max_payload()))
            .heartbeat(HEARTBEAT)
            .expires(PULL_EXPIRES)
            .messages()
            .await
            .map_err(|error| again("failed to read", &error))?;
        let mut delivered = 0_u64;
        let mut marked = false;
        let mut mismatches = 0;
        loop {
            let first = tokio::select! {
                // Cancel-safe: the stream keeps what it has received.
                message = messages.next() => message,
                () = tokio::time::sleep(QUIET), if !marked => {
                    marked = self.mark(&consumer, delivered).await?;
                    mismatches += u32::from(!marked);
                    if mismatches >= MAX_MISMATCHES {
                        return Err(Stop::Again(STOLEN.to_owned()));
                    }
                    continue;
                }
                () = self.sender.closed() => return Err(Stop::Unwanted),
            };
            marked = false;
            mismatches = 0;
            self.patience = FIRST_PATIENCE;
            let mut batch = CursorEvents { events: Vec::new(), next: self.next, pending: 0 };
            let mut message = Some(first);
            let mut broken = None;
            while let Some(item) = message.take() {
                match item {
                    Some(Ok(received)) => self.take(received, &mut delivered, &mut batch)?,
                    Some(Err(error)) => broken = Some(again(BROKEN_OFF, &error)),
                    None => broken = Some(Stop::Again("reading ended".to_owned())),
                }
                if broken.is_none() && batch.events.len() < PULL_EVENTS {
                    message = messages.next().now_or_never();
                }
            }
            if !batch.events.is_empty() {
                self.hand_on(batch).await?;
            }
            if let Some(stop) = broken {
                return Err(stop);
            }
        }
    }

    /// Adds a message to the batch. A gap in the consumer's own count means that somebody else reads it.
    fn take(&self, message: Message, delivered: &mut u64, batch: &mut CursorEvents) -> Result<(), Stop> {
        let info = message.info().map_err(|error| Stop::Again(format!("message has no place: {error}")))?;
        if info.consumer_sequence != *delivered + 1 {
            return Err(Stop::Again(STOLEN.to_owned()));
        }
        if info.stream_sequence < batch.next {
            return Err(Stop::Lost(format!(
                "the server delivers event {}, but said before that there was none below {}",
                info.stream_sequence, batch.next
            )));
        }
        *delivered += 1;
        batch.next = info.stream_sequence + 1;
        batch.pending = info.pending;
        let (sequence, time) = (info.stream_sequence, nanos(info.published));
        batch.events.push(Event {
            stream: Arc::clone(&self.plan.stream),
            sequence,
            time,
            headers: headers::from_nats(message.headers.as_ref()),
            subject: message.message.subject.as_str().into(),
            payload: message.message.payload,
            source: Source::Stream,
        });
        Ok(())
    }

    async fn hand_on(&mut self, batch: CursorEvents) -> Result<(), Stop> {
        let next = batch.next;
        let began = Instant::now();
        self.sender.send(Delivery::Events(batch)).await.map_err(|_| Stop::Unwanted)?;
        self.paused = began.elapsed() > HEARTBEAT;
        self.next = next;
        Ok(())
    }

    /// When a cursor is quiet: everything that the consumer has looked at has been seen. Says whether the consumer agrees
    /// with what has arrived.
    async fn mark(&mut self, consumer: &PullConsumer, delivered: u64) -> Result<bool, Stop> {
        let info = consumer.get_info().await.map_err(|e| Error::asked("look up the cursor", &e))?;
        let agrees = info.num_pending == 0 && info.delivered.consumer_sequence == delivered;
        // How far this very consumer has looked. The stream's own end would not do: a copy of it may be ahead of the one
        // that the consumer reads.
        let looked_at = info.delivered.stream_sequence;
        if agrees && looked_at >= self.next {
            self.hand_on(CursorEvents { events: Vec::new(), next: looked_at + 1, pending: 0 }).await?;
        }
        Ok(agrees)
    }

    async fn check_stream(&self) -> Result<StreamState, Stop> {
        let state = self.broker.stream_state(&self.plan.stream).await?;
        if state.created != self.plan.created {
            return Err(Stop::Lost(format!(
                "stream `{}` was deleted and created anew: sequences no longer mean the same events",
                self.plan.stream
            )));
        }
        if state.last + 1 < self.next {
            return Err(Stop::Lost(format!(
                "stream `{}` ends at {}, but events up to {} have been read: its end was lost",
                self.plan.stream,
                state.last,
                self.next - 1
            )));
        }
        Ok(state)
    }
}
