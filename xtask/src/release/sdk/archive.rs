//! Archives whose bytes depend on nothing but the files in them and the time they are told.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder, read::GzDecoder};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

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

/// A compressed tar archive.
pub(super) fn tar_gz(files: &Files, epoch: u64) -> Result<Vec<u8>> {
    let packed = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    let mut tar = tar::Builder::new(packed);
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len().try_into().context("a file is too large")?);
        header.set_mode(0o644);
        header.set_mtime(epoch);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, path, content.as_slice())
            .with_context(|| format!("failed to pack `{path}`"))?;
    }
    Ok(tar.into_inner()?.finish()?)
}

/// A zip archive. Its files have the earliest time that there is.
pub(super) fn zip(files: &Files) -> Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    for (path, content) in files {
        zip.start_file(path.as_str(), options).with_context(|| format!("failed to pack `{path}`"))?;
        zip.write_all(content)?;
    }
    Ok(zip.finish()?.into_inner())
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
        let packed = tar_gz(&files, 1_000_000_000).unwrap();
        assert_eq!(packed, tar_gz(&again, 1_000_000_000).unwrap());
        let archive = folder.path().join("x.tar.gz");
        fs::write(&archive, packed).unwrap();
        unpack(&archive, folder.path()).unwrap();
        assert_eq!(fs::read(folder.path().join("x/b/c")).unwrap(), b"c");
    }
}
