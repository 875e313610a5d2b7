//! Who a connection is: the login, read again for each connection, so that what was rotated is used from then on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_nats::Auth;
use nkeys::KeyPair;

use super::Error;
use super::rotation::Rotation;
use heddle_values::secret::{Given, Secret};
use heddle_values::servers;
use heddle_values::settings::NatsSettings;

/// How one logs in.
#[derive(Debug, Clone)]
pub(super) struct Login {
    way: Arc<Way>,
    /// Knows the server that is being connected to, and the login that its URL holds.
    rotation: Arc<Rotation>,
}

#[derive(Debug)]
enum Way {
    Nobody,
    User(Given, Given),
    Token(Given),
    Creds(PathBuf),
    Nkey(PathBuf),
}

impl Login {
    pub(super) fn new(settings: &NatsSettings, rotation: Arc<Rotation>) -> Self {
        let NatsSettings { user, token, creds, nkey, .. } = settings.clone();
        let way = match (user, token, creds, nkey) {
            (Some((user, password)), ..) => Way::User(user, password),
            (_, Some(token), ..) => Way::Token(token),
            (_, _, Some(path), _) => Way::Creds(path),
            (_, _, _, Some(path)) => Way::Nkey(path),
            _ => Way::Nobody,
        };
        Login { way: Arc::new(way), rotation }
    }

    /// What the server is answered. It wants `nonce` signed by whoever has a key.
    pub(super) async fn answer(&self, nonce: &[u8]) -> Result<Auth, Error> {
        let mut auth = Auth::new();
        match (self.rotation.login(), &*self.way) {
            (Some(servers::Login::User { name, password }), _) => {
                auth.username = Some(name);
                auth.password = Some(password.reveal().to_owned());
            }
            (Some(servers::Login::Token(token)), _) => auth.token = Some(token.reveal().to_owned()),
            (None, Way::Nobody) => {}
            (None, Way::User(user, password)) => {
                auth.username = Some(text(user).await?.reveal().to_owned());
                auth.password = Some(text(password).await?.reveal().to_owned());
            }
            (None, Way::Token(token)) => auth.token = Some(text(token).await?.reveal().to_owned()),
            (None, Way::Creds(path)) => {
                let file = read(path).await?;
                let [jwt, seed] =
                    blocks(file.reveal()).ok_or_else(|| faulty(path, "holds no JWT and seed"))?;
                auth.signature = Some(sign(path, seed, nonce)?.1);
                auth.jwt = Some(jwt.to_owned());
            }
            (None, Way::Nkey(path)) => {
                let seed = read(path).await?;
                let (key, signature) = sign(path, seed.reveal().trim(), nonce)?;
                auth.nkey = Some(key);
                auth.signature = Some(signature);
            }
        }
        Ok(auth)
    }
}

async fn text(given: &Given) -> Result<Secret, Error> {
    match given {
        Given::Text(text) => Ok(text.clone()),
        Given::Env { value: Some(value), .. } => Ok(value.clone()),
        Given::Env { name, value: None } => Err(Error::Credentials {
            path: name.clone(),
            cause: "environment variable is not set".to_owned(),
        }),
        Given::File(path) => Ok(Secret::new(read(path).await?.reveal().trim_end_matches(['\r', '\n']))),
    }
}

async fn read(path: &Path) -> Result<Secret, Error> {
    let text = tokio::fs::read_to_string(path).await;
    text.map(Secret::new).map_err(|error| faulty(path, &error.to_string()))
}

fn faulty(path: &Path, cause: &str) -> Error {
    Error::Credentials { path: path.display().to_string(), cause: cause.to_owned() }
}

/// The public key and the signature. What the seed is wrong in is not said: it would be quoted.
fn sign(path: &Path, seed: &str, nonce: &[u8]) -> Result<(String, Vec<u8>), Error> {
    let key = KeyPair::from_seed(seed).map_err(|_| faulty(path, "holds no seed of an nkey"))?;
    let signature = key.sign(nonce).map_err(|_| faulty(path, "its key cannot sign: it is a public one"))?;
    Ok((key.public_key(), signature))
}

/// The texts of the first two blocks between lines of dashes: the JWT and the seed of a creds file.
fn blocks(file: &str) -> Option<[&str; 2]> {
    let mut lines = file.lines().map(str::trim);
    let mut next = || {
        lines.by_ref().find(|line| line.starts_with("---"))?;
        let text = lines.by_ref().find(|line| !line.is_empty())?;
        lines.by_ref().find(|line| line.starts_with("---"))?;
        (!text.starts_with("---")).then_some(text)
    };
    Some([next()?, next()?])
}

#[cfg(test)]
mod tests {
    use super::blocks;

    #[test]
    fn a_creds_file_gives_its_jwt_and_its_seed() {
        let file = "-----BEGIN NATS USER JWT-----\neyJ0.eyJq.x_-\n------END NATS USER JWT------\n\n*** IMPORTANT ***\nkeep it\n\n-----BEGIN USER NKEY SEED-----\r\nSUAI\r\n------END USER NKEY SEED------\n";
        assert_eq!(blocks(file), Some(["eyJ0.eyJq.x_-", "SUAI"]));
        assert_eq!(blocks("SUAI"), None);
        assert_eq!(blocks("-----BEGIN-----\neyJ0\n-----END-----\n"), None);
    }
}
