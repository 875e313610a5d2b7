//! Keys: what must stay in order, and how a key is found in an event.
//!
//! Promises that equal keys always fall in the same shard, on every host and in every version, and that
//! any key can stand in a subject as one token. Refuses to know about lanes and handlers.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::event::Event;
use super::pointer::{self, Found};

/// The longest key in bytes. What is longer is taken for a mistake in the template.
pub const MAX_KEY: usize = 1024;

/// Tells the hash for ranks from that for shards.
const RANK_SEED: u64 = 1;

/// Tokens up to this length are kept readable; longer keys are replaced by their hash.
const MAX_TOKEN: usize = 200;

/// What must stay in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

impl Key {
    /// Takes the text as a key.
    pub fn new(text: &str) -> Self {
        Key(text.into())
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key's shard: XXH3-64 (seed 0) of its bytes, modulo `shards`.
    pub fn shard(&self, shards: u16) -> u16 {
        let shard = xxh3_64(self.0.as_bytes()) % u64::from(shards.max(1));
        u16::try_from(shard).expect("a remainder is below its divisor, which is a u16")
    }

    /// Where the key lies among all keys, from 0 to below 1: a version that gets a share of the keys gets those below it.
    /// It says nothing of the key's shard.
    pub fn rank(&self) -> f64 {
        let hash = xxh3_64_with_seed(self.0.as_bytes(), RANK_SEED);
        // The 53 bits that a float holds.
        (hash >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The key as one legal subject token: letters, digits, `-` and `_` stand for themselves, every other
    /// byte becomes `=` and two hexadecimal digits, the empty key is `=`. A key whose token would be longer
    /// than 200 bytes becomes `=h` and 64 hexadecimal digits of its BLAKE3 hash.
    pub fn token(&self) -> String {
        if self.0.is_empty() {
            return "=".to_owned();
        }
        let mut token = String::with_capacity(self.0.len());
        for byte in self.0.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => token.push(byte.into()),
                _ => token.push_str(&format!("={byte:02x}")),
            }
        }
        if token.len() > MAX_TOKEN {
            return format!("=h{}", blake3::hash(self.0.as_bytes()).to_hex());
        }
        token
    }

    /// The key that has this token. None if it cannot be known: its token is a hash, or this is no token.
    pub fn from_token(token: &str) -> Option<Self> {
        let mut bytes = Vec::with_capacity(token.len());
        let mut rest = token.bytes();
        while let Some(byte) = rest.next() {
            let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
            bytes.push(match byte {
                b'=' if token.len() > 1 => u8::try_from(16 * digit()? + digit()?).ok()?,
                b'=' => break,
                byte => byte,
            });
        }
        let key = Key::new(std::str::from_utf8(&bytes).ok()?);
        (key.token() == token).then_some(key)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why an event has no key. The event becomes a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The subject is too short for a `{subject.N}` of the template; this is N, counted from 0.
    #[error("subject has no token {0}")]
    NoToken(usize),
    /// The event lacks the header of this name; letter case counts.
    #[error("header `{0}` is missing")]
    NoHeader(Box<str>),
    /// The template points into the payload, which the JSON parser refuses for this reason.
    #[error("payload is not JSON: {0}")]
    NotJson(String),
    /// Nothing, or `null`, stands at this JSON pointer of the template.
    #[error("payload has nothing at `{0}`")]
    NoField(Box<str>),
    /// At this JSON pointer of the template stands neither a text, a number nor a truth value.
    #[error("payload has an array or object at `{0}`, which cannot be a key")]
    NotScalar(Box<str>),
    /// The key is longer than [`MAX_KEY`]; this is its length in bytes.
    #[error("key has {0} bytes, more than {MAX_KEY}")]
    TooLong(usize),
}

/// Why a text is not a key template.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// Nothing was given; a handler without `key` has the template `{subject}`.
    #[error("key template is empty")]
    Empty,
    /// A part is begun and not ended.
    #[error("`{{` without `}}`")]
    Unclosed,
    /// A `}` stands outside of any part; no text of a template can hold a brace.
    #[error("`}}` without `{{`")]
    Unopened,
    /// What stands in braces, given here, is no part: its name, token number or pointer is wrong.
    #[error(
        "unknown part `{{{0}}}`: known are {{subject}}, {{subject.N}}, {{header.NAME}}, {{payload./POINTER}} and {{event}}"
    )]
    UnknownPart(String),
    /// There is nothing but text: all events would share one lane, and run one at a time.
    #[error("template has no part in braces: every event would have the same key")]
    Constant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Subject,
    Token(usize),
    Header(Box<str>),
    /// A JSON pointer (RFC 6901).
    Payload(Box<str>),
    Event,
}

