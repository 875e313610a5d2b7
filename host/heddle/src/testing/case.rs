//! Test files: input events and expected results.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// One test.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Case {
    /// Default: the file's name.
    pub name: Option<String>,
    /// The only handler that takes part. Default: all of the application.
    pub handler: Option<String>,
    /// When the clock begins, in RFC 3339. Default: the first event's `time`, or 2026-01-01T00:00:00Z.
    pub start: Option<String>,
    /// The state of the first event's key before it, as text.
    pub state: Option<String>,
    /// The state of the first event's key before it, in Base64. Only one of both may be given.
    pub state_base64: Option<String>,
    /// States of other keys and handlers.
    #[serde(default)]
    pub states: Vec<GivenState>,
    /// Names and values of `config` in the place of the application's, by handler.
    #[serde(default)]
    pub config: BTreeMap<String, BTreeMap<String, String>>,
    /// What is published, in this order. Nothing else has to be given.
    pub events: Vec<GivenEvent>,
    /// What must be true in the end. Default: only that there is no dead letter which nobody expects.
    #[serde(default)]
    pub expect: Whole,
}

/// The state of a key before the first event.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GivenState {
    /// Default: the test's `handler`.
    pub handler: Option<String>,
    /// The key, as the handler's template gives it.
    pub key: String,
    /// The state as text. Only one of `text`, `base64` and `json` may be given; with none the state is empty.
    pub text: Option<String>,
    /// The state in Base64.
    pub base64: Option<String>,
    /// The state as a value that is written as JSON.
    pub json: Option<Value>,
}

/// An event that is published.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GivenEvent {
    /// What it is published on. A handler that takes part must subscribe to it.
    pub subject: String,
    /// In the place of what the handler's template says.
    pub key: Option<String>,
    /// Default: the handler's stream, or the application's.
    pub stream: Option<String>,
    /// Default: the one after the last.
    pub sequence: Option<u64>,
    /// When it is stored, in RFC 3339. Default: when everything before has come to rest.
    pub time: Option<String>,
    /// How much time passes before it, such as `5s`.
    pub after: Option<String>,
    /// Its headers. Default: none.
    #[serde(default)]
    pub headers: Pairs,
    /// The payload as text.
    pub payload: Option<String>,
    /// The payload in Base64. Only one of the three ways to give it may be used; with none it is empty.
    pub payload_base64: Option<String>,
    /// The payload as a value that is written as JSON.
    pub json: Option<Value>,
    /// What its handlers make of it.
    #[serde(default, deserialize_with = "one_or_many")]
    pub expect: Vec<Expect>,
}

/// What a handler makes of an event. What is not given may be anything.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Expect {
    /// Default: the only one that the event goes to.
    pub handler: Option<String>,
    /// How it ends: `done`, or the cause of the dead letter.
    pub verdict: Option<String>,
    /// How each of its runs ends.
    pub verdicts: Option<Vec<String>>,
    /// How often it is run.
    pub attempts: Option<u32>,
    /// A part of the last failure's reason.
    pub reason: Option<String>,
    /// All messages, in their order.
    pub messages: Option<Vec<ExpectedMessage>>,
    /// Its first answer to the publisher. Over a server it is not known.
    pub reply: Option<Content>,
    /// The state that it leaves.
    pub state: Option<Content>,
    /// Parts of log lines; each must be there, in this order.
    pub logs: Option<Vec<String>>,
}

/// What comes of the whole test.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Whole {
    /// All messages of all handlers, in any order.
    pub messages: Option<Vec<ExpectedMessage>>,
    /// All dead letters, in any order. Default: those whose events expect a verdict other than `done`.
    pub dead_letters: Option<Vec<ExpectedDeadLetter>>,
    /// States at the end.
    #[serde(default)]
    pub states: Vec<ExpectedState>,
}

/// A message that a handler publishes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExpectedMessage {
    /// What it is published on, without wildcards.
    pub subject: String,
    /// Headers that it has, among others.
    #[serde(default)]
    pub headers: Pairs,
    /// The delay that it was published with, such as `5s`. Default: none.
    pub after: Option<String>,
    /// The payload is exactly this text.
    pub text: Option<String>,
    /// The payload is exactly these bytes, in Base64.
    pub base64: Option<String>,
    /// The payload is equal to this as JSON.
    pub json: Option<Value>,
    /// The payload is equal to this text of JSON: for `null`, which TOML lacks. It does not count beside `json`.
    pub json_text: Option<String>,
    /// The payload is JSON with at least this in it.
    pub contains: Option<Value>,
}

/// A dead letter.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExpectedDeadLetter {
    /// The handler that gave up. Default: any.
    pub handler: Option<String>,
    /// The subject of the event.
    pub subject: Option<String>,
    /// Its cause, such as `reject` or `limit:time`; `limit` alone is any limit. Default: any.
    pub cause: Option<String>,
    /// A part of the reason.
    pub reason: Option<String>,
    /// How often the event was run, deferrals not counted. Default: however often.
    pub attempts: Option<u32>,
}

