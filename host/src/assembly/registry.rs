//! Logins of registries: those that `docker login` has kept for this user.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use docker_credential::{CredentialRetrievalError as Fault, DockerCredential, get_credential_from_reader};

use crate::source::oci::{Login, Registry};

/// What docker calls its own registry in its file.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// All registries, asked as docker would ask them: with the login in docker's file, or that of a program which the file
/// names, or without one.
pub fn registry() -> Registry {
    let file = docker_file();
    Registry::new(move |registry| {
        file.as_deref().map_or(Ok(Login::Anonymous), |file| login_in(file, registry))
    })
}

#[expect(clippy::disallowed_methods, reason = "where docker's file is stands in the environment")]
fn docker_file() -> Option<PathBuf> {
    let set = |name| std::env::var(name).ok().filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let folder = set("DOCKER_CONFIG").or_else(|| set("HOME").map(|home| home.join(".docker")))?;
    Some(folder.join("config.json"))
}

fn login_in(file: &Path, registry: &str) -> Result<Login, String> {
    let opened = match File::open(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Login::Anonymous),
        opened => opened.map_err(|error| format!("`{}` cannot be read: {error}", file.display()))?,
    };
    let hub = matches!(registry, "docker.io" | "index.docker.io");
    login(get_credential_from_reader(opened, if hub { DOCKER_HUB } else { registry }))
}

fn login(found: Result<DockerCredential, Fault>) -> Result<Login, String> {
    match found {
        Ok(DockerCredential::UsernamePassword(user, password)) => Ok(Login::Password { user, password }),
        Ok(DockerCredential::IdentityToken(_)) => {
            Err("docker's file has an identity token, which is not understood: log in with user and password"
                .to_owned())
        }
        Err(Fault::NoCredentialConfigured) => Ok(Login::Anonymous),
        // What a program has written to standard output may be the password.
        Err(Fault::HelperFailure { helper, stderr, .. }) => {
            Err(format!("`{helper}` fails: {}", stderr.trim()))
        }
        Err(fault) => Err(format!("docker's file: {fault}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_of_a_registry_stands_in_dockers_file_and_without_one_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        assert!(matches!(login_in(&file, "ghcr.io"), Ok(Login::Anonymous)));
        // `me:secret`, as docker writes it.
        let auths = r#"{"auths": {"ghcr.io": {"auth": "bWU6c2VjcmV0"},
            "https://index.docker.io/v1/": {"auth": "bWU6c2VjcmV0"}}}"#;
        std::fs::write(&file, auths).unwrap();
        for registry in ["ghcr.io", "docker.io"] {
            let Ok(Login::Password { user, password }) = login_in(&file, registry) else {
                panic!("no login of {registry}");
            };
            assert_eq!((user.as_str(), password.as_str()), ("me", "secret"));
        }
        assert!(matches!(login_in(&file, "other.example"), Ok(Login::Anonymous)));
        std::fs::write(&file, "not JSON").unwrap();
        assert!(login_in(&file, "ghcr.io").is_err_and(|cause| cause.contains("Unable to read")));
    }

    #[test]
    fn what_cannot_be_used_says_why_without_telling_the_secret() {
        let token = Ok(DockerCredential::IdentityToken("secret".to_owned()));
        assert!(login(token).err().is_some_and(|cause| cause.contains("identity token")));
        let failure = Fault::HelperFailure {
            helper: "docker-credential-x".to_owned(),
            stdout: "secret".to_owned(),
            stderr: "locked\n".to_owned(),
        };
        assert_eq!(login(Err(failure)).err().as_deref(), Some("`docker-credential-x` fails: locked"));
    }
}
