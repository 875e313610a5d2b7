//! `heddle tail`.

use clap::Args;
use serde_json::json;

use super::TargetArgs;
use super::invoke::text_or_json;
use crate::print::{self, say, visible};
use heddle_broker::Stored;
use heddle_values::header_block;
use heddle_values::names::Names;
use heddle_values::subject::Pattern;
use heddle_values::text::{header_text, rfc3339};

/// The longest payload that is shown, in bytes.
const MAX_SHOWN: usize = 2000;

/// Follow the events of an application.
///
/// Shows events and dead letters as they are stored, until Ctrl-C. With --json, one object a line.
#[derive(Debug, Args)]
pub(super) struct Command {
    /// Show only what falls under this subject; wildcards are allowed.
    subject: Option<Pattern>,
    /// Begin with this sequence instead of the end; 1 is the oldest.
    #[arg(long, value_name = "SEQUENCE")]
    from: Option<u64>,
    /// Exit after N events.
    #[arg(short = 'n', long, value_name = "N")]
    number: Option<u64>,
    /// Show Heddle's own messages too: checkpoints, states, announcements.
    #[arg(long)]
    internal: bool,
    #[command(flatten)]
    target: TargetArgs,
}

impl Command {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<()> {
        let (settings, broker) = self.target.connect().await?;
        let own = Names::new(&settings.app).stream_subjects()[0].trim_end_matches('>').to_owned();
        let filters: Vec<Pattern> = self.subject.into_iter().collect();
        let mut tail = broker.tail(&settings.stream.name, &filters, self.from).await?;
        let mut shown = 0;
        while self.number.is_none_or(|number| shown < number) {
            let message = tokio::select! {
                // Cancel-safe enough: Ctrl-C ends the command.
                message = tail.next() => message?,
                _ = tokio::signal::ctrl_c() => return Ok(()),
            };
            if message.subject.starts_with(&own) && !self.internal && filters.is_empty() {
                continue;
            }
            shown += 1;
            print(&message, json)?;
        }
        Ok(())
    }
}

fn print(message: &Stored, json: bool) -> anyhow::Result<()> {
    let headers: Vec<(&str, &str)> = message.headers.iter().collect();
    if json {
        let row = json!({
            "sequence": message.sequence,
            "time": rfc3339(message.time),
            "subject": message.subject,
            "headers": headers,
            "raw_headers": message.headers.block().map(|block| header_block::encode(block)),
            "payload": text_or_json(&message.payload),
        });
        return print::json_line(&row);
    }
    let payload = header_text(&String::from_utf8_lossy(&message.payload), MAX_SHOWN);
    let subject = visible(&message.subject);
    say!("{:>8}  {}  {subject}  {payload}", message.sequence, rfc3339(message.time))?;
    if let Some(fault) = message.headers.fault() {
        say!("          (not all headers can be read: {})", visible(fault))?;
    }
    for (name, value) in headers {
        say!("          {}: {}", visible(name), visible(value))?;
    }
    Ok(())
}
