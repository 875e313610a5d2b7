//! The handler's `config` table of `heddle.toml`. It does not change while an instance lives.

use std::error;
use std::fmt;
use std::str::FromStr;

use crate::host;

/// The value of a name, or none.
#[must_use]
pub fn get(name: &str) -> Option<String> {
    host::config(name)
}

/// The value of a name, read as `T`, or none if the name is not set.
///
/// ```
/// # use heddle_sdk::{Failure, config};
/// fn limit() -> Result<u64, Failure> {
///     Ok(config::parse("limit")?.unwrap_or(1000))
/// }
/// ```
///
/// # Errors
/// The value is not a `T`.
pub fn parse<T: FromStr>(name: &str) -> Result<Option<T>, Error>
where
    T::Err: fmt::Display,
{
    let Some(value) = get(name) else { return Ok(None) };
    value.parse().map(Some).map_err(|cause| Error::new(name, &value, cause))
}

/// A value of the config cannot be read. `?` makes a retry of it: the event is not to blame, and the config
/// may be corrected before its attempts are used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    name: String,
    value: String,
    cause: String,
}

impl Error {
    pub(crate) fn new(name: &str, value: &str, cause: impl fmt::Display) -> Self {
        Self { name: name.to_owned(), value: value.to_owned(), cause: cause.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "config `{}` cannot be `{}`: {}", self.name, self.value, self.cause)
    }
}

impl error::Error for Error {}
