//! A copy of the SDK on the disk: reads which files it has, writes and removes one at a time. Never follows a link out of the copy.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::hash;
use super::plan::Hashes;

/// What tools leave in a copy: no part of any SDK.
const MADE: [&str; 4] = ["__pycache__", "node_modules", "target", ".venv"];

/// What tools leave in a copy, by the end of the name: no part of any SDK.
const MADE_END: &str = ".egg-info";

/// The files of some SDKs and of the contract, by their paths below the copy.
pub(super) fn hashes(copy: &Path, sdks: &BTreeSet<&str>) -> anyhow::Result<Hashes> {
    refuse_link(copy)?;
    let mut left: Vec<PathBuf> = sdks.iter().map(|sdk| copy.join("sdk").join(sdk)).collect();
    left.push(copy.join("wit"));
    let mut found = Hashes::new();
    while let Some(folder) = left.pop() {
        if !folder.is_dir() {
            continue;
        }
        refuse_link(&folder)?;
        let list = || format!("failed to list `{}`", folder.display());
        for entry in std::fs::read_dir(&folder).with_context(list)? {
            let entry = entry.with_context(list)?;
            // A file of the SDK has a name that is text.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = entry.path();
            if path.is_dir() {
                if !MADE.contains(&&*name) && !name.ends_with(MADE_END) {
                    left.push(path);
                }
                continue;
            }
            let below = path.strip_prefix(copy).context("it lies in the copy")?;
            let Some(below) = below.to_str().map(str::to_owned) else { continue };
            let content =
                std::fs::read(&path).with_context(|| format!("failed to read `{}`", path.display()))?;
            found.insert(below, hash(&content));
        }
    }
    Ok(found)
}

/// What is written below a link would change another folder than the one that was named.
fn refuse_link(folder: &Path) -> anyhow::Result<()> {
    if folder.is_symlink() {
        let to = std::fs::read_link(folder).unwrap_or_default();
        bail!("`{}` is a link to `{}`: update what it leads to", folder.display(), to.display());
    }
    Ok(())
}

/// Writes a file in one step: nobody reads half of it, and a link in its place is replaced, not followed.
pub(super) fn write(copy: &Path, file: &str, content: &[u8]) -> anyhow::Result<()> {
    let path = copy.join(file);
    let folder = path.parent().context("a file lies in a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("failed to create `{}`", folder.display()))?;
    let write = || {
        let mut partial =
            tempfile::Builder::new().permissions(Permissions::from_mode(0o644)).tempfile_in(folder)?;
        partial.write_all(content)?;
        partial.persist(&path).map(drop).map_err(|error| error.error)
    };
    write().with_context(|| format!("failed to write `{}`", path.display()))
}

/// Removes a file, and the folders that it leaves empty.
pub(super) fn remove(copy: &Path, file: &str) -> anyhow::Result<()> {
    let path = copy.join(file);
    std::fs::remove_file(&path).with_context(|| format!("failed to remove `{}`", path.display()))?;
    let folders = path.ancestors().skip(1).take_while(|folder| *folder != copy);
    for folder in folders {
        // Until one holds something else.
        if std::fs::remove_dir(folder).is_err() {
            break;
        }
    }
    Ok(())
}
