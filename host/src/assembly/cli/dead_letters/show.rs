//! `heddle dead-letters show`.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::list::cause;
use super::select::Selection;
use crate::assembly::cli::TargetArgs;
use crate::assembly::cli::invoke::text_or_json;
use crate::broker::Part;
use crate::values::dead_letter::{header_text, rfc3339};
use crate::values::header_block;
use crate::values::letter::Letter;
use crate::values::names::dead;

/// The longest payload that is shown, in bytes.
const MAX_SHOWN: usize = 16 * 1024;

/// Show dead letters whole: the event, why it failed, and what the plugin said.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    selection: Selection,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

impl Command {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let (settings, broker) = self.target.connect().await?;
        let letters = self.selection.read(&broker, &settings, Part::Whole).await?;
        for (index, letter) in letters.iter().enumerate() {
            if self.json {
                println!("{}", document(letter));
            } else {
                if index > 0 {
                    println!();
                }
                print(letter);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn document(letter: &Letter) -> Value {
    let of = |header: &str| letter.headers.get(header);
    let all = |header: &'static str| letter.all(header).collect::<Vec<_>>();
    let own = letter.own_headers();
    json!({
        "sequence": letter.sequence,
        "stored": rfc3339(letter.stored),
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
        "replays": letter.replays(),
        "backtrace": all(dead::FRAME),
        "logs": all(dead::LOG),
        "event": {
            "id": letter.event_id(),
            "subject": of(dead::SUBJECT),
            "key": of(dead::KEY),
            "time": of(dead::TIME),
            "correlation": of(dead::CORRELATION),
            "trace": of(dead::TRACE),
            "headers": own.iter().collect::<Vec<_>>(),
            "raw_headers": own.block().map(|block| header_block::encode(block)),
            "payload": text_or_json(&letter.payload),
            "whole": !letter.is_partial(),
        },
    })
}

fn print(letter: &Letter) {
    let row = |name: &str, value: &str| {
        if !value.is_empty() {
            println!("{name:<12} {value}");
        }
    };
    let plugin = [letter.text(dead::PLUGIN), letter.text(dead::VERSION)].join(" ");
    let times: Vec<&str> = letter.all(dead::FAILED_AT).collect();
    println!("dead letter  {}, since {}", letter.sequence, rfc3339(letter.stored));
    row("handler", letter.text(dead::HANDLER));
    row("plugin", plugin.trim());
    row("cause", &cause(letter));
    row("message", letter.text(dead::MESSAGE));
    row("fingerprint", letter.text(dead::FINGERPRINT));
    row("attempts", letter.text(dead::ATTEMPTS));
    row("failed at", &times.join(", "));
    row("replayed", letter.text(dead::REPLAYS));
    row("event", &letter.event_id());
    row("subject", letter.text(dead::SUBJECT));
    row("key", letter.text(dead::KEY));
    row("time", letter.text(dead::TIME));
    row("correlation", letter.text(dead::CORRELATION));
    row("trace", letter.text(dead::TRACE));
    section("backtrace", letter.all(dead::FRAME));
    section("last lines", letter.all(dead::LOG));
    let own = letter.own_headers();
    let headers: Vec<String> = own.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    section("headers", headers.iter().map(String::as_str));
    let raw = own.block().map(|block| header_block::encode(block));
    section("headers as they came, in base64", raw.as_deref().into_iter());
    println!("payload");
    if letter.is_partial() {
        println!("  not whole: it did not fit beside the cause. The event itself is {}", letter.event_id());
    }
    println!("  {}", header_text(&String::from_utf8_lossy(&letter.payload), MAX_SHOWN));
}

fn section<'a>(name: &str, lines: impl Iterator<Item = &'a str>) {
    for (index, line) in lines.enumerate() {
        if index == 0 {
            println!("{name}");
        }
        println!("  {line}");
    }
}
