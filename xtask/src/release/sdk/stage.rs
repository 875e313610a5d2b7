//! Lays the files of an SDK out for packing: those that the repository knows, with links replaced by what they lead to, and without
//! the SDK's own tests.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::shell::{command, output, root};

/// Where an SDK says its version, and the line that says it. Those that are not here have no version of their own.
const VERSIONS: [(&str, &str); 2] =
    [("sdk/js/package.json", "\"version\": \"{}\""), ("sdk/python/pyproject.toml", "version = \"{}\"")];

/// Copies the SDK in a folder below `sdk` into a new folder.
pub(super) fn stage(sdk: &str) -> Result<TempDir> {
    let to = tempfile::Builder::new().prefix("heddle-sdk-").tempdir().context("no folder for work")?;
    let below = format!("sdk/{sdk}");
    for file in files(&below)? {
        let source = root().join(&below).join(&file);
        let target = to.path().join(&file);
        let copy = || -> std::io::Result<()> {
            fs::create_dir_all(target.parent().unwrap_or(to.path()))?;
            fs::copy(&source, &target).map(drop)
        };
        copy().with_context(|| format!("failed to copy `{}`", source.display()))?;
    }
    ensure!(to.path().join("LICENSE").is_file(), "`{below}` has no LICENSE");
    Ok(to)
}

/// The files of a folder, below it. New ones count before they are committed; what git ignores does not.
fn files(folder: &str) -> Result<Vec<PathBuf>> {
    let known = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"];
    let text = output(command("git").args(known).arg(folder))?;
    let paths = text.split('\0').filter_map(|path| Path::new(path).strip_prefix(folder).ok());
    // One that was removed is known until the next commit.
    let is_there = |path: &&Path| root().join(folder).join(path).is_file();
    let is_packed = |path: &&Path| !path.starts_with("tests");
    Ok(paths.filter(is_there).filter(is_packed).map(Path::to_owned).collect())
}

/// Fails unless all SDKs are of one version.
pub(super) fn check_versions(version: &str) -> Result<()> {
    for (file, line) in VERSIONS {
        let text =
            fs::read_to_string(root().join(file)).with_context(|| format!("failed to read `{file}`"))?;
        let line = line.replace("{}", version);
        ensure!(text.contains(&line), "`{file}` is not of version {version}: it must say `{line}`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sdk_is_of_the_version_of_the_workspace() {
        check_versions(env!("CARGO_PKG_VERSION")).unwrap();
    }

    /// Where SDKs hold the contract: as a link, or as a file of its own where the packer accepts no link that leads out of the folder.
    const CONTRACTS: [(&str, &str); 3] =
        [("rust", "wit/heddle.wit"), ("js", "wit/heddle.wit"), ("python", "heddle/wit/heddle.wit")];

    #[test]
    fn every_sdk_is_staged_with_the_licence_of_the_repository_and_without_tests() {
        let license = fs::read(root().join("LICENSE")).unwrap();
        for sdk in ["c", "go", "js", "python", "rust"] {
            let folder = stage(sdk).unwrap();
            let staged = fs::read(folder.path().join("LICENSE")).unwrap();
            assert!(staged == license, "copy `LICENSE` to `sdk/{sdk}`");
            assert!(!folder.path().join("tests").exists(), "{sdk}");
        }
    }

    #[test]
    fn every_sdk_that_needs_the_contract_is_staged_with_it() {
        let contract = fs::read(root().join("wit/heddle.wit")).unwrap();
        for (sdk, file) in CONTRACTS {
            let folder = stage(sdk).unwrap();
            let staged = folder.path().join(file);
            assert!(!staged.is_symlink(), "{sdk}");
            assert!(fs::read(staged).unwrap() == contract, "copy `wit/heddle.wit` to `sdk/{sdk}/{file}`");
        }
    }
}
