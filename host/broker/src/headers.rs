//! Headers between Heddle's form and the library's, which panics on what it cannot send.

use std::borrow::Cow;

use async_nats::header::{HeaderMap, HeaderName, HeaderValue};

use heddle_values::event::Headers;
use heddle_values::names::NATS_PREFIX;

/// All headers but those of the server, in the order of their names.
pub(super) fn from_nats(map: Option<&HeaderMap>) -> Headers {
    let Some(map) = map else { return Headers::default() };
    let mut names: Vec<(&str, &Vec<HeaderValue>)> = map
        .iter()
        .map(|(name, values)| (AsRef::<str>::as_ref(name), values))
        .filter(|(name, _)| !name.starts_with(NATS_PREFIX))
        .collect();
    names.sort_unstable_by_key(|(name, _)| *name);
    let mut headers = Headers::default();
    for (name, values) in names {
        for value in values {
            headers.push(name.to_owned(), value.as_str());
        }
    }
    headers
}

/// The header by which the server marks a message that it wrote itself, for an expired or deleted subject: why. Nobody
/// published such a message, so it is no event. It must be recognised here, for the server's headers go no further.
pub(super) const MARKER_REASON: &str = "Nats-Marker-Reason";

/// Whether a message is such a marker. One that carries something is an event with an odd header: the server writes none.
pub(super) fn is_marker(map: Option<&HeaderMap>, payload: &[u8]) -> bool {
    payload.is_empty() && map.is_some_and(|map| map.get(MARKER_REASON).is_some())
}

/// The library's form; an error where a name or value cannot be sent.
pub(super) fn to_nats(headers: &Headers) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers.pairs() {
        let header = match name {
            Cow::Borrowed(known) => HeaderName::from_static(known),
            Cow::Owned(name) => name.parse().map_err(|error| format!("header name {name:?}: {error}"))?,
        };
        let value: HeaderValue =
            value.parse().map_err(|error| format!("value of header `{name}`: {error}"))?;
        map.append(header, value);
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_wrote_for_an_expired_subject_is_told_from_an_event() {
        let mut map = HeaderMap::new();
        assert!(!is_marker(None, b"") && !is_marker(Some(&map), b""));
        map.insert("Nats-Msg-Id", "1");
        assert!(!is_marker(Some(&map), b""));
        map.insert("Nats-Marker-Reason", "MaxAge");
        assert!(is_marker(Some(&map), b"") && !is_marker(Some(&map), b"x"));
        assert!(from_nats(Some(&map)).is_empty(), "and nothing of it is shown to handlers");
    }
}
