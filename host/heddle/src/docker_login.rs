//! Logins of registries: those that `docker login` and `podman login` have kept for this user.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use docker_credential::{CredentialRetrievalError as Fault, DockerCredential, get_credential_from_reader};

use heddle_source::oci::{Login, Reference, Registry};

/// What docker and podman call docker's own registry in their files.
const DOCKER_HUB: [&str; 2] = ["https://index.docker.io/v1/", "docker.io"];

/// What a program that keeps logins says when it has none for a registry.
const NOT_KEPT: &str = "credentials not found";

/// All registries, asked as docker or podman would ask them: with the login in the first file that has one, or that of a
/// program which the file names, or without one. Those in `insecure` are asked without TLS.
pub(super) fn registry(insecure: &BTreeSet<String>) -> Registry {
    let files = files(variable);
    Registry::new(insecure, move |component| login_of(&files, component))
}

#[expect(clippy::disallowed_methods, reason = "where the files are stands in the environment")]
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The files that may have logins, in the order in which they are read: the one that was named, docker's, podman's.
fn files(variable: impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    let home = variable("HOME");
    let below = |folder: &str| home.as_ref().map(|home| home.join(folder));
    let docker = variable("DOCKER_CONFIG").or_else(|| below(".docker"));
    let config = variable("XDG_CONFIG_HOME").or_else(|| below(".config"));
    let podman = [variable("XDG_RUNTIME_DIR"), config].into_iter().flatten();
    let files = [variable("REGISTRY_AUTH_FILE"), docker.map(|folder| folder.join("config.json"))];
    files.into_iter().flatten().chain(podman.map(|folder| folder.join("containers/auth.json"))).collect()
}

fn login_of(files: &[PathBuf], component: &Reference) -> Result<Login, String> {
    for file in files {
        if let Some(login) = login_in(file, component)? {
            return Ok(login);
        }
    }
    Ok(Login::Anonymous)
}

/// The login that a file has for a component. None: it has none, or there is no such file.
fn login_in(file: &Path, component: &Reference) -> Result<Option<Login>, String> {
    let text = match std::fs::read(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| format!("`{}` cannot be read: {error}", file.display()))?,
    };
    for name in names(&text, component) {
        let found = login(get_credential_from_reader(&text[..], &name));
        if let Some(login) = found.map_err(|fault| format!("`{}`: {fault}", file.display()))? {
            return Ok(Some(login));
        }
    }
    Ok(None)
}

/// The names under which a file may have the login: podman also keeps one for a part of a registry, and the longest name
/// counts.
fn names(file: &[u8], component: &Reference) -> Vec<String> {
    let registry = component.registry();
    let repository = format!("{registry}/{}", component.repository());
    let document: serde_json::Value = serde_json::from_slice(file).unwrap_or_default();
    let kept = document.get("auths").and_then(|auths| auths.as_object());
    let is_part = |name: &&String| {
        let rest = repository.strip_prefix(name.as_str());
        name.len() > registry.len() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let mut names: Vec<String> =
        kept.into_iter().flat_map(|kept| kept.keys()).filter(is_part).cloned().collect();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    match registry {
        "docker.io" | "index.docker.io" => names.extend(DOCKER_HUB.map(str::to_owned)),
        _ => names.push(registry.to_owned()),
    }
    names
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

    fn login_for(files: &[PathBuf], component: &str) -> Result<Login, String> {
        login_of(files, &component.parse().unwrap())
    }

    fn is_me(login: Result<Login, String>) -> bool {
        matches!(login, Ok(Login::Password { user, password }) if user == "me" && password == "secret")
    }

    #[test]
    fn the_login_of_a_registry_stands_in_dockers_file_and_without_one_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let files = [folder.path().join("config.json")];
        assert!(matches!(login_for(&files, "ghcr.io/a/b"), Ok(Login::Anonymous)));
        let auths = format!(
            r#"{{"auths": {{"ghcr.io": {{"auth": "{AUTH}"}}, "https://index.docker.io/v1/": {{"auth": "{AUTH}"}}}}}}"#
        );
        std::fs::write(&files[0], auths).unwrap();
        assert!(is_me(login_for(&files, "ghcr.io/a/b")) && is_me(login_for(&files, "docker.io/a/b")));
        assert!(matches!(login_for(&files, "other.example/a/b"), Ok(Login::Anonymous)));
        std::fs::write(&files[0], "not JSON").unwrap();
        let fault = login_for(&files, "ghcr.io/a/b").err().unwrap();
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
        assert!(is_me(login_for(&found, "docker.io/a/b")));
        let other = r#"{"auths": {"docker.io": {"identitytoken": "x"}}}"#;
        std::fs::write(&expected[0], other).unwrap();
        assert!(
            matches!(login_for(&found, "docker.io/a/b"), Ok(Login::IdentityToken(token)) if token == "x")
        );
    }

    #[test]
    fn the_login_for_the_longest_part_of_a_registry_counts() {
        let folder = tempfile::tempdir().unwrap();
        let files = [folder.path().join("auth.json")];
        let token = |token: &str| format!(r#"{{"identitytoken": "{token}"}}"#);
        let auths = format!(
            r#"{{"auths": {{"quay.io": {}, "quay.io/team": {}, "quay.io/team/a": {}}}}}"#,
            token("all"),
            token("team"),
            token("a")
        );
        std::fs::write(&files[0], auths).unwrap();
        for (component, expected) in [
            ("quay.io/team/a:1", "a"),
            ("quay.io/team/ab", "team"),
            ("quay.io/team/a/b", "a"),
            ("quay.io/teams/a", "all"),
        ] {
            let login = login_for(&files, component);
            assert!(matches!(login, Ok(Login::IdentityToken(token)) if token == expected), "{component}");
        }
    }

    #[test]
    fn an_identity_token_as_azure_leaves_it_is_understood() {
        let folder = tempfile::tempdir().unwrap();
        let files = [folder.path().join("config.json")];
        let auths = r#"{"auths": {"x.azurecr.io": {"auth": "MDAwMDAwMDA6", "identitytoken": "ey.J0"}}}"#;
        std::fs::write(&files[0], auths).unwrap();
        let login = login_for(&files, "x.azurecr.io/a/b");
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
