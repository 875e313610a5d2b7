//! What the manifests name: nothing that no code uses, and nothing whose licence or origin `deny.toml` does not allow. Whether
//! something has become known about a dependency (an advisory) is not asked: that needs a repository of others.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::shell::{command, run};
use crate::tools;

/// A dependency that only tests use, and that stands among those of the library.
const MISPLACED: &str = "shear/misplaced_dependency";

/// Where that is meant: a dev-dependency would give `cargo test` other features than `cargo build`, and the host would be
/// built twice.
const TESTS: &str = "tests/";

/// Has both linters read every manifest.
pub(crate) fn check() -> Result<()> {
    let (Some(shear), Some(deny)) =
        (tools::find_or_install("cargo-shear"), tools::find_or_install("cargo-deny"))
    else {
        eprintln!("skipped: the dependencies are not checked");
        return Ok(());
    };
    let said = command(shear)
        .args(["shear", "--locked", "--format=json"])
        .output()
        .context("failed to start cargo-shear")?;
    let faults = faults(&String::from_utf8_lossy(&said.stdout)).with_context(|| {
        format!("cargo-shear says nothing that can be read: {}", String::from_utf8_lossy(&said.stderr).trim())
    })?;
    let licences = run(command(deny).args([
        "--locked",
        "--workspace",
        "check",
        "--hide-inclusion-graph",
        "licenses",
        "bans",
        "sources",
    ]));
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    licences
}

/// What cargo-shear has found, but for what is meant.
fn faults(said: &str) -> Result<Vec<String>> {
    let report: Value = serde_json::from_str(said)?;
    let Some(findings) = report.get("findings").and_then(Value::as_array) else {
        bail!("it has no findings")
    };
    let text =
        |finding: &Value, key: &str| finding.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_meant =
        |finding: &&Value| text(finding, "code") == MISPLACED && text(finding, "file").starts_with(TESTS);
    let line = |finding: &Value| {
        format!("{}: {}; {}", text(finding, "file"), text(finding, "message"), text(finding, "help"))
    };
    Ok(findings.iter().filter(|finding| !is_meant(finding)).map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unused_is_a_fault_and_what_tests_share_with_the_library_is_none() {
        let finding = |code: &str, file: &str| {
            format!(
                r#"{{"code": "shear/{code}", "file": "{file}", "message": "{code} `x`", "help": "remove it"}}"#
            )
        };
        let meant = finding("misplaced_dependency", "tests/bench/Cargo.toml");
        let said = |rest: &str| format!(r#"{{"summary": {{"errors": 2}}, "findings": [{meant}{rest}]}}"#);
        assert_eq!(faults(&said("")).unwrap(), [""; 0]);
        let unused = finding("unused_dependency", "tests/Cargo.toml");
        let misplaced = finding("misplaced_dependency", "host/flow/Cargo.toml");
        let expected = [
            "tests/Cargo.toml: unused_dependency `x`; remove it",
            "host/flow/Cargo.toml: misplaced_dependency `x`; remove it",
        ];
        assert_eq!(faults(&said(&format!(", {unused}, {misplaced}"))).unwrap(), expected);
        assert!(faults("{}").is_err() && faults("no JSON").is_err());
    }
}
