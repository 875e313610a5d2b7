//! Leftovers: what is stored for a time, and still there because the host that was to remove it has died.
//!
//! Events that are held back are copied to a subject of their key, and the copies are removed after they have run. A host
//! that dies in between leaves them. Nobody would come by again: so whoever takes the application over looks for them,
//! and removes them beside the flow. Which copies are done the gates say, and nothing else: below a gate's `next` all
//! are, and without a gate all that lie below the take-over.
//!
//! The other kinds need nobody: requests are read from the first one at every start, and what of them is done is
//! removed; checkpoints and states that later ones have replaced are found by the next compaction; gates that are open,
//! cleared states, answers, outcomes and announcements have a time to live.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};

use super::gates::{self, StoredGate};
use super::jobs::Done;
use heddle_broker::{self as broker, Broker};
use heddle_values::handlers::{HandlerIx, PerHandler};
use heddle_values::names::Names;
use heddle_values::settings::Settings;

/// Subjects that are purged at once: few, for the flow shares the server.
const PARALLEL: usize = 4;

/// How often the removal of one is tried. What is left then is found by the next host.
const TRIES: u32 = 8;

/// The longest wait between two tries.
const MAX_DELAY: Duration = Duration::from_secs(2);

/// Messages that are no longer needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    pub subject: String,
    /// All below this sequence.
    pub below: u64,
}

/// What is held back at the take-over.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct HeldBack {
    /// For each handler of the file, how many events.
    pub counts: PerHandler<u64>,
    /// What may be left from an earlier host.
    pub leftovers: Vec<Leftover>,
}

/// Looks at all copies of events that are held back. `taken` is a sequence of the take-over: whatever lies below it was
/// stored by an earlier host.
pub async fn find(
    broker: &Broker,
    settings: &Settings,
    names: &Names,
    gates: &[StoredGate],
    taken: u64,
) -> Result<HeldBack, broker::Error> {
    let subjects = broker.subjects(&settings.stream.name, &names.all_held()).await?;
    let handlers = settings.handlers.map(|handler| &*handler.name);
    let Sorted { held, leftovers } = sort(&subjects, &handlers, names, gates, taken);
    let mut counts = handlers.map(|_| 0);
    let stream = &settings.stream.name;
    let count = |Held { handler, subject, copies, next }| async move {
        Ok::<_, broker::Error>((handler, gates::held_back(broker, stream, subject, copies, next).await?))
    };
    let mut counted = stream::iter(held).map(count).buffer_unordered(PARALLEL);
    while let Some((handler, events)) = counted.try_next().await? {
        counts[handler] += events;
    }
    Ok(HeldBack { counts, leftovers })
}

/// The copies of a key that is held.
#[derive(Debug, PartialEq, Eq)]
struct Held<'a> {
    handler: HandlerIx,
    subject: &'a str,
    copies: u64,
    /// All below this sequence have run.
    next: u64,
}

/// What is held, and what is left.
#[derive(Debug, Default)]
struct Sorted<'a> {
    held: Vec<Held<'a>>,
    leftovers: Vec<Leftover>,
}

/// Tells what is still held from what is left.
fn sort<'a>(
    subjects: &'a [(String, usize)],
    handlers: &PerHandler<&str>,
    names: &Names,
    gates: &[StoredGate],
    taken: u64,
) -> Sorted<'a> {
    let held = |gate: &StoredGate| (names.held(gate.shard, &gate.handler, &gate.token), gate.gate.next);
    let next: HashMap<String, u64> = gates.iter().map(held).collect();
    let mut sorted = Sorted::default();
    for (subject, count) in subjects {
        let handler = names.parse_held(subject).map(|(_, handler, _)| handler);
        // A handler that is not in the file has no gates here: nothing is known of what is held of it.
        let Some(handler) = handler.and_then(|name| handlers.find(|of| *of == name)) else {
            continue;
        };
        let below = match next.get(subject) {
            Some(&next) => {
                sorted.held.push(Held { handler, subject, copies: *count as u64, next });
                next
            }
            None => taken,
        };
        if below > 0 {
            sorted.leftovers.push(Leftover { subject: subject.clone(), below });
        }
    }
    sorted
}

/// Removes leftovers.
pub(super) async fn remove(broker: Broker, stream: Arc<str>, leftovers: Vec<Leftover>) -> Done {
    let purge = |leftover: Leftover| {
        let (broker, stream) = (broker.clone(), Arc::clone(&stream));
        async move { purge(&broker, &stream, &leftover).await }
    };
    let removed: u64 = stream::iter(leftovers)
        .map(purge)
        .buffer_unordered(PARALLEL)
        .fold(0, |sum, removed| async move { sum + removed })
        .await;
    if removed > 0 {
        tracing::debug!(removed, "events that were held back and have run are removed");
    }
    Done::Nothing
}

/// How many were removed.
async fn purge(broker: &Broker, stream: &str, leftover: &Leftover) -> u64 {
    let mut delay = Duration::from_millis(50);
    for _ in 1..TRIES {
        match broker.purge_below(stream, &leftover.subject, leftover.below).await {
            Ok(removed) => return removed,
            Err(error) => tracing::debug!(%error, ?delay, "events that were held back stay; trying again"),
        }
        tokio::time::sleep(delay).await;
        delay = delay.saturating_mul(2).min(MAX_DELAY);
    }
    match broker.purge_below(stream, &leftover.subject, leftover.below).await {
        Ok(removed) => removed,
        Err(error) => {
            tracing::warn!(%error, subject = leftover.subject, "events that have run stay until the next start");
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heddle_values::gate::{Gate, Phase};

    fn gate(token: &str, next: u64) -> StoredGate {
        let gate =
            Gate { key: token.to_owned(), phase: Phase::Closed, next, event: "T/1".to_owned(), since: 1 };
        StoredGate { shard: 2, handler: "h".to_owned(), token: token.to_owned(), gate }
    }

    #[test]
    fn what_no_gate_holds_is_left_over_and_of_a_held_key_only_what_has_run() {
        let names = Names::new("t");
        let subject = |shard, handler: &str, token: &str| (names.held(shard, handler, token), 3);
        let subjects = [
            subject(2, "h", "held"),
            subject(2, "h", "open"),
            subject(1, "h", "held"),
            subject(2, "gone", "open"),
        ];
        let sorted = sort(&subjects, &vec!["g", "h"].into(), &names, &[gate("held", 40)], 100);
        let of_h = Held { handler: HandlerIx::new(1), subject: &subjects[0].0, copies: 3, next: 40 };
        assert_eq!(sorted.held, [of_h]);
        let left = |(subject, _): &(String, usize), below| Leftover { subject: subject.clone(), below };
        let expected = [left(&subjects[0], 40), left(&subjects[1], 100), left(&subjects[2], 100)];
        assert_eq!(sorted.leftovers, expected);
    }
}
