//! Events in files: what `invoke` runs and what `dead-letters fixture` writes.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use heddle_values::event::{Event, Headers, Source};
use heddle_values::key::Key;
use heddle_values::subject;
use heddle_values::text::{header_text, parse_rfc3339, rfc3339};

/// What is known of an event that is to be run.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) event: Event,
    /// If the file gives one.
    pub(super) key: Option<String>,
    /// The key's state, if the file gives one.
    pub(super) state: Option<Bytes>,
}

/// A test case.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Fixture {
    handler: String,
    /// The key's state before the first event, if it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state_base64: Option<String>,
    events: Vec<FixtureEvent>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FixtureEvent {
    subject: String,
    key: String,
    stream: String,
    sequence: u64,
    time: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    expect: Expectation,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    verdict: String,
}

/// Text where it is text, else Base64.
pub(super) fn encode(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(STANDARD.encode(bytes))),
    }
}

/// What [`encode`] gave; none if nothing is given.
pub(super) fn decode(text: Option<String>, base64: Option<String>) -> anyhow::Result<Option<Bytes>> {
    match (text, base64) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(text.into())),
        (None, Some(text)) => Ok(Some(STANDARD.decode(text).context("not Base64")?.into())),
        (Some(_), Some(_)) => bail!("given as text and as Base64"),
    }
}

impl Fixture {
    /// The wish that an event be done, on a state of its key.
    pub(super) fn of(handler: &str, key: &Key, event: &Event, state: Option<Bytes>) -> Self {
        let (payload, payload_base64) = encode(&event.payload);
        let (state, state_base64) = state.map(|state| encode(&state)).unwrap_or_default();
        let headers = event.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let event = FixtureEvent {
            subject: event.subject.to_string(),
            key: key.as_str().to_owned(),
            stream: event.stream.to_string(),
            sequence: event.sequence,
            time: rfc3339(event.time),
            headers: headers.collect(),
            payload,
            payload_base64,
            expect: Expectation { verdict: "done".to_owned() },
        };
        Fixture { handler: handler.to_owned(), state, state_base64, events: vec![event] }
    }

    fn first(self) -> anyhow::Result<Given> {
        let event = self.events.into_iter().next().context("`events` is empty")?;
        let state = decode(self.state, self.state_base64).context("`state`")?;
        let payload = decode(event.payload, event.payload_base64).context("`payload`")?;
        let time = parse_rfc3339(&event.time);
        Ok(Given {
            event: Event {
                stream: event.stream.into(),
                sequence: event.sequence,
                subject: event.subject.into(),
                time: time.with_context(|| format!("`time`: `{}` is not a time", event.time))?,
                headers: Headers::from_pairs(event.headers),
                payload: payload.unwrap_or_default(),
                source: Source::Stream,
            },
            key: Some(event.key),
            state,
        })
    }
}

/// Writes a fixture with a comment at its top. A file that is there is not overwritten.
pub(super) fn write(path: &Path, about: &str, fixture: &Fixture) -> anyhow::Result<()> {
    const MAX_ABOUT: usize = 200;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("failed to create `{}`", folder.display()))?;
    }
    let text = format!("# {}\n\n{}", header_text(about, MAX_ABOUT), toml::to_string(fixture)?);
    let mut file = std::fs::File::create_new(path).map_err(|error| unwritten(path, error))?;
    std::io::Write::write_all(&mut file, text.as_bytes())
        .with_context(|| format!("failed to write `{}`", path.display()))
}

fn unwritten(path: &std::path::Path, error: std::io::Error) -> anyhow::Error {
    let text = match error.kind() {
        std::io::ErrorKind::AlreadyExists => format!("`{}` exists already: remove it first", path.display()),
        _ => format!("failed to create `{}`", path.display()),
    };
    anyhow::Error::new(error).context(text)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventFile {
    subject: String,
    #[serde(default)]
    payload: Value,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    key: Option<String>,
    time: Option<String>,
    #[serde(default = "one")]
    sequence: u64,
    #[serde(default = "invoked")]
    stream: String,
}

fn one() -> u64 {
    1
}

fn invoked() -> String {
    "INVOKE".to_owned()
}

/// The file of an event that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
pub(super) struct Faulty(anyhow::Error);

/// Reads an event: JSON, or the first one of a fixture. `-` is standard input.
pub(super) fn read(path: &Path) -> Result<Given, Faulty> {
    given(path).map_err(Faulty)
}

fn given(path: &Path) -> anyhow::Result<Given> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin()).context("failed to read standard input")?
    } else {
        std::fs::read_to_string(path).with_context(|| format!("failed to read `{}`", path.display()))?
    };
    let is_fixture = path.extension().is_some_and(|extension| extension == "toml");
    let given = if is_fixture {
        let fixture: Fixture =
            toml::from_str(&text).with_context(|| format!("`{}` is not a fixture", path.display()))?;
        fixture.first().with_context(|| format!("`{}`", path.display()))?
    } else {
        let file: EventFile =
            serde_json::from_str(&text).with_context(|| format!("`{}` is not an event", path.display()))?;
        file.given()?
    };
    if let Err(error) = subject::check(&given.event.subject) {
        bail!("`subject`: {error}");
    }
    Ok(given)
}

impl EventFile {
    fn given(self) -> anyhow::Result<Given> {
        let payload = match self.payload {
            Value::Null => Bytes::new(),
            Value::String(text) => text.into(),
            value => value.to_string().into(),
        };
        let time = match &self.time {
            None => u64::try_from(time::OffsetDateTime::now_utc().unix_timestamp_nanos()).unwrap_or(0),
            Some(text) => parse_rfc3339(text).with_context(|| {
                format!("`time`: `{text}` is not a time such as \"2026-11-01T12:00:00Z\"")
            })?,
        };
        let event = Event {
            stream: self.stream.into(),
            sequence: self.sequence,
            subject: self.subject.into(),
            time,
            headers: Headers::from_pairs(self.headers),
            payload,
            source: Source::Stream,
        };
        Ok(Given { event, key: self.key, state: None })
    }
}
