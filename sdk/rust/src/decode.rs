//! The error of everything that is read as JSON or text.

use std::error::Error;
use std::fmt;

/// The payload or the state is not what the handler expects. `?` makes a reject of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    what: &'static str,
    cause: String,
}

impl DecodeError {
    pub(crate) fn new(what: &'static str, cause: impl fmt::Display) -> Self {
        Self { what, cause: cause.to_string() }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot decode the {}: {}", self.what, self.cause)
    }
}

impl Error for DecodeError {}
