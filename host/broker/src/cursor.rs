//! Cursors: reading a stream in order from a sequence on.
//!
//! A cursor is a pull consumer without acks. It may be thrown away and recreated at any time: whatever
//! goes wrong (a lost connection, a server that restarts, a consumer that was deleted or that somebody
//! else reads from) ends in a new consumer right after the last event that was handed on. Nothing is
//! handed on twice or left out, and nothing that lies in the stream ends reading: what a consumer cannot deliver is read
//! [one by one](one_by_one).

mod consumer;
mod end;
mod one_by_one;
mod stop;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{PullConsumer, pull};
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;

use consumer::FIRST_PATIENCE;
use one_by_one::{Broken, Caution};
use stop::{Again, Stop};

use super::consumer::INACTIVE;
use super::{Broker, Error, headers, nanos};
use heddle_values::errors::chain;
use heddle_values::event::{Event, Source};
use heddle_values::policy::Backoff;
use heddle_values::subject::Pattern;

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

/// How many checks in a row must find that the server has delivered more than has arrived, before another client is assumed
/// to read from the consumer.
const MAX_MISMATCHES: u32 = 4;

/// The waits between two tries to make a cursor.
const PAUSES: Backoff = Backoff::doubling(Duration::from_millis(40), Duration::from_secs(2));

/// What a cursor reads.
#[derive(Debug, Clone)]
pub struct CursorPlan {
    /// The stream to read, whose name every event bears. If it does not exist (any more), the cursor ends with
    /// [`Delivery::Lost`].
    pub stream: Arc<str>,
    /// When the stream was created. A stream that was recreated since ends the cursor.
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
    /// At most 256 events in the order of the stream; none if only markers or a higher `next` are to be told. Some may
    /// lie outside the plan's filter: where it is faster to read everything, the server is not asked to filter.
    pub events: Vec<Event>,
    /// Sequences and subjects of what the server wrote itself for expired or deleted subjects: no events.
    pub markers: Vec<(u64, Box<str>)>,
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
        self.cursor_kept(plan, INACTIVE)
    }

    /// A cursor, and the task that reads for it. The server keeps its consumer for `idle` after the last read.
    pub(super) fn cursor_kept(
        &self,
        plan: CursorPlan,
        idle: Duration,
    ) -> (Cursor, impl Future<Output = ()> + Send + 'static) {
        let (sender, deliveries) = mpsc::channel(WAITING_DELIVERIES);
        let reader = Reader {
            broker: self.clone(),
            sender,
            next: plan.start.max(1),
            read_filter: plan.filter.as_ref().map_or(EVERYTHING, Pattern::as_str).to_owned(),
            name: plan.name.clone(),
            plan,
            idle,
            paused: false,
            broken: Broken::default(),
            caution: Caution::default(),
            silent: false,
            patience: FIRST_PATIENCE,
            short_since: None,
        };
        (Cursor { deliveries }, reader.run())
    }
}

/// The filter of a consumer that reads everything.
const EVERYTHING: &str = ">";

struct Reader {
    broker: Broker,
    plan: CursorPlan,
    /// How long the server keeps the consumer when nobody reads from it.
    idle: Duration,
    sender: mpsc::Sender<Delivery>,
    /// The next sequence to be handed on.
    next: u64,
    /// What the last consumer delivered, or would have.
    read_filter: String,
    /// Whether the last delivery had to wait so long that the pull request ran out meanwhile.
    paused: bool,
    broken: Broken,
    caution: Caution,
    /// The consumer's name: the plan's, and a number if a server that held an earlier one went silent.
    name: String,
    /// Whether the server that held the consumer went silent.
    silent: bool,
    /// How long a request waits that makes a consumer.
    patience: Duration,
    /// Since when the stream seems to end before what has been read.
    short_since: Option<Instant>,
}

