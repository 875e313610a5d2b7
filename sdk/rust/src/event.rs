//! The event as a handler sees it. It can be read and nothing else.

use std::time::SystemTime;

use serde::Deserialize;

use crate::DecodeError;

/// What some producers put before JSON. It says nothing.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Names and values in their order. Names may repeat.
pub(crate) type Headers = Vec<(String, String)>;

/// One message of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub(crate) id: String,
    pub(crate) subject: String,
    pub(crate) key: String,
    pub(crate) time: SystemTime,
    pub(crate) headers: Headers,
    pub(crate) payload: Vec<u8>,
}

impl Event {
    /// `<stream>/<sequence>`: the same whenever this event is run again, so it serves as an idempotency key for
    /// calls to the outside.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The subject the event was published on.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The token of the subject at `index`, counted from 0 as in `key = "{subject.2}"`.
    #[must_use]
    pub fn token(&self, index: usize) -> Option<&str> {
        self.subject.split('.').nth(index)
    }

    /// The key that keeps this event in order, as the handler's `key` template gave it. State is kept by it.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// When the stream stored the event. `SystemTime::now()` reads this very time while the event runs.
    #[must_use]
    pub fn time(&self) -> SystemTime {
        self.time
    }

    /// The first value of a header. Upper and lower case differ.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All headers as name and value, in their order. Names may repeat. `Nats-…` headers are not among them.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The payload as it was published.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The payload as text.
    ///
    /// # Errors
    /// The payload is not UTF-8.
    pub fn text(&self) -> Result<&str, DecodeError> {
        std::str::from_utf8(&self.payload).map_err(|cause| DecodeError::new("payload", cause))
    }

    /// The payload as JSON. The value may borrow from the event. A byte order mark before it is skipped.
    ///
    /// # Errors
    /// The payload is not JSON, or not what `T` asks for.
    pub fn json<'event, T: Deserialize<'event>>(&'event self) -> Result<T, DecodeError> {
        let json = self.payload.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&self.payload);
        serde_json::from_slice(json).map_err(|cause| DecodeError::new("payload", cause))
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn event(payload: &[u8]) -> Event {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Event {
            id: "SHOP/7".into(),
            subject: "order.created.c1".into(),
            key: "c1".into(),
            time: UNIX_EPOCH,
            headers: vec![pair("Trace", "a"), pair("trace", "b"), pair("Trace", "c")],
            payload: payload.into(),
        }
    }

    #[test]
    fn tokens_count_from_zero_as_in_key_templates() {
        let event = event(b"");
        assert_eq!(event.token(0), Some("order"));
        assert_eq!(event.token(2), Some("c1"));
        assert_eq!(event.token(3), None);
    }

    #[test]
    fn a_header_is_the_first_of_exactly_that_name() {
        let event = event(b"");
        assert_eq!(event.header("Trace"), Some("a"));
        assert_eq!(event.header("trace"), Some("b"));
        assert_eq!(event.header("TRACE"), None);
        assert_eq!(event.headers().count(), 3);
    }

    #[test]
    fn json_may_borrow_from_the_payload() {
        let event = event(br#"["a","b"]"#);
        assert_eq!(event.json::<Vec<&str>>().ok(), Some(vec!["a", "b"]));
    }

    #[test]
    fn a_byte_order_mark_before_json_is_skipped_and_stays_in_text() {
        let event = event("\u{feff}{\"order\":\"o-1\"}".as_bytes());
        let order = event.json::<serde_json::Value>().ok();
        assert_eq!(order, Some(serde_json::json!({ "order": "o-1" })));
        assert!(event.text().is_ok_and(|text| text.starts_with('\u{feff}')));
    }

    #[test]
    fn a_payload_that_is_not_utf8_is_no_text() {
        assert!(event(&[0xff]).text().is_err());
        assert_eq!(event(b"loom").text().ok(), Some("loom"));
    }
}
