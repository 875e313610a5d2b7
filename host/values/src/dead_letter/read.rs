//! Dead letters as they are read back from the stream.

use bytes::Bytes;

use crate::event::{Event, Headers, Replay, Source, is_lossy};
use crate::key::Key;
use crate::names::dead;
use crate::{original, refusal, text};

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its sequence in the application's stream.
    pub sequence: u64,
    /// When it was stored, in nanoseconds since 1970.
    pub stored: u64,
    /// All headers, those of the event and those that say what happened.
    pub headers: Headers,
    /// The event's payload; empty where it was left out, see [`is_partial`](Self::is_partial).
    pub payload: Bytes,
}

impl DeadLetter {
    /// What a header says, or nothing.
    pub fn text(&self, header: &str) -> &str {
        self.headers.get(header).unwrap_or_default()
    }

    /// All values of a header.
    pub fn all<'a>(&'a self, header: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(name, _)| *name == header).map(|(_, value)| value)
    }

    /// The handler that gave up.
    pub fn handler(&self) -> &str {
        self.text(dead::HANDLER)
    }

    /// The event's key. None if it is too long to be told from the dead letter, or the event had none.
    pub fn key(&self) -> Option<Key> {
        // What is shown of it is shortened, and has escapes in it.
        let (shown, token) = (Key::new(self.text(dead::KEY)), self.headers.get(dead::KEY_TOKEN)?);
        if shown.token() == token { Some(shown) } else { Key::from_token(token) }
    }

    /// The event's id.
    pub fn event_id(&self) -> String {
        format!("{}/{}", self.text(dead::STREAM), self.text(dead::SEQUENCE))
    }

    /// The event's stream and sequence.
    pub fn place(&self) -> Option<(&str, u64)> {
        Some((self.headers.get(dead::STREAM)?, self.text(dead::SEQUENCE).parse().ok()?))
    }

    /// Whether headers or payload of the event did not fit: they are in its stream only.
    pub fn is_partial(&self) -> bool {
        self.headers.get(dead::PAYLOAD_LEFT_OUT).is_some()
            || self.headers.get(dead::HEADERS_LEFT_OUT).is_some()
    }

    /// How often the event was replayed before.
    pub fn replays(&self) -> u32 {
        self.text(dead::REPLAYS).parse().unwrap_or(0)
    }

    /// The event's own headers.
    pub fn own_headers(&self) -> Headers {
        original::restore(&self.headers)
    }

    /// Whether the event's subject is not known as it was.
    pub fn is_lossy(&self) -> bool {
        self.event().is_some_and(|event| is_lossy(&event.subject))
    }

    /// Why no handler can be given the event as it is; none: one can.
    pub fn unreadable(&self) -> Option<String> {
        refusal::unreadable(&self.event()?)
    }

    /// The event as it was; none if the dead letter does not say what it was.
    pub fn event(&self) -> Option<Event> {
        let (stream, sequence) = self.place()?;
        Some(Event {
            stream: stream.into(),
            sequence,
            subject: original::restore_subject(&self.headers, dead::SUBJECT)?,
            time: text::parse_rfc3339(self.headers.get(dead::TIME)?)?,
            headers: self.own_headers(),
            payload: self.payload.clone(),
            source: Source::Stream,
        })
    }

    /// The event as the request at a sequence replays it.
    pub fn sent_again(&self, request: u64, release: bool) -> Option<Event> {
        let replay = Replay { request, dead_letter: self.sequence, times: self.replays() + 1, release };
        Some(Event { source: Source::Replay(replay), ..self.event()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::Why;
    use crate::batch::Keep;
    use crate::dead_letter::{Death, Origin, dead_letter};
    use crate::header_block;
    use crate::names::Names;
    use crate::verdict::Failure;

    fn event(subject: &str, block: &'static [u8]) -> Event {
        Event {
            stream: "S".into(),
            sequence: 7,
            subject: subject.into(),
            time: 1_700_000_000_000_000_001,
            headers: header_block::read(&Bytes::from_static(block)),
            payload: Bytes::from_static(&[0, 159, 146, 150]),
            source: Source::Stream,
        }
    }

    fn dead_letter_of(event: &Event) -> DeadLetter {
        of_key(event, &Key::new("a"))
    }

    fn of_key(event: &Event, key: &Key) -> DeadLetter {
        let origin = Origin { handler: "h", plugin: None, key };
        let failure = Box::new(Failure::reject("no"));
        let death = Death { failure, why: Why::Cause, attempts: 1, times: Vec::new() };
        let message = dead_letter(&Names::new("t"), event, origin, &death, (1 << 20, Keep::Always));
        DeadLetter { sequence: 9, stored: 0, headers: message.headers, payload: message.payload }
    }

    #[test]
    fn an_event_comes_back_bit_equal_whatever_its_subject_and_headers_are() {
        for subject in ["in.a", "in.\u{1b}[31m", "in.\u{a0}", "in.\u{fffd}"] {
            for block in [
                &b""[..],
                b"NATS/1.0\r\nHeddle-Dead-Handler: other\r\nHeddle-Dead-Sequence: 1\r\n\r\n",
                b"NATS/1.0\r\nMy Header: 1\r\n\r\n",
                b"NATS/1.0\r\nHeddle-Dead-Handler: other\r\nNoColon\r\n\r\n",
                b"\x00\xff",
            ] {
                let event = event(subject, block);
                let dead_letter = dead_letter_of(&event);
                assert_eq!((dead_letter.handler(), dead_letter.place()), ("h", Some(("S", 7))));
                assert_eq!(dead_letter.event(), Some(event.clone()));
                assert_eq!(dead_letter.unreadable(), refusal::unreadable(&event));
            }
        }
    }

    #[test]
    fn the_key_of_a_dead_letter_is_as_it_was_or_not_told() {
        let event = event("in.a", b"");
        for key in ["", "a", " a\\b ", "\r\n\u{1b}", "\u{e4}\u{2026}", &"x".repeat(1_000)].map(Key::new) {
            assert_eq!(of_key(&event, &key).key(), Some(key));
        }
        let hidden = Key::new(&"\\".repeat(1_000));
        assert_eq!(of_key(&event, &hidden).key(), None);
    }

    #[test]
    fn the_event_of_a_dead_letter_is_as_it_was() {
        let event = event("in.a", b"NATS/1.0\r\nA: 1\r\nA: 2\r\nHeddle-Cause: S/1\r\n\r\n");
        let dead_letter = dead_letter_of(&event);
        assert_eq!(dead_letter.event(), Some(event.clone()));
        assert_eq!((dead_letter.handler(), dead_letter.event_id().as_str()), ("h", "S/7"));
        let again = dead_letter.sent_again(12, false).unwrap();
        assert_eq!(again.replay().map(|replay| (replay.dead_letter, replay.times)), Some((9, 1)));
        assert_eq!(again.id(), event.id());
    }
}
