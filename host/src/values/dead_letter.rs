//! Dead letters: events that will not be tried again, with the cause.

use super::batch::{BatchMessage, Keep};
use super::effects::{HEADER_RESERVE, MAX_HEADER_BYTES};
use super::event::{Event, Headers};
use super::names::{self, Names};
use super::subject::{self, MAX_SUBJECT};
use super::verdict::Cause;

/// The longest message of a cause, in bytes.
const MAX_MESSAGE: usize = 1024;

/// What is known of the handler that gave up.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    pub handler: &'a str,
    /// The plugin's digest.
    pub plugin: &'a str,
    /// Empty where the event has none.
    pub key: &'a str,
    /// How often the event was run.
    pub attempts: u32,
}

/// The dead letter of `event`: its payload and headers as they were, the cause in headers of its own.
///
/// `max_size` is the largest message that the server takes, in bytes. A payload that does not fit beside
/// the added headers is left out, which is said in a header: the event itself is still in its stream.
pub fn dead_letter(
    names: &Names,
    event: &Event,
    origin: Origin<'_>,
    cause: &Cause,
    max_size: usize,
) -> BatchMessage {
    let mut headers = event.headers.clone();
    let too_many = max_size == 0 || headers.size() + HEADER_RESERVE > MAX_HEADER_BYTES;
    if too_many {
        headers = Headers::default();
        headers.push(names::dead::HEADERS_LEFT_OUT, event.headers.len().to_string());
    }
    headers.push(names::dead::CAUSE_CLASS, cause.class.as_str());
    headers.push(names::dead::MESSAGE, header_text(&cause.message, MAX_MESSAGE));
    headers.push(names::dead::ATTEMPTS, origin.attempts.to_string());
    headers.push(names::dead::HANDLER, origin.handler);
    headers.push(names::dead::PLUGIN, origin.plugin);
    headers.push(names::dead::STREAM, &*event.stream);
    headers.push(names::dead::SEQUENCE, event.sequence.to_string());
    headers.push(names::dead::SUBJECT, header_text(&event.subject, MAX_SUBJECT));
    headers.push(names::dead::TIME, rfc3339(event.time));
    headers.push(names::dead::KEY, header_text(origin.key, MAX_MESSAGE));
    let mut letter = BatchMessage {
        subject: names.dead_letter(origin.handler, short(&event.subject)),
        headers,
        payload: event.payload.clone(),
        keep: Keep::Always,
        ..BatchMessage::default()
    };
    if letter.size() + HEADER_RESERVE / 4 > max_size {
        letter.headers.push(names::dead::PAYLOAD_LEFT_OUT, event.payload.len().to_string());
        letter.payload = bytes::Bytes::new();
    }
    letter
}

/// A subject that would be too long behind its prefix is told in a header only.
fn short(subject: &str) -> &str {
    if subject.len() > MAX_SUBJECT || subject::check(subject).is_err() { "_unfit-subject" } else { subject }
}

/// `text` as a header value: one line, without control characters, at most `max` bytes.
pub fn header_text(text: &str, max: usize) -> String {
    let mut value = String::new();
    for c in text.trim().chars() {
        let plain = c != '\\' && !c.is_control();
        let part = if plain { c.to_string() } else { c.escape_default().to_string() };
        if value.len() + part.len() > max.saturating_sub('…'.len_utf8()) {
            value.push('…');
            break;
        }
        value.push_str(&part);
    }
    value.trim_end().to_owned()
}

/// Nanoseconds since 1970 as RFC 3339.
pub fn rfc3339(nanos: u64) -> String {
    let time = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos));
    time.ok()
        .and_then(|time| time.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_else(|| nanos.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::verdict::CauseClass;

    fn letter(payload: usize, max_size: usize) -> BatchMessage {
        let event = Event {
            stream: "SHOP".into(),
            sequence: 7,
            subject: "order.created.c1".into(),
            time: 1_700_000_000_000_000_000,
            headers: Headers::from_pairs([("Kind", "x")]),
            payload: vec![b'p'; payload].into(),
        };
        let origin = Origin { handler: "credit", plugin: "sha256:00", key: "c1", attempts: 5 };
        let cause = Cause { class: CauseClass::Trap, message: "line one\nline two".into() };
        dead_letter(&Names::new("shop"), &event, origin, &cause, max_size)
    }

    #[test]
    fn a_dead_letter_keeps_payload_and_headers_and_says_what_happened() {
        let letter = letter(10, 1 << 20);
        assert_eq!(letter.subject, "dead.shop.credit.order.created.c1");
        assert_eq!(letter.payload.len(), 10);
        assert_eq!(letter.keep, Keep::Always);
        let header = |name| letter.headers.get(name);
        assert_eq!(header("Kind"), Some("x"));
        assert_eq!(header("Heddle-Dead-Cause"), Some("trap"));
        assert_eq!(header("Heddle-Dead-Message"), Some("line one\\nline two"));
        assert_eq!(header("Heddle-Dead-Sequence"), Some("7"));
        assert_eq!(header("Heddle-Dead-Time"), Some("2023-11-14T22:13:20Z"));
    }

    #[test]
    fn a_payload_that_does_not_fit_is_left_out_and_said_so() {
        let letter = letter(10_000, 10_500);
        assert!(letter.payload.is_empty());
        assert_eq!(letter.headers.get("Heddle-Dead-Payload-Left-Out"), Some("10000"));
    }

    #[test]
    fn headers_and_subjects_that_the_server_would_refuse_are_left_out_and_said_so() {
        let cause = Cause { class: CauseClass::Reject, message: "no".into() };
        let origin = Origin { handler: "credit", plugin: "sha256:00", key: "c1", attempts: 1 };
        let event = Event {
            stream: "SHOP".into(),
            sequence: 7,
            subject: format!("order.{}", "x".repeat(2_000)).into(),
            time: 0,
            headers: Headers::from_pairs([("Big", "x".repeat(65_000))]),
            payload: "p".into(),
        };
        let letter = dead_letter(&Names::new("shop"), &event, origin, &cause, 1 << 20);
        assert_eq!(letter.subject, "dead.shop.credit._unfit-subject");
        assert_eq!(letter.headers.get("Heddle-Dead-Headers-Left-Out"), Some("1"));
        assert_eq!(&letter.payload[..], b"p");
        assert!(letter.headers.size() < 10_000);
    }

    #[test]
    fn header_text_is_one_bounded_line() {
        assert_eq!(header_text(" a\r\nb\u{1b}[1m ", 100), "a\\r\\nb\\u{1b}[1m");
        assert!(header_text(&"ä".repeat(1000), 64).len() <= 64);
    }
}
