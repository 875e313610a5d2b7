//! Originals: an event's own headers and subject inside a message of ours, a dead letter or a held-back event.
//!
//! Promises that what is ours in such a message can be told from what came with the event, whatever that was (a header
//! that calls itself ours is data, never believed), and that the event comes back bit-equal. Refuses to know what the
//! message says of its own.

use super::event::Headers;
use super::header_block;
use super::names::{HEDDLE_PREFIX, dead, held, original, replay};
use super::text::subject_text;

/// Beginnings of names that only the host writes into a message of ours.
const OURS: [&str; 4] = [dead::PREFIX, held::PREFIX, replay::PREFIX, original::PREFIX];

/// The headers of an event as they stand in a message of ours. Names that could be taken for ours are escaped; what
/// cannot be sent as headers at all stands in one, as the bytes it was.
pub fn keep(headers: &Headers) -> Headers {
    if let Some(block) = headers.block() {
        return Headers::from_pairs([(original::BLOCK, header_block::encode(block))]);
    }
    if !headers.iter().any(|(name, _)| is_ours(name)) {
        return headers.clone();
    }
    let escaped = headers.iter().map(|(name, value)| {
        let name = if is_ours(name) { format!("{}{name}", original::PREFIX) } else { name.to_owned() };
        (name, value)
    });
    Headers::from_pairs(escaped)
}

/// What [`keep`] kept, out of a message with headers of ours besides.
pub fn restore(headers: &Headers) -> Headers {
    if let Some(block) = headers.get(original::BLOCK).and_then(header_block::decode) {
        return header_block::read(&block);
    }
    let own = headers.iter().filter_map(|(name, value)| match name.strip_prefix(original::PREFIX) {
        // Only a name that could be taken for ours was escaped.
        Some(escaped) => escaped.starts_with(HEDDLE_PREFIX).then(|| (escaped.to_owned(), value)),
        None => (!is_ours(name)).then(|| (name.to_owned(), value)),
    });
    let mut own: Vec<(String, &str)> = own.collect();
    own.sort_by(|(one, _), (other, _)| one.cmp(other));
    Headers::from_pairs(own)
}

/// Adds a subject under a name of ours, and besides as bytes if it does not fit into a header as it is.
pub fn keep_subject(headers: &mut Headers, name: &'static str, subject: &str) {
    let text = subject_text(subject);
    if text != subject {
        headers.push(original::SUBJECT, header_block::encode(subject.as_bytes()));
    }
    headers.push(name, text);
}

/// The subject that [`keep_subject`] kept.
pub fn restore_subject(headers: &Headers, name: &str) -> Option<Box<str>> {
    let exact = headers.get(original::SUBJECT).and_then(header_block::decode);
    match exact.map(|bytes| String::from_utf8(bytes.into())) {
        Some(Ok(subject)) => Some(subject.into()),
        _ => headers.get(name).map(Into::into),
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with(HEDDLE_PREFIX) && OURS.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[track_caller]
    fn check(headers: Headers) {
        let mut message = keep(&headers);
        assert_eq!(message.get(dead::HANDLER), None);
        assert_eq!(message.get(held::SEQUENCE), None);
        message.push(dead::HANDLER, "ours");
        message.push(held::SEQUENCE, "7");
        keep_subject(&mut message, dead::SUBJECT, "in.a");
        assert_eq!(restore(&message), headers);
        assert_eq!(message.get(dead::HANDLER), Some("ours"));
    }

    #[test]
    fn headers_of_an_event_come_back_whatever_they_call_themselves() {
        check(Headers::default());
        check(Headers::from_pairs([("A", "1"), ("A", "2"), ("Heddle-Cause", "S/1")]));
        check(Headers::from_pairs([
            ("A", "1"),
            ("Heddle-Dead-Handler", "other"),
            ("Heddle-Dead-Handler", "another"),
            ("Heddle-Held-Sequence", "3"),
            ("Heddle-Hops", "1"),
            ("Heddle-Original-Headers", "x"),
            ("Heddle-Original-Heddle-Dead-Handler", "deeper"),
            ("Heddle-Original-Subject", "x"),
            ("Heddle-Replay-Release", "1"),
            ("Z", "1"),
        ]));
    }

    #[test]
    fn headers_that_cannot_be_sent_come_back_as_the_bytes_they_were() {
        for block in [
            &b"NATS/1.0\r\nMy Header: 1\r\nHeddle-Dead-Handler: x\r\n\r\n"[..],
            b"\x00\xff",
            b"NATS/1.0\r\nNo",
        ] {
            check(header_block::read(&Bytes::copy_from_slice(block)));
        }
    }

    #[test]
    fn a_subject_comes_back_as_it_was() {
        for subject in ["in.a", "in.\u{1b}[31m", "in.\\", "in.\u{a0}", "in.ä"] {
            let mut headers = Headers::default();
            keep_subject(&mut headers, dead::SUBJECT, subject);
            assert_eq!(restore_subject(&headers, dead::SUBJECT).as_deref(), Some(subject));
        }
    }
}
