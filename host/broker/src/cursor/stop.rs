//! Why reading stops.

use thiserror::Error;

use heddle_values::errors::chain;

/// Why reading stopped.
pub(super) enum Stop {
    /// Nobody wants the events any more.
    Unwanted,
    /// The stream is not the one it was.
    Lost(String),
    /// The consumer is recreated.
    Again(Again),
    /// The consumer is recreated under another name: the server that holds the consumer does not answer.
    Silent(Again),
}

/// Why a consumer is recreated.
#[derive(Debug, Error)]
pub(super) enum Again {
    #[error("reading broke off: {0}")]
    BrokeOff(String),
    #[error("reading ended")]
    Ended,
    #[error(
        "the consumer has delivered what did not arrive: another client reads from it, or it cannot be read"
    )]
    Gap,
    #[error("message has no place: {0}")]
    NoPlace(String),
    /// A request was not answered, or was refused.
    #[error("{0}")]
    Failed(String),
}

impl From<crate::Error> for Stop {
    fn from(error: crate::Error) -> Self {
        match error {
            crate::Error::NoStream(name) => Stop::Lost(format!("stream `{name}` does not exist any more")),
            crate::Error::Unanswered { .. } => Stop::Silent(Again::Failed(chain(&error))),
            error => Stop::Again(Again::Failed(chain(&error))),
        }
    }
}
