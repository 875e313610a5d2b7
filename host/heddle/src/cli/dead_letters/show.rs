//! `heddle dead-letters show`.

use std::process::ExitCode;

use clap::Args;
use futures::TryStreamExt;
use serde_json::{Value, json};

use super::list::cause;
use super::select::Selection;
use crate::cli::TargetArgs;
use crate::cli::invoke::text_or_json;
use crate::print::{Error, Rows, visible, visible_json};
use heddle_broker::{Broker, Part};
use heddle_values::dead_letter::DeadLetter;
use heddle_values::header_block;
use heddle_values::names::dead;
use heddle_values::settings::Settings;
use heddle_values::text::{header_text, rfc3339};

/// The longest payload that is shown, in bytes.
const MAX_SHOWN: usize = 16 * 1024;

/// Show dead letters whole: the event, why it failed, and what the plugin said. With --json, one object a line.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    target: TargetArgs,
}

impl Command {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<ExitCode> {
        self.target.read(async |settings, broker| self.show(broker, settings, json).await).await
    }

    async fn show(&self, broker: &Broker, settings: &Settings, json: bool) -> anyhow::Result<ExitCode> {
        let mut dead_letters = self.selection.dead_letters(broker, settings, Part::Whole).await?;
        let (mut rows, mut is_first) = (Rows::default(), true);
        while let Some(dead_letter) = dead_letters.try_next().await? {
            if json {
                rows.line(&visible_json(&document(&dead_letter).to_string()))?;
                continue;
            }
            if !std::mem::replace(&mut is_first, false) {
                rows.line("")?;
            }
            print(&mut rows, &dead_letter)?;
        }
        rows.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}

fn document(dead_letter: &DeadLetter) -> Value {
    let of = |header: &str| dead_letter.headers.get(header);
    let all = |header: &'static str| dead_letter.all(header).collect::<Vec<_>>();
    let own = dead_letter.own_headers();
    json!({
        "sequence": dead_letter.sequence,
        "stored": rfc3339(dead_letter.stored),
        "handler": of(dead::HANDLER),
        "plugin": of(dead::PLUGIN),
        "plugin_version": of(dead::VERSION),
        "cause": of(dead::CAUSE_CLASS),
        "limit": of(dead::LIMIT),
        "limit_allowed": of(dead::LIMIT_ALLOWED),
        "limit_used": of(dead::LIMIT_USED),
        "message": of(dead::MESSAGE),
        "fingerprint": of(dead::FINGERPRINT),
        "attempts": of(dead::ATTEMPTS),
        "failed_at": all(dead::FAILED_AT),
        "replays": dead_letter.replays(),
        "backtrace": all(dead::FRAME),
        "logs": all(dead::LOG),
        "event": {
            "id": dead_letter.event_id(),
            "subject": of(dead::SUBJECT),
            "key": of(dead::KEY),
            "time": of(dead::TIME),
            "correlation": of(dead::CORRELATION),
            "trace": of(dead::TRACE),
            "headers": own.iter().collect::<Vec<_>>(),
            "raw_headers": own.block().map(|block| header_block::encode(block)),
            "payload": text_or_json(&dead_letter.payload),
            "whole": !dead_letter.is_partial(),
        },
    })
}

fn print(rows: &mut Rows, dead_letter: &DeadLetter) -> Result<(), Error> {
    let plugin = [dead_letter.text(dead::PLUGIN), dead_letter.text(dead::VERSION)].join(" ");
    let times: Vec<&str> = dead_letter.all(dead::FAILED_AT).collect();
    rows.line(&format!("dead letter  {}, since {}", dead_letter.sequence, rfc3339(dead_letter.stored)))?;
    for (name, value) in [
        ("handler", dead_letter.text(dead::HANDLER)),
        ("plugin", plugin.trim()),
        ("cause", &cause(dead_letter)),
        ("message", dead_letter.text(dead::MESSAGE)),
        ("fingerprint", dead_letter.text(dead::FINGERPRINT)),
        ("attempts", dead_letter.text(dead::ATTEMPTS)),
        ("failed at", &times.join(", ")),
        ("replayed", dead_letter.text(dead::REPLAYS)),
        ("event", &dead_letter.event_id()),
        ("subject", dead_letter.text(dead::SUBJECT)),
        ("key", dead_letter.text(dead::KEY)),
        ("time", dead_letter.text(dead::TIME)),
        ("correlation", dead_letter.text(dead::CORRELATION)),
        ("trace", dead_letter.text(dead::TRACE)),
    ] {
        if !value.is_empty() {
            rows.line(&format!("{name:<12} {}", visible(value)))?;
        }
    }
    section(rows, "backtrace", dead_letter.all(dead::FRAME))?;
    section(rows, "last lines", dead_letter.all(dead::LOG))?;
    let own = dead_letter.own_headers();
    let headers: Vec<String> = own.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    section(rows, "headers", headers.iter().map(String::as_str))?;
    let raw = own.block().map(|block| header_block::encode(block));
    section(rows, "headers as they came, in base64", raw.as_deref().into_iter())?;
    rows.line("payload")?;
    if dead_letter.is_partial() {
        let event = dead_letter.event_id();
        let event = visible(&event);
        rows.line(&format!("  not whole: it did not fit beside the cause. The event itself is {event}"))?;
    }
    rows.line(&format!("  {}", header_text(&String::from_utf8_lossy(&dead_letter.payload), MAX_SHOWN)))
}

fn section<'a>(rows: &mut Rows, name: &str, lines: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    for (index, line) in lines.enumerate() {
        if index == 0 {
            rows.line(name)?;
        }
        rows.line(&format!("  {}", visible(line)))?;
    }
    Ok(())
}
