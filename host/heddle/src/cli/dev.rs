//! `heddle dev`.

mod build;
mod next;

use std::io::{IsTerminal, Write, stderr, stdout};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::build::tell_of_sdks_of;
use super::dev_server::{DEV_FOLDER, DevServer};
use super::{CacheArgs, FileArgs, asked_to_stop, maybe_empty, run_until_signal};
use crate::print::offer;
use crate::server::{self, Server};
use crate::service::Service;
use build::Builds;
use heddle_broker::Broker;
use heddle_config::Needs;
use heddle_flow::activity::Snapshot;
use heddle_values::member::Activity;
use heddle_values::settings::Settings;
use next::next;

/// Where the output is not a terminal, a line is written this often.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// How long an output may hold up the host.
const PATIENCE: Duration = Duration::from_millis(100);

/// Run an application with a nats-server of its own, for development.
///
/// Finds `nats-server` on the PATH, starts it on a free port of the loopback interface with its data beside the
/// application, runs the application and stops both at the end. Other commands in the same folder (`heddle publish`,
/// `heddle tail`, `heddle status`) find the server by themselves. What the file says of production's server (logins, TLS,
/// replicas) does not count here. Plugins with a `build` in the file are built at the
/// start if they are missing or older than their sources, and then whenever these change.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    file: FileArgs,
    /// The server's data. Default: `.heddle/nats` beside the file; it is kept between runs.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// The nats-server to start.
    #[arg(long, value_name = "FILE", env = "HEDDLE_NATS_SERVER", value_parser = maybe_empty())]
    nats_server: Option<PathBuf>,
    #[command(flatten)]
    cache: CacheArgs,
}

impl Command {
    pub(super) async fn run(self, threads: tokio::runtime::Handle) -> anyhow::Result<()> {
        let settings = self.file.load(Needs::Sources)?;
        tell_of_sdks_of(&settings);
        let workshop = self.cache.workshop()?;
        let data = data_folder(self.data, &settings)?;
        let program = server::find(self.nats_server.as_deref())?;
        // One for all of the start: a signal that comes between two waits is kept.
        let mut asked = pin!(asked_to_stop());
        // Cancel-safe: a server that is given up is killed.
        let mut server = tokio::select! {
            server = Server::start(&program, &data) => server?,
            () = &mut asked => return stopped_while_starting(),
        };
        let mut own = settings.clone();
        server::tell_left_out(&own.use_own_server(server.url.clone()));
        // Ends with this function, whatever happens.
        let mut building = JoinSet::new();
        let result = Box::pin(async {
            announce(&own, server.url.clone()).await?;
            let (file, url) = (self.file.config.clone(), server.url.clone());
            let load = move || {
                let mut settings = self.file.load(Needs::Everything)?;
                settings.use_own_server(url.clone());
                Ok(settings)
            };
            let builds = Builds::of(&settings)?;
            let start = async {
                if let Some(builds) = &builds {
                    builds.make_current().await?;
                }
                Service::start(file, Box::new(load), workshop, threads).await
            };
            // Cancel-safe: a build that is given up is killed, and a host that is given up runs nothing yet.
            let service = tokio::select! {
                service = start => service?,
                () = &mut asked => return stopped_while_starting(),
            };
            building.extend(builds.map(build_until_asked));
            say_ready(&server.url, &settings);
            let snapshots = service.snapshots();
            let summary = JoinSet::from_iter([summary(snapshots.clone())]);
            let result = tokio::select! {
                result = Box::pin(run_until_signal(service)) => result,
                why = server.ended() => Err(why),
            };
            drop(summary);
            say(&format!("stopped: {}", totals(&snapshots.borrow())));
            result
        })
        .await;
        // Aborted is not yet ended: its processes must not be left behind.
        building.shutdown().await;
        if stderr().is_terminal() {
            print_to(&mut stderr().lock(), "\n");
        }
        // Nobody else is to find a server that has ended.
        DevServer::remove(&settings.folder);
        let stopped = server.stop().await;
        result.and(stopped)
    }
}

