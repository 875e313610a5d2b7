//! The soak: events flow for long, good ones and bad ones, and everything that could grow is looked at all the while.
//!
//! Promises to find every good event that is lost, repeated or reordered, and whatever of a host and its server does not
//! stay level: memory, file descriptors, threads, tasks, instances, consumers and stored messages.

mod bad;
mod level;
mod sample;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use heddle_tests::{App, Host, Server, wait_for};
use serde::Serialize;

use bad::Bad;
use level::Level;
use sample::Sample;

use crate::judge::Judge;
use crate::load::Load;
use crate::streams;

/// Samples of a campaign.
const SAMPLES: u32 = 60;

/// One event in N is handled by the handler whose events may be bad.
const BAD_ONE_IN: u64 = 10;

/// How large a campaign is.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How long events flow. A sixtieth of it lies between two samples.
    pub length: Duration,
    /// Events a second.
    pub rate: u64,
    /// How many keys each of the two handlers has.
    pub keys: u64,
    /// How long streams keep events and effects: only after that their size can stay level.
    pub kept: Duration,
    /// What everything is drawn from.
    pub seed: u64,
    /// Whether the server keeps its data on disk.
    pub disk: bool,
}

/// What a campaign has found.
#[derive(Debug, Serialize)]
pub struct Report {
    seed: u64,
    rate: u64,
    seconds: u64,
    /// Good events.
    events: u64,
    /// Events of the handler to which bad ones come, too.
    mixed_events: u64,
    lost: u64,
    repeated: u64,
    reordered: u64,
    faults: Vec<String>,
    /// What is measured, early and late.
    levels: Vec<Level>,
    samples: Vec<Sample>,
}

impl Report {
    /// Whether every promise was kept.
    pub fn is_sound(&self) -> bool {
        self.lost + self.repeated + self.reordered == 0
            && self.faults.is_empty()
            && self.events > 0
            && self.levels.iter().all(Level::is_level)
    }
}

/// Two handlers: one whose events are good and that an instance serves many of, and one to which all kinds of events come
/// and that makes a new instance for each.
fn application(kept: Duration) -> App {
    let [echo, contrary] = ["echo", "contrary"].map(heddle_tests::plugin);
    let kept = format!("{}s", kept.as_secs());
    App::new(&format!(
        r#"
app = "t"
shards = 8
[stream]
name = "T"
subjects = ["out.>", "mixed.>"]
max-age = "{kept}"
[handlers.good]
plugin = {echo:?}
stream = "IN"
subscribe = ["in.0.*"]
key = "{{subject.2}}"
publishes = ["out.>"]
instances = {{ reuse = 1000 }}
[handlers.mixed]
plugin = {contrary:?}
stream = "IN"
subscribe = ["in.1.*"]
key = "{{subject.2}}"
publishes = ["mixed.>"]
retry = {{ max-attempts = 3, backoff = {{ initial = "20ms", max = "200ms" }} }}
"#
    ))
}

/// Runs a campaign. `say` is told how many seconds are over, and what was measured last.
///
/// # Errors
/// The server or the host cannot be used. What is wrong with the run stands in the report.
pub async fn run(plan: &Plan, say: &impl Fn(u64, String)) -> Result<Report> {
    let server = streams::server(plan.disk).await?;
    let jetstream = server.jetstream().await;
    streams::make_input(&jetstream, plan.kept).await?;
    let app = application(plan.kept);
    let host = app.start(&server.url()).await;
    let echo = std::fs::read(heddle_tests::plugin("echo"))?;
    let judge = Judge::start(&jetstream, plan.keys, &echo).await?;
    let good = Load::start(server.client().await, plan.keys, plan.rate - plan.rate / BAD_ONE_IN);
    let bad = Bad::start(server.client().await, plan.seed, plan.keys, (plan.rate / BAD_ONE_IN).max(1));
    let samples = samples(plan, (&app, &host, &server), say).await?;
    let (sent, mixed_events) = (good.end().await?, bad.end().await?);
    say(plan.length.as_secs(), "waiting for the last events".to_owned());
    let verdict = judge.end(sent).await;
    let mut faults = verdict.told;
    faults.extend(until_done(&app, &server).await);
    ensure!(host.stop().await == 0, "the host did not stop well: {}", app.logs());
    Ok(Report {
        seed: plan.seed,
        rate: plan.rate,
        seconds: plan.length.as_secs(),
        events: verdict.events,
        mixed_events,
        lost: verdict.lost,
        repeated: verdict.repeated,
        reordered: verdict.reordered,
        faults,
        levels: Level::all(&samples),
        samples,
    })
}

async fn samples(
    plan: &Plan,
    (app, host, server): (&App, &Host, &Server),
    say: &impl Fn(u64, String),
) -> Result<Vec<Sample>> {
    let began = Instant::now();
    let mut samples = Vec::new();
    let mut ticks = tokio::time::interval(plan.length / SAMPLES);
    ticks.tick().await;
    while began.elapsed() < plan.length {
        ticks.tick().await;
        let sample = Sample::take(began, app, host, server).await?;
        say(began.elapsed().as_secs(), sample.to_string());
        samples.push(sample);
    }
    Ok(samples)
}

/// Waits until every handler has done everything. What is wrong then.
async fn until_done(app: &App, server: &Server) -> Vec<String> {
    let status = wait_for("every event ends", || async {
        let status = sample::status(app, server).await.ok()?;
        status.handlers.values().all(sample::Row::is_done).then_some(status)
    })
    .await;
    let lost = status.handlers.iter().filter(|(_, row)| row.lost > 0);
    lost.map(|(name, row)| format!("handler {name} lost {} events", row.lost)).collect()
}
