//! The rollout record: the versions of a handler's plugin and their standing, in the application's stream.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use super::{Error, Tools};
use crate::clock;
use heddle_broker::{self as broker, Broker, CommitError, Listen, Stored};
use heddle_values::batch::{BatchMessage, Keep};
use heddle_values::checkpoint::Checkpoint;
use heddle_values::command::Answer;
use heddle_values::event::Headers;
use heddle_values::names::Names;
use heddle_values::policy::Backoff;
use heddle_values::rollout::{Rollout, Version};
use heddle_values::settings::HandlerSettings;
use heddle_values::text::rfc3339;

/// How long the answer to a command can be read, in seconds.
const ANSWER_TTL: u32 = 3600;

/// The waits between two tries to store something.
const PAUSES: Backoff = Backoff::doubling(Duration::from_millis(200), Duration::from_secs(10));

/// Conflicts with other writers after which a host gives up claiming rollout records.
const MAX_CONFLICTS: u32 = 20;

/// Failures of the server to store claimed records after which the host gives up.
const MAX_FAILURES: u32 = 5;

/// Rollout records that are read at once.
const READING: usize = 16;

/// Rollout records that are claimed in one batch.
const CLAIMED_AT_ONCE: usize = 100;

/// The longest reason that is remembered, in bytes: whoever wrote it may have put a megabyte into it.
const MAX_REASON: usize = 1024;

/// Names the host that wrote what is remembered.
const OWNER: &str = "Heddle-Host";

/// What is remembered of one handler, and where.
pub(super) struct RolloutRecord {
    pub(super) handler: Arc<str>,
    subject: String,
    /// The sequence of the last message; 0: there is none.
    sequence: u64,
    pub(super) rollout: Rollout,
}

/// Another host has the application.
#[derive(Debug)]
pub(super) struct Fenced;

impl RolloutRecord {
    /// Reads the rollout record of every handler, and makes it this host's: the host that had the application before can
    /// write none of them any more, however late its messages arrive.
    pub(super) async fn claim_all(tools: &Tools) -> Result<Vec<Self>, Error> {
        let mut records = Vec::new();
        for handlers in tools.settings.handlers.chunks(CLAIMED_AT_ONCE) {
            records.extend(Self::claim(tools, handlers).await?);
        }
        Ok(records)
    }

    async fn claim(tools: &Tools, handlers: &[Arc<HandlerSettings>]) -> Result<Vec<Self>, Error> {
        let (mut conflicts, mut failures) = (0, 0);
        loop {
            let read = handlers.iter().map(|handler| Self::read(tools, &handler.name));
            let mut records: Vec<Self> = futures::stream::iter(read).buffered(READING).try_collect().await?;
            let batch: Vec<BatchMessage> =
                records.iter().map(|record| record.put(tools, &record.rollout)).collect();
            match tools
                .broker
                .commit(&tools.settings.stream.name, &batch_id(tools), &batch, Listen::Last)
                .await
            {
                Ok(answer) => {
                    for (index, record) in (0_u64..).zip(&mut records) {
                        record.stored(tools, answer.first + index).await;
                    }
                    return Ok(records);
                }
                // What a host that had the application before has under way still arrives.
                Err(CommitError::Conflict(_)) if conflicts == MAX_CONFLICTS => return Err(Error::Fenced),
                Err(error @ CommitError::Conflict(_)) => {
                    conflicts += 1;
                    tracing::warn!(%error, "versions could not be claimed yet; trying again");
                }
                // It is not known what is stored now: read again.
                Err(error) if error.may_pass() && failures < MAX_FAILURES => {
                    failures += 1;
                    tracing::warn!(%error, "versions could not be claimed yet; trying again");
                }
                Err(cause) => {
                    let names: Vec<_> = handlers.iter().map(|handler| &*handler.name).collect();
                    return Err(Error::Claim { handlers: names.join(", "), cause });
                }
            }
            tokio::time::sleep(PAUSES.initial).await;
        }
    }

    async fn read(tools: &Tools, handler: &Arc<str>) -> Result<Self, Error> {
        let subject = tools.names.rollout(handler);
        let handler = Arc::clone(handler);
        let Some(stored) = tools.broker.last(&tools.settings.stream.name, &subject).await? else {
            return Ok(RolloutRecord { handler, subject, sequence: 0, rollout: Rollout::default() });
        };
        let rollout = serde_json::from_slice(&stored.payload).map_err(|cause| Error::RolloutRecord {
            handler: handler.to_string(),
            cause: cause.to_string(),
        })?;
        Ok(RolloutRecord { handler, subject, sequence: stored.sequence, rollout })
    }

