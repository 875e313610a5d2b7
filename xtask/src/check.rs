//! What can be said of the code without running it: tidiness, format, lints, docs. All are run, whatever
//! fails.

use anyhow::{Result, bail};

use crate::shell::{Profile, cargo, root, run as run_command, step};
use crate::tidy;

type Check = fn() -> Result<()>;

/// That of the tests: build scripts and macros are built once.
const PROFILE: Profile = Profile::Quick;

/// Runs all checks.
pub(crate) fn run() -> Result<()> {
    let checks: [(&str, Check); 4] = [
        ("tidy", || tidy::check(root())),
        ("format", || run_command(&mut cargo(&["fmt", "--all", "--check"]))),
        ("lints", || {
            let lints = ["--workspace", "--all-targets", "--", "-D", "warnings"];
            run_command(cargo(&["clippy", "--profile", PROFILE.name()]).args(lints))
        }),
        ("docs", || {
            let doc = ["doc", "--workspace", "--no-deps", "--profile", PROFILE.name()];
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
