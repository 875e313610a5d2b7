//! Gates: keys whose later events are held back behind a dead letter, and the form of what is held back.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::batch::{BatchMessage, Keep};
use super::event::{Event, Headers, Source};
use super::names::held;
use super::original;
use super::text::{parse_rfc3339, rfc3339};

/// What a gate does with the events of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// They are held back.
    Closed,
    /// Those that were held back run again, in order; later ones wait.
    Draining,
    /// There is no gate any more.
    Open,
}

/// The gate of a key, as its last message in the stream says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// The text of the key, while the subject of the message only has its token.
    pub key: String,
    /// What becomes of the key's events from now on.
    pub phase: Phase,
    /// What was held back below this sequence of the application's stream has come to its end.
    pub next: u64,
    /// The id of the event whose dead letter closed the gate.
    pub event: String,
    /// Since when it is closed, in milliseconds since 1970.
    pub since: u64,
}

impl Gate {
    /// The gate as bytes: JSON, for people who inspect the stream.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a gate is plain data")
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// The message of an event that is held back on `subject`. A payload that does not fit beside the added headers is left
/// out: the event itself is still in its stream.
pub fn held_back(subject: String, event: &Event, max_size: usize) -> BatchMessage {
    let mut headers = original::keep(&event.headers);
    let own = headers.len();
    headers.push(held::STREAM, &*event.stream);
    headers.push(held::SEQUENCE, event.sequence.to_string());
    original::keep_subject(&mut headers, held::SUBJECT, &event.subject);
    headers.push(held::TIME, rfc3339(event.time));
    let payload = event.payload.clone();
    let mut message = BatchMessage { subject, headers, payload, keep: Keep::Always, ..Default::default() };
    if message.size() + 1024 > max_size || message.headers.size() + 4096 > super::effects::MAX_HEADER_BYTES {
        let added = message.headers.pairs().iter().skip(own);
        message.headers = Headers::from_pairs(added.cloned());
        message.headers.push(held::PAYLOAD_LEFT_OUT, "1");
        message.payload = Bytes::new();
    }
    message
}

/// An event that was held back at a sequence, as it was; `Err` with its stream and sequence if it must be read from there.
pub fn taken_back(sequence: u64, headers: &Headers, payload: Bytes) -> Option<Result<Event, (String, u64)>> {
    let stream = headers.get(held::STREAM)?;
    let of_stream: u64 = headers.get(held::SEQUENCE)?.parse().ok()?;
    if headers.get(held::PAYLOAD_LEFT_OUT).is_some() {
        return Some(Err((stream.to_owned(), of_stream)));
    }
    Some(Ok(Event {
        stream: stream.into(),
        sequence: of_stream,
        subject: original::restore_subject(headers, held::SUBJECT)?,
        time: parse_rfc3339(headers.get(held::TIME)?)?,
        headers: original::restore(headers),
        payload,
        source: Source::Held(sequence),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(payload: usize) -> Event {
        Event {
            stream: "S".into(),
            sequence: 7,
            subject: "in.a".into(),
            time: 1_700_000_000_000_000_001,
            headers: Headers::from_pairs([("A", "1"), ("A", "2")]),
            payload: vec![b'p'; payload].into(),
            source: Source::Stream,
        }
    }

    #[test]
    fn what_is_held_back_comes_back_as_it_was() {
        let message = held_back("held".into(), &event(10), 1 << 20);
        let back = taken_back(99, &message.headers, message.payload).unwrap().unwrap();
        assert_eq!(back, Event { source: Source::Held(99), ..event(10) });
    }

    #[test]
    fn an_event_that_calls_itself_held_back_comes_back_as_it_was() {
        for block in [
            &b"NATS/1.0\r\nHeddle-Held-Sequence: 1\r\nHeddle-Held-Payload-Left-Out: 1\r\n\r\n"[..],
            b"NATS/1.0\r\nMy Header: 1\r\n\r\n",
            b"NATS/1.0\r\nHeddle-Held-Sequence: 1\r\nNoColon\r\n\r\n",
        ] {
            let headers = crate::header_block::read(&Bytes::from_static(block));
            let event = Event { headers, ..event(10) };
            let message = held_back("held".into(), &event, 1 << 20);
            let back = taken_back(99, &message.headers, message.payload).unwrap().unwrap();
            assert_eq!(back, Event { source: Source::Held(99), ..event });
        }
    }

    #[test]
    fn what_does_not_fit_is_named_and_read_from_its_stream() {
        let message = held_back("held".into(), &event(10_000), 10_500);
        assert!(message.size() < 1_000);
        let back = taken_back(99, &message.headers, message.payload).unwrap();
        assert_eq!(back, Err(("S".to_owned(), 7)));
    }

    #[test]
    fn a_gate_reads_back_as_it_was() {
        let gate = Gate { key: "k".into(), phase: Phase::Closed, next: 7, event: "S/1".into(), since: 5 };
        assert_eq!(Gate::decode(&gate.encode()), Some(gate));
        assert_eq!(Gate::decode(b"{"), None);
    }
}
