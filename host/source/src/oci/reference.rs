//! References: how a component in a registry is named.
//!
//! Promises that the parts of a reference cannot become other parts of an address. A reference names its registry: which
//! one is meant without one is a habit of docker's, and not a good one for what is run.
//!
//! Source: OCI Distribution Specification 1.1, "Pulling manifests".

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::uri::Authority;
use thiserror::Error;

/// The longest repository, in bytes.
const MAX_REPOSITORY: usize = 255;

/// The longest tag, in bytes.
const MAX_TAG: usize = 128;

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// What stands before the first `/` is not `localhost` and has neither dot nor colon. Holds the whole text.
    #[error("reference `{0}` names no registry: write it first, as in `ghcr.io/team/plugin:1.0`")]
    NoRegistry(String),
    /// The registry, given here, is no `HOST[:PORT]`, or a user stands before it.
    #[error("invalid registry `{0}`: a host is needed, and perhaps a port")]
    Registry(String),
    /// The path between registry and tag, given here, is empty, too long or has a part that OCI forbids.
    #[error(
        "invalid repository `{0}`: lower-case letters, digits, `.`, `_` and `-` are allowed, in parts divided by `/` that begin and end with a letter or digit, at most {MAX_REPOSITORY} bytes"
    )]
    Repository(String),
    /// The tag, given here, is empty, too long or has a character that OCI forbids.
    #[error(
        "invalid tag `{0}`: letters, digits, `.`, `_` and `-` are allowed, not `.` or `-` at first, at most {MAX_TAG} bytes"
    )]
    Tag(String),
    /// What follows the first `@`, given here, is no SHA-256 digest; other kinds are not accepted in a reference.
    #[error("invalid digest `{0}`: `sha256:` and 64 hexadecimal digits in lower case are needed")]
    Digest(String),
}

/// A component in a registry: `registry/repository[:tag][@sha256:…]`.
///
/// Without tag and digest the tag `latest` is meant; with a digest, the tag is a note for people.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    registry: Box<str>,
    repository: Box<str>,
    tag: Option<Box<str>>,
    digest: Option<Box<str>>,
}

impl Reference {
    /// The host of the registry, with its port if one is named.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The manifest's digest that it is pinned to.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// What stands between the registry and the tag.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The digest or tag by which the registry is asked.
    pub(super) fn version(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }

    /// Whether the registry is on this machine. Then it is talked to without TLS.
    pub fn is_loopback(&self) -> bool {
        let host = self.registry.parse::<Authority>().map(|authority| authority.host().to_owned());
        let host = host.unwrap_or_default();
        is_loopback(&host)
    }

    /// Where the registry is asked: docker's own is elsewhere than where its name says.
    pub(super) fn host(&self) -> &str {
        if self.registry() == "docker.io" { "index.docker.io" } else { self.registry() }
    }
}

/// Whether a host is this machine, by its name or address.
pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Whether a text can name a registry, as it does in a reference.
pub fn check_registry(registry: &str) -> Result<(), Error> {
    if registry.contains('@') || registry.parse::<Authority>().is_err() {
        return Err(Error::Registry(shown(registry)));
    }
    Ok(())
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (place, digest) = split(text, text.find('@'));
        let (registry, path) = place.split_once('/').ok_or_else(|| Error::NoRegistry(shown(text)))?;
        // As docker tells a registry from the first part of a repository.
        if registry != "localhost" && !registry.contains(['.', ':']) {
            return Err(Error::NoRegistry(shown(text)));
        }
        let (repository, tag) = split(path, path.rfind(':'));
        check_registry(registry)?;
        if repository.len() > MAX_REPOSITORY || !repository.split('/').all(is_part) {
            return Err(Error::Repository(shown(repository)));
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(Error::Tag(shown(tag)));
        }
        if let Some(digest) = digest.filter(|digest| !is_digest(digest)) {
            return Err(Error::Digest(shown(digest)));
        }
        Ok(Reference {
            registry: registry.into(),
            repository: repository.into(),
            tag: tag.map(Into::into),
            digest: digest.map(Into::into),
        })
    }
}

/// What is before and after the one byte at `place`.
fn split(text: &str, place: Option<usize>) -> (&str, Option<&str>) {
    match place.map(|place| text.split_at(place)) {
        Some((before, after)) => (before, after.get(1..)),
        None => (text, None),
    }
}

fn is_part(part: &str) -> bool {
    let solid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    part.starts_with(solid)
        && part.ends_with(solid)
        && part.chars().all(|c| solid(c) || matches!(c, '.' | '_' | '-'))
}

fn is_tag(tag: &str) -> bool {
    (1..=MAX_TAG).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

fn is_digest(digest: &str) -> bool {
    let hex = digest.strip_prefix("sha256:");
    hex.is_some_and(|hex| hex.len() == 64 && hex.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')))
}

fn shown(text: &str) -> String {
    text.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_reference_reads_back_as_it_was_written() {
        for text in [
            "ghcr.io/team/credit",
            "ghcr.io/credit:1.0",
            "localhost:5000/a/b-c/d.e_f:latest",
            "[::1]:5000/credit:1",
            &format!("registry.example:443/credit@sha256:{HEX}"),
            &format!("registry.example/credit:v1@sha256:{HEX}"),
        ] {
            let read = text.parse::<Reference>().map(|reference| reference.to_string());
            assert_eq!(read.as_deref(), Ok(text));
        }
    }

    #[test]
    fn a_reference_without_tag_means_the_latest_and_a_digest_rules() {
        let version = |text: &str| text.parse::<Reference>().unwrap().version().to_owned();
        assert_eq!(version("ghcr.io/credit"), "latest");
        assert_eq!(version("ghcr.io/credit:1"), "1");
        assert_eq!(version(&format!("ghcr.io/credit:1@sha256:{HEX}")), format!("sha256:{HEX}"));
    }

    #[test]
    fn what_is_no_reference_says_which_part_is_wrong() {
        for (text, part) in [
            ("", "names no registry"),
            ("credit", "names no registry"),
            ("team/credit:1", "names no registry"),
            ("gh cr.io/credit", "registry `gh cr.io`"),
            ("ghcr.io/", "repository ``"),
            ("ghcr.io/Credit", "repository `Credit`"),
            ("ghcr.io/../credit", "repository `../credit`"),
            ("ghcr.io/a?b", "repository `a?b`"),
            ("ghcr.io/credit:", "tag ``"),
            ("ghcr.io/credit:a/b", "tag `a/b`"),
            ("ghcr.io/credit:.1", "tag `.1`"),
            ("ghcr.io/credit@sha256:12", "digest `sha256:12`"),
            ("ghcr.io/credit@", "digest ``"),
            ("me:secret@ghcr.io/credit", "names no registry"),
        ] {
            let error = text.parse::<Reference>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn only_what_stands_for_this_machine_is_on_it() {
        for (registry, loopback) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("[::1]:5000", true),
            ("localhost.example:5000", false),
            ("10.0.0.1:5000", false),
            ("ghcr.io", false),
        ] {
            let reference: Reference = format!("{registry}/a").parse().unwrap();
            assert_eq!(reference.is_loopback(), loopback, "{registry}");
        }
    }
}