/// How a key is made from an event: text and parts in braces, joined.
///
/// `{subject}` is the whole subject, `{subject.N}` its token N counted from 0, `{header.NAME}` the first
/// value of a header, `{payload./a/b}` a scalar at a JSON pointer (RFC 6901), a number as it stands there, `{event}` the
/// event's id, which gives every event a key of its own (no order).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTemplate {
    text: Box<str>,
    parts: Box<[Part]>,
}

impl KeyTemplate {
    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether every event has a key of its own, so that nothing is kept in order.
    pub fn is_unordered(&self) -> bool {
        self.parts.contains(&Part::Event)
    }

    /// The largest subject token that the template asks for.
    pub fn last_token(&self) -> Option<usize> {
        self.parts.iter().filter_map(|part| if let Part::Token(n) = part { Some(*n) } else { None }).max()
    }

    /// The key of `event`.
    pub fn key(&self, event: &Event) -> Result<Key, KeyError> {
        let key = match &*self.parts {
            [Part::Token(n)] => Key::new(token(event, *n)?),
            [Part::Subject] => Key::new(&event.subject),
            parts => {
                let mut text = String::new();
                for part in parts {
                    part.append(event, &mut text)?;
                }
                Key::new(&text)
            }
        };
        if key.0.len() > MAX_KEY {
            return Err(KeyError::TooLong(key.0.len()));
        }
        Ok(key)
    }
}

fn token(event: &Event, n: usize) -> Result<&str, KeyError> {
    event.subject.split('.').nth(n).ok_or(KeyError::NoToken(n))
}

impl Part {
    fn append(&self, event: &Event, text: &mut String) -> Result<(), KeyError> {
        match self {
            Part::Text(literal) => text.push_str(literal),
            Part::Subject => text.push_str(&event.subject),
            Part::Token(n) => text.push_str(token(event, *n)?),
            Part::Header(name) => {
                text.push_str(event.header(name).ok_or_else(|| KeyError::NoHeader(name.clone()))?);
            }
            Part::Payload(pointer) => append_field(&event.payload, pointer, text)?,
            Part::Event => text.push_str(&event.id()),
        }
        Ok(())
    }
}

fn append_field(payload: &[u8], at: &str, text: &mut String) -> Result<(), KeyError> {
    match pointer::find(payload, at).map_err(KeyError::NotJson)? {
        None | Some(Found::Null) => return Err(KeyError::NoField(at.into())),
        Some(Found::Text(value) | Found::Number(value)) => text.push_str(&value),
        Some(Found::Bool(value)) => text.push_str(if value { "true" } else { "false" }),
        Some(Found::Several) => return Err(KeyError::NotScalar(at.into())),
    }
    Ok(())
}

impl FromStr for KeyTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, after) = match rest.split_once('{') {
                Some((literal, after)) => (literal, Some(after)),
                None => (rest, None),
            };
            if literal.contains('}') {
                return Err(TemplateError::Unopened);
            }
            if !literal.is_empty() {
                parts.push(Part::Text(literal.into()));
            }
            let Some(after) = after else { break };
            let (name, after) = after.split_once('}').ok_or(TemplateError::Unclosed)?;
            parts.push(parse_part(name)?);
            rest = after;
        }
        if parts.is_empty() {
            return Err(TemplateError::Empty);
        }
        if parts.iter().all(|part| matches!(part, Part::Text(_))) {
            return Err(TemplateError::Constant);
        }
        Ok(KeyTemplate { text: text.into(), parts: parts.into() })
    }
}

