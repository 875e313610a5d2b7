//! The keys that a dead letter holds, and how many events wait behind each.

use std::collections::{BTreeMap, HashMap};

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::time_of;
use crate::print::{self, say, visible};
use heddle_broker::{self as broker, Broker};
use heddle_flow::gates::{self, StoredGate};
use heddle_values::gate::Phase;
use heddle_values::names::Names;

/// Held keys of a handler that are shown as text.
const SHOWN: usize = 10;

/// Keys of which the events are counted at once.
const PARALLEL: usize = 16;

/// A key whose events are held back.
#[derive(Debug, Serialize)]
pub(super) struct HeldKey {
    key: String,
    /// `closed`, or `draining` while what was held back runs.
    phase: Phase,
    /// The event whose dead letter holds the key.
    event: String,
    since: String,
    /// Events that have not run.
    pub(super) held_back: u64,
}

/// The keys that are held, by handler, the longest first.
pub(super) async fn read(
    broker: &Broker,
    stream: &str,
    names: &Names,
) -> anyhow::Result<BTreeMap<String, Vec<HeldKey>>> {
    let gates = gates::read(broker, stream, names).await?;
    if gates.is_empty() {
        return Ok(BTreeMap::new());
    }
    let copies: HashMap<String, usize> =
        broker.subjects(stream, &names.all_held()).await?.into_iter().collect();
    let count = |StoredGate { shard, handler, token, gate }: StoredGate| {
        let subject = names.held(shard, &handler, &token);
        let copies = copies.get(&subject).copied().unwrap_or_default() as u64;
        async move {
            let held_back = gates::held_back(broker, stream, &subject, copies, gate.next).await?;
            let (phase, event, since) = (gate.phase, gate.event, time_of(gate.since));
            Ok::<_, broker::Error>((handler, HeldKey { key: gate.key, phase, event, since, held_back }))
        }
    };
    let counted: Vec<(String, HeldKey)> =
        stream::iter(gates).map(count).buffer_unordered(PARALLEL).try_collect().await?;
    let mut all: BTreeMap<String, Vec<HeldKey>> = BTreeMap::new();
    for (handler, held) in counted {
        all.entry(handler).or_default().push(held);
    }
    all.values_mut().for_each(|keys| keys.sort_by(|a, b| (&a.since, &a.key).cmp(&(&b.since, &b.key))));
    Ok(all)
}

/// Prints the first of them, a line each.
pub(super) fn print(name: &str, held_keys: &[HeldKey]) -> Result<(), print::Error> {
    for HeldKey { key, phase, event, since, held_back } in held_keys.iter().take(SHOWN) {
        let (key, event) = (visible(key), visible(event));
        match phase {
            Phase::Draining => say!("{name}: key `{key}` runs what was held back: {held_back} to go")?,
            _ => say!(
                "{name}: key `{key}` is held since {since} by the dead letter of {event}: {held_back} held back"
            )?,
        }
    }
    if let Some(more) = held_keys.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        say!("{name}: {more} more keys are held (--json shows all)")?;
    }
    Ok(())
}
