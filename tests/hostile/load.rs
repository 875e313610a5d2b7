//! The load: healthy events at a steady pace with hostile ones among them, and the time until each healthy effect is in
//! the stream.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::{self, context::PublishAckFuture};
use futures::StreamExt;
use heddle_tests::PATIENCE;
use serde_json::json;
use tokio::time::timeout;

use crate::guest::Guest;

/// Healthy events of one round.
pub(crate) const HEALTHY: usize = 300;

/// Keys of the healthy events.
const KEYS: usize = 20;

/// Between two healthy events.
const PACE: Duration = Duration::from_micros(1_500);

/// A load on the application.
pub(crate) struct Load {
    jetstream: jetstream::Context,
    hostile: bytes::Bytes,
    hostile_headers: HeaderMap,
    /// Of the hostile events of one round, which are evenly among the healthy ones.
    hostile_keys: Vec<String>,
    /// Rounds so far.
    pub(crate) rounds: usize,
}

/// A key and its count: an effect of one round.
type Effect = (String, usize);

impl Load {
    /// With hostile events for this guest.
    pub(crate) fn new(jetstream: jetstream::Context, guest: &Guest) -> Self {
        let hostile = json!({ "do": guest.instructions }).to_string().into();
        let mut hostile_headers = HeaderMap::new();
        if let Some(inbox) = &guest.inbox {
            hostile_headers.insert("Heddle-Reply-To", inbox.as_str());
        }
        Load { jetstream, hostile, hostile_headers, hostile_keys: guest.keys.clone(), rounds: 0 }
    }

    /// How many hostile events were sent.
    pub(crate) fn hostile_events(&self) -> usize {
        self.rounds * self.hostile_keys.len()
    }

    /// Sends one round; the 99th percentile of the time from sending a healthy event to its effect in the stream.
    pub(crate) async fn round(&mut self) -> Duration {
        let stream = self.jetstream.get_stream("T").await.expect("the stream is there");
        let config = jetstream::consumer::pull::OrderedConfig {
            filter_subject: "out.>".to_owned(),
            deliver_policy: jetstream::consumer::DeliverPolicy::New,
            ..Default::default()
        };
        let consumer = stream.create_consumer(config).await.expect("a consumer is made");
        let effects = consumer.messages().await.expect("the consumer delivers");
        let (sent, seen) = tokio::join!(self.send(), receive(effects));
        self.rounds += 1;
        let mut waits: Vec<Duration> = sent
            .iter()
            .map(|(effect, sent)| {
                let seen = seen.get(effect).unwrap_or_else(|| panic!("no effect {effect:?} in {seen:?}"));
                seen.duration_since(*sent)
            })
            .collect();
        waits.sort_unstable();
        waits[waits.len() * 99 / 100]
    }

    /// Sends at the pace, whatever becomes of the events; when each healthy one was sent.
    async fn send(&self) -> BTreeMap<Effect, Instant> {
        let mut pace = tokio::time::interval(PACE);
        let (mut sent, mut stored) = (BTreeMap::new(), Vec::new());
        let apart = HEALTHY / self.hostile_keys.len();
        let mut hostile_keys = self.hostile_keys.iter().peekable();
        for n in 0..HEALTHY {
            pace.tick().await;
            if let Some(key) = hostile_keys.next_if(|_| n % apart == 0) {
                let (headers, payload) = (self.hostile_headers.clone(), self.hostile.clone());
                stored.push(self.publish(format!("bad.{key}"), headers, payload).await);
            }
            let key = format!("k{}", n % KEYS);
            let count = self.rounds * HEALTHY / KEYS + n / KEYS + 1;
            let steps = json!([{"count": null}, {"echo_state": {"subject": format!("out.{key}")}}]);
            sent.insert((key.clone(), count), Instant::now());
            let payload = json!({ "do": steps }).to_string().into();
            stored.push(self.publish(format!("in.{key}"), HeaderMap::new(), payload).await);
        }
        for stored in stored {
            stored.await.expect("the server stores every event");
        }
        sent
    }

    async fn publish(&self, subject: String, headers: HeaderMap, payload: bytes::Bytes) -> PublishAckFuture {
        self.jetstream.publish_with_headers(subject, headers, payload).await.expect("an event is sent")
    }
}

/// When each effect of a round was in the stream.
async fn receive(mut effects: jetstream::consumer::pull::Ordered) -> BTreeMap<Effect, Instant> {
    let mut seen = BTreeMap::new();
    while seen.len() < HEALTHY {
        let next = timeout(PATIENCE, effects.next()).await;
        let next = next.unwrap_or_else(|_| panic!("the neighbour stopped after {} effects", seen.len()));
        let message = next.expect("an ordered consumer goes on").expect("the server delivers");
        let key = message.subject.trim_start_matches("out.").to_owned();
        let count = std::str::from_utf8(&message.payload).ok().and_then(|text| text.parse().ok());
        seen.entry((key, count.expect("an effect is a count"))).or_insert_with(Instant::now);
    }
    seen
}
