//! What must never be shown: a password, a token, a key.
//!
//! Promises that neither `{}` nor `{:?}` gives it away, and that it cannot be serialized. Whoever needs it says so with
//! [`Secret::reveal`], which is easy to search for.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A text that is not shown. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Secret(text.into())
    }

    /// The text itself, for whoever sends or compares it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text of `heddle.toml`, or where it is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// As it stands in the file.
    Text(Secret),
    /// An environment variable, as it was when the file was read. None: it was not set.
    Env {
        /// The name of the variable, which may be shown.
        name: String,
        /// Not read again: a later change of the variable is not seen.
        value: Option<Secret>,
    },
    /// A file that is read whenever the text is needed, without the line break at its end: it may be rotated.
    File(PathBuf),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let given = Given::Env { name: "NAME".to_owned(), value: Some(Secret::new("s3cret")) };
        assert_eq!(
            format!("{} {given:?}", Secret::new("s3cret")),
            "*** Env { name: \"NAME\", value: Some(***) }"
        );
    }
}