/// Where the server's data are. What else is kept beside the file has its folder from now on.
fn data_folder(named: Option<PathBuf>, settings: &Settings) -> anyhow::Result<PathBuf> {
    let folder = settings.folder.join(DEV_FOLDER);
    std::fs::create_dir_all(&folder).with_context(|| format!("failed to create `{}`", folder.display()))?;
    Ok(named.unwrap_or_else(|| folder.join("nats")))
}

/// Lets the commands in the application's folder find the server.
async fn announce(own: &Settings, url: String) -> anyhow::Result<()> {
    let broker = Broker::connect(&own.nats, "heddle dev").await?;
    DevServer::of_this_process(url, &broker).write(&own.folder)
}

/// Builds until the first signal: what is left of the machine then is for the end.
async fn build_until_asked(builds: Builds) {
    tokio::select! {
        () = builds.run() => {}
        () = asked_to_stop() => {}
    }
}

/// Nobody wants the application any more, which is no failure.
fn stopped_while_starting() -> anyhow::Result<()> {
    tracing::info!("stopped while starting");
    Ok(())
}

/// Says where the application runs, and what to do next.
fn say_ready(url: &str, settings: &Settings) {
    say(&format!("ready: {url}"));
    say(&next(settings));
}

/// Says a line in the place of the summary, which comes again below it.
fn say(line: &str) {
    clear_summary();
    print_to(&mut stdout().lock(), &format!("{line}\n"));
}

/// Says on standard error what is wrong, in the place of the summary.
fn complain(text: &str) {
    clear_summary();
    print_to(&mut stderr().lock(), &format!("{text}\n"));
}

fn clear_summary() {
    if stderr().is_terminal() {
        print_to(&mut stderr().lock(), "\r\x1b[2K");
    }
}

/// Without a reader, there is nobody to say it to, and events do not wait for one.
fn print_to(output: &mut (impl Write + AsFd), text: &str) {
    offer(output, text.as_bytes(), PATIENCE).ok();
}

/// Keeps a summary line on the terminal, or writes one now and then.
async fn summary(mut snapshots: watch::Receiver<Snapshot>) {
    let live = stderr().is_terminal();
    let mut last_line = tokio::time::Instant::now();
    let mut before = String::new();
    while snapshots.changed().await.is_ok() {
        let line = line(&snapshots.borrow_and_update());
        if live {
            print_to(&mut stderr().lock(), &format!("\r\x1b[2K{line}"));
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
        "{} handled, {}, {}",
        counted(sum(|activity| activity.settled), "event", "events"),
        counted(sum(|activity| activity.retries), "retry", "retries"),
        counted(sum(|activity| activity.dead_letters), "dead letter", "dead letters")
    )
}

fn line(snapshot: &Snapshot) -> String {
    let handlers = || snapshot.handlers.values();
    // From 0: `sum` would begin with -0, which shows.
    let rate = handlers().fold(0.0, |sum, activity| sum + activity.events_per_second);
    let retrying: u64 = handlers().map(|activity| activity.retrying).sum();
    let dead: u64 = handlers().map(|activity| activity.dead_letters).sum();
    let settled: u64 = handlers().map(|activity| activity.settled).sum();
    format!(
        "{rate:.0} events/s · {} handled · lag {} · {retrying} retrying · {}",
        counted(settled, "event", "events"),
        snapshot.lag,
        counted(dead, "dead letter", "dead letters")
    )
}

/// `1 event`, `2 events`.
fn counted(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_and_the_last_line_name_the_same_counts_in_the_same_words() {
        let of = |settled, retries, dead_letters| {
            let activity = Activity { settled, retries, dead_letters, ..Activity::default() };
            Snapshot { reading: true, handlers: [("h".into(), activity)].into(), lag: 3 }
        };
        assert_eq!(totals(&of(1, 1, 1)), "1 event handled, 1 retry, 1 dead letter");
        assert_eq!(totals(&of(2, 0, 5)), "2 events handled, 0 retries, 5 dead letters");
        assert_eq!(line(&of(1, 0, 1)), "0 events/s · 1 event handled · lag 3 · 0 retrying · 1 dead letter");
        assert_eq!(line(&of(2, 0, 0)), "0 events/s · 2 events handled · lag 3 · 0 retrying · 0 dead letters");
    }
}
