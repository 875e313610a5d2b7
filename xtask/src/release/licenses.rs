//! The licenses and notices of the crates that are part of the program, as their authors wrote them: most demand to be handed on
//! with it.
//!
//! Every file of a crate that is named as one is taken, also those of C code that it brings. Equal texts stand once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::components::Component;

/// How such files are named, in capitals and without what follows.
const NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

/// Endings of such files; others are code that happens to be named so.
const ENDINGS: [&str; 4] = ["txt", "md", "rst", "html"];

/// Nothing in here becomes part of a program.
const UNUSED: [&str; 4] = ["tests", "benches", "examples", "target"];

const RULE: &str = "================================================================================";

/// All texts, each below the crates that it is of.
pub(super) fn text(components: &[Component]) -> Result<String> {
    let mut texts = BTreeMap::<String, Vec<String>>::new();
    let foreign = components.iter().filter(|component| component.is_linked && component.checksum.is_some());
    for component in foreign {
        let (name, version) = &component.id;
        let mut files = Vec::new();
        collect(&component.folder, &mut files)
            .with_context(|| format!("failed to read the sources of {name} {version}"))?;
        let title = format!("{name} {version} ({})", component.license);
        if files.is_empty() {
            texts
                .entry("Its package holds no text of its license.".to_owned())
                .or_default()
                .push(title.clone());
        }
        for file in files {
            let bytes = fs::read(&file).with_context(|| format!("failed to read `{}`", file.display()))?;
            let users =
                texts.entry(String::from_utf8_lossy(&bytes).trim().replace("\r\n", "\n")).or_default();
            if !users.contains(&title) {
                users.push(title.clone());
            }
        }
    }
    let mut blocks: Vec<_> = texts.into_iter().map(|(text, users)| (users, text)).collect();
    blocks.sort();
    let mut whole =
        "Heddle is linked with these libraries. Each text is that of the libraries above it.\n".to_owned();
    for (users, text) in blocks {
        write!(whole, "\n{RULE}\n{}\n{RULE}\n\n{text}\n", users.join("\n")).expect("a string takes all text");
    }
    Ok(whole)
}

/// All files below a folder that are named as a license.
fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() && !UNUSED.iter().any(|unused| entry.file_name() == *unused) {
            collect(&path, found)?;
        } else if kind.is_file() && is_license(&entry.file_name().to_string_lossy()) {
            found.push(path);
        }
    }
    Ok(())
}

/// `LICENSE`, `LICENSE-MIT`, `license.txt`, but not `license.rs`.
fn is_license(name: &str) -> bool {
    let is_text = match name.rsplit_once('.') {
        Some((_, ending)) => {
            ENDINGS.contains(&ending) || ending.chars().all(|c| c.is_ascii_uppercase() || c.is_numeric())
        }
        None => true,
    };
    let name = name.to_ascii_uppercase();
    is_text && NAMES.iter().any(|known| name.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licenses_are_known_by_their_names() {
        for name in [
            "LICENSE",
            "LICENSE-MIT",
            "license.txt",
            "COPYING",
            "LICENSE.MIT",
            "LICENSE-APACHE-2.0",
            "NOTICE",
        ] {
            assert!(is_license(name), "{name}");
        }
        for name in ["license.rs", "README.md", "notice.c", "LICENSES.toml"] {
            assert!(!is_license(name), "{name}");
        }
    }
}
