//! The mark: how far an application had come when its host stopped in good order.
//!
//! What is no longer in a stream leaves no trace in it. So that the next host can tell what was lost in between, this one
//! writes down what it leaves behind. A host that was killed leaves no mark.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How far an application had come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The host that wrote it. Counts only if the last checkpoints are of the same.
    pub host: String,
    /// The number of its last commit. Does not count if it has committed since.
    pub commit: u64,
    /// By the stream's name.
    pub streams: BTreeMap<String, End>,
    /// By the handler's name.
    pub handlers: BTreeMap<String, Left>,
    /// Whether the same host goes on at once, as it does when its file is read again.
    pub paused: bool,
}

/// Where a stream ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When it was created, in nanoseconds since 1970.
    pub created: u64,
    /// The last sequence that it had given out, be that message still there or not; 0: none yet.
    pub last: u64,
}

/// What a handler left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The lowest event that it had not done.
    pub low: u64,
    /// How many events up to the end of its stream it had not done.
    pub events: u64,
}
