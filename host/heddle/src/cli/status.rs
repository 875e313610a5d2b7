//! `heddle status`.

mod held;
mod waiting;

use std::collections::BTreeMap;

use clap::Args;
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;

use super::TargetArgs;
use super::fault::Code;
use crate::print::{self, say, visible};
use heddle_broker::Broker;
use heddle_flow::acquire::{members, way_back};
use heddle_values::checkpoint::{Checkpoint, Progress};
use heddle_values::member::{Activity, Member};
use heddle_values::names::Names;
use heddle_values::settings::{HandlerSettings, Settings};
use heddle_values::text::rfc3339;

/// Show the progress of each handler.
///
/// Lag, low mark and retries are as of the last checkpoint, which may be a moment old while events flow; dead letters are
/// counted in the stream. All of these are known whether a host runs or not. What is in flight and the throughput come from
/// the running host's last announcement.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    target: TargetArgs,
}

#[derive(Debug, Serialize)]
struct Status {
    app: String,
    stream: String,
    messages: u64,
    last_sequence: u64,
    hosts: Vec<Host>,
    handlers: BTreeMap<String, Row>,
}

#[derive(Debug, Serialize)]
struct Host {
    host: String,
    hostname: String,
    pid: u32,
    version: String,
    /// It was asked to stop and finishes what runs.
    draining: bool,
    /// Tasks of its runtimes.
    tasks: u64,
}

#[derive(Debug, Default, Serialize)]
struct Row {
    /// Events in the stream that the handler has not done.
    /// None: the handler is stopped, so that its progress says nothing of its stream.
    lag: Option<u64>,
    /// Everything below this sequence is done.
    low: u64,
    in_flight: u64,
    /// Events that wait for another attempt.
    retrying: u64,
    dead_letters: u64,
    /// Keys that a dead letter holds back.
    held_keys: Vec<held::HeldKey>,
    /// Events that are held back behind them.
    held_back: u64,
    events_per_second: f64,
    /// Failed runs since the host started, by cause.
    failures: BTreeMap<String, u64>,
    /// Since when the circuit is open.
    outage_since: Option<String>,
    /// Events that were gone before the handler came to them, since the host started.
    lost: u64,
    /// Instances that wait for an event.
    instances: u64,
    /// Messages that the server wrote for expired or deleted subjects and that were not handed on, since the host started.
    markers: u64,
    /// Why the handler cannot go on in its stream.
    stopped: Option<String>,
    /// The event that the handler waits for before it reads on.
    waits_for: Option<waiting::Blocker>,
    /// The first of the events that wait for another attempt, in the order of the stream: at most 10.
    retries: Vec<waiting::Retry>,
}

impl Command {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<()> {
        let status = self.target.read(async |settings, broker| read(broker, settings).await).await?;
        if json { print::json(&status) } else { Ok(print_text(&status)?) }
    }
}

async fn read(broker: &Broker, settings: &Settings) -> anyhow::Result<Status> {
    let Some((_, stream)) = broker.stream_facts(&settings.stream.name).await? else {
        let message =
            format!("stream `{}` does not exist: the application has not run yet", settings.stream.name);
        return Err(Code::NoStream.fault(message).into());
    };
    let names = Names::new(&settings.app);
    let checkpoints = checkpoints(broker, settings, &names).await?;
    let members: Vec<Member> =
        members(broker, &settings.stream.name, &names).await?.into_iter().map(|(_, member)| member).collect();
    let mut held = held::read(broker, &settings.stream.name, &names).await?;
    let mut handlers = BTreeMap::new();
    for handler in &settings.handlers {
        let mut row = row(broker, settings, &names, handler, &checkpoints, &members).await?;
        row.held_keys = held.remove(&*handler.name).unwrap_or_default();
        row.held_back = row.held_keys.iter().map(|held| held.held_back).sum();
        handlers.insert(handler.name.to_string(), row);
    }
    Ok(Status {
        app: settings.app.clone(),
        stream: settings.stream.name.to_string(),
        messages: stream.messages,
        last_sequence: stream.last,
        hosts: members.into_iter().map(host).collect(),
        handlers,
    })
}

fn host(member: Member) -> Host {
    let Member { host, process, version, draining, tasks, .. } = member;
    Host { host, hostname: process.hostname, pid: process.pid, version, draining, tasks }
}

async fn checkpoints(broker: &Broker, settings: &Settings, names: &Names) -> anyhow::Result<Vec<Checkpoint>> {
    let read = |shard| async move {
        let stored = broker.last(&settings.stream.name, &names.checkpoint(shard)).await?;
        anyhow::Ok(match stored {
            Some(message) => Checkpoint::decode(&message.payload)?,
            None => Checkpoint::default(),
        })
    };
    futures::stream::iter(0..settings.shards.get()).map(read).buffered(16).try_collect().await
}

