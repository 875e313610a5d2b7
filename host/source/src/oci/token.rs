//! Logging in: what a registry asks for, and what it is given.
//!
//! Sources: RFC 9110, "WWW-Authenticate"; CNCF Distribution, "Token Authentication Specification" and "OAuth2 Token
//! Authentication".

use std::collections::BTreeMap;

use http::header::{HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;

use super::answer::{self, Refusal};
use super::network::Network;
use super::{Error, Login, Reference};

/// How Heddle calls itself where tokens are given out.
const CLIENT: &str = "heddle";

/// What a registry wants before it answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A name and a password.
    Basic,
    /// A token, which is given out elsewhere.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// What is sent along from now on.
pub(super) enum Pass {
    Password { user: String, password: String },
    Token(String),
}

#[derive(Deserialize)]
struct Granted {
    token: Option<String>,
    access_token: Option<String>,
}

impl Granted {
    /// The token under either name.
    fn token(self) -> Option<String> {
        [self.token, self.access_token].into_iter().flatten().find(|token| !token.is_empty())
    }
}

impl Challenge {
    /// What an answer asks for. A token goes before a password.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let texts = headers.get_all(WWW_AUTHENTICATE).into_iter().filter_map(|text| text.to_str().ok());
        let asked: Vec<_> = texts.flat_map(challenges).collect();
        let bearer = asked.iter().find_map(|(scheme, given)| {
            let realm = given.get("realm").filter(|_| scheme.eq_ignore_ascii_case("bearer"))?.clone();
            let (service, scope) = (given.get("service").cloned(), given.get("scope").cloned());
            Some(Challenge::Bearer { realm, service, scope })
        });
        let basic = asked.iter().any(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
        bearer.or_else(|| basic.then_some(Challenge::Basic))
    }

    /// What answers it. None: without a login there is nothing to answer with.
    pub(super) async fn answer(
        self,
        client: &Client,
        network: &Network,
        reference: &Reference,
        login: &Login,
    ) -> Result<Option<Pass>, Error> {
        let failed = |cause: String| Error::Login { registry: reference.registry().to_owned(), cause };
        let (realm, service, scope) = match (self, login) {
            (Challenge::Bearer { realm, service, scope }, _) => (realm, service, scope),
            (Challenge::Basic, Login::Password { user, password }) => {
                return Ok(Some(Pass::Password { user: user.clone(), password: password.clone() }));
            }
            (Challenge::Basic, Login::Anonymous) => return Ok(None),
            (Challenge::Basic, Login::IdentityToken(_)) => {
                return Err(failed(
                    "it asks for a name and a password, and the login is an identity token".to_owned(),
                ));
            }
        };
        let realm: Url =
            realm.parse().map_err(|_| failed("it names no address to get a token from".to_owned()))?;
        network.check(reference, &realm)?;
        let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", reference.repository()));
        let asked = [("service", service), ("scope", Some(scope))];
        let asked: Vec<_> = asked.into_iter().filter_map(|(name, text)| Some((name, text?))).collect();
        let response = request(client, realm, &asked, login).send().await;
        let response = response.map_err(|error| answer::broken(reference, error))?;
        let token = granted(reference, response).await?;
        token.map(|token| Some(Pass::Token(token))).ok_or_else(|| failed("it gives out no token".to_owned()))
    }
}

impl Pass {
    pub(super) fn put_on(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Pass::Password { user, password } => request.basic_auth(user, Some(password)),
            Pass::Token(token) => request.bearer_auth(token),
        }
    }
}

/// Asks for a token: by name and password, with a refresh token, or anonymously.
fn request(client: &Client, mut realm: Url, asked: &[(&str, String)], login: &Login) -> RequestBuilder {
    if let Login::IdentityToken(token) = login {
        let grant = [("grant_type", "refresh_token"), ("client_id", CLIENT), ("refresh_token", token)];
        let asked = asked.iter().map(|(name, text)| (*name, text.as_str()));
        let form: Vec<_> = grant.into_iter().chain(asked).collect();
        return client.post(realm).form(&form);
    }
    realm.query_pairs_mut().extend_pairs(asked);
    match login {
        Login::Password { user, password } => client.get(realm).basic_auth(user, Some(password)),
        Login::Anonymous | Login::IdentityToken(_) => client.get(realm),
    }
}

/// The token that was given out. None: there is none in the answer.
async fn granted(reference: &Reference, response: Response) -> Result<Option<String>, Error> {
    if !response.status().is_success() {
        let refusal = Refusal::read(response).await;
        let (cause, registry) =
            (format!("no token is given out: {refusal}"), reference.registry().to_owned());
        let wrong = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::BAD_REQUEST];
        return Err(match wrong.contains(&refusal.status) {
            true => Error::Refused { reference: reference.to_string(), cause },
            false => Error::Login { registry, cause },
        });
    }
    let bytes = answer::read(reference, "token", response).await?;
    // What cannot be read is not shown: it may be a token.
    Ok(serde_json::from_slice(&bytes).ok().and_then(Granted::token))
}

/// The challenges in a header: a scheme, and what goes with it.
fn challenges(text: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut found: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if rest.is_empty() {
            return found;
        }
        match after.strip_prefix('=') {
            None => {
                found.push((word.to_owned(), BTreeMap::new()));
                rest = after;
            }
            Some(after) => {
                let (value, after) = value(after);
                if let Some((_, given)) = found.last_mut() {
                    given.insert(word.to_ascii_lowercase(), value);
                }
                rest = after;
            }
        }
    }
}

/// A value, in quotes or not, and what comes after it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        let (value, after) = text.split_at(end);
        return (value.to_owned(), after);
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    (value, chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Option<Challenge> {
        let headers = texts.iter().map(|text| (WWW_AUTHENTICATE, text.parse().unwrap())).collect();
        Challenge::of(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        let (service, scope) = (service.map(str::to_owned), scope.map(str::to_owned));
        Some(Challenge::Bearer { realm: realm.to_owned(), service, scope })
    }

    #[test]
    fn a_token_has_either_name_and_an_empty_one_is_none() {
        let token = |text: &str| serde_json::from_str::<Granted>(text).unwrap().token();
        assert_eq!(token(r#"{"token":"t","access_token":"a"}"#).as_deref(), Some("t"));
        assert_eq!(token(r#"{"token":"","access_token":"a"}"#).as_deref(), Some("a"));
        assert_eq!(token(r#"{"token":""}"#), None);
    }

    #[test]
    fn a_challenge_is_read_however_it_is_written() {
        let usual = r#"Bearer realm="https://a/token",service="a",scope="repository:x/y:pull,push""#;
        assert_eq!(of(&[usual]), bearer("https://a/token", Some("a"), Some("repository:x/y:pull,push")));
        assert_eq!(of(&["bearer  realm=https://a , service = x"]), bearer("https://a", None, None));
        assert_eq!(of(&[r#"Basic realm="say \"hi\"""#]), Some(Challenge::Basic));
        let both = r#"Basic realm="x", Bearer realm="y""#;
        assert_eq!(of(&[both]), bearer("y", None, None));
        assert_eq!(of(&["Basic", r#"Bearer realm="y""#]), bearer("y", None, None));
        assert_eq!(of(&["Negotiate abc==", "=,=", "", "Bearer", r#"Bearer x=""#]), None);
    }
}
