//! The campaign of swaps: a plugin's file is replaced again and again while events flow, some of the time by what is no
//! good.
//!
//! Promises to find every event that is lost, repeated or reordered, every key that goes back to an earlier version, and
//! every state that does not fit the events, and measures what swaps cost in memory and time. A key's events are numbered,
//! and the guest `echo` publishes what it gets and counts: so effects alone show all of it.

mod files;
mod report;
mod swapper;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream;
use heddle_tests::{App, Host, wait_for};
use rand::SeedableRng;
use rand::rngs::StdRng;

use files::Files;
pub use report::Report;
use report::{Memory, Phase};
use swapper::Swapper;

use crate::judge::Judge;
use crate::load::Load;
use crate::streams::{self, OUTPUT};

/// How large a campaign is.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How often the file is replaced.
    pub swaps: usize,
    /// Events a second.
    pub rate: u64,
    /// The share of the files that are no good.
    pub bad: f64,
    /// Different good versions, which take turns.
    pub versions: u64,
    /// Over how many keys the events are spread. The events of each key are numbered from 1.
    pub keys: u64,
    /// How long events flow without swaps, before and after those with them.
    pub quiet: Duration,
    /// What everything is drawn from.
    pub seed: u64,
    /// Whether the server keeps its data on disk.
    pub disk: bool,
}

/// Events and effects are kept as long: the host and the judge read them at once.
const KEPT: Duration = Duration::from_secs(600);

const APPLICATION: &str = r#"
app = "t"
shards = 4
[stream]
name = "T"
subjects = ["out.>"]
max-age = "10m"
[handlers.h]
plugin = "plugin.wasm"
stream = "IN"
subscribe = ["in.0.*"]
key = "{subject.2}"
publishes = ["out.>"]
canary = { events = 60, max-failures = "20%" }
retry = { max-attempts = 2, backoff = { initial = "5ms", max = "20ms" } }
"#;

/// Runs a campaign. `say` is told how many swaps are done, and what is under way.
pub async fn run(plan: &Plan, say: &impl Fn(usize, String)) -> Result<Report> {
    let server = streams::server(plan.disk).await?;
    let jetstream = server.jetstream().await;
    streams::make_input(&jetstream, KEPT).await?;
    let mut random = StdRng::seed_from_u64(plan.seed);
    let files = Files::new(plan.versions)?;
    say(0, format!("compiling {} versions", plan.versions));
    files.compile().await?;
    let app = App::new(APPLICATION);
    heddle_tests::component::replace(&plugin(&app), files.first());
    let host = app.start(&server.url()).await;
    let judge = Judge::start(&jetstream, plan.keys, files.first()).await?;
    let load = Load::start(server.client().await, plan.keys, plan.rate);
    let campaign = Campaign { plan, host, judge, load, log: app.folder().join("host-0.log") };
    campaign.run(&app, files, &mut random, &jetstream, say).await
}

fn plugin(app: &App) -> std::path::PathBuf {
    app.folder().join("plugin.wasm")
}

/// A campaign under way.
struct Campaign<'a> {
    plan: &'a Plan,
    host: Host,
    judge: Judge,
    load: Load,
    log: std::path::PathBuf,
}

impl Campaign<'_> {
    async fn run(
        self,
        app: &App,
        files: Files,
        random: &mut StdRng,
        jetstream: &jetstream::Context,
        say: &impl Fn(usize, String),
    ) -> Result<Report> {
        let Campaign { plan, host, judge, load, log } = self;
        say(0, "events flow without swaps".to_owned());
        // The beginning is not counted.
        tokio::time::sleep(plan.quiet / 4).await;
        let mut phases = vec![Phase::begin("before the swaps")];
        tokio::time::sleep(plan.quiet).await;
        let mut memory = vec![Memory::of("before the swaps", host.memory())];
        phases.push(Phase::begin("swaps"));
        let mut swapper = Swapper::new(files, plugin(app), log, judge.order());
        for swap in 0..plan.swaps {
            swapper
                .swap(plan.bad, random)
                .await
                .with_context(|| format!("swap {swap}, seed {}", plan.seed))?;
            say(swap + 1, format!("{} · {} MiB", swapper.tally, host.memory() >> 20));
            if swap + 1 == plan.swaps / 2 {
                memory.push(Memory::of("after half of the swaps", host.memory()));
            }
        }
        memory.push(Memory::of("after all swaps", host.memory()));
        phases.push(Phase::begin("after the swaps"));
        tokio::time::sleep(plan.quiet).await;
        memory.push(Memory::of("at the end", host.memory()));
        phases.push(Phase::begin("the end"));
        let sent = load.end().await?;
        say(plan.swaps, format!("waiting for the last of {} events", sent.iter().sum::<u64>()));
        let verdict = judge.end(sent.clone()).await;
        let Swapper { tally, marks, .. } = swapper;
        let torn = torn(jetstream, &sent).await?;
        let dead = dead(jetstream).await?;
        ensure!(host.stop().await == 0, "the host did not stop well: {}", app.logs());
        Ok(Report::new(plan, (&phases, &memory), (tally, &marks), verdict, (torn, dead)))
    }
}

/// Events that the states of the keys do not count, or count twice.
async fn torn(jetstream: &jetstream::Context, sent: &[u64]) -> Result<i64> {
    use futures::StreamExt;
    let stream = jetstream.get_stream(OUTPUT).await?;
    let config = jetstream::consumer::pull::OrderedConfig {
        filter_subject: "_heddle.t.state.*.h.>".to_owned(),
        deliver_policy: jetstream::consumer::DeliverPolicy::LastPerSubject,
        ..Default::default()
    };
    let mut states = stream.create_consumer(config).await?.messages().await?;
    let (mut counted, mut keys) = (0, 0);
    let wanted = sent.iter().filter(|sent| **sent > 0).count();
    while keys < wanted {
        let next = tokio::time::timeout(heddle_tests::PATIENCE, states.next()).await;
        let message = next.context("the states of some keys are missing")?.context("reading ended")??;
        counted += i64::from_le_bytes(message.payload.as_ref().try_into().context("not a counter")?);
        keys += 1;
    }
    Ok(sent.iter().sum::<u64>() as i64 - counted)
}

async fn dead(jetstream: &jetstream::Context) -> Result<usize> {
    let checker = heddle_tests::Checker::new(jetstream.clone(), OUTPUT);
    Ok(wait_for("dead letters are counted", || checker.count("dead.>")).await)
}

/// A text of a file as far as it has been written.
fn read_from(file: &Path, offset: &mut u64) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let mut bytes = Vec::new();
    let read = std::fs::File::open(file).and_then(|mut file| {
        file.seek(SeekFrom::Start(*offset))?;
        file.read_to_end(&mut bytes)
    });
    // Half a line is read again when it is whole.
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    if read.is_ok() {
        *offset += whole as u64;
    }
    String::from_utf8_lossy(bytes.get(..whole).unwrap_or_default()).into_owned()
}
