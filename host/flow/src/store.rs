//! Storing a batch once, whatever the connection does.
//!
//! A commit without an answer is looked up: its checkpoints carry the host and the number of the commit.

mod trouble;

use std::sync::Arc;
use std::time::Instant;

use super::batch::{Batch, Origins};
use heddle_broker::{Broker, CommitError, Listen};
use heddle_values::batch::BatchMessage;
use heddle_values::checkpoint::Checkpoint;
use heddle_values::names::Names;

use trouble::{Trouble, UNANSWERED_PAUSES, Word};

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// It is stored; the sequence of its first message.
    Stored(u64),
    /// Something in it is at fault; nothing is stored.
    Refused(String),
    /// An event's message is on this subject, where the host's user may not publish; nothing is stored.
    Denied(String),
    /// Another host owns the application now.
    Fenced(String),
    /// The stream is not the one it was.
    Lost(String),
}

/// How often a conflict is looked into before it is taken for a damaged stream.
const MAX_CONFLICTS: u32 = 5;

/// Stores a batch, whatever the connection does. Ends only when it is known what became of it.
///
/// Trying again is safe: the batch is fenced by its checkpoints, so at most one try of it is stored.
pub async fn store(
    broker: Broker,
    origins: Arc<Origins>,
    batch: Arc<[BatchMessage]>,
    number: u64,
    probe: Probe,
) -> End {
    let (began, mut trouble) = (Instant::now(), Trouble::default());
    let (mut conflicts, mut open, mut attempt) = (0, false, 0_u32);
    loop {
        let id = format!("{}-{number}-{attempt}", origins.host);
        // If it failed once, it matters why.
        let listen = if attempt == 0 { Listen::Last } else { Listen::Each };
        let problem = match broker.commit(&origins.stream, &id, &batch, listen).await {
            Ok(answer) => return End::Stored(answer.first),
            Err(problem) => problem,
        };
        // This try, or an earlier one that nobody answered, may be stored all the same.
        open |= matches!(problem, CommitError::Conflict(_) | CommitError::Unanswered(_));
        if open
            && let Some(end) = read_back(&broker, &origins, number, &probe).await.into_end(&origins, &probe)
        {
            if matches!(end, End::Stored(_)) {
                tracing::info!(commit = number, attempt, error = %problem, "commit was stored, its answer was lost");
            }
            return end;
        }
        match &problem {
            CommitError::Refused(reason) => return End::Refused(reason.clone()),
            // Heddle's own subjects are no event's fault.
            CommitError::Denied(subject) if !origins.names.is_internal(subject) => {
                return End::Denied(subject.clone());
            }
            _ => {}
        }
        conflicts += u32::from(matches!(problem, CommitError::Conflict(_)));
        if conflicts > MAX_CONFLICTS {
            return End::Lost(format!("stream `{}` contradicts the host: {problem}", origins.stream));
        }
        let (word, delay) = trouble.failed(&problem, &origins.stream, began.elapsed());
        match word {
            Word::Nothing => {
                tracing::debug!(commit = number, attempt, error = %problem, ?delay, "retrying commit");
            }
            Word::Warn => {
                tracing::warn!(commit = number, attempt, error = %problem, ?delay, "retrying commit");
            }
            Word::Error(call) => {
                tracing::error!(commit = number, attempt, error = %problem, ?delay, "{call}");
            }
        }
        tokio::time::sleep(delay).await;
        attempt = attempt.saturating_add(1);
    }
}

/// Where to look whether a batch is stored: one of its checkpoints.
#[derive(Debug, Clone)]
pub struct Probe {
    /// The subject of the checkpoint, whose last message says which host has committed last, and which commit.
    pub subject: String,
    /// The index of the checkpoint's message in the batch.
    pub index: u64,
}

impl Probe {
    /// The probe of a batch. A batch has at least one checkpoint.
    pub fn of(batch: &Batch, names: &Names) -> Option<Self> {
        let (shard, index, _) = batch.checkpoints.first()?;
        Some(Probe { subject: names.checkpoint(*shard), index: *index as u64 })
    }
}

enum Found {
    Stored(u64),
    /// The last checkpoint is this host's and older.
    Before,
    Other(String),
    /// What is there was not written by a host.
    Foreign(String),
    Nothing,
}

impl Found {
    /// What became of the batch; none if it is not stored yet.
    fn into_end(self, origins: &Origins, probe: &Probe) -> Option<End> {
        let (stream, subject) = (&origins.stream, &probe.subject);
        Some(match self {
            Found::Before => return None,
            Found::Stored(first) => End::Stored(first),
            Found::Other(host) => End::Fenced(host),
            Found::Nothing => End::Lost(format!(
                "the checkpoint `{subject}` is gone: stream `{stream}` was purged or recreated"
            )),
            Found::Foreign(why) => End::Lost(format!("somebody else wrote `{subject}`: {why}")),
        })
    }
}

/// Reads the checkpoint back, for as long as it takes.
async fn read_back(broker: &Broker, origins: &Origins, number: u64, probe: &Probe) -> Found {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let problem = match broker.last(&origins.stream, &probe.subject).await {
            Ok(None) => return Found::Nothing,
            Ok(Some(message)) => match Checkpoint::decode(&message.payload) {
                Ok(found) if found.host != origins.host => return Found::Other(found.host),
                Ok(found) if found.commit == number => {
                    return Found::Stored(message.sequence.saturating_sub(probe.index));
                }
                Ok(_) => return Found::Before,
                Err(error) => return Found::Foreign(error.to_string()),
            },
            Err(error) => error.to_string(),
        };
        let delay = UNANSWERED_PAUSES.bound(attempt);
        tracing::warn!(commit = number, attempt, problem, ?delay, "checkpoint could not be read back");
        tokio::time::sleep(delay).await;
    }
}