async fn row(
    broker: &Broker,
    settings: &Settings,
    names: &Names,
    handler: &HandlerSettings,
    checkpoints: &[Checkpoint],
    members: &[Member],
) -> anyhow::Result<Row> {
    let nothing = Progress { low: 1, ..Progress::default() };
    let tracks: Vec<&Progress> =
        checkpoints.iter().map(|c| c.handlers.get(&*handler.name).unwrap_or(&nothing)).collect();
    let low = tracks.iter().map(|progress| progress.low).min().unwrap_or(1);
    let done_above: u64 = tracks.iter().map(|progress| progress.done.len()).sum();
    // Shards beyond the lowest one have done more; counting from the lowest low mark bounds the lag from above.
    let pending = broker.count_from(&handler.stream, &handler.subscribe, low).await?.pending;
    let dead = broker.subjects(&settings.stream.name, &names.dead_letters(&handler.name)).await?;
    let activity = |member: &Member| member.handlers.get(&*handler.name).cloned().unwrap_or_default();
    let activities: Vec<Activity> = members.iter().map(activity).collect();
    let stopped = activities.iter().find_map(|activity| activity.stopped.clone());
    Ok(Row {
        lag: stopped.is_none().then(|| pending.saturating_sub(done_above)),
        low,
        in_flight: activities.iter().map(|activity| activity.in_flight).sum(),
        retrying: tracks.iter().map(|progress| progress.attempts.len() as u64).sum(),
        dead_letters: dead.iter().map(|(_, count)| *count as u64).sum(),
        events_per_second: events_per_second(&activities),
        failures: failures(&activities),
        outage_since: activities.iter().filter_map(|activity| activity.outage_since).min().map(time_of),
        lost: activities.iter().map(|activity| activity.lost).sum(),
        instances: activities.iter().map(|activity| activity.instances).sum(),
        markers: activities.iter().map(|activity| activity.markers).sum(),
        stopped,
        waits_for: activities
            .iter()
            .find_map(|activity| activity.waits_for.as_deref())
            .map(|event| waiting::blocker(event, &tracks)),
        retries: waiting::retries(&handler.stream, &settings.stream.name, &tracks),
        ..Row::default()
    })
}

/// The sum over all hosts. Without any it is 0: `sum` would begin with -0, which shows.
fn events_per_second(activities: &[Activity]) -> f64 {
    activities.iter().fold(0.0, |sum, activity| sum + activity.events_per_second)
}

fn time_of(milliseconds: u64) -> String {
    rfc3339(milliseconds.saturating_mul(1_000_000))
}

fn failures(activities: &[Activity]) -> BTreeMap<String, u64> {
    let mut sum = BTreeMap::new();
    for (cause, count) in activities.iter().flat_map(|activity| &activity.failures) {
        *sum.entry(cause.clone()).or_default() += count;
    }
    sum
}

fn print_text(status: &Status) -> Result<(), print::Error> {
    say!("application {} · stream {}: {} messages", status.app, status.stream, status.messages)?;
    if status.hosts.is_empty() {
        say!("no host is running")?;
    }
    for Host { host, hostname, pid, version, draining, .. } in &status.hosts {
        let (hostname, version) = (visible(hostname), visible(version));
        let draining = if *draining { " · draining" } else { "" };
        say!("host {} · process {pid} on {hostname} · heddle {version}{draining}", visible(host))?;
    }
    let header =
        ["handler", "lag", "low mark", "in flight", "retrying", "dead letters", "held keys", "events/s"];
    let rows = status.handlers.iter().map(|(name, row)| {
        [
            name.clone(),
            row.lag.map_or_else(|| "-".to_owned(), |lag| lag.to_string()),
            row.low.to_string(),
            row.in_flight.to_string(),
            row.retrying.to_string(),
            row.dead_letters.to_string(),
            row.held_keys.len().to_string(),
            format!("{:.0}", row.events_per_second),
        ]
    });
    let width = status.handlers.keys().map(String::len).max().unwrap_or(0).max(header[0].len());
    for [name, lag, low, flight, retrying, dead, held, rate] in
        std::iter::once(header.map(str::to_owned)).chain(rows)
    {
        say!(
            "{name:<width$}  {lag:>10}  {low:>10}  {flight:>9}  {retrying:>8}  {dead:>12}  {held:>9}  {rate:>8}"
        )?;
    }
    status.handlers.iter().try_for_each(|(name, row)| print_trouble(name, row))
}

/// What of a handler needs an operator's attention.
fn print_trouble(name: &str, row: &Row) -> Result<(), print::Error> {
    if let Some(reason) = &row.stopped {
        say!("{name}: stopped: {}; {}", visible(reason), way_back(name))?;
    }
    if row.lost > 0 {
        say!("{name}: {} events are lost: they were gone from the stream before it came to them", row.lost)?;
    }
    if let Some(blocker) = &row.waits_for {
        waiting::print_blocker(name, blocker)?;
    }
    waiting::print_retries(name, &row.retries, row.retrying)?;
    if let Some(since) = &row.outage_since {
        say!("{name}: circuit open since {since}: one event at a time is tried")?;
    }
    held::print(name, &row.held_keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_host_no_events_a_second_are_handled() {
        assert_eq!(format!("{:.0}", events_per_second(&[])), "0");
        let busy = Activity { events_per_second: 2.5, ..Activity::default() };
        assert_eq!(events_per_second(&[busy.clone(), busy]), 5.0);
    }
}
