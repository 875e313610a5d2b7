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
    pub at: SystemTime,
    /// Where the message is published then.
    pub target: String,
}

/// One message of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchMessage {
    pub subject: String,
    pub headers: Headers,
    pub payload: Bytes,
    /// Removes all older messages of the subject.
    pub rollup: bool,
    pub keep: Keep,
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
