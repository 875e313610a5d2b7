//! Answers of a registry: read up to a bound, and what it means when there is none or when it refuses.
//!
//! Promises that whatever a registry sends, no more than [`MAX_ANSWER`] of it is kept here.

use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;

use super::network::host_and_port;
use super::{Error, Reference};

/// The most of an answer that is kept, in bytes: what the specification asks registries to take as a manifest.
pub(super) const MAX_ANSWER: usize = 4 << 20;

/// The most that is read of a refusal: it has a sentence for people in it.
const MAX_REFUSAL: usize = 64 << 10;

/// The most that is shown of a refusal, in characters.
const MAX_TOLD: usize = 200;

/// Why a request failed, as a registry says it.
#[derive(Deserialize)]
struct Envelope {
    errors: Vec<Said>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// What a refusal says.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    codes: Vec<String>,
    text: String,
}

/// All of an answer, if it is within the bound.
pub(super) async fn read(
    reference: &Reference,
    what: &'static str,
    mut response: Response,
) -> Result<Vec<u8>, Error> {
    let max = MAX_ANSWER as u64;
    let too_big = |size| Error::TooBig { reference: reference.to_string(), what, size, max };
    if let Some(size) = response.content_length().filter(|size| *size > max) {
        return Err(too_big(size));
    }
    let mut bytes = Vec::new();
    while let Some(part) = response.chunk().await.map_err(|error| broken(reference, error))? {
        let size = bytes.len().saturating_add(part.len());
        if size > MAX_ANSWER {
            return Err(too_big(size as u64));
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

impl Refusal {
    /// What an answer says that is not the one that was asked for. It is read as far as it is needed.
    pub(super) async fn read(mut response: Response) -> Self {
        let status = response.status();
        let mut bytes = Vec::new();
        // A refusal that breaks off has its status nevertheless.
        while let Ok(Some(part)) = response.chunk().await {
            let room = MAX_REFUSAL.saturating_sub(bytes.len());
            bytes.extend(part.iter().take(room));
            if part.len() >= room {
                break;
            }
        }
        let errors = serde_json::from_slice(&bytes).map_or_else(|_| Vec::new(), |all: Envelope| all.errors);
        let messages: Vec<&str> = errors
            .iter()
            .map(|said| if said.message.is_empty() { &*said.code } else { &said.message })
            .collect();
        let text = match messages.is_empty() {
            true => line(&String::from_utf8_lossy(&bytes)),
            false => line(&messages.join("; ")),
        };
        Refusal { status, codes: errors.into_iter().map(|said| said.code).collect(), text }
    }

    /// The refusal as an error about what was asked for.
    pub(super) fn into_error(self, reference: &Reference) -> Error {
        let says = |codes: &[&str]| self.codes.iter().any(|code| codes.contains(&&**code));
        let missing = ["MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN", "NOT_FOUND"];
        let denied = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&self.status);
        let name = reference.to_string();
        if self.status == StatusCode::NOT_FOUND || says(&missing) {
            Error::Missing(name)
        } else if denied || says(&["UNAUTHORIZED", "DENIED"]) {
            Error::Refused { reference: name, cause: self.to_string() }
        } else {
            Error::Request { reference: name, cause: format!("registry answers {self}") }
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.status)?;
        if self.text.is_empty() { Ok(()) } else { write!(f, ": {}", self.text) }
    }
}

/// The beginning of a text as one line.
fn line(text: &str) -> String {
    let line = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    line.take(MAX_TOLD).collect()
}

pub(super) fn failed(reference: &Reference, cause: impl Into<String>) -> Error {
    Error::Request { reference: reference.to_string(), cause: cause.into() }
}

/// Why there is no answer, or no end of it.
pub(super) fn broken(reference: &Reference, error: reqwest::Error) -> Error {
    if speaks_no_tls(&error) {
        return match error.url().filter(|url| !is_own(reference, url)) {
            None => Error::PlainHttp(reference.registry().to_owned()),
            Some(url) => {
                let host = host_and_port(url);
                failed(reference, format!("its registry sends us to `{host}`, which answers without TLS"))
            }
        };
    }
    // An address to which a registry has sent us may hold a key.
    failed(reference, chain(&error.without_url()))
}

/// Whether an address is on the host of the registry itself.
fn is_own(reference: &Reference, url: &Url) -> bool {
    let place = |url: &Url| (url.host_str().map(str::to_owned), url.port_or_known_default());
    Url::parse(&format!("https://{}/", reference.host())).is_ok_and(|own| place(&own) == place(url))
}

/// Whether what came instead of a TLS handshake is no TLS at all.
fn speaks_no_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return matches!(tls, rustls::Error::InvalidMessage(_));
    }
    // An I/O error does not name what it wraps as its source, and that may be another one.
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    wrapped.is_some_and(|wrapped| speaks_no_tls(wrapped)) || error.source().is_some_and(speaks_no_tls)
}

/// An error with all its causes in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut texts: Vec<String> = causes.map(text).collect();
    texts.dedup();
    texts.join(": ")
}

/// An error without its causes, and without the address that was asked.
fn text(error: &(dyn std::error::Error + 'static)) -> String {
    let told = match error.downcast_ref::<reqwest::Error>().filter(|error| error.url().is_some()) {
        None => return error.to_string(),
        Some(error) if error.is_timeout() => "it takes too long",
        Some(error) if error.is_builder() => "its address cannot be asked",
        Some(error) if error.is_body() || error.is_decode() => "answer cannot be read",
        Some(_) => "error sending request",
    };
    told.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outside")]
    struct Outside(#[source] reqwest::Error);

    #[tokio::test]
    async fn an_address_that_may_hold_a_key_is_shown_nowhere_in_an_error() {
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = reqwest::Client::builder().https_only(true).build().unwrap();
        let error = client.get("http://storage/?key=secret").send().await.unwrap_err();
        assert!(error.to_string().contains("secret"));
        assert!(chain(&Outside(error)).starts_with("outside: its address cannot be asked"));
    }
}
