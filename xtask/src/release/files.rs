//! Files of packages, and the forms they are laid down in: a folder, a compressed tar file, a zip file.
//!
//! Whoever builds, whenever and where: an archive of the same files has the same bytes. Owners are root, times are what they are
//! told.

use std::borrow::Cow;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use flate2::read::GzDecoder;
use flate2::write::DeflateEncoder;
use flate2::{Compression, GzBuilder};
use rawzip::time::UtcDateTime;
use rawzip::{CompressionMethod, ZipArchiveWriter};

/// What tells a file from a folder, in permissions.
const REGULAR: u32 = 0o100_000;

/// The earliest time that a zip file can hold: the beginning of 1980, in seconds since 1970.
const EARLIEST: u64 = 315_532_800;

/// One file of a package.
pub(super) struct File<'a> {
    /// From the root of the package.
    pub(super) path: String,
    /// Permissions.
    pub(super) mode: u32,
    pub(super) bytes: Cow<'a, [u8]>,
}

impl<'a> File<'a> {
    /// A file to be read.
    pub(super) fn plain(path: impl Into<String>, bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        Self { path: path.into(), mode: 0o644, bytes: bytes.into() }
    }

    /// A file to be run.
    pub(super) fn program(path: impl Into<String>, bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        Self { path: path.into(), mode: 0o755, bytes: bytes.into() }
    }

    /// The same, compressed as Debian wants its documents.
    pub(super) fn gzipped(self) -> Result<Self> {
        let mut packed = gzip(Vec::new(), Compression::best());
        packed.write_all(&self.bytes)?;
        let bytes = packed.finish().context("failed to compress")?;
        Ok(Self { path: format!("{}.gz", self.path), bytes: bytes.into(), ..self })
    }
}

/// How hard packages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// As small as can be: for users.
    Thorough,
    /// Fast: for tests.
    Quick,
}

impl Effort {
    /// The level of deflate.
    pub(super) fn level(self) -> u32 {
        match self {
            Effort::Thorough => 9,
            Effort::Quick => 1,
        }
    }
}

/// Writes a compressed tar file.
pub(super) fn tarball(to: &Path, files: &[File<'_>], epoch: u64, effort: Effort) -> Result<()> {
    let write = || {
        let packed = gzip(fs::File::create(to)?, Compression::new(effort.level()));
        append(packed, files, epoch)?.finish()?.sync_all()
    };
    write().with_context(|| format!("failed to write `{}`", to.display()))
}

/// Writes a tar file.
pub(super) fn tar(to: &Path, files: &[File<'_>], epoch: u64) -> Result<()> {
    let write = || append(fs::File::create(to)?, files, epoch)?.sync_all();
    write().with_context(|| format!("failed to write `{}`", to.display()))
}

fn append<W: Write>(to: W, files: &[File<'_>], epoch: u64) -> io::Result<W> {
    let mut tar = tar::Builder::new(to);
    for file in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(u64::try_from(file.bytes.len()).unwrap_or(u64::MAX));
        header.set_mode(file.mode);
        header.set_mtime(epoch);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, &file.path, &*file.bytes)?;
    }
    tar.into_inner()
}

/// Lays a compressed tar file out in a folder.
pub(super) fn unpack(archive: &Path, folder: &Path) -> Result<()> {
    let file = fs::File::open(archive).with_context(|| format!("failed to open `{}`", archive.display()))?;
    let mut tar = tar::Archive::new(GzDecoder::new(file));
    tar.unpack(folder).with_context(|| format!("failed to unpack `{}`", archive.display()))
}

/// Writes a zip file. It holds no time before 1980.
pub(super) fn zip<W: Write>(to: W, files: &[File<'_>], epoch: u64, effort: Effort) -> Result<W> {
    let time = UtcDateTime::from_unix(epoch.max(EARLIEST).try_into().context("the time is too far away")?);
    let mut zip = ZipArchiveWriter::new(to);
    for file in files {
        let new = zip.new_file(file.path.as_str()).compression_method(CompressionMethod::DEFLATE);
        let (mut entry, config) = new.last_modified(time).unix_permissions(REGULAR | file.mode).start()?;
        let mut data = config.wrap(DeflateEncoder::new(&mut entry, Compression::new(effort.level())));
        data.write_all(&file.bytes)?;
        let (packed, descriptor) = data.finish()?;
        packed.finish()?;
        entry.finish(descriptor)?;
    }
    Ok(zip.finish()?)
}

/// Every file below a folder as one to be read, with `prefix` before its path; sorted.
pub(super) fn read(folder: &Path, prefix: &str) -> Result<Vec<File<'static>>> {
    let mut files = Vec::new();
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
            files.push(File::plain(format!("{prefix}{below}"), content));
        }
    }
    sort(&mut files);
    Ok(files)
}

/// Brings files into the order that archives have them in.
pub(super) fn sort(files: &mut [File<'_>]) {
    files.sort_by(|one, other| one.path.cmp(&other.path));
}

/// Writes the files below a folder, whose folders everybody may read.
pub(super) fn lay(to: &Path, files: &[File<'_>]) -> Result<()> {
    for file in files {
        let path = to.join(&file.path);
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(to))?;
            fs::write(&path, &file.bytes)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))?;
            let mut folders = path.ancestors().skip(1).take_while(|folder| folder.starts_with(to));
            folders.try_for_each(|folder| fs::set_permissions(folder, fs::Permissions::from_mode(0o755)))
        };
        write().with_context(|| format!("failed to write `{}`", path.display()))?;
    }
    Ok(())
}

/// A compressor that notes neither a time nor a name.
fn gzip<W: Write>(to: W, level: Compression) -> flate2::write::GzEncoder<W> {
    GzBuilder::new().mtime(0).write(to, level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_give_the_same_bytes_and_come_out_as_they_went_in() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        let files = [File::plain("b/read", b"text".as_slice()), File::program("a", b"\x7fELF".as_slice())];
        lay(&from, &files).unwrap();
        let files = read(&from, "x/").unwrap();
        assert_eq!(files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["x/a", "x/b/read"]);
        let packed = ["one", "other"].map(|name| {
            let (packed, plain) = (folder.path().join(format!("{name}.tar.gz")), folder.path().join(name));
            tarball(&packed, &files, 1_000_000_000, Effort::Thorough).unwrap();
            tar(&plain, &files, 1_000_000_000).unwrap();
            // A time that it cannot hold.
            let zip = zip(Vec::new(), &files, 0, Effort::Thorough).unwrap();
            (fs::read(packed).unwrap(), fs::read(plain).unwrap(), zip)
        });
        assert!(packed[0] == packed[1]);
        let to = folder.path().join("to");
        unpack(&folder.path().join("one.tar.gz"), &to).unwrap();
        assert_eq!(fs::read(to.join("x/b/read")).unwrap(), b"text");
    }
}
