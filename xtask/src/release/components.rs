//! The crates that the program is built from: exactly those that its target and its features need, as cargo itself resolves them.
//!
//! `cargo metadata` alone would not do: it unites the features of the whole workspace and follows dependencies of tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::platform::TRIPLE;
use crate::shell::{cargo, output, root};

/// A crate's name and version.
pub(super) type Id = (String, String);

/// A crate that the program is built from.
#[derive(Debug, Clone)]
pub(super) struct Component {
    pub(super) id: Id,
    /// An expression of SPDX.
    pub(super) license: String,
    pub(super) description: String,
    /// SHA-256 of its package in the registry; a member of the workspace has none.
    pub(super) checksum: Option<String>,
    /// What it is built with, separated by commas.
    pub(super) features: String,
    /// Whether it is part of the program. Others only run while it is built.
    pub(super) is_linked: bool,
    /// The crates that it needs itself.
    pub(super) needs: BTreeSet<Id>,
    /// Where its sources are.
    pub(super) folder: PathBuf,
}

/// What cargo's tree says of a crate.
#[derive(Debug, Default, PartialEq, Eq)]
struct Node {
    features: String,
    needs: BTreeSet<Id>,
}

/// Sorted by name and version; the program itself is among them.
pub(super) fn of_the_program() -> Result<Vec<Component>> {
    let linked = tree("normal,no-proc-macro")?;
    let mut all = tree("normal,build")?;
    let checksums = checksums()?;
    let metadata =
        output(&mut cargo(&["metadata", "--locked", "--format-version=1", "--filter-platform", TRIPLE]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("`cargo metadata` wrote no JSON")?;
    let packages =
        metadata.get("packages").and_then(Value::as_array).context("`cargo metadata` names no packages")?;
    let mut components = Vec::new();
    for package in packages {
        let id = (text(package, "name")?.to_owned(), text(package, "version")?.to_owned());
        let Some(node) = all.remove(&id) else { continue };
        let linked = linked.get(&id);
        let checksum = checksums.get(&id).cloned();
        let is_member = package.get("source").is_none_or(Value::is_null);
        ensure!(is_member || checksum.is_some(), "`Cargo.lock` has no checksum of {} {}", id.0, id.1);
        let manifest = Path::new(text(package, "manifest_path")?);
        components.push(Component {
            license: text(package, "license")
                .with_context(|| format!("{} {}", id.0, id.1))?
                .replace('/', " OR "),
            description: text(package, "description").unwrap_or_default().trim().to_owned(),
            checksum,
            features: linked.unwrap_or(&node).features.clone(),
            is_linked: linked.is_some(),
            needs: node.needs,
            folder: manifest.parent().unwrap_or(manifest).to_owned(),
            id,
        });
    }
    ensure!(all.is_empty(), "`cargo metadata` does not know {:?}", all.keys());
    components.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(components)
}

/// What the program needs, by one sort of dependencies.
fn tree(edges: &str) -> Result<BTreeMap<Id, Node>> {
    let fixed = ["tree", "--locked", "-p", "heddle", "--target", TRIPLE, "--prefix", "depth"];
    read(&output(cargo(&fixed).args(["--format", "{p}\t{f}", "--edges", edges]))?)
}

/// Lines such as `2cfg-if v1.0.5 (proc-macro)\tdefault,std (*)`, each below the crate that needs it.
fn read(text: &str) -> Result<BTreeMap<Id, Node>> {
    let mut nodes = BTreeMap::<Id, Node>::new();
    let mut above = Vec::<Id>::new();
    for line in text.lines() {
        let problem = || format!("`cargo tree` writes `{line}`, which is not understood");
        let digits = line.find(|c: char| !c.is_ascii_digit()).with_context(problem)?;
        let (depth, rest) = line.split_at(digits);
        let (package, features) = rest.split_once('\t').with_context(problem)?;
        let mut words = package.split(' ');
        let name = words.next().with_context(problem)?;
        let version = words.next().and_then(|word| word.strip_prefix('v')).with_context(problem)?;
        let id = (name.to_owned(), version.to_owned());
        above.truncate(depth.parse().with_context(problem)?);
        if let Some(needing) = above.last().and_then(|id| nodes.get_mut(id)) {
            needing.needs.insert(id.clone());
        }
        let features = features.trim_end_matches("(*)").trim_end();
        nodes.entry(id.clone()).or_default().features = features.to_owned();
        above.push(id);
    }
    Ok(nodes)
}

/// The checksums in `Cargo.lock`.
fn checksums() -> Result<BTreeMap<Id, String>> {
    let text = fs::read_to_string(root().join("Cargo.lock")).context("failed to read `Cargo.lock`")?;
    let lock: toml::Table = text.parse().context("`Cargo.lock` is not TOML")?;
    let packages =
        lock.get("package").and_then(toml::Value::as_array).context("`Cargo.lock` has no packages")?;
    let checksum = |package: &toml::Value| {
        let field = |name| Some(package.get(name)?.as_str()?.to_owned());
        Some(((field("name")?, field("version")?), field("checksum")?))
    };
    Ok(packages.iter().filter_map(checksum).collect())
}

fn text<'a>(package: &'a Value, name: &str) -> Result<&'a str> {
    package.get(name).and_then(Value::as_str).with_context(|| format!("a package has no `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_crate_needs_what_stands_below_it() {
        let text = "0heddle v0.1.0 (/x)\t\n1a v1.0.0\tstd\n2b v2.0.0 (proc-macro)\tstd,x\n1b v2.0.0 (proc-macro)\tstd,x (*)\n";
        let nodes = read(text).unwrap();
        let id = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        let (a, b) = (id("a", "1.0.0"), id("b", "2.0.0"));
        assert_eq!(nodes.get(&id("heddle", "0.1.0")).unwrap().needs, BTreeSet::from([a.clone(), b.clone()]));
        assert_eq!(nodes.get(&a).unwrap().needs, BTreeSet::from([b.clone()]));
        assert_eq!(nodes.get(&b).unwrap(), &Node { features: "std,x".to_owned(), needs: BTreeSet::new() });
    }
}
