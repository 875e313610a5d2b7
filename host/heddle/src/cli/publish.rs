//! `heddle publish`.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use futures::StreamExt;
use serde_json::json;

use super::TargetArgs;
use super::consent::Consent;
use super::fault::Code;
use super::invoke::text_or_json;
use crate::print::{self, complain, say, visible};
use heddle_broker::Broker;
use heddle_values::effects::is_reserved;
use heddle_values::event::Headers;
use heddle_values::names::REPLY_TO;
use heddle_values::settings::Settings;
use heddle_values::subject;

/// Publish an event and wait until it is stored.
#[derive(Debug, Args)]
pub(super) struct Command {
    /// The event's subject.
    subject: String,
    /// The payload; `-` reads standard input.
    #[arg(default_value = "")]
    payload: String,
    /// A header; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "NAME:VALUE")]
    headers: Vec<String>,
    /// Publish the event N times.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Wait for a handler's reply, at most DURATION, and print its payload.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "5s", value_parser = heddle_config::parse_duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    target: TargetArgs,
}

impl Command {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<()> {
        subject::check(&self.subject).map_err(|error| Code::Usage.fault(error.to_string()))?;
        if is_reserved(&self.subject) {
            let message = format!(
                "subject `{}` is reserved: what is published there would harm the application",
                self.subject
            );
            return Err(Code::Usage.fault(message).into());
        }
        let mut headers = parse_headers(&self.headers)?;
        let payload = if self.payload == "-" {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin(), &mut bytes)
                .context("failed to read standard input")?;
            bytes
        } else {
            self.payload.into_bytes()
        };
        let (settings, broker) = self.target.connect().await?;
        let handlers = subscribers(&settings, &self.subject, json);
        if self.consent.dry_run {
            check_size(payload.len() + size(&headers), broker.max_payload())?;
            return would_publish(&broker, (&self.subject, &handlers), self.count, payload.len(), json).await;
        }
        let (inbox, answers) = broker.answers().await?;
        if self.wait.is_some() {
            headers.push(REPLY_TO, inbox);
        }
        check_size(payload.len() + size(&headers), broker.max_payload())?;
        let published = broker.publish_many(&self.subject, &headers, payload.into(), self.count).await?;
        if !json {
            let (stream, at) = (visible(&published.stream), published.sequence);
            match published.duplicates {
                0 => say!("stored in {stream}/{at}")?,
                n if n == self.count => say!("not stored again: `Nats-Msg-Id` is known, as {stream}/{at}")?,
                n => say!("stored in {stream}/{at}; {n} not stored again, as their `Nats-Msg-Id` is known")?,
            }
        }
        let mut reply = None;
        if let Some(wait) = self.wait.filter(|_| published.duplicates < self.count) {
            let mut answers = std::pin::pin!(answers);
            match tokio::time::timeout(wait, answers.next()).await {
                Ok(Some((_, payload))) => reply = Some(payload),
                _ => return Err(Code::NoReply.fault(format!("no reply within {wait:?}")).into()),
            }
        }
        if json {
            return print::json(&json!({
                "stream": published.stream,
                "sequence": published.sequence,
                "duplicates": published.duplicates,
                "handlers": handlers,
                "reply": reply.map(|reply| text_or_json(&reply)),
            }));
        }
        Ok(reply.map_or(Ok(()), |reply| print::bytes(&reply))?)
    }
}

/// The handlers that subscribe to a subject. That there is none may be intended, or a subject that is misspelt.
fn subscribers<'a>(settings: &'a Settings, subject: &str, json: bool) -> Vec<&'a str> {
    let subscribing = settings.handlers.iter().filter(|handler| handler.subscribes_to(subject));
    let names: Vec<&str> = subscribing.map(|handler| &*handler.name).collect();
    if names.is_empty() && !json {
        let patterns = settings.handlers.iter().flat_map(|handler| &handler.subscribe);
        let patterns: BTreeSet<String> = patterns.map(|pattern| format!("`{}`", pattern.as_str())).collect();
        let patterns: Vec<String> = patterns.into_iter().collect();
        complain!(
            "note: no handler of application `{}` subscribes to `{}`: they subscribe to {}",
            settings.app,
            visible(subject),
            patterns.join(", ")
        );
    }
    names
}

fn parse_headers(given: &[String]) -> anyhow::Result<Headers> {
    let mut headers = Headers::default();
    for header in given {
        let parts = header.split_once(':').filter(|(name, _)| !name.trim().is_empty());
        let Some((name, value)) = parts else {
            return Err(Code::Usage.fault(format!("`{}` is not NAME:VALUE", visible(header))).into());
        };
        check_header(name.trim())?;
        headers.push(name.trim().to_owned(), value.trim());
    }
    Ok(headers)
}

/// By a header the server can be told to remove all that is stored, or to publish elsewhere later: no event needs those.
fn check_header(name: &str) -> anyhow::Result<()> {
    const COMMANDS: [&str; 3] = ["nats-rollup", "nats-schedule", "nats-batch-"];
    let lower = name.to_ascii_lowercase();
    if COMMANDS.iter().any(|command| lower.starts_with(command)) {
        let message = format!(
            "header `{}` is a command to the server, which could harm the application",
            visible(name)
        );
        return Err(Code::Usage.fault(message).into());
    }
    Ok(())
}

/// How many bytes headers take in a message, about.
fn size(headers: &Headers) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum()
}

fn check_size(bytes: usize, most: usize) -> anyhow::Result<()> {
    if bytes > most {
        let message = format!(
            "payload and headers have {bytes} bytes, but the server accepts {most} (its `max_payload`)"
        );
        return Err(Code::Usage.fault(message).into());
    }
    Ok(())
}

/// Says what would be published, and where it would be stored.
async fn would_publish(
    broker: &Broker,
    (subject, handlers): (&str, &[&str]),
    count: u64,
    bytes: usize,
    json: bool,
) -> anyhow::Result<()> {
    let Some(stream) = broker.stream_of(subject).await? else {
        return Err(Code::NoStream
            .fault(format!("no stream stores what is published on `{subject}`"))
            .into());
    };
    if json {
        return print::json(&json!({
            "dry_run": true,
            "stream": stream,
            "subject": subject,
            "count": count,
            "bytes": bytes,
            "handlers": handlers,
        }));
    }
    let (subject, stream) = (visible(subject), visible(&stream));
    Ok(say!("would publish {count} × {bytes} B on {subject}, stored in {stream}")?)
}
