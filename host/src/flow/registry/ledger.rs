//! The ledger: what is remembered of a handler's versions, in the application's stream.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Error, Tools};
use crate::broker::{self, Broker, CommitError, Listen};
use crate::flow::clock;
use crate::values::batch::{BatchMessage, Keep};
use crate::values::dead_letter::rfc3339;
use crate::values::event::Headers;
use crate::values::names::Names;
use crate::values::order::Answer;
use crate::values::rollout::{Rollout, Version};

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
        let batch = self.batch(tools, &rollout);
        let stream = &tools.settings.stream.name;
        let stored = loop {
            let id = format!("{}-version-{:016x}", tools.settings.app, rand::random::<u64>());
            match tools.broker.commit(stream, &id, &batch, Listen::Last).await {
                Ok(answer) => break answer.first,
                // Either an earlier try was stored after all, or somebody else has written.
                Err(CommitError::Conflict(_)) => match tools.broker.last(stream, &self.subject).await {
                    Ok(Some(last)) if batch.first().is_some_and(|put| put.payload == last.payload) => {
                        break last.sequence;
                    }
                    Ok(_) => return Err(Fenced),
                    Err(error) => tracing::warn!(%error, "version could not be stored; trying again"),
                },
                Err(error) => tracing::warn!(%error, "version could not be stored; trying again"),
            }
            tokio::time::sleep(PAUSE).await;
        };
        self.rollout = rollout;
        let before = std::mem::replace(&mut self.sequence, stored);
        if before > 0 {
            // If this fails, it stays without harm: the last one counts.
            tools.broker.delete(stream, before).await.ok();
        }
        Ok(())
    }

    /// What is remembered from now on, and a line that says so: both are stored, or none.
    fn batch(&self, tools: &Tools, next: &Rollout) -> Vec<BatchMessage> {
        let kept = |subject, payload: Vec<u8>| BatchMessage {
            subject,
            payload: payload.into(),
            keep: Keep::Always,
            ..BatchMessage::default()
        };
        let payload = serde_json::to_vec(next).expect("a rollout is plain data");
        let put = BatchMessage { expected_last: Some(self.sequence), ..kept(self.subject.clone(), payload) };
        let known = |version: &&Version| self.rollout.version(&version.digest) == Some(*version);
        let changed: Vec<&Version> = next.versions.iter().filter(|version| !known(version)).collect();
        if changed.is_empty() && next.pinned == self.rollout.pinned {
            return vec![put];
        }
        let details = json!({ "handler": &*self.handler, "pinned": next.pinned, "versions": changed });
        vec![put, kept(tools.names.audit(), line("version", "host", &details).into_bytes())]
    }
}

/// What was done, by whom and to what.
fn line(operation: &str, by: &str, details: &Value) -> String {
    let time = rfc3339(clock::now().saturating_mul(1_000_000));
    json!({ "time": time, "operation": operation, "by": by, "details": details }).to_string()
}

/// Says what was done, by whom and to what, on `_heddle.<app>.audit`. It is kept for ever.
pub async fn audit(
    broker: &Broker,
    names: &Names,
    operation: &str,
    by: &str,
    details: Value,
) -> Result<(), broker::Error> {
    let line = line(operation, by, &details);
    broker.publish_kept(&names.audit(), &Headers::default(), line.into()).await
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
