//! Dead letters: events that will not be tried again, with the cause.

mod read;

use bytes::Bytes;

pub use read::DeadLetter;

use super::attempt::Why;
use super::batch::{BatchMessage, Keep};
use super::causality;
use super::effects::{HEADER_RESERVE, MAX_HEADER_BYTES};
use super::event::{Event, Headers};
use super::key::Key;
use super::names::{Names, dead};
use super::original;
use super::plugin::PluginId;
use super::subject::{self, MAX_SUBJECT};
use super::text::{header_text, rfc3339};
use super::verdict::Failure;

/// The longest message of a cause, in bytes.
const MAX_MESSAGE: usize = 1024;

/// Frames of the plugin's stack, and the longest, in bytes.
const MAX_FRAMES: usize = 16;
const MAX_FRAME: usize = 200;

/// Last lines of the plugin, and the longest, in bytes.
const MAX_LINES: usize = 10;
const MAX_LINE: usize = 300;

/// How an event came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// The failure of the last run, or what kept the event from running at all.
    pub failure: Box<Failure>,
    /// Which rule ended the tries.
    pub why: Why,
    /// How often the event was run; deferrals do not count.
    pub attempts: u32,
    /// When the last runs failed, in milliseconds since 1970.
    pub times: Vec<u64>,
}

/// What is known of the handler that gave up.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Its name, in the subject of the dead letter and in a header.
    pub handler: &'a str,
    /// The plugin that ran the event, if it ran.
    pub plugin: Option<&'a PluginId>,
    /// The key of the lane in which the event was; the id of the event where it has no key.
    pub key: &'a Key,
}

/// What of an event and of what is known about its end goes into a dead letter.
#[derive(Debug, Clone, Copy)]
struct Share {
    /// Frames and log lines.
    evidence: bool,
    headers: bool,
    payload: bool,
}

/// The shares that are tried, until one fits.
const SHARES: [Share; 5] = [
    Share { evidence: true, headers: true, payload: true },
    Share { evidence: false, headers: true, payload: true },
    Share { evidence: false, headers: false, payload: true },
    Share { evidence: false, headers: true, payload: false },
    Share { evidence: false, headers: false, payload: false },
];

/// The dead letter of `event`: its payload and headers as they were (see [`original`]), the cause in headers of its own.
///
/// `max_size` is the largest message that the server takes, in bytes. What does not fit is left out: first frames and
/// log lines, then headers or payload, which is said in a header: the event itself is still in its stream.
pub fn dead_letter(
    names: &Names,
    event: &Event,
    origin: Origin<'_>,
    death: &Death,
    (max_size, keep): (usize, Keep),
) -> BatchMessage {
    let mut dead_letter = BatchMessage {
        subject: names.dead_letter(origin.handler, short(&event.subject)),
        keep,
        ..BatchMessage::default()
    };
    for share in SHARES {
        dead_letter.headers = headers(event, origin, death, share);
        dead_letter.payload = if share.payload { event.payload.clone() } else { Bytes::new() };
        let fits = dead_letter.headers.size() + HEADER_RESERVE / 4 <= MAX_HEADER_BYTES
            && dead_letter.size() + HEADER_RESERVE / 4 <= max_size;
        if fits {
            break;
        }
    }
    dead_letter
}

fn headers(event: &Event, origin: Origin<'_>, death: &Death, share: Share) -> Headers {
    let failure = &death.failure;
    let mut headers = Headers::default();
    if share.headers {
        headers.extend(&original::keep(&event.headers));
    } else if !event.headers.is_empty() {
        headers.push(dead::HEADERS_LEFT_OUT, event.headers.len().to_string());
    }
    if !share.payload && !event.payload.is_empty() {
        headers.push(dead::PAYLOAD_LEFT_OUT, event.payload.len().to_string());
    }
    let message = match death.why {
        Why::Elapsed => format!("{} (`max-elapsed` is used up)", failure.message),
        Why::Cause | Why::Attempts => failure.message.clone(),
    };
    headers.push(dead::CAUSE_CLASS, failure.class.as_str());
    headers.push(dead::MESSAGE, header_text(&message, MAX_MESSAGE));
    headers.push(dead::FINGERPRINT, failure.fingerprint());
    if let Some(breach) = failure.breach {
        headers.push(dead::LIMIT, breach.limit.as_str());
        headers.push(dead::LIMIT_ALLOWED, breach.amount(breach.allowed));
        headers.push(dead::LIMIT_USED, breach.used.map_or("more".to_owned(), |used| breach.amount(used)));
    }
    headers.push(dead::ATTEMPTS, death.attempts.to_string());
    for time in &death.times {
        headers.push(dead::FAILED_AT, rfc3339(time.saturating_mul(1_000_000)));
    }
    headers.push(dead::HANDLER, origin.handler);
    if let Some(plugin) = origin.plugin {
        headers.push(dead::PLUGIN, &*plugin.digest);
        if let Some(version) = &plugin.version {
            headers.push(dead::VERSION, header_text(version, MAX_LINE));
        }
    }
    headers.push(dead::STREAM, &*event.stream);
    headers.push(dead::SEQUENCE, event.sequence.to_string());
    original::keep_subject(&mut headers, dead::SUBJECT, &event.subject);
    headers.push(dead::TIME, rfc3339(event.time));
    headers.push(dead::KEY, header_text(origin.key.as_str(), MAX_MESSAGE));
    headers.push(dead::KEY_TOKEN, origin.key.token());
    headers.push(dead::CORRELATION, header_text(&causality::correlation(event), MAX_LINE));
    if let Some(trace) = causality::trace(event) {
        headers.push(dead::TRACE, trace);
    }
    if let Some(replay) = event.replay() {
        headers.push(dead::REPLAYS, replay.times.to_string());
    }
    if share.evidence {
        for frame in failure.backtrace.iter().take(MAX_FRAMES) {
            headers.push(dead::FRAME, header_text(frame, MAX_FRAME));
        }
        for line in failure.logs.iter().skip(failure.logs.len().saturating_sub(MAX_LINES)) {
            headers.push(dead::LOG, header_text(line, MAX_LINE));
        }
    }
    headers
}

