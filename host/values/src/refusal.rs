//! Refusals: events that no handler is given.
//!
//! What is said here follows from the event alone, so that it is the same however the event comes to its handler: from
//! its stream, from a dead letter that is replayed, or from where it was held back.

use super::causality::too_many_hops;
use super::event::{Event, is_lossy};
use super::verdict::{CauseClass, Failure};

/// Why an event becomes a dead letter without running; none: it runs.
pub fn refusal(event: &Event) -> Option<Failure> {
    unreadable(event)
        .map(|reason| Failure::new(CauseClass::Unreadable, reason))
        .or_else(|| too_many_hops(event))
}

/// Why an event cannot be read whole: its subject or its headers are not what a handler may be given.
pub fn unreadable(event: &Event) -> Option<String> {
    if is_lossy(&event.subject) {
        return Some("its subject is not UTF-8, or holds U+FFFD".to_owned());
    }
    event.headers.fault().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::header_block;

    fn event(subject: &str, block: &'static [u8]) -> Event {
        Event {
            stream: "S".into(),
            sequence: 7,
            subject: subject.into(),
            time: 0,
            headers: header_block::read(&Bytes::from_static(block)),
            payload: Bytes::new(),
            source: Default::default(),
        }
    }

    #[test]
    fn only_what_cannot_be_read_is_refused() {
        let class = |subject, block| refusal(&event(subject, block)).map(|failure| failure.class);
        assert_eq!(class("in.a", b"NATS/1.0\r\nMy Header: 1\r\n\r\n"), None);
        assert_eq!(class("in.ä", b""), None);
        assert_eq!(class("in.\u{fffd}", b""), Some(CauseClass::Unreadable));
        assert_eq!(class("in.a", b"NATS/1.0\r\nNoColon\r\n\r\n"), Some(CauseClass::Unreadable));
        assert_eq!(class("in.a", b"NATS/1.0\r\nHeddle-Hops: 101\r\n\r\n"), Some(CauseClass::Hops));
    }

    #[test]
    fn once_what_cannot_be_read_is_dropped_the_rest_runs() {
        let mut event = event("in.a", b"NATS/1.0\r\nNoColon\r\nA: 1\r\n\r\n");
        event.headers.drop_fault();
        assert_eq!(refusal(&event), None);
        assert_eq!(event.header("A"), Some("1"));
    }
}
