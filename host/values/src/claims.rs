//! Claims: what a signature says beyond the bytes that it covers, and whether a handler may accept them.
//!
//! A signature's trusted comment is words of the form `name:value`, as minisign writes it by itself
//! (`timestamp:1700000000 file:credit.wasm`). `handler:NAME` and `version:X.Y.Z` are ours. Without them, whoever can write
//! to where a component lies could put an older one there, or one of another handler: its signature holds.

use semver::{BuildMetadata, Version};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a signature that holds is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// What follows `version:`, given here, is no semantic version. The component has to be signed again.
    #[error("its signature says `version:{0}`, which is no version such as 1.4.0")]
    Version(String),
    /// It names two versions, or two timestamps: which one counts would be a matter of their order. The component has to be
    /// signed again.
    #[error("its signature says `{0}:` more than once")]
    Twice(&'static str),
    /// What follows `timestamp:`, given here, is no whole number of seconds. The component has to be signed again.
    #[error("its signature says `timestamp:{0}`, which is no time in seconds since 1970")]
    Timestamp(String),
    /// The signature names handlers, and this one is not among them: the component is meant for others.
    #[error("its signature is for {}, and this is handler `{handler}`", handlers(.named))]
    OtherHandler {
        /// The handlers that the signature names, at least one.
        named: Vec<String>,
        /// The handler that was to accept the component.
        handler: String,
    },
    /// A signature must say handler and version here, as `require-named-signatures` demands, and one is missing.
    #[error(
        "its signature names no {missing}, and `require-named-signatures` is set: sign it with `minisign -Sm FILE -t 'handler:{handler} version:X.Y.Z'`"
    )]
    Unnamed {
        /// `handler` or `version`; the handler if both are missing.
        missing: &'static str,
        /// The handler that was to accept the component.
        handler: String,
    },
    /// The component comes by itself and is older than what is live or on trial, or says less of its age.
    #[error(
        "its signature says {found}, which is older than {accepted}, which is live or on trial: sign it as a newer version, go back with `heddle rollback {handler}`, or name its digest in `plugin`"
    )]
    Older {
        /// The [`Release`] of the component, as displayed.
        found: String,
        /// The [`Release`] that it would have to reach, as displayed.
        accepted: String,
        /// The handler that was to accept the component.
        handler: String,
    },
}

fn handlers(named: &[String]) -> String {
    let named: Vec<_> = named.iter().map(|name| format!("handler `{name}`")).collect();
    named.join(" and ")
}

/// What a signature says of the component.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// The handlers that it is for. Empty: any.
    pub handlers: Vec<String>,
    /// How new it says the component is; by default the oldest there can be.
    pub release: Release,
}

/// How new a component is: its version decides, then when it was signed. What is not said counts as the oldest.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Release {
    /// The semantic version without build metadata. `None`: it names none, and is older than any that does.
    #[serde(with = "as_text")]
    pub version: Option<Version>,
    /// In seconds since 1970.
    pub timestamp: Option<u64>,
}

/// A version as its text.
mod as_text {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Version;

    pub(super) fn serialize<S: Serializer>(version: &Option<Version>, to: S) -> Result<S::Ok, S::Error> {
        version.as_ref().map(Version::to_string).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Version>, D::Error> {
        let text: Option<String> = Deserialize::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.version, self.timestamp) {
            (None, None) => f.write_str("neither version nor timestamp"),
            (Some(version), None) => write!(f, "version {version}"),
            (None, Some(time)) => write!(f, "timestamp {time}"),
            (Some(version), Some(time)) => write!(f, "version {version} with timestamp {time}"),
        }
    }
}

impl Release {
    /// Whether it is as new as what the handler has accepted.
    pub fn check_newer(&self, accepted: &Release, handler: &str) -> Result<(), Error> {
        if self >= accepted {
            return Ok(());
        }
        let (found, accepted) = (self.to_string(), accepted.to_string());
        Err(Error::Older { found, accepted, handler: handler.to_owned() })
    }
}