/// A subject that would be too long behind its prefix is told in a header only.
fn short(subject: &str) -> &str {
    if subject.len() > MAX_SUBJECT || subject::check(subject).is_err() { "_unfit-subject" } else { subject }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Source;
    use crate::limit::{Breach, Limit};

    fn event(payload: usize) -> Event {
        Event {
            stream: "SHOP".into(),
            sequence: 7,
            subject: "order.created.c1".into(),
            time: 1_700_000_000_000_000_000,
            headers: Headers::from_pairs([("Kind", "x")]),
            payload: vec![b'p'; payload].into(),
            source: Source::Stream,
        }
    }

    fn death() -> Death {
        let mut failure = Failure::trap("line one\nline two");
        failure.backtrace = vec!["credit::reserve at lib.rs:7".to_owned()];
        failure.logs = (0..20).map(|n| format!("line {n}")).collect();
        Death { failure: failure.into(), why: Why::Attempts, attempts: 5, times: vec![1_700_000_000_500] }
    }

    fn dead_letter_of(event: &Event, death: &Death, max_size: usize) -> BatchMessage {
        let key = Key::new("c 1");
        let plugin = PluginId { digest: "sha256:00".into(), version: Some("1.2.3".into()) };
        let origin = Origin { handler: "credit", plugin: Some(&plugin), key: &key };
        dead_letter(&Names::new("shop"), event, origin, death, (max_size, Keep::Always))
    }

    #[test]
    fn a_dead_letter_keeps_payload_and_headers_and_says_what_happened() {
        let dead_letter = dead_letter_of(&event(10), &death(), 1 << 20);
        assert_eq!(dead_letter.subject, "dead.shop.credit.order.created.c1");
        assert_eq!((dead_letter.payload.len(), dead_letter.keep), (10, Keep::Always));
        for (name, value) in [
            ("Kind", "x"),
            ("Heddle-Dead-Cause", "trap"),
            ("Heddle-Dead-Message", "line one\\nline two"),
            ("Heddle-Dead-Attempts", "5"),
            ("Heddle-Dead-Failed-At", "2023-11-14T22:13:20.5Z"),
            ("Heddle-Dead-Sequence", "7"),
            ("Heddle-Dead-Time", "2023-11-14T22:13:20Z"),
            ("Heddle-Dead-Key", "c 1"),
            ("Heddle-Dead-Key-Token", "c=201"),
            ("Heddle-Dead-Plugin-Version", "1.2.3"),
            ("Heddle-Dead-Correlation", "SHOP/7"),
            ("Heddle-Dead-Frame", "credit::reserve at lib.rs:7"),
            ("Heddle-Dead-Log", "line 10"),
        ] {
            assert_eq!(dead_letter.headers.get(name), Some(value), "{name}");
        }
        assert_eq!(dead_letter.headers.iter().filter(|(name, _)| *name == dead::LOG).count(), MAX_LINES);
    }

    #[test]
    fn a_breached_limit_is_named_with_its_value_and_what_was_used() {
        let breach = Breach { limit: Limit::Memory, allowed: 64, used: Some(65) };
        let death = Death { failure: Failure::limit(breach).into(), why: Why::Cause, ..death() };
        let dead_letter = dead_letter_of(&event(1), &death, 1 << 20);
        assert_eq!(
            dead_letter.headers.get("Heddle-Dead-Message"),
            Some("memory: 65 bytes used, 64 bytes allowed")
        );
        assert_eq!(dead_letter.headers.get("Heddle-Dead-Limit"), Some("memory"));
        assert_eq!(dead_letter.headers.get("Heddle-Dead-Limit-Used"), Some("65 bytes"));
    }

    #[test]
    fn evidence_is_left_out_before_the_payload_is() {
        let whole = dead_letter_of(&event(10_000), &death(), 1 << 20);
        let dead_letter = dead_letter_of(&event(10_000), &death(), whole.size() + 800);
        assert_eq!(dead_letter.payload.len(), 10_000);
        assert_eq!(dead_letter.headers.get("Heddle-Dead-Log"), None);
        let dead_letter = dead_letter_of(&event(10_000), &death(), 10_500);
        assert!(dead_letter.payload.is_empty());
        assert_eq!(dead_letter.headers.get("Heddle-Dead-Payload-Left-Out"), Some("10000"));
        assert_eq!(dead_letter.headers.get("Kind"), Some("x"));
    }

    #[test]
    fn headers_and_subjects_that_the_server_would_refuse_are_left_out_and_said_so() {
        let event = Event {
            subject: format!("order.{}", "x".repeat(2_000)).into(),
            headers: Headers::from_pairs([("Big", "x".repeat(65_000))]),
            payload: "p".into(),
            ..event(0)
        };
        let dead_letter = dead_letter_of(&event, &death(), 1 << 20);
        assert_eq!(dead_letter.subject, "dead.shop.credit._unfit-subject");
        assert_eq!(dead_letter.headers.get("Heddle-Dead-Headers-Left-Out"), Some("1"));
        assert_eq!(&dead_letter.payload[..], b"p");
        assert!(dead_letter.headers.size() < 10_000);
    }
}
