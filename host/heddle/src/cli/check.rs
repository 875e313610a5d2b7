//! `heddle check`.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::fault::{self, Code};
use super::stale::Stale;
use super::target::Origin;
use super::{CacheArgs, TargetArgs};
use crate::host;
use crate::print::{self, say};
use heddle_broker::{Broker, Inspected};
use heddle_config::Needs;
use heddle_flow::versions;
use heddle_values::choreography::review;
use heddle_values::errors::chain;
use heddle_values::names::Names;
use heddle_values::rights::{denied_publishes, needed_to_run};
use heddle_values::settings::Settings;

/// Default of nats-server's `max_payload`, in bytes, for a check without a server.
const USUAL_MAX_PAYLOAD: usize = 1 << 20;

/// Check the file, the plugins, the stream and the choreography.
///
/// Compiles every plugin and makes an instance of it; compares the stream with what the application needs, if the server
/// can be reached; looks for cycles, for messages that no handler consumes and for subscriptions that no handler feeds.
/// Ends with 2 if something is wrong.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    cache: CacheArgs,
    /// Do not ask the server.
    #[arg(long)]
    offline: bool,
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) errors: Vec<String>,
    /// Worth checking; may be intended.
    pub(super) notes: Vec<String>,
    pub(super) ok: Vec<String>,
}

impl Command {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<ExitCode> {
        let (settings, origin) = self.target.load(Needs::Everything)?;
        let mut report = Report::default();
        let handlers = match settings.handlers.len() {
            1 => "1 handler".to_owned(),
            count => format!("{count} handlers"),
        };
        report.ok.push(format!("file: application `{}`, {handlers}", settings.app));
        let (mut max_payload, mut server) = (USUAL_MAX_PAYLOAD, None);
        if self.offline {
            report.notes.push("stream: not checked (--offline)".to_owned());
        } else {
            match origin.connect(&settings, "heddle check").await {
                Ok(broker) => {
                    max_payload = broker.max_payload();
                    check_streams(&broker, &settings, &mut report).await;
                    check_rights(&broker, &settings, &mut report).await;
                    server = Some(broker);
                }
                Err(error) if fault::code(&error) == Code::Connect && origin.names_none(&settings) => {
                    report.notes.push(format!("stream: not checked: {}", Origin::none_answers(&settings)));
                }
                Err(error) if fault::code(&error) == Code::Connect => {
                    report.notes.push(format!("stream: not checked: {}", chain(error.as_ref())));
                }
                Err(error) => report.errors.push(format!("server: {}", chain(error.as_ref()))),
            }
        }
        let sandbox = host::sandbox(&settings, &self.cache.workshop()?)?;
        match host::admit_all(&sandbox, &settings, server.as_ref(), max_payload).await {
            Ok(plugins) => {
                for (handler, plugin) in settings.handlers.iter().zip(plugins) {
                    report.ok.push(format!("plugin of handler `{}`: {}", handler.name, plugin.digest()));
                }
            }
            Err(versions::Error::Plugins(errors)) => {
                let line = |(handler, error)| format!("plugin of handler `{handler}`: {error}");
                report.errors.extend(errors.into_iter().map(line));
            }
            Err(error) => return Err(error.into()),
        }
        report.notes.extend(Stale::all(&settings).iter().map(|stale| format!("plugin: {}", stale.note())));
        report.notes.extend(review(&settings).iter().map(|finding| format!("choreography: {finding}")));
        if json {
            print::json(&report)?
        } else {
            print_text(&report)?
        }
        Ok(if report.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
    }
}

fn print_text(report: &Report) -> Result<(), print::Error> {
    for (mark, lines) in [("ok   ", &report.ok), ("note ", &report.notes), ("error", &report.errors)] {
        for line in lines {
            say!("{mark} {line}")?;
        }
    }
    Ok(())
}

/// Judges the application's own stream and all others that it reads: every fault of every stream is reported.
pub(super) async fn check_streams(broker: &Broker, settings: &Settings, report: &mut Report) {
    let inspected = match broker.inspect(settings, &Names::new(&settings.app)).await {
        Ok(inspected) => inspected,
        Err(error) => return report.errors.push(format!("stream: {error}")),
    };
    for Inspected { stream, state, suitability } in inspected {
        let Some(state) = state else {
            if *stream == *settings.stream.name {
                report.ok.push(format!("stream: `{stream}` does not exist and will be created"));
                continue;
            }
            let readers = settings.handlers.iter().filter(|handler| *handler.stream == *stream);
            let missing = |handler: &str| format!("handler `{handler}`: stream `{stream}` does not exist");
            report.errors.extend(readers.map(|handler| missing(&handler.name)));
            continue;
        };
        if suitability.faults.is_empty() {
            report.ok.push(format!("stream: `{stream}` fits, {} messages", state.messages));
        }
        report.errors.extend(suitability.faults.iter().map(|fault| format!("stream `{stream}`: {fault}")));
        let differences = suitability.differences.iter();
        report.notes.extend(differences.map(|difference| format!("stream `{stream}`: {difference}")));
    }
}

/// What the user of `[nats]`, who is to be that of the host, may not do.
pub(super) async fn check_rights(broker: &Broker, settings: &Settings, report: &mut Report) {
    let Some(permissions) = broker.permissions().await else {
        report.notes.push("permissions: not checked: the server does not tell this user its own".to_owned());
        return;
    };
    let lacking = needed_to_run(settings).lacking(&permissions);
    if lacking.is_empty() {
        report.ok.push("permissions: the host's user may do what Heddle itself needs".to_owned());
    }
    let missing = |line| format!("permissions: grant this user to {line} (see `heddle permissions`)");
    report.errors.extend(lacking.into_iter().map(missing));
    report.errors.extend(denied_publishes(settings, &permissions));
}
