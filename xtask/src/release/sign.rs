//! Signatures of minisign, one beside each file.
//!
//! Their trusted comment names the file, so that one package cannot stand in for another. A key with a password is opened by
//! whoever types it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign::{PublicKey, SecretKey, SecretKeyBox};

use super::sums::SIGNATURE;

/// A key to sign with.
pub(super) struct Key {
    secret: SecretKey,
    public: PublicKey,
}

impl Key {
    /// Reads a secret key, and asks for its password if it has one.
    pub(super) fn read(file: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(file).with_context(|| format!("failed to read `{}`", file.display()))?;
        let problem = || format!("`{}` is no secret key of minisign", file.display());
        let encoded = text.lines().nth(1).with_context(problem)?.trim();
        let bytes = STANDARD.decode(encoded).with_context(problem)?;
        let secret = SecretKey::from_bytes(&bytes).with_context(problem)?;
        if !secret.is_encrypted() {
            // Not by its box, which demands a checksum that minisign itself does not write without a password.
            return Self::of(secret);
        }
        eprintln!("the password of `{}`:", file.display());
        let sealed = SecretKeyBox::from_string(&text).with_context(problem)?;
        let secret =
            sealed.into_secret_key(None).with_context(|| format!("`{}` cannot be opened", file.display()))?;
        Self::of(secret)
    }

    /// A key that is open.
    pub(super) fn of(secret: SecretKey) -> Result<Self> {
        let public = PublicKey::from_secret_key(&secret).context("the secret key has no public key")?;
        Ok(Self { secret, public })
    }

    /// The key that verifies, as `minisign -P` takes it.
    pub(super) fn public(&self) -> String {
        self.public.to_base64()
    }

    /// Writes a signature beside each file.
    pub(super) fn sign_all(&self, files: &[PathBuf], epoch: u64) -> Result<()> {
        for file in files {
            let name = super::name(file);
            let data = File::open(file).with_context(|| format!("failed to read `{}`", file.display()))?;
            let comment = format!("timestamp:{epoch}\tfile:{name}\thashed");
            let signature = minisign::sign(Some(&self.public), &self.secret, data, Some(&comment), None)
                .with_context(|| format!("failed to sign `{name}`"))?;
            let to = beside(file);
            fs::write(&to, signature.into_string())
                .with_context(|| format!("failed to write `{}`", to.display()))?;
        }
        Ok(())
    }

    /// How a user verifies.
    pub(super) fn instructions(&self) -> String {
        format!("signatures: minisign -Vm FILE -P {}", self.public())
    }
}

/// Where the signature of a file is.
pub(super) fn beside(file: &Path) -> PathBuf {
    file.with_file_name(format!("{}.{SIGNATURE}", super::name(file)))
}

#[cfg(test)]
mod tests {
    use minisign::KeyPair;

    use super::*;

    #[test]
    fn a_key_that_minisign_made_without_a_password_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        let mut bytes = pair.sk.to_bytes();
        // Where others have a checksum, such a key has zeros.
        bytes.iter_mut().rev().take(32).for_each(|byte| *byte = 0);
        let file = folder.path().join("minisign.key");
        fs::write(&file, format!("untrusted comment: x\n{}\n", STANDARD.encode(bytes))).unwrap();
        assert_eq!(Key::read(&file).unwrap().public(), pair.pk.to_base64());
    }

    #[test]
    fn anything_else_is_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("other.key");
        fs::write(&file, "untrusted comment: x\nnothing\n").unwrap();
        let error = Key::read(&file).err().unwrap();
        assert!(error.to_string().ends_with("is no secret key of minisign"), "{error}");
    }
}
