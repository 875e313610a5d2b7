//! A project's copy of the SDK, the folder `heddle-sdk`: of which Heddle it is, and how it is brought to this program's version.
//!
//! A record in it says what was written: the version, and the hash of each file. Nothing that somebody has edited is
//! changed before it was listed as such; what is in the folder besides stays as it is. Of SDKs that come from a language's registry
//! this knows nothing.

mod disk;
mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Language, files};
use plan::Hashes;
pub use plan::{Age, Change, Kind};

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The record's file, in the copy.
const RECORD: &str = "manifest.json";

/// What was written into a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// The version of the program that wrote it.
    heddle: String,
    files: Hashes,
}

impl Record {
    fn of(contents: &files::Contents) -> Self {
        let hashes = contents.iter().map(|(path, content)| (path.clone(), hash(content)));
        Record { heddle: VERSION.to_owned(), files: hashes.collect() }
    }

    fn text(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self).context("the record cannot be written as JSON")? + "\n")
    }
}

/// What a new copy holds: paths below its folder, and contents.
pub(super) fn contents(language: Language) -> anyhow::Result<files::Contents> {
    let mut contents = files::sdks(&BTreeSet::from([language.sdk()]))?;
    let record = Record::of(&contents).text()?;
    contents.insert(RECORD.to_owned(), record.into_bytes().into());
    Ok(contents)
}

/// A copy of the SDK.
#[derive(Debug)]
pub struct SdkCopy {
    /// The folder `heddle-sdk` itself, as an absolute path.
    pub folder: PathBuf,
    /// The folders of the SDKs that it holds.
    sdks: BTreeSet<&'static str>,
    record: Option<Record>,
}

/// How a copy becomes one of this program's version.
#[derive(Debug)]
pub struct Plan {
    /// In the order of the paths. Empty: no file differs, but the record may.
    pub changes: Vec<Change>,
    /// Nothing is to be done, not even to the record.
    pub is_current: bool,
    contents: files::Contents,
}

impl Plan {
    /// The files whose edits would be lost.
    pub fn edited(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.edited)
    }
}

impl SdkCopy {
    /// The copy that projects in a folder use: the nearest, there or above. None where they use the SDK of a checkout of
    /// Heddle, or one from a registry.
    pub fn find(folder: &Path) -> Option<Self> {
        let named = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        // Where the path leads through a link, what lies above is what lies above the folder itself.
        let start = named.canonicalize().ok()?;
        for above in start.ancestors() {
            let copy = above.join(files::SDK);
            let held = Language::ALL.map(Language::sdk).into_iter();
            let sdks: BTreeSet<_> = held.filter(|sdk| copy.join("sdk").join(sdk).is_dir()).collect();
            if !sdks.is_empty() {
                let text = std::fs::read_to_string(copy.join(RECORD));
                let record = text.ok().and_then(|text| serde_json::from_str(&text).ok());
                return Some(SdkCopy { folder: copy, sdks, record });
            }
            if above.join("wit/heddle.wit").is_file() && above.join("sdk").is_dir() {
                return None;
            }
        }
        None
    }

    /// The version that it says it is of.
    pub fn version(&self) -> Option<&str> {
        Some(&self.record.as_ref()?.heddle)
    }

    /// How its version compares with that of the program.
    pub fn age(&self) -> Age {
        plan::age(self.version(), VERSION)
    }

    /// A note on it, for before a build; none if it is of the program's version.
    pub fn note(&self) -> Option<String> {
        note(&self.folder, self.version(), VERSION)
    }

    /// Whether pip has put another copy of it into the project's environment, which does not change with it.
    pub fn is_installed_elsewhere(&self) -> bool {
        self.sdks.contains(Language::Python.sdk())
    }

    /// What bringing it to the program's version changes.
    ///
    /// # Errors
    /// It cannot be read, or links lead out of it.
    pub fn plan(&self) -> anyhow::Result<Plan> {
        let contents = files::sdks(&self.sdks)?;
        let wanted = Record::of(&contents);
        let found = disk::hashes(&self.folder, &self.sdks)?;
        let recorded = self.record.as_ref().map(|record| &record.files);
        let changes = plan::changes(recorded, &found, &wanted.files);
        let is_current = changes.is_empty() && self.record.as_ref() == Some(&wanted);
        Ok(Plan { changes, is_current, contents })
    }

    /// Carries a plan out. The record is written last: after an interruption, it can be planned and carried out again.
    ///
    /// # Errors
    /// A file cannot be written or removed.
    pub fn renew(&self, plan: &Plan) -> anyhow::Result<()> {
        for Change { file, kind, .. } in &plan.changes {
            match kind {
                Kind::Remove => disk::remove(&self.folder, file)?,
                Kind::Add | Kind::Replace => {
                    let content = plan.contents.get(file).context("a planned file has a content")?;
                    disk::write(&self.folder, file, content)?;
                }
            }
        }
        disk::write(&self.folder, RECORD, Record::of(&plan.contents).text()?.as_bytes())
    }
}

/// Notes on the copies that projects in some folders use, of another version than the program's: one for each copy.
pub fn notes(folders: impl IntoIterator<Item = PathBuf>) -> Vec<String> {
    let copies = folders.into_iter().filter_map(|folder| SdkCopy::find(&folder));
    let notes: BTreeMap<_, _> = copies.filter_map(|copy| Some((copy.folder.clone(), copy.note()?))).collect();
    notes.into_values().collect()
}

fn note(folder: &Path, copy: Option<&str>, program: &str) -> Option<String> {
    let (age, copy, folder) = (plan::age(copy, program), copy.unwrap_or_default(), folder.display());
    match age {
        Age::Same => None,
        Age::Older => Some(format!(
            "the SDK in `{folder}` is of heddle {copy}; this program is {program}: run `heddle sdk update`"
        )),
        Age::Newer => Some(format!(
            "the SDK in `{folder}` is of heddle {copy}; this program is older, {program}: install heddle {copy} or newer"
        )),
        Age::Unknown => Some(format!(
            "the SDK in `{folder}` does not say of which heddle it is; this program is {program}: run `heddle sdk update`"
        )),
    }
}

/// The SHA-256 of a content, as hexadecimal digits.
fn hash(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
