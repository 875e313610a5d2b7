//! Names of plugins in an object store: `BUCKET/NAME[:TAG]`.
//!
//! Promises that what passes here can be stored, watched, and written in `heddle.toml` without being read as something
//! else. Refuses to know how an object store works.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// What begins the place of a plugin that lies in an object store.
pub const SCHEME: &str = "object:";

/// The longest name, in bytes. As a subject it is a third longer.
const MAX_NAME: usize = 200;

/// The longest tag, in bytes: that of OCI.
const MAX_TAG: usize = 128;

/// Why a text names no object.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// The bucket, given here, is empty or has a character that no bucket of NATS may have.
    #[error("invalid bucket `{0}`: letters, digits, `_` and `-` are allowed")]
    Bucket(String),
    /// The name, given here, is empty, too long or has a part that is empty, `.`, `..` or not plain.
    #[error(
        "invalid name `{0}`: letters, digits, `.`, `_` and `-` are allowed, in parts divided by `/`, at most {MAX_NAME} bytes"
    )]
    Name(String),
    /// The tag, given here, is empty, too long or no tag as OCI has them.
    #[error(
        "invalid tag `{0}`: letters, digits, `.`, `_` and `-` are allowed, not `.` or `-` at first, at most {MAX_TAG} bytes"
    )]
    Tag(String),
    /// The text, given here, has no `/` to end a bucket.
    #[error("object `{0}` has no bucket: write `BUCKET/NAME` or `BUCKET/NAME:TAG`")]
    NoBucket(String),
}

/// An object: its bucket, its name and perhaps a tag.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Object {
    bucket: Box<str>,
    name: Box<str>,
    tag: Option<Box<str>>,
}

impl Object {
    /// An object of these parts.
    pub fn new(bucket: &str, name: &str, tag: Option<&str>) -> Result<Self, Error> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let dotted = |c: char| plain(c) || c == '.';
        if bucket.is_empty() || !bucket.chars().all(plain) {
            return Err(Error::Bucket(shown(bucket)));
        }
        let is_part =
            |part: &str| !part.is_empty() && part.chars().all(dotted) && part != "." && part != "..";
        if name.len() > MAX_NAME || !name.split('/').all(is_part) {
            return Err(Error::Name(shown(name)));
        }
        if let Some(tag) = tag
            && (tag.is_empty()
                || tag.len() > MAX_TAG
                || tag.starts_with(['.', '-'])
                || !tag.chars().all(dotted))
        {
            return Err(Error::Tag(shown(tag)));
        }
        Ok(Object { bucket: bucket.into(), name: name.into(), tag: tag.map(Into::into) })
    }

    /// Its bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What it is called in its bucket: the name, with the tag if it has one.
    pub fn stored_name(&self) -> String {
        match &self.tag {
            Some(tag) => format!("{}:{tag}", self.name),
            None => self.name.to_string(),
        }
    }
}

fn shown(text: &str) -> String {
    text.escape_debug().to_string()
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bucket, self.stored_name())
    }
}

impl FromStr for Object {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (bucket, rest) = text.split_once('/').ok_or_else(|| Error::NoBucket(shown(text)))?;
        let (name, tag) = match rest.split_once(':') {
            Some((name, tag)) => (name, Some(tag)),
            None => (rest, None),
        };
        Object::new(bucket, name, tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_an_object_reads_back_as_it_was_written() {
        for text in ["plugins/credit", "plugins/team/credit:1.2.0", "a_b-C/x.y:latest"] {
            assert_eq!(text.parse::<Object>().map(|object| object.to_string()), Ok(text.to_owned()));
        }
        let object: Object = "plugins/team/credit:1".parse().unwrap();
        assert_eq!((object.bucket(), object.stored_name().as_str()), ("plugins", "team/credit:1"));
    }

    #[test]
    fn what_cannot_be_an_object_says_which_part_is_wrong() {
        for (text, part) in [
            ("credit", "has no bucket"),
            ("a.b/credit", "bucket `a.b`"),
            ("/credit", "bucket ``"),
            ("p/", "name ``"),
            ("p//x", "name `/x`"),
            ("p/../x", "name `../x`"),
            ("p/cre dit", "name `cre dit`"),
            ("p/credit@sha256:1", "name `credit@sha256`"),
            ("p/credit:", "tag ``"),
            ("p/credit:.1", "tag `.1`"),
            ("p/credit:1:2", "tag `1:2`"),
        ] {
            let error = text.parse::<Object>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
