//! Digests, and the file of all checksums, which also says whose folder it is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// The file of all checksums, in the form of `sha256sum`.
pub(super) const NAME: &str = "SHA256SUMS";

/// What is added to a file's name for its signature.
pub(super) const SIGNATURE: &str = "minisig";

/// SHA-256 in hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all text");
        text
    })
}

/// SHA-256 as wheels write it.
pub(super) fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(bytes))
}

/// Writes the checksums of some files beside them.
pub(super) fn write(folder: &Path, files: &[PathBuf]) -> Result<PathBuf> {
    let lines = files.iter().map(|file| Ok((super::name(file), of(file)?)));
    let sorted = lines.collect::<Result<BTreeMap<_, _>>>()?;
    let lines: String = sorted.iter().map(|(name, digest)| format!("{digest}  {name}\n")).collect();
    let to = folder.join(NAME);
    fs::write(&to, lines).with_context(|| format!("failed to write `{}`", to.display()))?;
    Ok(to)
}

/// The files of an earlier run, that of their checksums included. Fails if one is not what it was.
pub(super) fn listed(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = folder.join(NAME);
    let text = fs::read_to_string(&list).with_context(|| format!("failed to read `{}`", list.display()))?;
    let mut files = Vec::new();
    for (digest, name) in lines(&text) {
        let file = folder.join(name);
        ensure!(of(&file)? == digest, "`{name}` is not the file that {NAME} lists");
        files.push(file);
    }
    files.push(list);
    Ok(files)
}

/// The digests and names in a list.
pub(super) fn lines(list: &str) -> impl Iterator<Item = (&str, &str)> {
    list.lines().filter_map(|line| line.split_once("  "))
}

/// Name, size and the beginning of the digest of each file.
pub(super) fn table(files: &[PathBuf]) -> Result<String> {
    let width = files.iter().map(|file| super::name(file).len()).max().unwrap_or_default();
    let mut table = format!("{:width$}  {:>9}  {}", "file", "KiB", "sha256");
    for file in files {
        let size = fs::metadata(file).with_context(|| format!("failed to read `{}`", file.display()))?.len();
        let digest = of(file)?;
        let short = digest.get(..16).unwrap_or_default();
        write!(table, "\n{:width$}  {:>9}  {short}", super::name(file), size.div_ceil(1024))
            .expect("a string takes all text");
    }
    Ok(table)
}

/// SHA-256 of a file.
pub(super) fn of(file: &Path) -> Result<String> {
    let bytes = fs::read(file).with_context(|| format!("failed to read `{}`", file.display()))?;
    Ok(hex(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_an_earlier_run_are_those_that_it_listed_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.tar.gz");
        fs::write(&file, "a").unwrap();
        write(folder.path(), std::slice::from_ref(&file)).unwrap();
        assert_eq!(listed(folder.path()).unwrap(), [file.clone(), folder.path().join(NAME)]);
        fs::write(&file, "b").unwrap();
        let error = listed(folder.path()).unwrap_err().to_string();
        assert_eq!(error, "`a.tar.gz` is not the file that SHA256SUMS lists");
    }
}