impl Claims {
    /// Reads a trusted comment. Other words than ours and minisign's timestamp mean nothing here.
    pub fn parse(comment: &str) -> Result<Self, Error> {
        let mut claims = Claims::default();
        for word in comment.split_whitespace() {
            match word.split_once(':') {
                Some(("handler", name)) => claims.handlers.push(name.to_owned()),
                Some(("version", text)) => {
                    let version: Version = text.parse().map_err(|_| Error::Version(text.to_owned()))?;
                    // What was built twice is as new as before.
                    let version = Version { build: BuildMetadata::EMPTY, ..version };
                    if claims.release.version.replace(version).is_some() {
                        return Err(Error::Twice("version"));
                    }
                }
                Some(("timestamp", text)) => {
                    let time = text.parse().map_err(|_| Error::Timestamp(text.to_owned()))?;
                    if claims.release.timestamp.replace(time).is_some() {
                        return Err(Error::Twice("timestamp"));
                    }
                }
                _ => {}
            }
        }
        Ok(claims)
    }

    /// Whether they are for this handler. With `named` they must say so, and which version it is.
    pub fn check(&self, handler: &str, named: bool) -> Result<(), Error> {
        let unnamed = |missing| Err(Error::Unnamed { missing, handler: handler.to_owned() });
        if !self.handlers.is_empty() && !self.handlers.iter().any(|name| name == handler) {
            return Err(Error::OtherHandler { named: self.handlers.clone(), handler: handler.to_owned() });
        }
        match (self.handlers.is_empty(), &self.release.version) {
            (true, _) if named => unnamed("handler"),
            (_, None) if named => unnamed("version"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(comment: &str) -> Claims {
        Claims::parse(comment).unwrap()
    }

    #[test]
    fn a_comment_says_handlers_and_version_beside_what_minisign_writes_by_itself() {
        let usual = claims("timestamp:1700000000\tfile:a version.wasm\thashed");
        assert_eq!(usual.release, Release { version: None, timestamp: Some(1_700_000_000) });
        assert!(usual.handlers.is_empty());
        let ours = claims("handler:credit handler:gift version:1.4.0-rc.1+ci7");
        assert_eq!(ours.handlers, ["credit", "gift"]);
        assert_eq!(ours.release.to_string(), "version 1.4.0-rc.1");
        let stored = serde_json::to_string(&ours.release).unwrap();
        assert_eq!(stored, r#"{"version":"1.4.0-rc.1","timestamp":null}"#);
        assert_eq!(serde_json::from_str::<Release>(&stored).unwrap(), ours.release);
        assert_eq!(claims(""), Claims::default());
        assert_eq!(Claims::parse("version:1.4"), Err(Error::Version("1.4".to_owned())));
        assert_eq!(Claims::parse("version:2.0.0 version:1.0.0"), Err(Error::Twice("version")));
        assert_eq!(Claims::parse("timestamp:2 timestamp:2"), Err(Error::Twice("timestamp")));
        assert_eq!(Claims::parse("timestamp:today"), Err(Error::Timestamp("today".to_owned())));
    }

    #[test]
    fn what_is_for_another_handler_is_not_accepted() {
        let named = claims("handler:credit version:1.0.0");
        assert!(named.check("credit", true).is_ok());
        let error = named.check("gift", false).unwrap_err().to_string();
        assert_eq!(error, "its signature is for handler `credit`, and this is handler `gift`");
    }

    #[test]
    fn both_names_can_be_demanded() {
        for (comment, missing) in
            [("", "handler"), ("version:1.0.0", "handler"), ("handler:credit", "version")]
        {
            assert!(claims(comment).check("credit", false).is_ok());
            let error = claims(comment).check("credit", true).unwrap_err().to_string();
            assert!(error.contains(&format!("names no {missing}")), "{error}");
        }
    }

    #[test]
    fn what_is_older_or_says_less_than_what_was_accepted_is_not_accepted() {
        let order = [
            "",
            "timestamp:100",
            "timestamp:200",
            "version:1.9.0-rc.1",
            "version:1.9.0",
            "version:1.9.0 timestamp:50",
            "version:1.10.0",
        ];
        for (i, found) in order.iter().enumerate() {
            for (j, accepted) in order.iter().enumerate() {
                let checked = claims(found).release.check_newer(&claims(accepted).release, "credit");
                assert_eq!(checked.is_ok(), i >= j, "`{found}` after `{accepted}`");
            }
        }
        let error = claims("version:1.9.0").release.check_newer(&claims("version:1.10.0").release, "credit");
        let error = error.unwrap_err().to_string();
        assert!(error.contains("version 1.9.0, which is older than version 1.10.0"), "{error}");
        assert!(error.contains("`heddle rollback credit`"), "{error}");
    }
}
