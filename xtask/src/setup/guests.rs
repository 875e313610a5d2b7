//! The guests: our plugins and the guests of the tests. Every package in the two folders is one; there is no
//! list.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::shell::{cargo, root, run};

/// Where guests live, a package in each folder below.
const FOLDERS: [&str; 2] = ["plugins", "tests/guests"];

/// The profile of the workspace that guests are built with; also the name of the folder they are put in.
const PROFILE: &str = "plugin";

/// Builds every guest as a component.
pub(super) fn build_all(target: &str) -> Result<()> {
    let packages = packages(root())?;
    ensure!(!packages.is_empty(), "there is no package below {}", FOLDERS.join(" or "));
    build(target, packages.values())
}

/// Builds the guests in the folders of these names as components.
pub(super) fn build_some(target: &str, guests: &[&str]) -> Result<()> {
    let packages = packages(root())?;
    let named = guests.iter().map(|guest| {
        packages
            .get(*guest)
            .with_context(|| format!("there is no guest `{guest}` below {}", FOLDERS.join(" or ")))
    });
    build(target, named.collect::<Result<Vec<_>>>()?)
}

/// Builds packages. All guests use the same features of what they share, so it does not matter which are built together.
fn build<'a>(target: &str, packages: impl IntoIterator<Item = &'a String>) -> Result<()> {
    let mut cargo = cargo(&["build", "--profile", PROFILE, "--target", target]);
    for package in packages {
        cargo.args(["--package", package]);
    }
    run(&mut cargo).context("failed to build the guests")
}

/// The names of all packages in the folders of guests, by the name of the folder.
fn packages(root: &Path) -> Result<BTreeMap<String, String>> {
    let mut packages = BTreeMap::new();
    for folder in FOLDERS.map(|folder| root.join(folder)) {
        if !folder.is_dir() {
            continue;
        }
        let entries =
            fs::read_dir(&folder).with_context(|| format!("failed to list `{}`", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("failed to list `{}`", folder.display()))?;
            let manifest = entry.path().join("Cargo.toml");
            if !manifest.is_file() {
                continue; // A guest in another language; its folder says how it is built.
            }
            let text = fs::read_to_string(&manifest)
                .with_context(|| format!("failed to read `{}`", manifest.display()))?;
            let name =
                package_name(&text).with_context(|| format!("`{}` names no package", manifest.display()))?;
            packages.insert(entry.file_name().to_string_lossy().into_owned(), name.to_owned());
        }
    }
    Ok(packages)
}

/// The name in the section `[package]`.
fn package_name(manifest: &str) -> Option<&str> {
    let section = manifest.lines().skip_while(|line| line.trim() != "[package]").skip(1);
    let mut lines = section.take_while(|line| !line.trim_start().starts_with('['));
    lines.find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "name").then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_in_the_folders_is_found_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        for (folder, name) in
            [("plugins/order", "p-order"), ("tests/guests/odd", "g-odd"), ("tests/other", "no")]
        {
            let folder = root.path().join(folder);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("Cargo.toml"), format!("[package]\nname = \"{name}\"\n")).unwrap();
        }
        fs::create_dir_all(root.path().join("plugins/python")).unwrap();
        let found = packages(root.path()).unwrap();
        let expected = [("odd", "g-odd"), ("order", "p-order")];
        assert_eq!(
            found,
            BTreeMap::from(expected.map(|(folder, name)| (folder.to_owned(), name.to_owned())))
        );
    }

    #[test]
    fn the_name_is_that_of_the_package() {
        assert_eq!(package_name("[lib]\nname = \"l\"\n[package]\nversion = \"1\"\nname= \"p\"\n"), Some("p"));
        assert_eq!(package_name("[package]\nversion = \"1\"\n[[bin]]\nname = \"b\"\n"), None);
    }
}
