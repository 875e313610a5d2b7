//! Logins of registries: those that `docker login` and `podman login` have kept for this user.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use docker_credential::{CredentialRetrievalError as Fault, DockerCredential, get_credential_from_reader};

use crate::source::oci::{Login, Registry};

/// What docker and podman call docker's own registry in their files.
const DOCKER_HUB: [&str; 2] = ["https://index.docker.io/v1/", "docker.io"];

/// What a program that keeps logins says when it has none for a registry.
const NOT_KEPT: &str = "credentials not found";

/// All registries, asked as docker or podman would ask them: with the login in the first file that has one, or that of a
/// program which the file names, or without one. Those in `insecure` are asked without TLS.
pub fn registry(insecure: &BTreeSet<String>) -> Registry {
    let files = files(variable);
    Registry::new(insecure, move |registry| login_of(&files, registry))
}

#[expect(clippy::disallowed_methods, reason = "where the files are stands in the environment")]
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The files that may have logins, in the order in which they are looked at: the one that was named, docker's, podman's.
fn files(variable: impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    let home = variable("HOME");
    let below = |folder: &str| home.as_ref().map(|home| home.join(folder));
    let docker = variable("DOCKER_CONFIG").or_else(|| below(".docker"));
    let config = variable("XDG_CONFIG_HOME").or_else(|| below(".config"));
    let podman = [variable("XDG_RUNTIME_DIR"), config].into_iter().flatten();
    let files = [variable("REGISTRY_AUTH_FILE"), docker.map(|folder| folder.join("config.json"))];
    files.into_iter().flatten().chain(podman.map(|folder| folder.join("containers/auth.json"))).collect()
}

fn login_of(files: &[PathBuf], registry: &str) -> Result<Login, String> {
    let hub = matches!(registry, "docker.io" | "index.docker.io");
    let names: &[&str] = if hub { &DOCKER_HUB } else { &[registry] };
    for file in files {
        for name in names {
            if let Some(login) = login_in(file, name)? {
                return Ok(login);
            }
        }
    }
    Ok(Login::Anonymous)
}

/// The login that a file has under a name. None: it has none, or there is no such file.
fn login_in(file: &Path, name: &str) -> Result<Option<Login>, String> {
    let opened = match File::open(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|error| format!("`{}` cannot be read: {error}", file.display()))?,
    };
    login(get_credential_from_reader(opened, name)).map_err(|fault| format!("`{}`: {fault}", file.display()))
}

fn login(found: Result<DockerCredential, Fault>) -> Result<Option<Login>, String> {
    match found {
        Ok(DockerCredential::UsernamePassword(user, password)) => {
            Ok(Some(Login::Password { user, password }))
        }
        Ok(DockerCredential::IdentityToken(token)) => Ok(Some(Login::IdentityToken(token))),
        Err(Fault::NoCredentialConfigured) => Ok(None),
        Err(Fault::HelperFailure { stdout, .. }) if stdout.contains(NOT_KEPT) => Ok(None),
        // What a program has written to standard output may be the password.
        Err(Fault::HelperFailure { helper, stderr, .. }) => {
            Err(format!("`{helper}` fails: {}", stderr.trim()))
        }
        Err(fault) => Err(fault.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `me:secret`, as docker writes it.
    const AUTH: &str = "bWU6c2VjcmV0";

    fn is_me(login: Result<Login, String>) -> bool {
        matches!(login, Ok(Login::Password { user, password }) if user == "me" && password == "secret")
    }

    #[test]
    fn the_login_of_a_registry_stands_in_dockers_file_and_without_one_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let files = [folder.path().join("config.json")];
        assert!(matches!(login_of(&files, "ghcr.io"), Ok(Login::Anonymous)));
        let auths = format!(
            r#"{{"auths": {{"ghcr.io": {{"auth": "{AUTH}"}}, "https://index.docker.io/v1/": {{"auth": "{AUTH}"}}}}}}"#
        );
        std::fs::write(&files[0], auths).unwrap();
        assert!(is_me(login_of(&files, "ghcr.io")) && is_me(login_of(&files, "docker.io")));
        assert!(matches!(login_of(&files, "other.example"), Ok(Login::Anonymous)));
        std::fs::write(&files[0], "not JSON").unwrap();
        let fault = login_of(&files, "ghcr.io").err().unwrap();
        assert!(fault.contains("config.json`: Unable to read"), "{fault}");
    }

    #[test]
    fn podmans_files_are_read_too_and_the_one_that_was_named_first() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let found = files(|name| match name {
            "REGISTRY_AUTH_FILE" => Some(at("named.json")),
            "XDG_RUNTIME_DIR" => Some(at("run")),
            "HOME" => Some(at("home")),
            _ => None,
        });
        let expected = [
            at("named.json"),
            at("home/.docker/config.json"),
            at("run/containers/auth.json"),
            at("home/.config/containers/auth.json"),
        ];
        assert_eq!(found, expected);
        std::fs::create_dir_all(at("run/containers")).unwrap();
        std::fs::write(&expected[2], format!(r#"{{"auths": {{"docker.io": {{"auth": "{AUTH}"}}}}}}"#))
            .unwrap();
        assert!(is_me(login_of(&found, "docker.io")));
        let other = r#"{"auths": {"docker.io": {"identitytoken": "x"}}}"#;
        std::fs::write(&expected[0], other).unwrap();
        assert!(matches!(login_of(&found, "docker.io"), Ok(Login::IdentityToken(token)) if token == "x"));
    }

    #[test]
    fn an_identity_token_as_azure_leaves_it_is_understood() {
        let folder = tempfile::tempdir().unwrap();
        let files = [folder.path().join("config.json")];
        let auths = r#"{"auths": {"x.azurecr.io": {"auth": "MDAwMDAwMDA6", "identitytoken": "ey.J0"}}}"#;
        std::fs::write(&files[0], auths).unwrap();
        let login = login_of(&files, "x.azurecr.io");
        assert!(matches!(login, Ok(Login::IdentityToken(token)) if token == "ey.J0"));
    }

    #[test]
    fn a_program_that_fails_says_why_without_telling_the_secret_and_one_that_keeps_nothing_is_passed_over() {
        let failure = |stdout: &str| {
            let (helper, stderr) = ("docker-credential-x".to_owned(), "locked\n".to_owned());
            Err(Fault::HelperFailure { helper, stdout: stdout.to_owned(), stderr })
        };
        let fault = login(failure("secret")).err();
        assert_eq!(fault.as_deref(), Some("`docker-credential-x` fails: locked"));
        assert!(matches!(login(failure("credentials not found in native keychain\n")), Ok(None)));
    }
}
