//! `heddle tail`.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::TargetArgs;
use super::invoke::text_or_json;
use crate::print::{self, complain, say, visible};
use heddle_broker::{Broker, EventTail, Stored};
use heddle_values::header_block;
use heddle_values::names::Names;
use heddle_values::settings::Settings;
use heddle_values::subject::Pattern;
use heddle_values::text::{header_text, rfc3339};

/// The longest payload that is shown, in bytes.
const MAX_SHOWN: usize = 2000;

/// How long nothing comes before it is asked whether anything that is stored is still to come.
const QUIET: Duration = Duration::from_millis(200);

/// Follow the events of an application.
///
/// Shows events and dead letters as they are stored, until Ctrl-C; a line on standard error says when it has shown what is
/// stored and waits for more. With --json, one object a line.
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
    /// Exit after what is stored now, and begin with the oldest unless --from says otherwise.
    #[arg(long)]
    no_follow: bool,
    /// Show Heddle's own messages too: checkpoints, states, announcements.
    #[arg(long)]
    internal: bool,
    #[command(flatten)]
    target: TargetArgs,
}

impl Command {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<()> {
        self.target.read(async |settings, broker| self.follow(settings, broker, json).await).await
    }

    async fn follow(&self, settings: &Settings, broker: &Broker, json: bool) -> anyhow::Result<()> {
        let own = Names::new(&settings.app).stream_subjects()[0].trim_end_matches('>').to_owned();
        let filters: Vec<Pattern> = self.subject.iter().cloned().collect();
        let from = self.from.or(self.no_follow.then_some(1));
        let mut events = Events::of(broker, &settings.stream.name, &filters, from).await?;
        let mut shown = 0;
        while self.number.is_none_or(|number| shown < number) {
            let next = tokio::select! {
                // Cancel-safe enough: Ctrl-C ends the command.
                next = events.next() => next?,
                _ = tokio::signal::ctrl_c() => return Ok(()),
            };
            let message = match next {
                Next::Message(message) if !self.no_follow || message.sequence <= events.end => message,
                Next::Message(_) => return Ok(()),
                Next::CaughtUp if self.no_follow => return Ok(()),
                Next::CaughtUp => {
                    if !json {
                        complain!("waiting for new events; Ctrl-C ends it");
                    }
                    continue;
                }
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

/// What comes next.
enum Next {
    Message(Stored),
    /// Everything has come that was stored at the beginning. Comes once.
    CaughtUp,
}

/// The events of a stream, and when those have come that were there at the beginning.
struct Events<'a> {
    broker: &'a Broker,
    stream: &'a str,
    filters: &'a [Pattern],
    tail: EventTail,
    /// What lies below has come.
    next: u64,
    /// The last sequence at the beginning.
    end: u64,
    caught_up: bool,
}

impl<'a> Events<'a> {
    async fn of(
        broker: &'a Broker,
        stream: &'a str,
        filters: &'a [Pattern],
        from: Option<u64>,
    ) -> anyhow::Result<Self> {
        let end = broker.stream_state(stream).await?.last;
        let next = from.unwrap_or(end + 1);
        let tail = broker.tail(stream, filters, Some(next)).await?;
        Ok(Events { broker, stream, filters, tail, next, end, caught_up: false })
    }

    async fn next(&mut self) -> anyhow::Result<Next> {
        while !self.caught_up {
            if self.next > self.end {
                self.caught_up = true;
                return Ok(Next::CaughtUp);
            }
            // Cancel-safe: what is not taken is kept.
            match tokio::time::timeout(QUIET, self.tail.next()).await {
                Ok(message) => {
                    let message = message?;
                    self.next = message.sequence + 1;
                    return Ok(Next::Message(message));
                }
                // What was stored last may not fall under the filters, or be gone.
                Err(_) if self.is_nothing_left().await => self.next = self.end + 1,
                Err(_) => {}
            }
        }
        Ok(Next::Message(self.tail.next().await?))
    }

    /// Whether the server has nothing more to deliver. False if it does not answer: the tail waits for it.
    async fn is_nothing_left(&self) -> bool {
        let left = self.broker.count_from(self.stream, self.filters, self.next).await;
        left.is_ok_and(|left| left.pending == 0)
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