/// A state at the end.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExpectedState {
    /// Default: the test's `handler`.
    pub handler: Option<String>,
    /// The key, as the handler's template gives it.
    pub key: String,
    /// What its state is; with `none = true` it has none.
    pub state: Content,
}

/// What bytes are to be.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Content {
    /// Exactly this text.
    pub text: Option<String>,
    /// Exactly these bytes, in Base64.
    pub base64: Option<String>,
    /// Equal as JSON.
    pub json: Option<Value>,
    /// Equal to this text of JSON: for `null`, which TOML lacks. It does not count beside `json`.
    pub json_text: Option<String>,
    /// JSON with at least this in it.
    pub contains: Option<Value>,
    /// There are none.
    #[serde(default)]
    pub none: bool,
}

impl ExpectedMessage {
    /// What the payload is to be.
    pub fn content(&self) -> Content {
        Content {
            text: self.text.clone(),
            base64: self.base64.clone(),
            json: self.json.clone(),
            json_text: self.json_text.clone(),
            contains: self.contains.clone(),
            none: false,
        }
    }
}

/// Names and values: a table, or an array of pairs where names repeat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pairs(pub Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of names and values, or an array of pairs")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Pairs, A::Error> {
                let table: BTreeMap<String, String> =
                    Deserialize::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Pairs(table.into_iter().collect()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Pairs, A::Error> {
                Deserialize::deserialize(SeqAccessDeserializer::new(seq)).map(Pairs)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// A table, or an array of tables.
fn one_or_many<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct Either<T>(std::marker::PhantomData<T>);

    impl<'de, T: DeserializeOwned> Visitor<'de> for Either<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table or an array of tables")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(|one| vec![one])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Vec<T>, A::Error> {
            Deserialize::deserialize(SeqAccessDeserializer::new(seq))
        }
    }

    deserializer.deserialize_any(Either(std::marker::PhantomData))
}

/// A file with several tests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Many {
    test: Vec<Case>,
}

/// Reads the tests of a file: one, or several in `[[test]]`.
///
/// # Errors
/// It cannot be read, or is not a test file; the text says where.
pub fn read(path: &Path) -> anyhow::Result<Vec<Case>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("failed to read `{}`", path.display()))?;
    parse(&text).with_context(|| format!("`{}`", path.display()))
}

/// Reads the tests of a text.
pub(crate) fn parse(text: &str) -> anyhow::Result<Vec<Case>> {
    let table: toml::Table = toml::from_str(text)?;
    if table.contains_key("test") {
        let many: Many = toml::from_str(text)?;
        return Ok(many.test);
    }
    Ok(vec![toml::from_str(text)?])
}

/// Bytes that are given in one of three ways; none if in none.
pub(super) fn bytes(
    text: Option<&str>,
    base64: Option<&str>,
    json: Option<&Value>,
) -> anyhow::Result<Option<Bytes>> {
    Ok(match (text, base64, json) {
        (None, None, None) => None,
        (Some(text), None, None) => Some(Bytes::copy_from_slice(text.as_bytes())),
        (None, Some(base64), None) => Some(STANDARD.decode(base64).context("not Base64")?.into()),
        (None, None, Some(json)) => Some(json.to_string().into()),
        _ => bail!("given in more than one way: text, Base64 and JSON exclude each other"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_one_test_or_several() {
        let one = parse("handler = \"a\"\n[[events]]\nsubject = \"x\"\n").unwrap();
        assert_eq!(one.len(), 1);
        let many = "[[test]]\n[[test.events]]\nsubject = \"x\"\n[[test]]\n[[test.events]]\nsubject = \"y\"\n";
        assert_eq!(parse(many).unwrap().len(), 2);
    }

    #[test]
    fn an_expectation_may_be_a_table_or_an_array_of_tables() {
        let text = "[[events]]\nsubject = \"x\"\nexpect = { verdict = \"done\" }\n\
                    [[events]]\nsubject = \"y\"\n[[events.expect]]\nhandler = \"a\"\n[[events.expect]]\nhandler = \"b\"\n";
        let cases = parse(text).unwrap();
        let counts: Vec<usize> = cases[0].events.iter().map(|event| event.expect.len()).collect();
        assert_eq!(counts, [1, 2]);
    }

    #[test]
    fn a_key_that_is_not_known_is_named_with_its_line() {
        let error = parse("[[events]]\nsubjekt = \"x\"\n").unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("subjekt"), "{error}");
        let error = parse("[[events]]\nsubject = \"x\"\nexpect = { verdikt = \"done\" }\n").unwrap_err();
        assert!(error.to_string().contains("verdikt"), "{error}");
    }

    #[test]
    fn headers_may_repeat_in_an_array_of_pairs() {
        let text = "[[events]]\nsubject = \"x\"\nheaders = [[\"A\", \"1\"], [\"A\", \"2\"]]\n\
                    [[events]]\nsubject = \"x\"\nheaders = { B = \"3\" }\n";
        let cases = parse(text).unwrap();
        assert_eq!(cases[0].events[0].headers.0.len(), 2);
        assert_eq!(cases[0].events[1].headers.0, [("B".to_owned(), "3".to_owned())]);
    }
}