fn parse_part(name: &str) -> Result<Part, TemplateError> {
    let unknown = || TemplateError::UnknownPart(name.to_owned());
    match name.split_once('.') {
        None if name == "subject" => Ok(Part::Subject),
        None if name == "event" => Ok(Part::Event),
        Some(("subject", n)) => n.parse().map(Part::Token).map_err(|_| unknown()),
        Some(("header", header)) if !header.is_empty() => Ok(Part::Header(header.into())),
        Some(("payload", pointer)) if pointer.starts_with('/') => Ok(Part::Payload(pointer.into())),
        _ => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Headers;

    fn event() -> Event {
        Event {
            stream: "S".into(),
            sequence: 7,
            subject: "order.created.c1".into(),
            time: 0,
            headers: Headers::from_pairs([("Customer", "ada")]),
            payload: r#"{"customer":{"id":42,"name":"Ada"},"on":true}"#.into(),
            source: Default::default(),
        }
    }

    #[test]
    fn a_key_comes_from_subject_header_payload_or_the_event() {
        #[track_caller]
        fn check(template: &str, expected: Result<&str, KeyError>) {
            let key = template.parse::<KeyTemplate>().unwrap().key(&event());
            assert_eq!(key.as_ref().map(Key::as_str), expected.as_ref().copied());
        }
        check("{subject}", Ok("order.created.c1"));
        check("{subject.2}", Ok("c1"));
        check("{subject.3}", Err(KeyError::NoToken(3)));
        check("{header.Customer}", Ok("ada"));
        check("{header.Nobody}", Err(KeyError::NoHeader("Nobody".into())));
        check("{payload./customer/id}", Ok("42"));
        check("{payload./on}/{subject.0}", Ok("true/order"));
        check("{payload./customer}", Err(KeyError::NotScalar("/customer".into())));
        check("{payload./nothing}", Err(KeyError::NoField("/nothing".into())));
        check("{event}", Ok("S/7"));
    }

    #[test]
    fn numbers_are_one_key_only_if_they_are_written_alike() {
        let key = |payload: &str| {
            let event = Event { payload: payload.as_bytes().to_vec().into(), ..event() };
            "{payload./id}".parse::<KeyTemplate>().unwrap().key(&event).unwrap()
        };
        for (one, other) in [
            ("100000000000000000001", "100000000000000000002"),
            ("18446744073709551615", "18446744073709551616"),
            ("-9223372036854775808", "-9223372036854775809"),
            ("1", "1.0"),
            ("100", "1e2"),
        ] {
            let [one, other] = [one, other].map(|number| (number, key(&format!("{{\"id\":{number}}}"))));
            assert_eq!((one.1.as_str(), other.1.as_str()), (one.0, other.0));
        }
        assert_eq!(key("\u{feff}{\"id\": 7 }").as_str(), "7");
        assert_eq!(key("{\"id\":\"7\"}").as_str(), "7");
    }

    #[test]
    fn a_template_that_cannot_work_is_refused() {
        for bad in ["", "{", "}", "{subject", "{subject.x}", "{payload.a}", "{Subject}", "fixed"] {
            assert!(bad.parse::<KeyTemplate>().is_err(), "{bad:?} passed");
        }
    }

    #[test]
    fn any_key_is_one_legal_token_and_no_two_keys_share_one() {
        let long = "x".repeat(300);
        let keys = ["", "a", "a.b", "a=2eb", "=", "*", ">", "a b", "ä", "\n", &long];
        let tokens: std::collections::BTreeSet<String> =
            keys.iter().map(|key| Key::new(key).token()).collect();
        assert_eq!(tokens.len(), keys.len());
        for token in tokens {
            assert!(!token.contains('.'));
            super::super::subject::check(&token).unwrap();
        }
    }

    #[test]
    fn shards_are_the_same_in_every_version() {
        assert_eq!(xxh3_64(b"heddle"), 14_554_716_452_701_544_408);
        assert_eq!(Key::new("heddle").shard(16), 8);
        assert_eq!(Key::new("anything").shard(1), 0);
    }

    #[test]
    fn a_share_of_the_keys_is_that_share_in_every_shard() {
        let mut below = [0_u32; 4];
        let keys = (0..40_000).map(|n| Key::new(&n.to_string()));
        keys.filter(|key| key.rank() < 0.05).for_each(|key| below[usize::from(key.shard(4))] += 1);
        assert!(below.iter().all(|count| (400..600).contains(count)), "{below:?}");
    }
}