    /// Changes what is remembered. Comes back when that is stored, however long it takes.
    pub(super) async fn change(
        &mut self,
        tools: &Tools,
        change: impl FnOnce(&mut Rollout),
    ) -> Result<(), Fenced> {
        let mut rollout = self.rollout.clone();
        change(&mut rollout);
        rollout.shorten(MAX_REASON);
        if rollout == self.rollout {
            return Ok(());
        }
        let mut batch = self.batch(tools, &rollout);
        let (mut failures, stream) = (0, &tools.settings.stream.name);
        let stored = loop {
            failures += 1;
            let pause = PAUSES.bound(failures);
            match tools.broker.commit(stream, &batch_id(tools), &batch, Listen::Last).await {
                Ok(answer) => break answer.first,
                // Either an earlier try was stored after all, or somebody else has written.
                Err(CommitError::Conflict(_)) => match tools.broker.last(stream, &self.subject).await {
                    Ok(Some(last)) if batch.first().is_some_and(|put| is_same(put, &last)) => {
                        break last.sequence;
                    }
                    Ok(Some(_)) => return Err(Fenced),
                    // With the record its fence is gone: the checkpoints tell whose the application is.
                    Ok(None) if !has_application(tools).await => return Err(Fenced),
                    Ok(None) => {
                        let handler = &*self.handler;
                        tracing::warn!(handler, "rollout record was removed; storing it again");
                        self.sequence = 0;
                        batch = self.batch(tools, &rollout);
                    }
                    Err(error) => tracing::warn!(%error, "version could not be stored; trying again"),
                },
                Err(CommitError::Refused(reason)) => {
                    let handler = &*self.handler;
                    tracing::error!(
                        handler,
                        reason,
                        "server refuses the rollout record; trying without its reasons and without the signatures of old versions"
                    );
                    rollout.shorten(0);
                    batch = vec![self.put(tools, &rollout)];
                }
                Err(error) => tracing::warn!(%error, ?pause, "version could not be stored; trying again"),
            }
            tokio::time::sleep(pause).await;
        };
        self.rollout = rollout;
        self.stored(tools, stored).await;
        Ok(())
    }

    /// What is remembered has this sequence from now on.
    async fn stored(&mut self, tools: &Tools, sequence: u64) {
        let before = std::mem::replace(&mut self.sequence, sequence);
        if before > 0 {
            // If this fails, it stays without harm: the last one counts.
            tools.broker.delete(&tools.settings.stream.name, before).await.ok();
        }
    }

    fn put(&self, tools: &Tools, next: &Rollout) -> BatchMessage {
        let payload = serde_json::to_vec(next).expect("a rollout is plain data");
        BatchMessage {
            headers: Headers::from_pairs([(OWNER, &*tools.host)]),
            expected_last: Some(self.sequence),
            ..kept(self.subject.clone(), payload)
        }
    }

    /// What is remembered from now on, and a line that says so: both are stored, or none.
    fn batch(&self, tools: &Tools, next: &Rollout) -> Vec<BatchMessage> {
        let put = self.put(tools, next);
        let known = |version: &&Version| self.rollout.version(&version.digest) == Some(*version);
        let changed: Vec<&Version> = next.versions.iter().filter(|version| !known(version)).collect();
        if changed.is_empty() && next.pinned == self.rollout.pinned {
            return vec![put];
        }
        let details = json!({ "handler": &*self.handler, "pinned": next.pinned, "versions": changed });
        vec![put, kept(tools.names.audit(), line("version", "host", &details).into_bytes())]
    }
}

fn kept(subject: String, payload: Vec<u8>) -> BatchMessage {
    BatchMessage { subject, payload: payload.into(), keep: Keep::Always, ..BatchMessage::default() }
}

fn batch_id(tools: &Tools) -> String {
    format!("{}-version-{:016x}", tools.settings.app, rand::random::<u64>())
}

/// Whether a checkpoint is this host's. Asks until it is known.
async fn has_application(tools: &Tools) -> bool {
    let subject = tools.names.checkpoint(0);
    let checkpoint = broker::persist(|| tools.broker.last(&tools.settings.stream.name, &subject)).await;
    let found = checkpoint.and_then(|stored| Checkpoint::decode(&stored.payload).ok());
    found.is_some_and(|found| *found.host == *tools.host)
}

/// Whether a message is the one that this host has put there. Another host may well remember the very same.
fn is_same(put: &BatchMessage, last: &Stored) -> bool {
    put.payload == last.payload && put.headers.get(OWNER) == last.headers.get(OWNER)
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

/// Answers a command, and removes it.
pub async fn answer(broker: &Broker, names: &Names, stream: &str, sequence: u64, answer: &Answer) {
    let payload = serde_json::to_vec(answer).expect("an answer is plain data");
    let announced = broker.announce(&names.answer(sequence), payload.into(), ANSWER_TTL).await;
    if let Err(error) = announced {
        tracing::warn!(%error, "answer to a command was not stored");
    }
    // A command that stays is known to be carried out, and is taken away at the next start.
    broker.delete(stream, sequence).await.ok();
}
