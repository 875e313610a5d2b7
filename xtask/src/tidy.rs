//! Tidiness: rules of CONTRIBUTING.md that no other tool checks.
//!
//! Heuristics over the text, on purpose: they need no parser and say no more than they can know. Every breach
//! is reported, with its place.

mod code;
mod links;
mod markdown;
mod mask;
mod rules;
pub(crate) mod summary;
mod tables;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Folders, and in a work tree of git a file, in which nothing is ours.
const FOREIGN: [&str; 7] = [".git", "target", ".heddle", "node_modules", ".venv", "venv", "__pycache__"];

/// A folder whose documents others have written.
const THIRD_PARTY: &str = "third_party";

/// Files larger than this are data.
const LARGEST: u64 = 1 << 20;

/// Checks every file below a folder.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut files = Vec::new();
    collect(root, &mut files)?;
    files.sort_unstable();
    let mut breaches = Vec::new();
    for file in &files {
        let bytes = fs::read(file).with_context(|| format!("failed to read `{}`", file.display()))?;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let name = file.strip_prefix(root).unwrap_or(file).display();
        let is = |kind| file.extension().is_some_and(|extension| extension == kind);
        let mut found = rules::breaches(&text, is("rs"));
        if is("md") && !file.components().any(|part| part.as_os_str() == THIRD_PARTY) {
            found.extend(links::breaches(file, &text));
            found.extend(links::missing_code(root, &text));
            found.extend(code::breaches(root, &text));
            found.extend(tables::breaches(&text));
        }
        breaches.extend(found.into_iter().map(|breach| format!("{name}:{}: {}", breach.line, breach.text)));
    }
    breaches.extend(summary::breaches(root)?);
    if breaches.is_empty() {
        return Ok(());
    }
    bail!("{} places are untidy:\n{}", breaches.len(), breaches.join("\n"))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let problem = || format!("failed to list `{}`", folder.display());
    for entry in fs::read_dir(folder).with_context(problem)? {
        let entry = entry.with_context(problem)?;
        let kind = entry.file_type().with_context(problem)?;
        if FOREIGN.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if kind.is_dir() {
            collect(&entry.path(), files)?;
        } else if kind.is_file() && entry.metadata().with_context(problem)?.len() <= LARGEST {
            files.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_tidy() {
        check(crate::shell::root()).unwrap();
    }

    #[test]
    fn a_breach_is_reported_with_its_file_and_line() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("src")).unwrap();
        fs::create_dir_all(root.path().join("target")).unwrap();
        fs::write(root.path().join("src/lib.rs"), "//! Fine.\nfn f() { todo!() }\n").unwrap();
        fs::write(root.path().join("target/lib.rs"), "fn f() { todo!() }\n").unwrap();
        let error = format!("{:#}", check(root.path()).unwrap_err());
        assert!(error.starts_with("1 places are untidy:\nsrc/lib.rs:2: "), "{error}");
    }
}
