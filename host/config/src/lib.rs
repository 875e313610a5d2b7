//! `heddle.toml`: read once, into [`Settings`].
//!
//! Promises that every fault of a file is reported at once, each with its line and, for a key that is not
//! known, the nearest one that is. Nothing later sees the file's text.

mod application;
mod build;
mod failure;
mod grants;
mod handler;
mod nats;
mod registries;
mod rollout;
mod scope;
mod secret;
mod section;
mod shown;
mod units;

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use thiserror::Error;
use toml::de::DeTable;

use section::{Blame, Fault};
use shown::Shown;

pub use units::{parse_duration, parse_size};

use heddle_values::settings::Settings;

/// What the file is called by default.
pub const FILE: &str = "heddle.toml";

/// Why a file gives no settings.
#[derive(Debug, Error)]
pub enum Error {
    /// The file is missing, unreadable, no regular file, not UTF-8 or larger than 16 MiB: nothing of it was judged.
    #[error("failed to read `{path}`: {cause}{}", advice(.cause))]
    Unreadable {
        /// The file as it was asked for; a relative path begins at the current folder.
        path: PathBuf,
        /// What the system said; the user is advised where the file does not exist.
        cause: std::io::Error,
    },
    /// The file was read and is wrong in at least one place. None of it is used until every fault is corrected.
    #[error("{0}")]
    Faults(Faults),
}

fn advice(cause: &std::io::Error) -> &'static str {
    match cause.kind() {
        std::io::ErrorKind::NotFound => "; `heddle new` makes a project, and `--config` names another file",
        _ => "",
    }
}

/// Everything that is wrong with a file, in the order of its lines.
#[derive(Debug)]
pub struct Faults {
    path: PathBuf,
    text: String,
    faults: Vec<Fault>,
}

impl Faults {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.faults.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    fn place(&self, offset: usize) -> (usize, usize, Range<usize>) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let column = before.get(start..).unwrap_or_default().chars().count() + 1;
        let length =
            self.text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default().trim_end().len();
        (line, column, start..start + length)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.faults.len();
        writeln!(f, "{count} {} in the file", if count == 1 { "fault" } else { "faults" })?;
        let shown = Shown::of(&self.text);
        for fault in &self.faults {
            let (line, column, range) = self.place(fault.span.start);
            writeln!(f, "  {}:{line}:{column}: {}", self.path.display(), fault.message)?;
            writeln!(f, "    | {}", around(&shown.line(range), column))?;
        }
        Ok(())
    }
}

/// The most characters of a line that are shown.
const SHOWN: usize = 160;

/// A line, or the part of a long one that begins shortly before a column, counted from 1.
fn around(line: &str, column: usize) -> String {
    if line.chars().count() <= SHOWN {
        return line.to_owned();
    }
    let begin = column.saturating_sub(SHOWN / 4);
    let part: String = line.chars().skip(begin).take(SHOWN).collect();
    let [before, after] =
        [begin > 0, line.chars().nth(begin + SHOWN).is_some()].map(|more| if more { "…" } else { "" });
    format!("{before}{part}{after}")
}

/// What must be sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// The file, and what it names, with the sources of the plugins. For commands that build them, too.
    Sources,
    /// The file, and what it names: secrets, environment variables, folders. For commands that run the application.
    Everything,
    /// The file alone. For commands that inspect the application from another machine.
    File,
}

/// The largest file of settings or of a secret, in bytes.
const MAX_FILE: u64 = 16 << 20;

/// Reads and checks a file.
pub fn load(path: &Path, needs: Needs) -> Result<Settings, Error> {
    let text = read(path).map_err(|cause| Error::Unreadable { path: path.to_owned(), cause })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    parse(&text, folder, needs).map_err(|mut faults| {
        faults.sort_by_key(|fault| fault.span.start);
        Error::Faults(Faults { path: path.to_owned(), text, faults })
    })
}

/// The text of a file of settings or of a secret. A pipe or a device would hold up whoever reads it, or never end.
fn read(path: &Path) -> std::io::Result<String> {
    let facts = std::fs::metadata(path)?;
    if facts.is_file() && facts.len() <= MAX_FILE {
        return std::fs::read_to_string(path);
    }
    let text = match facts.is_file() {
        true => format!("it has {} bytes, and {MAX_FILE} are allowed", facts.len()),
        false => "it is not a file".to_owned(),
    };
    Err(std::io::Error::other(text))
}

fn parse(text: &str, folder: &Path, needs: Needs) -> Result<Settings, Vec<Fault>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let fault = |error: &toml::de::Error| Fault {
            span: error.span().unwrap_or(0..0),
            message: format!("not TOML: {}", error.message()),
            blame: Blame::File,
        };
        return Err(errors.iter().map(fault).collect());
    }
    application::resolve(&document, folder, needs)
}

#[cfg(test)]
mod tests;
