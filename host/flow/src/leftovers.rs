//! Leftovers: what is stored for a time, and still there because the host that was to remove it has died.
//!
//! Events that are held back are copied to a subject of their key, and the copies are removed after they have run. A host
//! that dies in between leaves them. No other host would clean them up: so the one that takes over looks for them,
//! and removes them beside the flow. Which copies are done the gates say, and nothing else: below a gate's `next` all
//! are, and without a gate all that lie below the take-over.
//!
//! The other kinds need nobody: requests are read from the first one at every start, and what of them is done is
//! removed; checkpoints and states that later ones have replaced are found by the next compaction; gates that are open,
//! cleared states, answers, outcomes and announcements have a time to live.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};

use super::gates::StoredGate;
use heddle_broker::{self as broker, Broker};
use heddle_values::gate::{Gate, Phase};
use heddle_values::handlers::{HandlerIx, PerHandler};
use heddle_values::names::Names;
use heddle_values::policy::Backoff;
use heddle_values::settings::Settings;

/// Subjects that are purged at once: few, for the flow shares the server.
const PARALLEL: usize = 4;

/// How often the removal of one is tried. What is left then is found by the next host.
const TRIES: u32 = 8;

/// The waits between two tries.
const PAUSES: Backoff = Backoff::doubling(Duration::from_millis(50), Duration::from_secs(2));

/// Messages that are no longer needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The subject on which the copies of one key's events lie.
    pub subject: String,
    /// All below this sequence.
    pub below: u64,
    /// Why they are no longer needed, and whether they were counted as still held back.
    pub gate: Gated,
}

/// What the gate of copies says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gated {
    /// It holds back what comes after them. They were counted as if they still were held back, for this handler.
    Held(HandlerIx),
    /// It is open: they have run.
    Open,
    /// There is none.
    Nowhere,
}

/// What is held back at the take-over.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct HeldBack {
    /// For each handler of the file, how many events, those included that have run and are left over.
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
    Ok(sort(&subjects, &settings.handlers.map(|handler| &*handler.name), names, gates, taken))
}

/// Tells what is still held from what is left.
fn sort(
    subjects: &[(String, usize)],
    handlers: &PerHandler<&str>,
    names: &Names,
    gates: &[StoredGate],
    taken: u64,
) -> HeldBack {
    let subject = |gate: &StoredGate| names.held(gate.shard, &gate.handler, &gate.token);
    let gates: HashMap<String, &Gate> = gates.iter().map(|stored| (subject(stored), &stored.gate)).collect();
    let mut held_back = HeldBack { counts: handlers.map(|_| 0), leftovers: Vec::new() };
    for (subject, count) in subjects {
        let handler = names.parse_held(subject).map(|(_, handler, _)| handler);
        // A handler that is not in the file has no gates here: nothing is known of what is held of it.
        let Some(handler) = handler.and_then(|name| handlers.find(|of| *of == name)) else { continue };
        let (below, gate) = match gates.get(subject) {
            None => (taken, Gated::Nowhere),
            Some(gate) if gate.phase == Phase::Open => (taken, Gated::Open),
            Some(gate) => {
                held_back.counts[handler] += *count as u64;
                (gate.next, Gated::Held(handler))
            }
        };
        if below > 0 {
            held_back.leftovers.push(Leftover { subject: subject.clone(), below, gate });
        }
    }
    held_back
}

/// Removes leftovers. How many there were of those that each handler's count still held.
pub(super) async fn remove(
    broker: Broker,
    stream: Arc<str>,
    leftovers: Vec<Leftover>,
) -> Vec<(HandlerIx, u64)> {
    let purge = |leftover: Leftover| {
        let (broker, stream) = (broker.clone(), Arc::clone(&stream));
        async move {
            let removed = purge(&broker, &stream, &leftover).await;
            if leftover.gate == Gated::Nowhere && removed > 0 {
                tracing::warn!(
                    subject = leftover.subject,
                    removed,
                    "events were held back and there is no gate any more: they ran more than an hour ago, or somebody has purged the gate and they are lost"
                );
            }
            (leftover.gate, removed)
        }
    };
    let all: Vec<_> = stream::iter(leftovers).map(purge).buffer_unordered(PARALLEL).collect().await;
    let removed: u64 = all.iter().map(|(_, removed)| removed).sum();
    if removed > 0 {
        tracing::debug!(removed, "events that were held back and have run are removed");
    }
    let counted = |(gate, removed)| match gate {
        Gated::Held(handler) => Some((handler, removed)),
        Gated::Open | Gated::Nowhere => None,
    };
    all.into_iter().filter_map(counted).collect()
}

/// How many were removed.
async fn purge(broker: &Broker, stream: &str, leftover: &Leftover) -> u64 {
    for failures in 1..TRIES {
        let delay = PAUSES.bound(failures);
        match broker.purge_below(stream, &leftover.subject, leftover.below).await {
            Ok(removed) => return removed,
            Err(error) => tracing::debug!(%error, ?delay, "events that were held back stay; trying again"),
        }
        tokio::time::sleep(delay).await;
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

    fn gate(token: &str, phase: Phase, next: u64) -> StoredGate {
        let gate = Gate { key: token.to_owned(), phase, next, event: "T/1".to_owned(), since: 1 };
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
        let gates = [gate("held", Phase::Closed, 40), gate("open", Phase::Open, 30)];
        let held_back = sort(&subjects, &vec!["g", "h"].into(), &names, &gates, 100);
        assert_eq!(held_back.counts, vec![0, 3].into());
        let left =
            |(subject, _): &(String, usize), below, gate| Leftover { subject: subject.clone(), below, gate };
        let held = Gated::Held(HandlerIx::new(1));
        let expected = [
            left(&subjects[0], 40, held),
            left(&subjects[1], 100, Gated::Open),
            left(&subjects[2], 100, Gated::Nowhere),
        ];
        assert_eq!(held_back.leftovers, expected);
    }
}
