//! The checker: reads a stream from its beginning and says what is wrong with it.
//!
//! It knows the promises, not the host. The events that it can judge ask the plugin `contrary` to count in its state
//! and to publish the count on `out.<key>`: the counts of a key must be 1, 2, 3, …, each caused by the next event of
//! that key. A lost event leaves the last count too low, a repeated effect shows a cause twice, a reordered one a
//! cause that goes back, and a torn commit a count that does not fit its place.

use std::collections::BTreeMap;

use async_nats::jetstream;
use serde_json::json;

use crate::wait_for;

/// One message of a stream.
#[derive(Debug, Clone)]
pub struct Row {
    /// The sequence number in the stream, from 1.
    pub sequence: u64,
    /// The whole subject, such as `out.k1`.
    pub subject: String,
    /// The payload as text; what is not UTF-8 is replaced by U+FFFD.
    pub payload: String,
    /// The first value of each header, the server's own (`Nats-…`) included. Names are case-sensitive.
    pub headers: BTreeMap<String, String>,
}

impl Row {
    /// A header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }

    /// The sequence of the event that caused this message.
    pub fn cause(&self) -> u64 {
        self.header("Heddle-Cause").rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or(0)
    }
}

/// Publishes events and reads the stream back.
pub struct Checker {
    jetstream: jetstream::Context,
    stream: String,
}

impl Checker {
    /// For a stream.
    pub fn new(jetstream: jetstream::Context, stream: &str) -> Self {
        Checker { jetstream, stream: stream.to_owned() }
    }

    /// Publishes an event that does what `instructions` say; its sequence once it is stored.
    pub async fn publish(&self, subject: &str, instructions: serde_json::Value) -> u64 {
        let payload = json!({ "do": instructions }).to_string();
        // Published again until it is stored: an id keeps it from being stored twice.
        let id = format!("{:032x}", rand::random::<u128>());
        wait_for("an event is stored", || async {
            let mut headers = async_nats::HeaderMap::new();
            headers.insert("Nats-Msg-Id", id.as_str());
            let ack =
                self.jetstream.publish_with_headers(subject.to_owned(), headers, payload.clone().into());
            ack.await.ok()?.await.ok().map(|ack| ack.sequence)
        })
        .await
    }

    /// Publishes an event on `in.<key>` that counts, preceded by `more` instructions.
    pub async fn publish_count(&self, key: &str, more: &[serde_json::Value]) -> u64 {
        self.publish(&format!("in.{key}"), counting(key, more)).await
    }

    /// Publishes N events that count, for N keys in turn, and waits until all are stored.
    pub async fn publish_counts(&self, events: usize, keys: usize) {
        use futures::{StreamExt, TryStreamExt};
        let publish = |n: usize| {
            let text = json!({ "do": counting(&format!("k{}", n % keys), &[]) }).to_string();
            async move {
                let ack = self.jetstream.publish(format!("in.k{}", n % keys), text.into()).await?;
                ack.await
            }
        };
        let acks = futures::stream::iter(0..events).map(publish).buffer_unordered(1_000);
        acks.try_for_each(|_| std::future::ready(Ok(()))).await.expect("the server takes all events");
    }

    /// What operators did to the application `t`; what its host did is left out.
    pub async fn audit(&self) -> Vec<Row> {
        let rows = self.rows("_heddle.t.audit").await;
        rows.into_iter().filter(|row| !row.payload.contains("\"by\":\"host\"")).collect()
    }

    /// All messages under a subject prefix, in the order of the stream.
    pub async fn rows(&self, prefix: &str) -> Vec<Row> {
        let Ok(mut stream) = self.jetstream.get_stream(&self.stream).await else { return Vec::new() };
        let Ok(info) = stream.info().await.cloned() else { return Vec::new() };
        let last = info.state.last_sequence;
        let mut rows = Vec::new();
        let config = jetstream::consumer::pull::OrderedConfig::default();
        let Ok(consumer) = stream.create_consumer(config).await else { return rows };
        if last == 0 || info.state.messages == 0 {
            return rows;
        }
        let Ok(mut messages) = consumer.messages().await else { return rows };
        use futures::StreamExt;
        while let Some(Ok(message)) = messages.next().await {
            let Ok(place) = message.info() else { break };
            let (sequence, pending) = (place.stream_sequence, place.pending);
            if message.subject.starts_with(prefix) {
                rows.push(row(sequence, &message.subject, &message.payload, message.headers.as_ref()));
            }
            if sequence >= last || pending == 0 {
                break;
            }
        }
        rows
    }

    /// All messages under a filter, in the order of the stream. What lies under others is not delivered, whatever it is.
    pub async fn rows_under(&self, filter: &str) -> Vec<Row> {
        use futures::StreamExt;
        let mut rows = Vec::new();
        let Ok(stream) = self.jetstream.get_stream(&self.stream).await else { return rows };
        let filter_subject = filter.to_owned();
        let config = jetstream::consumer::pull::OrderedConfig { filter_subject, ..Default::default() };
        let Ok(mut consumer) = stream.create_consumer(config).await else { return rows };
        let pending = consumer.info().await.map_or(0, |info| info.num_pending);
        let Ok(messages) = consumer.messages().await else { return rows };
        let mut messages = messages.take(usize::try_from(pending).unwrap_or(usize::MAX));
        while let Some(Ok(message)) = messages.next().await {
            let Ok(place) = message.info() else { break };
            let sequence = place.stream_sequence;
            rows.push(row(sequence, &message.subject, &message.payload, message.headers.as_ref()));
        }
        rows
    }

