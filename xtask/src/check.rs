//! What can be said of the code without running it: tidiness, format, lints, docs. All are run, whatever
//! fails.

use anyhow::{Result, bail};

use crate::shell::{cargo, root, run as run_command, step};
use crate::tidy;

type Check = fn() -> Result<()>;

/// Runs all checks.
pub(crate) fn run() -> Result<()> {
    // The release profile throughout: build scripts and macros are then those of the tests and are built
    // once.
    let checks: [(&str, Check); 4] = [
        ("tidy", || tidy::check(root())),
        ("format", || run_command(&mut cargo(&["fmt", "--all", "--check"]))),
        ("lints", || {
            let clippy = ["clippy", "--workspace", "--all-targets", "--release", "--", "-D", "warnings"];
            run_command(&mut cargo(&clippy))
        }),
        ("docs", || {
            let doc = ["doc", "--workspace", "--no-deps", "--release"];
            run_command(cargo(&doc).env("RUSTDOCFLAGS", "-D warnings"))
        }),
    ];
    let mut failed = Vec::new();
    for (name, check) in checks {
        step(name);
        if let Err(error) = check() {
            eprintln!("{error:#}");
            failed.push(name);
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("failed: {}", failed.join(", "))
}
