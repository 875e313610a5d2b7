//! The contents of the book, `docs/SUMMARY.md`: every page of `docs` is in it, once, and so is every document that a page
//! of the book leads to. What a page says is not known here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result};

use super::links::targets;
use super::markdown::prose;

/// The folder of the pages.
pub(crate) const FOLDER: &str = "docs";

/// The file with the contents, in that folder.
pub(crate) const FILE: &str = "SUMMARY.md";

/// The documents of the book in their order, below the root of the repository.
pub(crate) fn pages(root: &Path) -> Result<Vec<PathBuf>> {
    let file = root.join(FOLDER).join(FILE);
    let text = fs::read_to_string(&file).with_context(|| format!("failed to read `{}`", file.display()))?;
    Ok(documents(Path::new(FOLDER), &text))
}

/// What a document leads to, below the root of the repository: files and folders.
pub(crate) fn leads_to(page: &Path, text: &str) -> Vec<PathBuf> {
    let folder = page.parent().unwrap_or(page);
    let targets = prose(text).flat_map(|(_, line)| targets(line));
    let paths = targets.filter_map(|target| target.split('#').next()).filter(|path| !path.is_empty());
    paths.map(|path| plain(&folder.join(path))).collect()
}

/// Every page that is missing, is there twice, or leads out of the book. Where there is no book, nothing is.
pub(super) fn breaches(root: &Path) -> Result<Vec<String>> {
    if !root.join(FOLDER).join(FILE).exists() {
        return Ok(Vec::new());
    }
    let listed = pages(root)?;
    let mut found = Vec::new();
    let mut known = BTreeSet::new();
    for page in &listed {
        if !known.insert(page.clone()) {
            found.push(format!("{FOLDER}/{FILE}: `{}` is in it twice", page.display()));
        }
    }
    for entry in fs::read_dir(root.join(FOLDER))?.flatten() {
        let page = Path::new(FOLDER).join(entry.file_name());
        if is_document(&page) && entry.file_name() != FILE && !known.contains(&page) {
            found.push(format!("{FOLDER}/{FILE}: `{}` is not in it", page.display()));
        }
    }
    for page in &known {
        // A page that is not there is a link that leads nowhere.
        let text = fs::read_to_string(root.join(page)).unwrap_or_default();
        for target in leads_to(page, &text) {
            if is_document(&target) && !known.contains(&target) {
                let (page, target) = (page.display(), target.display());
                found.push(format!("{page}: leads to `{target}`, which is not in {FOLDER}/{FILE}"));
            } else if root.join(&target).is_dir() {
                let (page, target) = (page.display(), target.display());
                found.push(format!("{page}: leads to the folder `{target}`, and the book has files only"));
            }
        }
    }
    Ok(found)
}

/// The documents that a text leads to.
fn documents(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = leads_to(&folder.join(FILE), text);
    found.retain(|path| is_document(path));
    found
}

fn is_document(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "md")
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_in_the_book_once_and_none_leads_out_of_it() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join(FOLDER)).unwrap();
        let write = |path: &str, text: &str| fs::write(root.path().join(path), text).unwrap();
        assert_eq!(breaches(root.path()).unwrap(), [""; 0]);
        write("README.md", "[b](docs/b.md#x) [folder](docs) [licence](LICENSE)\n");
        write("OTHER.md", "\n");
        write("docs/a.md", "[other](../OTHER.md)\n");
        write("docs/b.md", "[a](a.md)\n");
        write("docs/SUMMARY.md", "# Summary\n\n[Readme](../README.md)\n- [A](a.md)\n- [Again](./a.md)\n");
        let expected = [
            "docs/SUMMARY.md: `docs/a.md` is in it twice",
            "docs/SUMMARY.md: `docs/b.md` is not in it",
            "README.md: leads to `docs/b.md`, which is not in docs/SUMMARY.md",
            "README.md: leads to the folder `docs`, and the book has files only",
            "docs/a.md: leads to `OTHER.md`, which is not in docs/SUMMARY.md",
        ];
        assert_eq!(breaches(root.path()).unwrap(), expected);
        write("README.md", "[b](docs/b.md#x) [licence](LICENSE)\n");
        write("docs/SUMMARY.md", "[Readme](../README.md)\n[A](a.md)\n[B](b.md)\n[Other](../OTHER.md)\n");
        assert_eq!(breaches(root.path()).unwrap(), [""; 0]);
    }
}
