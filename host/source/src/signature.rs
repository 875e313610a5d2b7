//! Signatures: whether a component comes from somebody who is trusted, and what that one says of it.
//!
//! Source: minisign, <https://jedisct1.github.io/minisign/>.

use std::io::ErrorKind;
use std::path::Path;

use minisign_verify::{PublicKey, Signature};
use thiserror::Error;
use tokio::io::AsyncReadExt;

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

/// How the first line of what minisign writes begins.
const COMMENT: &str = "untrusted comment:";

/// The public key in a text: that of a `.pub` file of minisign, or its second line alone.
pub fn key(text: &str) -> Result<&str, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(COMMENT));
    let [line] = lines.collect::<Vec<_>>()[..] else {
        return Err(format!(
            "`{}` is not a public key of minisign: the second line of its `.pub` file is",
            text.trim()
        ));
    };
    let wrong = |error| {
        format!(
            "`{line}` is not a public key of minisign, which is the second line of its `.pub` file: {error}"
        )
    };
    PublicKey::from_base64(line).map(|_| line).map_err(wrong)
}

/// The text of a signature's file. None: there is no such file. Only a regular one of at most [`MAX_TEXT`] bytes is read:
/// what else stands there may never end.
pub async fn read(path: &Path) -> Result<Option<String>, Error> {
    let wrong = |reason: String| Error::Unreadable(format!("`{}` {reason}", path.display()));
    let failed = |error: std::io::Error| wrong(format!("cannot be read: {error}"));
    match tokio::fs::metadata(path).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(facts) if facts.is_dir() => return Err(wrong("is a folder".to_owned())),
        Ok(facts) if !facts.is_file() => return Err(wrong("is not a regular file".to_owned())),
        Ok(_) => {}
    }
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_TEXT as u64 + 1).read_to_end(&mut bytes).await.map_err(failed)?;
    if bytes.len() > MAX_TEXT {
        return Err(wrong(format!("has more than {MAX_TEXT} bytes")));
    }
    let text = String::from_utf8(bytes).ok().filter(|text| text.starts_with(COMMENT));
    text.map(Some).ok_or_else(|| wrong("is not a signature of minisign".to_owned()))
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

    #[tokio::test]
    async fn only_a_regular_file_with_a_signature_is_read_as_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.minisig");
        assert!(matches!(read(&file).await, Ok(None)));
        let refused = async |part: &str| {
            let error = read(&file).await.unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("a.minisig"), "{error}");
        };
        std::fs::create_dir(&file).unwrap();
        refused("is a folder").await;
        std::fs::remove_dir(&file).unwrap();
        // Nobody writes into it, so a read would wait for ever.
        let made = std::process::Command::new("mkfifo").arg(&file).status().unwrap();
        assert!(made.success());
        refused("is not a regular file").await;
        std::fs::remove_file(&file).unwrap();
        for (content, part) in
            [(vec![0xff; 100], "is not a signature"), (b"a".repeat(MAX_TEXT + 1), "has more than 4096 bytes")]
        {
            std::fs::write(&file, content).unwrap();
            refused(part).await;
        }
        std::fs::write(&file, "untrusted comment: x\nRUQ=\n").unwrap();
        assert_eq!(read(&file).await.unwrap().as_deref(), Some("untrusted comment: x\nRUQ=\n"));
    }

    #[test]
    fn a_key_is_the_text_of_its_file_or_the_line_that_counts() {
        let line = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        let file = format!("untrusted comment: minisign public key E7620F1842B4E81F\n{line}\n");
        for text in [line, &format!(" {line}\n"), &file] {
            assert_eq!(key(text), Ok(line));
        }
        for text in ["", "untrusted comment: minisign public key", "RWQ", &format!("{line}\n{line}")] {
            assert!(key(text).unwrap_err().contains("second line of its `.pub` file"), "{text}");
        }
    }

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
