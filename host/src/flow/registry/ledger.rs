//! The ledger: what is remembered of a handler's versions, in the application's stream.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Error, Tools};
use crate::broker::{self, Broker};
use crate::flow::clock;
use crate::values::dead_letter::rfc3339;
use crate::values::event::Headers;
use crate::values::names::Names;
use crate::values::order::Answer;
use crate::values::rollout::Rollout;

/// How long it can be seen what came of an order, in seconds.
const ANSWER_TTL: u32 = 3600;

/// The wait between two tries to store something.
const PAUSE: Duration = Duration::from_millis(200);

/// What is remembered of one handler, and where.
pub(super) struct Ledger {
    pub(super) handler: Arc<str>,
    subject: String,
    /// Of the last message; 0: there is none.
    sequence: u64,
    pub(super) rollout: Rollout,
}

/// Another host has the application.
#[derive(Debug)]
pub(super) struct Fenced;

impl Ledger {
    /// Reads what is remembered.
    pub(super) async fn open(tools: &Tools, handler: &Arc<str>) -> Result<Self, Error> {
        let subject = tools.names.rollout(handler);
        let handler = Arc::clone(handler);
        let Some(stored) = tools.broker.last(&tools.settings.stream.name, &subject).await? else {
            return Ok(Ledger { handler, subject, sequence: 0, rollout: Rollout::default() });
        };
        let rollout = serde_json::from_slice(&stored.payload)
            .map_err(|cause| Error::Ledger { handler: handler.to_string(), cause: cause.to_string() })?;
        Ok(Ledger { handler, subject, sequence: stored.sequence, rollout })
    }

    /// Changes what is remembered. Comes back when that is stored, however long it takes.
    pub(super) async fn change(
        &mut self,
        tools: &Tools,
        change: impl FnOnce(&mut Rollout),
    ) -> Result<(), Fenced> {
        let mut rollout = self.rollout.clone();
        change(&mut rollout);
        if rollout == self.rollout {
            return Ok(());
        }
        let payload = bytes::Bytes::from(serde_json::to_vec(&rollout).expect("a rollout is plain data"));
        let stream = &tools.settings.stream.name;
        let stored = loop {
            match self.put(&tools.broker, payload.clone()).await {
                Ok(Some(sequence)) => break sequence,
                // Either an earlier try was stored after all, or somebody else has written.
                Ok(None) => match tools.broker.last(stream, &self.subject).await {
                    Ok(Some(last)) if last.payload == payload => break last.sequence,
                    Ok(_) => return Err(Fenced),
                    Err(error) => tracing::warn!(%error, "version could not be stored; trying again"),
                },
                Err(error) => tracing::warn!(%error, "version could not be stored; trying again"),
            }
            tokio::time::sleep(PAUSE).await;
        };
        let before = std::mem::replace(&mut self.sequence, stored);
        if before > 0 {
            // If this fails, it stays without harm: the last one counts.
            tools.broker.delete(stream, before).await.ok();
        }
        let changed: Vec<Value> = rollout
            .versions
            .iter()
            .filter(|version| self.rollout.version(&version.digest) != Some(*version))
            .map(|version| json!(version))
            .collect();
        let pinned = self.rollout.pinned != rollout.pinned;
        self.rollout = rollout;
        if changed.is_empty() && !pinned {
            return Ok(());
        }
        let details =
            json!({ "handler": &*self.handler, "pinned": self.rollout.pinned, "versions": changed });
        if let Err(error) = audit(&tools.broker, &tools.names, "version", "host", details).await {
            tracing::warn!(%error, "audit line was not stored");
        }
        Ok(())
    }

    async fn put(&self, broker: &Broker, payload: bytes::Bytes) -> Result<Option<u64>, broker::Error> {
        broker.send_kept(&self.subject, &Headers::default(), payload, Some(self.sequence)).await?.await
    }
}

/// Says what was done, by whom and to what, on `_heddle.<app>.audit`. It is kept for ever.
pub async fn audit(
    broker: &Broker,
    names: &Names,
    operation: &str,
    by: &str,
    details: Value,
) -> Result<(), broker::Error> {
    let time = rfc3339(clock::now().saturating_mul(1_000_000));
    let line = json!({ "time": time, "operation": operation, "by": by, "details": details });
    broker.publish_kept(&names.audit(), &Headers::default(), line.to_string().into()).await
}

/// Says what came of an order, and takes it away.
pub async fn answer(broker: &Broker, names: &Names, stream: &str, sequence: u64, answer: &Answer) {
    let payload = serde_json::to_vec(answer).expect("an answer is plain data");
    let told = broker.announce(&names.answer(sequence), payload.into(), ANSWER_TTL).await;
    if let Err(error) = told {
        tracing::warn!(%error, "answer to an order was not stored");
    }
    // An order that stays is known to be carried out, and is taken away at the next start.
    broker.delete(stream, sequence).await.ok();
}
