//! The judge: reads all effects while they come, and notes whatever is wrong with them.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use async_nats::jetstream::{self, consumer};
use futures::StreamExt;
use heddle_tests::component::digest;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::load::Event;
use crate::streams::{OUTPUT, now};

/// Faults that are told in words.
const TOLD: usize = 10;

/// The digests of what stood in the plugin's file, in the order in which they came there. A lock, because whoever
/// replaces the file notes it before the judge can see it; it is held for a look.
pub(crate) type Order = Arc<Mutex<Vec<String>>>;

/// Adds a digest.
pub(crate) fn note(order: &Order, digest: &str) {
    order.lock().unwrap_or_else(PoisonError::into_inner).push(digest.to_owned());
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) events: u64,
    pub(crate) lost: u64,
    pub(crate) repeated: u64,
    pub(crate) reordered: u64,
    /// Effects of a version that was not to run any more, or that was never offered.
    pub(crate) back: u64,
    /// The first faults, in words.
    pub(crate) told: Vec<String>,
    /// When each event was due, in nanoseconds since 1970, and how long its effect took, in microseconds.
    pub(crate) latencies: Vec<(u64, u32)>,
}

/// What is known of a key.
#[derive(Debug, Clone)]
struct Seen {
    /// The number of the last event.
    number: u64,
    /// Its version's place in the order.
    place: usize,
    digest: String,
}

/// Reads until it is told how many events there were.
pub(crate) struct Judge {
    order: Order,
    sent: oneshot::Sender<Vec<u64>>,
    task: JoinSet<Verdict>,
}

impl Judge {
    /// Begins to read.
    pub(crate) async fn start(jetstream: &jetstream::Context, keys: u64, first: &[u8]) -> Result<Self> {
        let config = consumer::pull::OrderedConfig {
            filter_subject: "out.>".to_owned(),
            deliver_policy: consumer::DeliverPolicy::All,
            ..Default::default()
        };
        let stream = jetstream.get_stream(OUTPUT).await?;
        let effects = stream.create_consumer(config).await?.messages().await?;
        let digest = digest(first);
        let order = Order::default();
        note(&order, &digest);
        let keys = vec![Seen { number: 0, place: 0, digest }; usize::try_from(keys)?];
        let bench = Bench { order: Arc::clone(&order), keys, verdict: Verdict::default() };
        let (sent, told) = oneshot::channel();
        let mut task = JoinSet::new();
        task.spawn(bench.read(effects, told));
        Ok(Judge { order, sent, task })
    }

    /// Where whoever replaces the file notes it.
    pub(crate) fn order(&self) -> Order {
        Arc::clone(&self.order)
    }

    /// Waits for the effects of all events: N were sent for each key.
    pub(crate) async fn end(mut self, sent: Vec<u64>) -> Verdict {
        self.sent.send(sent).ok();
        match self.task.join_next().await {
            Some(Ok(verdict)) => verdict,
            ended => {
                Verdict { lost: 1, told: vec![format!("the judge failed: {ended:?}")], ..Verdict::default() }
            }
        }
    }
}

struct Bench {
    order: Order,
    keys: Vec<Seen>,
    verdict: Verdict,
}

impl Bench {
    async fn read(
        mut self,
        mut effects: consumer::pull::Ordered,
        sent: oneshot::Receiver<Vec<u64>>,
    ) -> Verdict {
        let mut sent = std::pin::pin!(sent);
        let mut expected: Option<Vec<u64>> = None;
        loop {
            if let Some(all) = &expected
                && self.verdict.events >= all.iter().sum::<u64>()
            {
                break;
            }
            // Both are cancel-safe: a message stays in the consumer until it is given.
            tokio::select! {
                told = &mut sent, if expected.is_none() => expected = Some(told.unwrap_or_default()),
                next = tokio::time::timeout(heddle_tests::PATIENCE, effects.next()) => match next {
                    Ok(Some(Ok(message))) => self.take(&message),
                    Ok(Some(Err(error))) => self.tell(format!("reading failed: {error}")),
                    Ok(None) | Err(_) => {
                        self.tell("no more effects come".to_owned());
                        break;
                    }
                }
            }
        }
        for (seen, sent) in self.keys.iter().zip(expected.unwrap_or_default()) {
            self.verdict.lost += sent.saturating_sub(seen.number);
        }
        self.verdict
    }

