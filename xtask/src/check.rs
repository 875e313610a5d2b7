//! What can be said of the code without running it: tidiness, format, workflows, dependencies, the book, lints, docs. All are
//! run, whatever fails.

use anyhow::{Result, bail};

use crate::shell::{Profile, cargo, root, run as run_command, step};
use crate::{book, dependencies, tidy, workflows};

type Check = fn() -> Result<()>;

/// That of the tests: build scripts and macros are built once.
const PROFILE: Profile = Profile::Quick;

/// Runs all checks, or those that are named.
pub(crate) fn run(only: &[String]) -> Result<()> {
    let checks: [(&str, Check); 7] = [
        ("tidy", || tidy::check(root())),
        ("format", || run_command(&mut cargo(&["fmt", "--all", "--check"]))),
        ("workflows", workflows::check),
        ("dependencies", dependencies::check),
        ("book", book::check),
        ("lints", || {
            let lints = ["--workspace", "--all-targets", "--", "-D", "warnings"];
            run_command(cargo(&["clippy", "--profile", PROFILE.name()]).args(lints))
        }),
        ("docs", || {
            let doc = ["doc", "--workspace", "--no-deps", "--profile", PROFILE.name()];
            run_command(cargo(&doc).env("RUSTDOCFLAGS", "-D warnings"))
        }),
    ];
    let is_known = |name: &String| checks.iter().any(|(known, _)| known == name);
    if let Some(unknown) = only.iter().find(|name| !is_known(name)) {
        bail!("there is no check `{unknown}`: known are {}", checks.map(|(name, _)| name).join(", "));
    }
    let mut failed = Vec::new();
    for (name, check) in
        checks.into_iter().filter(|(name, _)| only.is_empty() || only.iter().any(|only| only == name))
    {
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
