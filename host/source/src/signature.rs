//! Signatures: whether a component comes from somebody who is trusted, and what that one says of it.
//!
//! Source: minisign, <https://jedisct1.github.io/minisign/>.

use minisign_verify::{PublicKey, Signature};
use thiserror::Error;

/// The most that a signature's text may have, in bytes: it has two comments and two short lines.
pub const MAX_TEXT: usize = 4 << 10;

/// Why a component is not trusted.
#[derive(Debug, Error)]
pub enum Error {
    /// Somebody is trusted, and the component came without a signature.
    #[error("it has no signature, and `trust` is set: sign it with `minisign -Sm`")]
    Missing,
    /// The text has more than [`MAX_TEXT`] bytes, or not the form that minisign writes. Holds the reason.
    #[error("its signature cannot be read: {0}")]
    Unreadable(String),
    /// A trusted key signed the bytes, but in the form that minisign wrote before it hashed them first.
    #[error(
        "its signature is a legacy one, over the bytes themselves: sign it again with `minisign -Sm`, of 0.10 or newer"
    )]
    Legacy,
    /// No trusted key verifies the bytes: another one signed them, or they were changed.
    #[error("its signature matches no key in `trust`")]
    Wrong,
}

/// A signature that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The key that has signed, one of those that are trusted.
    pub by: String,
    /// The trusted comment, which is signed too.
    pub comment: String,
}

/// Whether a text is a public key of minisign, as the second line of a `.pub` file has it.
pub fn check_key(text: &str) -> Result<(), String> {
    let wrong = |error| format!("`{text}` is not a public key of minisign: {error}");
    PublicKey::from_base64(text).map(drop).map_err(wrong)
}

/// Who of `trust` has signed `bytes`, and what was said with it. None: `trust` is empty, so no signature is needed.
pub fn verify(bytes: &[u8], signature: Option<&str>, trust: &[String]) -> Result<Option<Signed>, Error> {
    if trust.is_empty() {
        return Ok(None);
    }
    let text = signature.ok_or(Error::Missing)?;
    if text.len() > MAX_TEXT {
        return Err(Error::Unreadable(format!("it has more than {MAX_TEXT} bytes")));
    }
    let signature = Signature::decode(text).map_err(|error| Error::Unreadable(error.to_string()))?;
    let signed = |key: &String, legacy| {
        PublicKey::from_base64(key).is_ok_and(|key| key.verify(bytes, &signature, legacy).is_ok())
    };
    match trust.iter().find(|key| signed(key, false)) {
        Some(key) => Ok(Some(Signed { by: key.clone(), comment: signature.trusted_comment().to_owned() })),
        None if trust.iter().any(|key| signed(key, true)) => Err(Error::Legacy),
        None => Err(Error::Wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Key and signature are those of the tests of minisign-verify.
    #[test]
    fn a_legacy_signature_is_told_from_a_wrong_one() {
        let trust = ["RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3".to_owned()];
        let signature = "untrusted comment: signature from minisign secret key\n\
            RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=\n\
            trusted comment: timestamp:1555779966\tfile:test\n\
            QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==";
        assert!(matches!(verify(b"test", Some(signature), &trust), Err(Error::Legacy)));
        assert!(matches!(verify(b"other", Some(signature), &trust), Err(Error::Wrong)));
        assert!(matches!(verify(b"test", None, &trust), Err(Error::Missing)));
    }
}
