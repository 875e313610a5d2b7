//! Reading messages one by one, as the bytes that the server stores.
//!
//! Whatever lies in a stream can be read here: the server answers in JSON, with headers and payload in base64. What is
//! delivered through a consumer goes through the parser of the client library instead, which gives the connection up at
//! a subject or header that it does not like. The price is a request for each message.

use async_nats::jetstream::Context;
use async_nats::jetstream::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::headers::MARKER_REASON;
use super::{Broker, Error, Stored};
use heddle_values::event::is_lossy;
use heddle_values::header_block;
use heddle_values::text::parse_rfc3339;

/// There is no such message.
const NO_MESSAGE: u64 = 10037;

/// A message as the server stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawStored {
    /// The sequence number in the stream, from 1.
    pub sequence: u64,
    /// Each byte of it that is not UTF-8 is replaced by U+FFFD: that is all that the server tells.
    pub subject: String,
    /// The header block; empty if the message has no headers.
    pub block: Bytes,
    /// The payload as it was published; a marker of the server has none.
    pub payload: Bytes,
    /// In nanoseconds since 1970.
    pub time: u64,
}

impl RawStored {
    /// Whether the server wrote it itself, for a subject that expired or was deleted.
    pub fn is_marker(&self) -> bool {
        let name = MARKER_REASON.as_bytes();
        let mut lines = self.block.split(|byte| *byte == b'\n');
        self.payload.is_empty()
            && lines.any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(b":")))
    }

    /// Whether the client library can be expected to read the message when a consumer delivers it.
    pub fn is_plain(&self) -> bool {
        // With headers it splits the line that holds the subject at any white space of Unicode.
        let splits = !self.block.is_empty() && self.subject.contains(char::is_whitespace);
        !splits && !is_lossy(&self.subject) && header_block::read(&self.block).block().is_none()
    }
}

impl From<RawStored> for Stored {
    fn from(raw: RawStored) -> Self {
        let marker = raw.is_marker();
        let RawStored { sequence, subject, block, payload, time } = raw;
        Stored { sequence, subject, marker, headers: header_block::read(&block), payload, time }
    }
}

#[derive(Deserialize)]
struct Answer {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    time: String,
}

impl Message {
    fn decode(self) -> Result<RawStored, String> {
        let bytes = |what: &str, text: &str| {
            STANDARD.decode(text).map(Bytes::from).map_err(|error| format!("{what} in base64: {error}"))
        };
        Ok(RawStored {
            sequence: self.seq,
            block: bytes("headers", &self.hdrs)?,
            payload: bytes("payload", &self.data)?,
            time: parse_rfc3339(&self.time).ok_or_else(|| format!("time `{}`", self.time))?,
            subject: self.subject,
        })
    }
}

impl Broker {
    /// The message at a sequence, read from the stream's leader; none if it is gone.
    ///
    /// Fails if the server does not answer or refuses; never for what the message is.
    pub async fn raw_at(&self, stream: &str, sequence: u64) -> Result<Option<RawStored>, Error> {
        let what = || format!("read message {sequence} of stream `{stream}`");
        self.raw(stream, json!({ "seq": sequence }), what).await
    }

    /// The first message under a filter at or above a sequence; none if there is none yet. Errors as in
    /// [`raw_at`](Self::raw_at).
    pub async fn raw_next(
        &self,
        stream: &str,
        filter: &str,
        sequence: u64,
    ) -> Result<Option<RawStored>, Error> {
        let what = || format!("read on `{filter}`");
        self.raw(stream, json!({ "seq": sequence.max(1), "next_by_subj": filter }), what).await
    }

    /// The last message of a subject; none if there is none. Errors as in [`raw_at`](Self::raw_at).
    pub async fn raw_last(&self, stream: &str, subject: &str) -> Result<Option<RawStored>, Error> {
        let what = || format!("read the last message of `{subject}`");
        self.raw(stream, json!({ "last_by_subj": subject }), what).await
    }

    async fn raw(
        &self,
        stream: &str,
        request: Value,
        what: impl Fn() -> String,
    ) -> Result<Option<RawStored>, Error> {
        let (request, what) = (&request, &what);
        let ask = |jetstream: Context| async move {
            let answer = jetstream.request(format!("STREAM.MSG.GET.{stream}"), request).await;
            match answer.map_err(|e| Error::asked(what(), &e))? {
                Response::Ok(Answer { message }) => {
                    message.decode().map(Some).map_err(|e| Error::request(what(), e))
                }
                Response::Err { error } if error.error_code().0 == NO_MESSAGE => Ok(None),
                Response::Err { error } => Err(Error::asked(what(), &error)),
            }
        };
        self.ask(ask).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(subject: &str, block: &[u8]) -> RawStored {
        let block = Bytes::copy_from_slice(block);
        RawStored { sequence: 7, subject: subject.to_owned(), block, payload: Bytes::new(), time: 0 }
    }

    #[test]
    fn what_the_library_cannot_read_is_told_apart() {
        let plain = |subject, block: &[u8]| message(subject, block).is_plain();
        assert!(plain("in.a", b""));
        assert!(plain("in.a", b"NATS/1.0\r\nA: 1\r\n\r\n"));
        assert!(plain("in.\u{a0}", b""));
        assert!(!plain("in.\u{a0}", b"NATS/1.0\r\nA: 1\r\n\r\n"));
        assert!(!plain("in.\u{fffd}", b""));
        assert!(!plain("in.a", b"NATS/1.0\r\nMy Header: 1\r\n\r\n"));
        assert!(!plain("in.a", b"NATS/1.0 100\r\n\r\n"));
        assert!(!plain("in.a", b"\r\n"));
        let is_marker = |block: &[u8]| message("in.a", block).is_marker();
        assert!(is_marker(b"NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\n\r\n"));
        assert!(!is_marker(b"NATS/1.0\r\nNats-Marker-Reasons: MaxAge\r\n\r\n"));
    }

    #[test]
    fn an_answer_of_the_server_is_decoded() {
        let answer = r#"{"message":{"subject":"in.a","seq":7,"hdrs":"TkFUUy8xLjANCkE6IDENCg0K","data":"/w==","time":"1970-01-01T00:00:01.000000002Z"}}"#;
        let answer: Answer = serde_json::from_str(answer).unwrap();
        let raw = answer.message.decode().unwrap();
        assert_eq!((raw.sequence, raw.time, &raw.payload[..]), (7, 1_000_000_002, &[0xff][..]));
        assert_eq!(Stored::from(raw).headers.get("A"), Some("1"));
    }
}
