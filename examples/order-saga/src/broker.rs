//! NATS: places orders and reads the stream. The only module that names the client.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use async_nats::jetstream::consumer::pull::{Ordered, OrderedConfig};
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, Context, stream::Stream};
use futures::StreamExt as _;
use tokio::time::{Instant, sleep_until, timeout};

use crate::check::Acknowledged;
use crate::event::Message;
use crate::orders::Order;

/// The application's stream, as `heddle.toml` names it.
pub const STREAM: &str = "SHOP";

/// How many orders may be on their way without an acknowledgement.
const WINDOW: usize = 512;

/// A server that says nothing for so long while there is something to read has gone.
const SILENCE: Duration = Duration::from_secs(10);

/// A connection to the server that holds the application's stream.
#[derive(Debug)]
pub struct Broker {
    jetstream: Context,
    stream: Stream,
}

/// One message and how many are behind it.
#[derive(Debug)]
pub struct Read {
    /// The message.
    pub message: Message,
    /// How many more there are in the stream now.
    pub pending: u64,
}

/// Reads the stream from its beginning; waits at its end.
pub struct Reader(Ordered);

impl Broker {
    /// Connects, and finds the stream.
    pub async fn connect(url: &str) -> Result<Self> {
        let client =
            async_nats::ConnectOptions::new().name("order-saga").connect(url).await.with_context(|| {
                format!("failed to connect to `{url}`: is the application running (`heddle dev`)?")
            })?;
        let jetstream = jetstream::new(client);
        let stream = jetstream.get_stream(STREAM).await.with_context(|| {
            format!(
                "failed to find the stream `{STREAM}` at `{url}`: is the application running (`heddle dev`)?"
            )
        })?;
        Ok(Self { jetstream, stream })
    }

    /// Places orders, N a second or as fast as the server takes them. Returns when every one is
    /// acknowledged, and fails with the first that is not. `placed` is told the number of acknowledged
    /// orders.
    pub async fn place(
        &self,
        orders: impl Iterator<Item = Order>,
        rate: Option<NonZeroU32>,
        mut placed: impl FnMut(u64),
    ) -> Result<Vec<Acknowledged>> {
        let start = Instant::now();
        let mut waiting: VecDeque<(Order, PublishAckFuture)> = VecDeque::new();
        let mut acknowledged = Vec::new();
        for (number, order) in orders.enumerate() {
            if let Some(rate) = rate {
                sleep_until(start + Duration::from_secs_f64(number as f64 / f64::from(rate.get()))).await;
            }
            let ack = self.publish(&order).await?;
            waiting.push_back((order, ack));
            if waiting.len() >= WINDOW
                && let Some(oldest) = waiting.pop_front()
            {
                acknowledged.push(confirm(oldest).await?);
                placed(acknowledged.len() as u64);
            }
        }
        for oldest in waiting {
            acknowledged.push(confirm(oldest).await?);
            placed(acknowledged.len() as u64);
        }
        Ok(acknowledged)
    }

    async fn publish(&self, order: &Order) -> Result<PublishAckFuture> {
        let name = &order.placement.order;
        let payload = serde_json::to_vec(&order.placement).context("failed to write an order as JSON")?;
        let message =
            PublishMessage::build().payload(payload.into()).message_id(name).expected_stream(STREAM);
        let subject = format!("order.placed.{}", order.customer);
        let sent = self.jetstream.send_publish(subject, message).await;
        sent.with_context(|| format!("failed to place order `{name}`"))
    }

    /// Reads from the first message on.
    pub async fn read(&self) -> Result<Reader> {
        let consumer = self.stream.create_consumer(OrderedConfig::default()).await;
        let consumer = consumer.with_context(|| format!("failed to read the stream `{STREAM}`"))?;
        let messages =
            consumer.messages().await.with_context(|| format!("failed to read the stream `{STREAM}`"))?;
        Ok(Reader(messages))
    }

    /// Everything the stream holds, in stream order.
    pub async fn read_all(&self) -> Result<Vec<Message>> {
        let info = self
            .stream
            .get_info()
            .await
            .with_context(|| format!("failed to look at the stream `{STREAM}`"))?;
        let mut messages = Vec::new();
        if info.state.messages == 0 {
            return Ok(messages);
        }
        let mut reader = self.read().await?;
        loop {
            let next = timeout(SILENCE, reader.next()).await;
            let Read { message, pending } = next.with_context(|| {
                format!("the server said nothing for {SILENCE:?} with messages left to read")
            })??;
            messages.push(message);
            if pending == 0 {
                return Ok(messages);
            }
        }
    }
}

impl Reader {
    /// The next message; waits for it at the end of the stream. Nothing is lost if the wait is given up.
    pub async fn next(&mut self) -> Result<Read> {
        let Some(message) = self.0.next().await else {
            bail!("the server ended the reading of the stream `{STREAM}`");
        };
        let message = message.with_context(|| format!("failed to read the stream `{STREAM}`"))?;
        let info = message
            .info()
            .map_err(|error| anyhow::anyhow!(error))
            .context("the server sent a foreign message")?;
        let time = u64::try_from(info.published.unix_timestamp_nanos())
            .context("the server's clock is before 1970")?;
        let (sequence, pending) = (info.stream_sequence, info.pending);
        let mut headers = Vec::new();
        for (name, values) in message.headers.iter().flat_map(|map| map.iter()) {
            headers.extend(values.iter().map(|value| (name.to_string(), value.to_string())));
        }
        let (subject, payload) = (message.subject.to_string(), message.payload.to_vec());
        Ok(Read { message: Message { sequence, time, subject, headers, payload }, pending })
    }
}

/// Waits for the acknowledgement of an order.
async fn confirm((order, ack): (Order, PublishAckFuture)) -> Result<Acknowledged> {
    let name = &order.placement.order;
    let ack = ack.await.with_context(|| format!("order `{name}` was not acknowledged"))?;
    ensure!(!ack.duplicate, "order `{name}` was placed before: take another `--seed`");
    Ok(Acknowledged { sequence: ack.sequence, order })
}
