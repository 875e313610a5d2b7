//! Storing a batch once, whatever the connection does.
//!
//! A commit without an answer is looked up: its checkpoints carry the claims under which the host owns the shards, and the
//! number of the commit. A batch of several shards is stored whole or not at all, so any of them tells that it is.

mod trouble;

use std::collections::BTreeMap;
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
    /// Other hosts own some of its shards now: which shards, and which hosts. Nothing is stored, or it was before they were
    /// lost and no shard is left that would tell.
    Fenced(BTreeMap<u16, String>),
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
    probes: Vec<Probe>,
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
        if open && let Some(end) = look_up(&broker, &origins, number, &probes, &problem).await {
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
    /// The shard whose checkpoint it is.
    pub shard: u16,
    /// The subject of the checkpoint, whose last message says under which claim who has committed last, and which commit.
    pub subject: String,
    /// The index of the checkpoint's message in the batch.
    pub index: u64,
    /// The claim under which this host owns the shard.
    pub claim: u64,
}

impl Probe {
    /// The probes of a batch, one for each of its checkpoints. It has at least one.
    pub fn all(batch: &Batch, names: &Names) -> Vec<Self> {
        let probe = |(shard, index, checkpoint): &(u16, usize, Checkpoint)| Probe {
            shard: *shard,
            subject: names.checkpoint(*shard),
            index: *index as u64,
            claim: checkpoint.claim,
        };
        batch.checkpoints.iter().map(probe).collect()
    }
}

enum Found {
    Stored(u64),
    /// The last checkpoint is this host's and older.
    Before,
    /// Another host has claimed the shard, or this one has by another claim.
    Other(String),
    /// What is there was not written by a host.
    Foreign(String),
    Nothing,
}

/// What became of a batch of which it is not known whether it is stored; none if it is not stored yet.
async fn look_up(
    broker: &Broker,
    origins: &Origins,
    number: u64,
    probes: &[Probe],
    problem: &CommitError,
) -> Option<End> {
    let stream = &origins.stream;
    let mut lost = BTreeMap::new();
    for probe in probes {
        let subject = &probe.subject;
        match read_back(broker, origins, number, probe).await {
            Found::Stored(first) => return Some(End::Stored(first)),
            // Without a conflict none of the others can say more: whatever is lost, the next try finds out.
            Found::Before if !matches!(problem, CommitError::Conflict(_)) => return None,
            Found::Before => {}
            Found::Other(host) => drop(lost.insert(probe.shard, host)),
            Found::Nothing => {
                return Some(End::Lost(format!(
                    "the checkpoint `{subject}` is gone: stream `{stream}` was purged or recreated"
                )));
            }
            Found::Foreign(why) => {
                return Some(End::Lost(format!("somebody else wrote `{subject}`: {why}")));
            }
        }
    }
    (!lost.is_empty()).then_some(End::Fenced(lost))
}

/// Reads the checkpoint back, for as long as it takes.
async fn read_back(broker: &Broker, origins: &Origins, number: u64, probe: &Probe) -> Found {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let problem = match broker.last(&origins.stream, &probe.subject).await {
            Ok(None) => return Found::Nothing,
            Ok(Some(message)) => match Checkpoint::decode(&message.payload) {
                Ok(found) if found.claim != probe.claim => return Found::Other(found.host),
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