    /// The last message on a subject.
    pub async fn last(&self, subject: &str) -> Option<Row> {
        let stream = self.jetstream.get_stream(&self.stream).await.ok()?;
        let message = stream.get_last_raw_message_by_subject(subject).await.ok()?;
        Some(row(message.sequence, &message.subject, &message.payload, Some(&message.headers)))
    }

    /// How many messages there are under a subject with wildcards.
    pub async fn count(&self, filter: &str) -> Option<usize> {
        use futures::TryStreamExt;
        let stream = self.jetstream.get_stream(&self.stream).await.ok()?;
        let subjects = stream.info_with_subjects(filter).await.ok()?;
        subjects.try_fold(0, |sum, (_, count)| async move { Ok(sum + count) }).await.ok()
    }

    /// Waits until there are at least `count` messages under a subject with wildcards.
    pub async fn wait_for(&self, filter: &str, count: usize) {
        let mut last = None;
        let what = format!("{count} messages under `{filter}`");
        let began = tokio::time::Instant::now();
        loop {
            let found = self.count(filter).await;
            if found.is_some_and(|found| found >= count) {
                return;
            }
            // Patience begins again with every step forward.
            assert!(began.elapsed() < crate::PATIENCE * 3, "waited in vain for {what}: {last:?}");
            last = found.or(last);
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Everything that is wrong with the counts of these events, by the subjects of their effects: see
    /// [`faults`](Self::faults). Effects on other subjects are not looked at.
    pub async fn faults_among(&self, events: &BTreeMap<String, Vec<u64>>) -> Vec<String> {
        let mut effects: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        for row in self.rows_under("out.>").await {
            if events.contains_key(&row.subject) {
                effects.entry(row.subject.clone()).or_default().push(row);
            }
        }
        judge(events, &effects)
    }

    /// Everything that is wrong with the counts of all keys; empty if all promises held. Every event on `in.<key>`
    /// must be a counting one.
    pub async fn faults(&self) -> Vec<String> {
        let mut events: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for row in self.rows("in.").await {
            events.entry(row.subject.replacen("in.", "out.", 1)).or_default().push(row.sequence);
        }
        let mut effects: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        for row in self.rows("out.").await {
            effects.entry(row.subject.clone()).or_default().push(row);
        }
        judge(&events, &effects)
    }
}

fn row(sequence: u64, subject: &str, payload: &[u8], headers: Option<&async_nats::HeaderMap>) -> Row {
    let headers = headers.into_iter().flat_map(|headers| headers.iter());
    let first = headers.filter_map(|(name, values)| Some((name.to_string(), values.first()?.to_string())));
    Row {
        sequence,
        subject: subject.to_owned(),
        payload: String::from_utf8_lossy(payload).into_owned(),
        headers: first.collect(),
    }
}

/// Instructions that count and publish the count.
pub(crate) fn counting(key: &str, more: &[serde_json::Value]) -> serde_json::Value {
    let mut all = more.to_vec();
    all.push(json!({ "log": { "level": "trace", "message": "ran" } }));
    all.push(json!({ "count": null }));
    all.push(json!({ "echo_state": { "subject": format!("out.{key}") } }));
    json!(all)
}

fn judge(events: &BTreeMap<String, Vec<u64>>, effects: &BTreeMap<String, Vec<Row>>) -> Vec<String> {
    let mut faults = Vec::new();
    for subject in effects.keys().filter(|subject| !events.contains_key(*subject)) {
        faults.push(format!("phantom: effects on `{subject}` without an event"));
    }
    for (subject, caused_by) in events {
        let none = Vec::new();
        let found = effects.get(subject).unwrap_or(&none);
        let causes: Vec<u64> = found.iter().map(Row::cause).collect();
        if causes != *caused_by {
            let lost: Vec<&u64> = caused_by.iter().filter(|event| !causes.contains(event)).collect();
            let mut sorted = causes.clone();
            sorted.sort_unstable();
            let repeated = sorted.windows(2).any(|pair| pair.first() == pair.last());
            let reordered = !causes.is_sorted();
            faults.push(format!("`{subject}`: lost {lost:?}, repeated {repeated}, reordered {reordered}"));
        }
        let counts: Vec<String> = found.iter().map(|row| row.payload.clone()).collect();
        let expected: Vec<String> = (1..=found.len()).map(|n| n.to_string()).collect();
        if counts != expected {
            faults.push(format!("torn: counts of `{subject}` are {counts:?}"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(sequence: u64, cause: u64, count: &str) -> Row {
        let headers = [("Heddle-Cause".to_owned(), format!("T/{cause}"))].into();
        Row { sequence, subject: "out.a".into(), payload: count.into(), headers }
    }

    #[track_caller]
    fn check(effects: Vec<Row>, expected: &str) {
        let events = [("out.a".to_owned(), vec![1, 2, 3])].into();
        let faults = judge(&events, &[("out.a".to_owned(), effects)].into()).join("; ");
        assert!(faults.contains(expected), "{faults:?} does not say {expected:?}");
        assert_eq!(faults.is_empty(), expected.is_empty());
    }

    #[test]
    fn the_checker_turns_red_on_every_kind_of_fault() {
        check(vec![effect(4, 1, "1"), effect(5, 2, "2"), effect(6, 3, "3")], "");
        check(vec![effect(4, 1, "1"), effect(5, 2, "2")], "lost [3]");
        check(
            vec![effect(4, 1, "1"), effect(5, 2, "2"), effect(6, 2, "3"), effect(7, 3, "4")],
            "repeated true",
        );
        check(vec![effect(4, 2, "1"), effect(5, 1, "2"), effect(6, 3, "3")], "reordered true");
        check(vec![effect(4, 1, "1"), effect(5, 2, "1"), effect(6, 3, "2")], "torn");
    }
}
