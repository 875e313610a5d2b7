//! The files of exports: written and read line by line, so that they may be of any length.

use std::fs::{File, Permissions};
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::NamedTempFile;

use super::row::Row;
use crate::print::Rows;
use heddle_values::dead_letter::DeadLetter;

/// Where an export goes.
#[derive(Debug)]
pub(super) enum Sink {
    Standard(Rows),
    /// A file that has its name only once it is whole.
    File {
        partial: BufWriter<NamedTempFile>,
        path: PathBuf,
    },
    /// A pipe or a device, which keeps its name.
    Device {
        device: BufWriter<File>,
        path: PathBuf,
    },
}

fn unwritable(path: &Path) -> String {
    format!("failed to write `{}`", path.display())
}

impl Sink {
    /// Opens it at once: what cannot be written is known before anything is read.
    pub(super) fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Sink::Standard(Rows::default())) };
        // A link stays one: what it leads to is replaced.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if path.exists() && !path.is_file() {
            let device = File::options().write(true).open(&path).with_context(|| unwritable(&path))?;
            return Ok(Sink::Device { device: BufWriter::new(device), path });
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let partial = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            // As any other file would have them.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder.unwrap_or(Path::new(".")))
            .with_context(|| unwritable(&path))?;
        Ok(Sink::File { partial: BufWriter::new(partial), path })
    }

    pub(super) fn line(&mut self, line: &str) -> anyhow::Result<()> {
        match self {
            Sink::Standard(rows) => Ok(rows.line(line)?),
            Sink::File { partial, path } => writeln!(partial, "{line}").with_context(|| unwritable(path)),
            Sink::Device { device, path } => writeln!(device, "{line}").with_context(|| unwritable(path)),
        }
    }

    /// The end. A file has its name from now on.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        match self {
            Sink::Standard(mut rows) => Ok(rows.flush()?),
            Sink::File { partial, path } => {
                let partial = partial.into_inner().with_context(|| unwritable(&path))?;
                partial.persist(&path).with_context(|| unwritable(&path))?;
                Ok(())
            }
            Sink::Device { mut device, path } => device.flush().with_context(|| unwritable(&path)),
        }
    }
}

/// What is imported. It can be read more than once.
#[derive(Debug)]
pub(super) struct Lines {
    file: File,
    path: PathBuf,
}

impl Lines {
    /// Opens a file, or standard input for `-`. What can only be read once is copied into a temporary file.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let failed = || format!("failed to read `{}`", path.display());
        let file = if path == Path::new("-") {
            copy(&mut std::io::stdin().lock())
        } else {
            File::open(path).and_then(|mut file| match file.metadata()?.is_file() {
                true => Ok(file),
                false => copy(&mut file),
            })
        };
        Ok(Lines { file: file.with_context(failed)?, path: path.to_owned() })
    }

    /// Every dead letter, from the first line.
    pub(super) fn dead_letters(
        &mut self,
    ) -> anyhow::Result<impl Iterator<Item = anyhow::Result<DeadLetter>>> {
        let failed = || format!("failed to read `{}`", self.path.display());
        self.file.rewind().with_context(failed)?;
        let path = &self.path;
        let lines = (1_u64..).zip(BufReader::new(&self.file).lines());
        Ok(lines.filter_map(move |(number, line)| {
            let place = || format!("`{}`, line {number}", path.display());
            let line = match line.with_context(|| format!("failed to read {}", place())) {
                Ok(line) if line.trim().is_empty() => return None,
                Ok(line) => line,
                Err(error) => return Some(Err(error)),
            };
            let row = serde_json::from_str::<Row>(&line).map_err(anyhow::Error::from);
            Some(row.and_then(Row::dead_letter).with_context(place))
        }))
    }
}

fn copy(from: &mut impl std::io::Read) -> std::io::Result<File> {
    let mut file = tempfile::tempfile()?;
    std::io::copy(from, &mut file)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_name_only_once_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.jsonl");
        std::fs::write(&path, "before").unwrap();
        let mut sink = Sink::open(Some(&path)).unwrap();
        sink.line("{}").unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "it is created at once");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before");
        sink.finish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{}\n");
        drop(Sink::open(Some(&path)).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "what was given up is removed");
        assert!(Sink::open(Some(&folder.path().join("none/x"))).is_err());
    }

    #[test]
    fn a_device_is_written_and_not_replaced() {
        let mut sink = Sink::open(Some(Path::new("/dev/null"))).unwrap();
        sink.line("{}").unwrap();
        sink.finish().unwrap();
        assert!(!Path::new("/dev/null").is_file());
    }

    #[test]
    fn what_is_imported_is_read_again_from_its_first_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.jsonl");
        std::fs::write(&path, "\n{}\n").unwrap();
        let mut lines = Lines::open(&path).unwrap();
        for _ in 0..2 {
            let found: Vec<_> = lines.dead_letters().unwrap().collect();
            assert_eq!(found.len(), 1);
            assert!(found[0].as_ref().unwrap_err().to_string().ends_with("line 2"));
        }
    }
}
