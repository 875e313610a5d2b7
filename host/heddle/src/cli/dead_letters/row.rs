//! One line of an export: a dead letter as JSON.
//!
//! Promises that what was exported is imported bit-equal, and that only a dead letter is imported. Refuses to know where
//! lines are kept.

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::cli::fixture;
use heddle_values::dead_letter::DeadLetter;
use heddle_values::event::Headers;
use heddle_values::names::NATS_PREFIX;

/// One line of an export.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    /// Where it was; it gets another one when it is imported.
    sequence: u64,
    headers: Vec<(String, String)>,
    /// If it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl Row {
    /// The line of a dead letter.
    pub(super) fn of(dead_letter: &DeadLetter) -> Self {
        let (payload, payload_base64) = fixture::encode(&dead_letter.payload);
        let headers = dead_letter.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Row { sequence: dead_letter.sequence, headers: headers.collect(), payload, payload_base64 }
    }

    /// The dead letter of a line.
    pub(super) fn dead_letter(self) -> anyhow::Result<DeadLetter> {
        let payload = fixture::decode(self.payload, self.payload_base64).context("`payload`")?;
        let payload = payload.context("one of `payload` and `payload_base64` is needed")?;
        if let Some((name, _)) = self.headers.iter().find(|(name, _)| name.starts_with(NATS_PREFIX)) {
            bail!("header `{name}` belongs to the server");
        }
        let headers = Headers::from_pairs(self.headers);
        let dead_letter = DeadLetter { sequence: self.sequence, stored: 0, headers, payload };
        if dead_letter.event().is_none() || dead_letter.handler().is_empty() {
            bail!("not a dead letter: headers that say what the event was are missing");
        }
        Ok(dead_letter)
    }
}