    fn take(&mut self, message: &jetstream::Message) {
        let arrived = now();
        let subject = message.subject.to_string();
        let key = subject.strip_prefix("out.0.k").and_then(|key| key.parse::<usize>().ok());
        let headers = message.headers.as_ref();
        let plugin = headers.and_then(|headers| headers.get("Heddle-Plugin"));
        let plugin = plugin.map(|plugin| plugin.as_str().to_owned()).unwrap_or_default();
        let Some((key, event)) = key.zip(Event::decode(&message.payload)) else {
            self.tell(format!("`{subject}` is no effect of an event"));
            return;
        };
        self.verdict.events += 1;
        let micros = arrived.saturating_sub(event.due) / 1_000;
        self.verdict.latencies.push((event.due, u32::try_from(micros).unwrap_or(u32::MAX)));
        let Some(seen) = self.keys.get(key).cloned() else {
            self.tell(format!("`{subject}` has no key"));
            return;
        };
        let place = self.place(&seen, &plugin);
        if let Some(fault) = self.compare(&seen, event.number) {
            self.tell(format!("key {key}: {fault} {} after {}", event.number, seen.number));
        }
        if place.is_none() {
            self.verdict.back += 1;
            self.tell(format!("key {key}: event {} ran with {plugin} after {}", event.number, seen.digest));
        }
        let place = place.unwrap_or(seen.place);
        let number = seen.number.max(event.number);
        if let Some(slot) = self.keys.get_mut(key) {
            *slot = Seen { number, place, digest: plugin };
        }
    }

    /// What is wrong with the number of an event, if anything is.
    fn compare(&mut self, seen: &Seen, number: u64) -> Option<&'static str> {
        let Verdict { lost, repeated, reordered, .. } = &mut self.verdict;
        if number == seen.number + 1 {
            return None;
        }
        if number > seen.number {
            *lost += number - seen.number - 1;
            return Some("lost: event");
        }
        if number == seen.number {
            *repeated += 1;
            return Some("repeated: event");
        }
        *reordered += 1;
        Some("repeated or reordered: event")
    }

    /// The place of a version in the order, at or after that of the key's version. None: it would have gone back.
    fn place(&self, seen: &Seen, plugin: &str) -> Option<usize> {
        if seen.digest == plugin {
            return Some(seen.place);
        }
        let order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let after = order.iter().enumerate().skip(seen.place + 1);
        after.into_iter().find(|(_, digest)| *digest == plugin).map(|(place, _)| place)
    }

    fn tell(&mut self, fault: String) {
        if self.verdict.told.len() < TOLD {
            self.verdict.told.push(fault);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bench() -> Bench {
        let order = Order::default();
        ["a", "b", "c", "a"].into_iter().for_each(|digest| note(&order, digest));
        Bench { order, keys: Vec::new(), verdict: Verdict::default() }
    }

    #[test]
    fn the_judge_turns_red_on_every_kind_of_fault() {
        let seen = Seen { number: 5, place: 1, digest: "b".into() };
        let mut bench = bench();
        assert_eq!(bench.compare(&seen, 6), None);
        assert!(bench.compare(&seen, 8).is_some() && bench.verdict.lost == 2);
        assert!(bench.compare(&seen, 5).is_some() && bench.verdict.repeated == 1);
        assert!(bench.compare(&seen, 4).is_some() && bench.verdict.reordered == 1);
    }

    #[test]
    fn a_key_goes_on_to_later_versions_only() {
        let bench = bench();
        let seen = |place: usize, digest: &str| Seen { number: 1, place, digest: digest.into() };
        assert_eq!(bench.place(&seen(0, "a"), "c"), Some(2));
        assert_eq!(bench.place(&seen(0, "a"), "a"), Some(0));
        assert_eq!(bench.place(&seen(2, "c"), "a"), Some(3), "it was offered again");
        assert_eq!(bench.place(&seen(2, "c"), "b"), None);
        assert_eq!(bench.place(&seen(0, "a"), "x"), None);
    }
}
