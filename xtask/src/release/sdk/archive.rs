//! Archives whose bytes depend on nothing but the files in them and the time they are given.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use flate2::read::GzDecoder;

use crate::release::files::{self, File};
use crate::release::inputs::Effort;

/// The earliest time that a zip file can hold: the beginning of 1980, in seconds since 1970.
const EARLIEST: u64 = 315_532_800;

/// Files by their paths in an archive, which are sorted so.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// Every file below a folder, with `prefix` before its path.
pub(super) fn read(folder: &Path, prefix: &str) -> Result<Files> {
    let mut files = Files::new();
    let mut left = vec![folder.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(&next).with_context(|| format!("failed to list `{}`", next.display()))? {
            let path = entry.with_context(|| format!("failed to list `{}`", next.display()))?.path();
            if path.is_dir() {
                left.push(path);
                continue;
            }
            let below = path.strip_prefix(folder).expect("it was found there").to_string_lossy().into_owned();
            let content = fs::read(&path).with_context(|| format!("failed to read `{}`", path.display()))?;
            files.insert(format!("{prefix}{below}"), content);
        }
    }
    Ok(files)
}

/// Writes a compressed tar archive.
pub(super) fn tar_gz(to: &Path, files: &Files, epoch: u64) -> Result<()> {
    files::tarball(to, &plain(files), epoch, Effort::Thorough)
}

/// A zip archive. Its files have the earliest time that there is.
pub(super) fn zip(files: &Files) -> Result<Vec<u8>> {
    files::zip(Vec::new(), &plain(files), EARLIEST, Effort::Thorough)
}

fn plain(files: &Files) -> Vec<File<'_>> {
    files.iter().map(|(path, content)| File::plain(path.as_str(), content.as_slice())).collect()
}

/// Lays a compressed tar archive out in a folder.
pub(super) fn unpack(archive: &Path, folder: &Path) -> Result<()> {
    let file = fs::File::open(archive).with_context(|| format!("failed to open `{}`", archive.display()))?;
    let mut tar = tar::Archive::new(GzDecoder::new(file));
    tar.unpack(folder).with_context(|| format!("failed to unpack `{}`", archive.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        fs::write(folder.path().join("b/c"), "c").unwrap();
        fs::write(folder.path().join("a"), "a").unwrap();
        let files = read(folder.path(), "x/").unwrap();
        assert_eq!(files.keys().collect::<Vec<_>>(), ["x/a", "x/b/c"]);
        fs::write(folder.path().join("a"), "a").unwrap();
        let again = read(folder.path(), "x/").unwrap();
        assert_eq!(zip(&files).unwrap(), zip(&again).unwrap());
        let [archive, other] = ["x.tar.gz", "y.tar.gz"].map(|name| folder.path().join(name));
        tar_gz(&archive, &files, 1_000_000_000).unwrap();
        tar_gz(&other, &again, 1_000_000_000).unwrap();
        assert_eq!(fs::read(&archive).unwrap(), fs::read(&other).unwrap());
        unpack(&archive, folder.path()).unwrap();
        assert_eq!(fs::read(folder.path().join("x/b/c")).unwrap(), b"c");
    }
}
