//! Files of packages, and the forms they are laid down in: a folder, a compressed tar file, a zip file.
//!
//! Whoever builds, whenever and where: an archive of the same files has the same bytes. Owners are root, times are what they are
//! told.

use std::borrow::Cow;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use flate2::write::DeflateEncoder;
use flate2::{Compression, GzBuilder};
use rawzip::time::UtcDateTime;
use rawzip::{CompressionMethod, ZipArchiveWriter};

use super::inputs::Effort;

/// What tells a file from a folder, in permissions.
const REGULAR: u32 = 0o100_000;

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
        let mut tar = tar::Builder::new(packed);
        for file in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(u64::try_from(file.bytes.len()).unwrap_or(u64::MAX));
            header.set_mode(file.mode);
            header.set_mtime(epoch);
            header.set_uid(0);
            header.set_gid(0);
            tar.append_data(&mut header, &file.path, &*file.bytes)?;
        }
        tar.into_inner()?.finish()?.sync_all()
    };
    write().with_context(|| format!("failed to write `{}`", to.display()))
}

/// Writes a zip file.
pub(super) fn zip<W: Write>(to: W, files: &[File<'_>], epoch: u64, effort: Effort) -> Result<W> {
    let time = UtcDateTime::from_unix(epoch.try_into().context("the time is too far away")?);
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

/// Writes the files below a folder, whose folders everybody may read.
pub(super) fn folder(to: &Path, files: &[File<'_>]) -> Result<()> {
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
    fn the_same_files_give_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let files =
                [File::plain("a/read", b"text".as_slice()), File::program("a/run", b"\x7fELF".as_slice())];
            let to = folder.path().join(name);
            tarball(&to, &files, 1_000_000_000, Effort::Thorough).unwrap();
            fs::read(to).unwrap()
        };
        assert_eq!(write("one"), write("other"));
    }
}
