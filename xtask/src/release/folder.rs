//! The folder of a release. It holds a whole release, or what it held before: files are built in a folder within it, which is gone if
//! anything fails, and moved when all are there.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::name;
use super::sums::{self, NAME, SIGNATURE};

/// Where files are built. One that a run has left that was killed is removed by the next.
const BUILDING: &str = ".building";

/// A folder for a release.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    building: TempDir,
}

impl Folder {
    /// Fails if it has anything but the files of an earlier run.
    pub(super) fn open(path: &Path) -> Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("failed to create `{}`", path.display()))?;
        let path = path.canonicalize().with_context(|| format!("failed to find `{}`", path.display()))?;
        let left = path.join(BUILDING);
        if left.exists() {
            fs::remove_dir_all(&left).with_context(|| format!("failed to remove `{}`", left.display()))?;
        }
        old(&path)?;
        let building = tempfile::Builder::new().prefix(BUILDING).rand_bytes(0).tempdir_in(&path);
        let building = building.with_context(|| format!("failed to write to `{}`", path.display()))?;
        Ok(Self { path, building })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where its files are built.
    pub(super) fn building(&self) -> &Path {
        self.building.path()
    }

    /// Replaces the files of the earlier run by those that were built.
    pub(super) fn replace(self) -> Result<()> {
        for file in old(&self.path)?.into_iter().filter(|file| name(file) != NAME) {
            fs::remove_file(&file).with_context(|| format!("failed to remove the old `{}`", name(&file)))?;
        }
        let mut files = list(self.building())?;
        // The list comes first, so that whenever this run ends the next one knows what it may remove.
        files.sort_by_key(|file| (name(file) != NAME, name(file)));
        for file in files {
            let to = self.path.join(name(&file));
            fs::rename(&file, &to).with_context(|| format!("failed to move `{}`", to.display()))?;
        }
        Ok(())
    }
}

/// The files of an earlier run, as its checksums list them. Fails if anything else is there.
fn old(folder: &Path) -> Result<Vec<PathBuf>> {
    let list_of_old = match fs::read_to_string(folder.join(NAME)) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("failed to read the old {NAME}"))?,
    };
    let known: BTreeSet<String> = sums::lines(&list_of_old)
        .map(|(_, name)| name)
        .chain([NAME])
        .flat_map(|name| [name.to_owned(), format!("{name}.{SIGNATURE}")])
        .collect();
    let mut files = list(folder)?;
    files.retain(|file| name(file) != BUILDING);
    let other = files.iter().find(|file| !known.contains(&name(file)) || !file.is_file());
    ensure!(
        other.is_none(),
        "`{}` has files that no earlier run lists in {NAME}, such as `{}`; empty it or name another folder",
        folder.display(),
        other.map(|file| name(file)).unwrap_or_default()
    );
    Ok(files)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let problem = || format!("failed to list `{}`", folder.display());
    let entries = fs::read_dir(folder).with_context(problem)?;
    entries.map(|entry| Ok(entry.with_context(problem)?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds some files, signed, as a release does.
    fn build(out: &Path, files: &[&str]) -> Result<()> {
        let folder = Folder::open(out)?;
        let written: Vec<PathBuf> = files.iter().map(|name| folder.building().join(name)).collect();
        for file in &written {
            ensure!(name(file) != "broken", "it cannot be built");
            fs::write(file, name(file))?;
            fs::write(format!("{}.{SIGNATURE}", file.display()), "signature")?;
        }
        sums::write(folder.building(), &written)?;
        folder.replace()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = list(folder).unwrap().iter().map(|file| name(file)).collect();
        names.sort();
        names
    }

    #[test]
    fn the_files_of_an_earlier_run_are_replaced() {
        let out = tempfile::tempdir().unwrap();
        build(out.path(), &["a.deb", "b.whl"]).unwrap();
        assert_eq!(names(out.path()), [NAME, "a.deb", "a.deb.minisig", "b.whl", "b.whl.minisig"]);
        build(out.path(), &["c.tgz"]).unwrap();
        assert_eq!(names(out.path()), [NAME, "c.tgz", "c.tgz.minisig"]);
        assert_eq!(sums::listed(out.path()).unwrap().len(), 2);
    }

    #[test]
    fn a_run_that_fails_leaves_what_was_there_and_blocks_no_other() {
        let out = tempfile::tempdir().unwrap();
        build(out.path(), &["a.deb", "broken"]).unwrap_err();
        assert_eq!(names(out.path()), [""; 0]);
        build(out.path(), &["a.deb"]).unwrap();
        let before = names(out.path());
        build(out.path(), &["b.whl", "broken"]).unwrap_err();
        assert_eq!(names(out.path()), before);
        assert_eq!(sums::listed(out.path()).unwrap().len(), 2);
        build(out.path(), &["b.whl"]).unwrap();
    }

    #[test]
    fn what_a_killed_run_has_left_is_removed() {
        let out = tempfile::tempdir().unwrap();
        fs::create_dir(out.path().join(BUILDING)).unwrap();
        fs::write(out.path().join(BUILDING).join("half.deb"), "").unwrap();
        // And one that was killed while it moved its files.
        fs::write(out.path().join(NAME), "00  moved.deb\n00  not-yet.deb\n").unwrap();
        fs::write(out.path().join("moved.deb"), "").unwrap();
        build(out.path(), &["a.deb"]).unwrap();
        assert_eq!(names(out.path()), [NAME, "a.deb", "a.deb.minisig"]);
    }

    #[test]
    fn a_folder_with_other_files_is_refused_and_left_as_it_was() {
        let out = tempfile::tempdir().unwrap();
        build(out.path(), &["a.deb"]).unwrap();
        fs::write(out.path().join("own.txt"), "mine").unwrap();
        let before = names(out.path());
        let error = build(out.path(), &["b.whl"]).unwrap_err().to_string();
        assert!(error.contains("`own.txt`"), "{error}");
        assert_eq!(names(out.path()), before);
    }
}
