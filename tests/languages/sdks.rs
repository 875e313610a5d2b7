//! The SDKs' own tests, each run by the tools of its language.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Output};

use heddle_tests::workspace;

/// The programs of the toolchains.
pub(crate) fn toolchains() -> PathBuf {
    let folder = workspace().join("target/toolchains/python/bin");
    assert!(folder.is_dir(), "`{}` is missing: run `cargo xtask languages`", folder.display());
    folder
}

/// The PATH with the toolchains, and with `heddle`.
pub(crate) fn path() -> OsString {
    let known = std::env::var_os("PATH").unwrap_or_default();
    let ours = [heddle_tests::heddle().with_file_name(""), toolchains()];
    std::env::join_paths(ours.into_iter().chain(std::env::split_paths(&known))).unwrap()
}

/// Runs a line of a shell in a folder.
pub(crate) fn shell(folder: &std::path::Path, line: &str) -> Output {
    Command::new("sh")
        .args(["-c", line])
        .current_dir(folder)
        .env("PATH", path())
        .env("HEDDLE_CACHE", workspace().join("target/test-artifacts"))
        // Nothing is left in the source tree.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap()
}

/// The same, which must succeed; what it printed.
#[track_caller]
pub(crate) fn succeed(folder: &std::path::Path, line: &str) -> String {
    let Output { status, stdout, stderr } = shell(folder, line);
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "`{line}` in `{}`: {status}\n{stdout}\n{stderr}", folder.display());
    stdout.into_owned()
}

fn sdk(language: &str) -> PathBuf {
    workspace().join("sdk").join(language)
}

#[test]
fn the_sdk_for_javascript_keeps_its_promises() {
    succeed(&sdk("js"), "node --test tests/*.test.js");
}

#[test]
fn the_sdk_for_python_keeps_its_promises() {
    succeed(&sdk("python"), "python3 -m unittest discover -s tests -t .");
}

#[test]
fn the_sdk_for_go_keeps_its_promises() {
    succeed(
        &sdk("go"),
        "GOTOOLCHAIN=local GOFLAGS=-mod=mod GOPROXY=off go vet ./... && GOTOOLCHAIN=local GOFLAGS=-mod=mod GOPROXY=off go test ./...",
    );
}

#[test]
fn the_sdk_for_c_keeps_its_promises() {
    let out = tempfile::tempdir().unwrap();
    succeed(&sdk("c/tests"), &format!("make BUILD={}", out.path().display()));
}
