//! `heddle dev`.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use tokio::sync::watch;

use super::{CacheArgs, DEV_FOLDER, DEV_URL, FileArgs, asked_to_stop, run_until_signal};
use crate::assembly::config::Needs;
use crate::assembly::server::{self, Server};
use crate::assembly::service::Service;
use crate::flow::activity::Snapshot;
use crate::values::member::Activity;

/// Where the output is not a terminal, a line is written this often.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Run an application with a nats-server of its own, for development.
///
/// Finds `nats-server` on the PATH, starts it on a free port of the loopback interface with its data beside the
/// application, runs the application and stops both at the end. Other commands in the same folder (`heddle publish`,
/// `heddle tail`, `heddle status`) find the server by themselves.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    file: FileArgs,
    /// The server's data. Default: `.heddle/nats` beside the file; it is kept between runs.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// The nats-server to start.
    #[arg(long, value_name = "FILE", env = "HEDDLE_NATS_SERVER")]
    nats_server: Option<PathBuf>,
    #[command(flatten)]
    cache: CacheArgs,
}

impl Command {
    pub(super) async fn run(self, threads: tokio::runtime::Handle) -> anyhow::Result<()> {
        let settings = self.file.load(Needs::Everything)?;
        let workshop = self.cache.workshop()?;
        let folder = settings.folder.join(DEV_FOLDER);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("failed to create `{}`", folder.display()))?;
        let data = self.data.unwrap_or_else(|| folder.join("nats"));
        let program = server::find(self.nats_server.as_deref())?;
        let mut server = Server::start(&program, &data).await?;
        let url_file = folder.join(DEV_URL);
        let result = async {
            std::fs::write(&url_file, &server.url)
                .with_context(|| format!("failed to write `{}`", url_file.display()))?;
            let (file, url) = (self.file.config.clone(), server.url.clone());
            let load = move || {
                let mut settings = self.file.load(Needs::Everything)?;
                settings.nats.url = url.clone();
                Ok(settings)
            };
            let service = tokio::select! {
                service = Service::start(file, Box::new(load), workshop, threads) => service?,
                () = asked_to_stop() => bail!("stopped while starting"),
            };
            println!("ready: {}", server.url);
            let snapshots = service.snapshots();
            let summary = tokio::task::JoinSet::from_iter([summary(snapshots.clone())]);
            let result = tokio::select! {
                result = Box::pin(run_until_signal(service)) => result,
                why = server.ended() => Err(why),
            };
            drop(summary);
            println!("stopped: {}", totals(&snapshots.borrow()));
            result
        }
        .await;
        if std::io::stderr().is_terminal() {
            eprintln!();
        }
        // Nobody else is to find a server that has ended.
        std::fs::remove_file(&url_file).ok();
        let stopped = server.stop().await;
        result.and(stopped)
    }
}

/// Keeps a summary line on the terminal, or writes one now and then.
async fn summary(mut snapshots: watch::Receiver<Snapshot>) {
    let live = std::io::stderr().is_terminal();
    let mut last_line = tokio::time::Instant::now();
    let mut before = String::new();
    while snapshots.changed().await.is_ok() {
        let line = line(&snapshots.borrow_and_update());
        if live {
            let mut terminal = std::io::stderr();
            // A terminal that is gone has no reader.
            write!(terminal, "\r\x1b[2K{line}").and_then(|()| terminal.flush()).ok();
        } else if line != before && last_line.elapsed() >= LINE_INTERVAL {
            tracing::info!("{line}");
            last_line = tokio::time::Instant::now();
            before = line;
        }
    }
}

fn totals(snapshot: &Snapshot) -> String {
    let sum = |count: fn(&Activity) -> u64| snapshot.handlers.values().map(count).sum::<u64>();
    format!(
        "{} events handled, {} retries, {} dead letters",
        sum(|activity| activity.settled),
        sum(|activity| activity.retries),
        sum(|activity| activity.dead_letters)
    )
}

fn line(snapshot: &Snapshot) -> String {
    let handlers = || snapshot.handlers.values();
    let rate: f64 = handlers().map(|activity| activity.events_per_second).sum();
    let retrying: u64 = handlers().map(|activity| activity.retrying).sum();
    let dead: u64 = handlers().map(|activity| activity.dead_letters).sum();
    let settled: u64 = handlers().map(|activity| activity.settled).sum();
    format!(
        "{rate:.0} events/s · {settled} handled · lag {} · {retrying} retrying · {dead} dead letters",
        snapshot.lag
    )
}
