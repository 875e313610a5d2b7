//! Headers between Heddle's form and the library's, which panics on what it cannot send.

use std::borrow::Cow;

use async_nats::header::{HeaderMap, HeaderName, HeaderValue};

use crate::values::event::Headers;
use crate::values::names::NATS_PREFIX;

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
