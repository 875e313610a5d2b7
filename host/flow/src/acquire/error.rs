//! Why an application cannot be taken over.
//!
//! Promises that each kind says what to do. The caller decides what to wait for.

use heddle_broker::{self as broker, CommitError};
use heddle_values::checkpoint;
use thiserror::Error;

use crate::gates;

/// Why an application cannot be taken.
#[derive(Debug, Error)]
pub enum Error {
    /// Another host that is alive has the application: it must stop before this one can start.
    #[error(
        "application `{app}` is already run by process {pid} on `{hostname}` (host {host}); stop it first, or let it run: sharing an application among hosts is not supported yet"
    )]
    Taken {
        /// The application's name.
        app: String,
        /// The id of the host that has it.
        host: String,
        /// The machine that the host runs on, as it calls itself.
        hostname: String,
        /// The host's process there.
        pid: u32,
    },
    /// The file names another number of shards than the checkpoints were written with; it is fixed from then on.
    #[error("`shards` is {wanted}, but the application has run with {found}: it cannot be changed")]
    Shards {
        /// What the file says.
        wanted: u16,
        /// What the checkpoints say.
        found: u16,
    },
    /// The application's own stream is not the one that the checkpoints were written into.
    #[error(
        "stream `{stream}` was recreated since the application last ran: its sequences mean other events; delete the application's checkpoints or restore the stream"
    )]
    Recreated {
        /// The application's own stream: if another one was recreated, only its handlers are stopped.
        stream: String,
    },
    /// The application's own stream is shorter than what was done of it: its end was cut off.
    #[error(
        "stream `{stream}` ends at {last}, but handler `{handler}` has already come to {low}: the stream has lost its end"
    )]
    Truncated {
        /// The application's own stream: if another one has lost its end, only its handlers are stopped.
        stream: String,
        /// A handler whose progress ends behind the stream; there may be others.
        handler: String,
        /// The sequence of the last message of the stream.
        last: u64,
        /// The sequence after the highest event that is done, which is not the low mark if events below are open.
        low: u64,
    },
    /// The file lets a handler read another stream than the one that the sequences of its progress belong to.
    #[error(
        "handler `{handler}` has progress in stream `{found}`, but now reads `{wanted}`: give it another name to begin there"
    )]
    OtherStream {
        /// The handler's name.
        handler: String,
        /// The stream that its progress is of.
        found: String,
        /// The stream that the file names.
        wanted: String,
    },
    /// The key template of a handler was changed while its shards do not all stand at the same event.
    #[error(
        "`key` of handler `{handler}` was `{found}` and is now `{wanted}`, but events are still under way: with another key they are in other shards. Start once with the old key, let the handler finish and stop it, or give the handler another name"
    )]
    KeyChanged {
        /// The handler's name.
        handler: String,
        /// The template that its progress was made with.
        found: String,
        /// The template that the file has.
        wanted: String,
    },
    /// A checkpoint is damaged, or of a Heddle that this one does not understand: then run the one that wrote it.
    #[error("checkpoint of shard {shard}: {cause}")]
    Checkpoint {
        /// Counted from 0.
        shard: u16,
        /// What is wrong with it.
        cause: checkpoint::Error,
    },
    /// Only some shards have a checkpoint, although a host always writes all of them at once.
    #[error(
        "checkpoints of shards {missing:?} are gone, but others are there: events of those shards would be handled a second time. Restore them, or remove all checkpoints (`_heddle.<app>.checkpoint.>`) to begin again on purpose"
    )]
    Incomplete {
        /// Those without one, counted from 0, in ascending order.
        missing: Vec<u16>,
    },
    /// The batch that takes the application over is refused for good, or was not stored in any of several tries.
    #[error("failed to take the application over: {0}")]
    Commit(CommitError),
    /// A gate cannot be understood ([`gates::Error::Unreadable`]), so it is not known which keys are held back.
    #[error("failed to take the application over: {0}")]
    Gates(gates::Error),
    /// The server could not be asked, or a stream is not there; what may pass was tried several times.
    #[error(transparent)]
    Broker(#[from] broker::Error),
}

impl From<gates::Error> for Error {
    fn from(error: gates::Error) -> Self {
        match error {
            gates::Error::Broker(error) => Error::Broker(error),
            error @ gates::Error::Unreadable(_) => Error::Gates(error),
        }
    }
}

impl Error {
    /// Whether another try may succeed: somebody was faster, or it is not known what the server has.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Error::Commit(error) => !matches!(error, CommitError::Refused(_) | CommitError::Denied(_)),
            // What is not answered may have been denied: that is for the caller to find out before it tries again.
            Error::Broker(error) => {
                matches!(error, broker::Error::Request { .. } | broker::Error::NotWhole { .. })
            }
            _ => false,
        }
    }
}
