//! The programs that builds need: where they are, and what to do if they are not.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

/// Where a project keeps programs of its own: those of its packages of Python, and tools that come from PyPI.
const OWN: [&str; 2] = [".venv/bin", ".heddle/venv/bin"];

/// A program by its name: of the project's own environment, or on the PATH.
pub(super) fn find(folder: &Path, program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = OWN.iter().map(|own| folder.join(own));
    let folders = own.chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// What a program answers on standard output; none if it cannot be run or fails.
pub(super) fn ask<A: AsRef<OsStr>>(program: &Path, arguments: &[A]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The numbers of a version, such as those of `go version go1.27.3 linux/amd64` or `v20.1.0`: the first that are joined by
/// dots.
pub(super) fn version(text: &str) -> Option<Vec<u32>> {
    let mut words = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    let word = words.find(|word| word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit()))?;
    word.split('.').filter(|part| !part.is_empty()).map(|part| part.parse().ok()).collect()
}

/// Fails unless a program is new enough.
pub(super) fn at_least(
    program: &Path,
    arguments: &[&str],
    oldest: &[u32],
    advice: &str,
) -> anyhow::Result<()> {
    let answer =
        ask(program, arguments).with_context(|| format!("`{}` does not run: {advice}", program.display()))?;
    let is = version(&answer)
        .with_context(|| format!("`{}` does not say its version: `{answer}`", program.display()))?;
    let wanted = oldest.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
    ensure!(
        is.as_slice() >= oldest,
        "`{}` is of version {}, but {wanted} or newer is needed: {advice}",
        program.display(),
        is.iter().map(u32::to_string).collect::<Vec<_>>().join("."),
    );
    Ok(())
}

/// Runs a step of a build. What it prints goes to standard error.
pub(super) fn run(what: &str, command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("failed to run `{program}`"))?;
    if !status.success() {
        bail!("{what} failed: `{program}` ended with {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_whatever_a_program_answers() {
        assert_eq!(version("go version go1.27.3 linux/amd64"), Some(vec![1, 27, 3]));
        assert_eq!(version("v20.20.2\n"), Some(vec![20, 20, 2]));
        assert_eq!(version("Python 3.11.7"), Some(vec![3, 11, 7]));
        assert_eq!(version("0.17.1"), Some(vec![0, 17, 1]));
        assert_eq!(version("none"), None);
    }

    #[test]
    fn what_is_too_old_is_named_with_what_is_needed() {
        let shell = find(Path::new("."), "sh").unwrap();
        let error = at_least(&shell, &["-c", "echo v1.2.3"], &[1, 3], "install it").unwrap_err().to_string();
        assert!(error.contains("is of version 1.2.3, but 1.3 or newer is needed: install it"), "{error}");
        assert!(at_least(&shell, &["-c", "echo v1.10.0"], &[1, 3], "install it").is_ok());
    }
}
