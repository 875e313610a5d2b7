//! Batches: what is stored together or not at all.

use std::time::SystemTime;

use bytes::Bytes;

use super::event::Headers;

/// The most messages in one atomic batch of JetStream.
///
/// Source: NATS ADR-50, "JetStream Batch Publishing".
pub const MAX_MESSAGES: usize = 1000;

/// How long a message stays in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// As long as the stream says.
    #[default]
    Stream,
    /// For ever.
    Always,
    /// N seconds.
    Seconds(u32),
}

/// Later publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The time of publication. The server is given it to the nanosecond.
    pub at: SystemTime,
    /// Where the message is published then.
    pub target: String,
}

/// One message of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchMessage {
    /// Where the message is stored; with a schedule, where it waits, on a subject of its own.
    pub subject: String,
    /// The headers to store; those that tell the server about batch, fence and TTL are added when it is sent.
    pub headers: Headers,
    /// The bytes to store, empty for what only marks something.
    pub payload: Bytes,
    /// Removes all older messages of the subject.
    pub rollup: bool,
    /// By default as long as the stream keeps its messages.
    pub keep: Keep,
    /// When and where the server publishes it later. `None`: it is only stored on its subject.
    pub schedule: Option<Schedule>,
    /// Refuses the whole batch unless this is the last sequence of the subject; 0: there is none.
    pub expected_last: Option<u64>,
}

impl BatchMessage {
    /// About what the message takes on the wire, in bytes.
    pub fn size(&self) -> usize {
        self.subject.len() + self.headers.size() + self.payload.len() + 128
    }
}
