//! Signatures: whether a component comes from somebody who is trusted.
//!
//! Source: minisign, <https://jedisct1.github.io/minisign/>.

use minisign_verify::{PublicKey, Signature};
use thiserror::Error;

/// Why a component is not trusted.
#[derive(Debug, Error)]
pub enum Error {
    #[error("it has no signature, and `trust` is set: sign it with `minisign -Sm`")]
    Missing,
    #[error("its signature cannot be read: {0}")]
    Unreadable(String),
    #[error("its signature is not that of any key in `trust` over these bytes")]
    Wrong,
}

/// Whether a text is a public key of minisign, as the second line of a `.pub` file has it.
pub fn check_key(text: &str) -> Result<(), String> {
    let wrong = |error| format!("`{text}` is not a public key of minisign: {error}");
    PublicKey::from_base64(text).map(drop).map_err(wrong)
}

/// The key of `trust` that has signed `bytes`. None: nobody in particular is trusted, so everybody is.
pub fn verify(bytes: &[u8], signature: Option<&str>, trust: &[String]) -> Result<Option<String>, Error> {
    if trust.is_empty() {
        return Ok(None);
    }
    let signature = Signature::decode(signature.ok_or(Error::Missing)?);
    let signature = signature.map_err(|error| Error::Unreadable(error.to_string()))?;
    let signed = |key: &&String| {
        PublicKey::from_base64(key).is_ok_and(|key| key.verify(bytes, &signature, false).is_ok())
    };
    trust.iter().find(signed).cloned().map(Some).ok_or(Error::Wrong)
}