impl Reader {
    async fn run(mut self) {
        let mut failures = 0_u32;
        loop {
            let before = self.next;
            let began = Instant::now();
            let reason = match self.read().await {
                Stop::Unwanted => return self.remove().await,
                Stop::Lost(reason) => {
                    // The receiver may be gone, and then nobody needs to know.
                    self.sender.send(Delivery::Lost(reason)).await.ok();
                    return;
                }
                Stop::Again(reason) => reason,
                Stop::Silent(reason) => {
                    // A request that is denied is not answered either, under no name.
                    if self.broker.denied_since(began, &reason.to_string()).is_none() {
                        self.leave_a_silent_one().await;
                    }
                    reason
                }
            };
            let moved = self.next > before;
            failures = if moved { 1 } else { failures.saturating_add(1) };
            self.broken.stopped(&reason, moved);
            let (cursor, next) = (&self.name, self.next);
            if std::mem::take(&mut self.paused) {
                tracing::debug!(cursor, %reason, "recreating consumer after a pause");
            } else {
                tracing::warn!(cursor, next, %reason, "recreating consumer");
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSES.bound(failures)) => {}
                () = self.sender.closed() => return,
            }
            // If there is none, the next try says why.
            if let Ok(living) = self.broker.living().await {
                self.broker = living;
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
        match Box::pin(self.read_on()).await {
            Ok(never) => match never {},
            Err(stop) => stop,
        }
    }

    /// Gets past what no consumer can deliver, if that comes next, and makes a consumer behind it.
    async fn open(&mut self) -> Result<(PullConsumer, pull::Stream), Stop> {
        if self.broken.suspected {
            self.check_stream().await?;
            self.pass(self.broken.times > 1).await?;
            self.broken.suspected = false;
        }
        let state = self.check_stream().await?;
        let consumer = self.make_consumer(&state).await?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(PULL_EVENTS)
            .max_bytes_per_batch(PULL_BYTES.max(2 * self.broker.max_payload()))
            .heartbeat(HEARTBEAT)
            .expires(PULL_EXPIRES)
            .messages()
            .await
            .map_err(|error| Stop::Again(Again::Failed(format!("failed to read: {}", chain(&error)))))?;
        Ok((consumer, messages))
    }

    async fn read_on(&mut self) -> Result<std::convert::Infallible, Stop> {
        let (consumer, mut messages) = self.open().await?;
        let connected = self.connects();
        let mut looked = connected;
        let mut delivered = 0_u64;
        let mut marked = false;
        let mut mismatches = 0;
        loop {
            let first = tokio::select! {
                // Cancel-safe: the stream keeps what it has received.
                message = messages.next() => message,
                () = tokio::time::sleep(QUIET) => {
                    // With another connection the consumer is checked again: its server may have gone silent with the
                    // one before.
                    let before = std::mem::replace(&mut looked, self.connects());
                    if marked && looked == before {
                        continue;
                    }
                    marked = self.mark(&consumer, delivered).await?;
                    mismatches += u32::from(!marked);
                    // What was on its way when the connection was lost does not come any more.
                    let lost = !marked && looked != connected;
                    if lost || mismatches >= MAX_MISMATCHES {
                        return Err(Stop::Again(Again::Gap));
                    }
                    continue;
                }
                () = self.sender.closed() => return Err(Stop::Unwanted),
            };
            marked = false;
            mismatches = 0;
            if matches!(first, Some(Ok(_))) {
                self.paused = false;
            }
            self.patience = FIRST_PATIENCE;
            let (batch, broken) = self.gather(first, &mut messages, &mut delivered)?;
            if !batch.events.is_empty() || !batch.markers.is_empty() {
                self.caution.delivered(batch.events.len());
                self.hand_on(batch).await?;
            }
            if let Some(stop) = broken {
                return Err(stop);
            }
        }
    }

    /// The first message and what has come behind it. What came before a break is still to be handed on.
    fn gather(
        &mut self,
        first: Option<Result<Message, pull::MessagesError>>,
        messages: &mut pull::Stream,
        delivered: &mut u64,
    ) -> Result<(CursorEvents, Option<Stop>), Stop> {
        let mut batch = CursorEvents { events: Vec::new(), markers: Vec::new(), next: self.next, pending: 0 };
        let mut message = Some(first);
        let mut broken = None;
        while let Some(item) = message.take() {
            match item {
                Some(Ok(received)) => match self.take(received, delivered, &mut batch) {
                    Ok(()) => {}
                    Err(Stop::Again(again)) => broken = Some(Stop::Again(again)),
                    Err(stop) => return Err(stop),
                },
                Some(Err(error)) => broken = Some(self.broke_off(&error)),
                None => broken = Some(Stop::Again(Again::Ended)),
            }
            if broken.is_none() && batch.events.len() < PULL_EVENTS {
                message = messages.next().now_or_never();
            }
        }
        Ok((batch, broken))
    }

    /// Without heartbeats the server is silent, unless nobody has listened.
    fn broke_off(&self, error: &pull::MessagesError) -> Stop {
        let why = Again::BrokeOff(chain(error));
        match error.kind() {
            pull::MessagesErrorKind::MissingHeartbeat if !self.paused => Stop::Silent(why),
            _ => Stop::Again(why),
        }
    }

    /// How often the connection has come about.
    fn connects(&self) -> u64 {
        self.broker.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// Adds a message to the batch. A gap in the consumer's own count means that another client reads it.
    fn take(&self, message: Message, delivered: &mut u64, batch: &mut CursorEvents) -> Result<(), Stop> {
        let info = message.info().map_err(|error| Stop::Again(Again::NoPlace(error.to_string())))?;
        if info.consumer_sequence != *delivered + 1 {
            return Err(Stop::Again(Again::Gap));
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
        if headers::is_marker(message.headers.as_ref(), &message.payload) {
            batch.markers.push((sequence, message.message.subject.as_str().into()));
            return Ok(());
        }
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

    /// When a cursor is quiet: everything that the consumer has passed has been seen. Says whether the consumer agrees
    /// with what has arrived.
    async fn mark(&mut self, consumer: &PullConsumer, delivered: u64) -> Result<bool, Stop> {
        let info = consumer.get_info().await.map_err(|e| Error::asked("look up the cursor", &e))?;
        let agrees = info.num_pending == 0 && info.delivered.consumer_sequence == delivered;
        // How far this very consumer has come. The stream's own end would not do: a copy of it may be ahead of the one
        // that the consumer reads.
        let looked_at = info.delivered.stream_sequence;
        if agrees && looked_at >= self.next {
            let next = looked_at + 1;
            let none = CursorEvents { events: Vec::new(), markers: Vec::new(), next, pending: 0 };
            self.hand_on(none).await?;
        }
        Ok(agrees)
    }
}
