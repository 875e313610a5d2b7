//! The campaign of mixes: events that succeed, fail for a while, fail for good, are slow or rejected, in shares and over
//! keys that a matrix varies, with new and with reused instances, with a circuit and without, in five languages, and with
//! real outages, of a file and of an HTTP service, as control.
//!
//! Promises to find every cell that stands still, every event that does not end as its class says, every effect that is
//! missing, repeated or out of order, and every key without bad events that waits for others. A cell is *stuck* when
//! nothing ends for longer than any wait that the application is set to.

mod class;
mod guest;
mod judge;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use async_nats::jetstream;
use futures::{StreamExt, TryStreamExt};
use heddle_tests::Server;
use serde::Serialize;

use class::{Class, Shares};
pub use guest::Guest;
use guest::Outside;
use judge::{Progress, Verdict};

/// How long nothing may end before a cell counts as stuck. What can only guess whether the outside is up may take a tail of
/// bad events for an outage, for 15 s; on a machine that has much else to do the rest takes its time.
const STUCK: Duration = Duration::from_secs(60);

/// The header that carries an event's number.
const NUMBER: &str = "Number";

/// The languages of handlers.
const LANGUAGES: [&str; 5] = ["rust", "js", "python", "go", "c"];

/// How long the outage of a cell lasts.
const OUTAGE: Duration = Duration::from_secs(5);

/// One mix.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Cell {
    /// Its name in the report.
    pub name: &'static str,
    /// The shares of events that fail, are rejected or are slow; the rest succeeds.
    pub shares: Shares,
    /// Over how many keys the events are spread at random.
    pub keys: u64,
    /// Instances that serve many events.
    pub reuse: bool,
    /// Whether the handlers have a circuit: `outage` in their settings.
    pub circuit: bool,
    /// What every event depends on is away for a while.
    pub outage: bool,
    /// Who handles the events, and thereby what they depend on.
    pub guest: Guest,
}

impl Cell {
    /// Fresh instances of the guest that needs at most a file, without circuit and outage.
    const PLAIN: Cell = Cell {
        name: "",
        shares: Shares { flaky: 0, poison: 0, rejected: 0, slow: 0 },
        keys: 2_000,
        reuse: false,
        circuit: false,
        outage: false,
        guest: Guest::File,
    };
}

/// How large a campaign is.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Events of each cell.
    pub events: u64,
    /// Events a second.
    pub rate: u64,
    /// The cells, which run one after the other, each with a server and a host of its own.
    pub cells: Vec<Cell>,
    /// What everything is drawn from.
    pub seed: u64,
}

/// What became of a cell.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The cell as it was planned.
    pub cell: Cell,
    /// What the stream shows to be right and wrong.
    pub verdict: Verdict,
    /// From the first event to the last end.
    pub seconds: f64,
    /// The host's memory at the end, in MiB.
    pub memory: u64,
    /// What the host said of its circuit.
    pub circuit: Vec<String>,
}

/// What a campaign has found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The seed of the plan: with the same cells it draws the same events again.
    pub seed: u64,
    /// How many events each cell has.
    pub events: u64,
    /// Events a second, as planned.
    pub rate: u64,
    /// What became of each cell, in the order of the plan.
    pub outcomes: Vec<Outcome>,
}

impl Report {
    /// Whether every cell came to its end, and a right one.
    pub fn is_sound(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.verdict.is_sound())
    }
}

/// The whole matrix.
pub fn matrix() -> Vec<Cell> {
    let few = Shares { flaky: 60, poison: 30, ..Shares::default() };
    let all = Shares { flaky: 100, poison: 50, rejected: 50, slow: 20 };
    let mixes = [
        ("flaky", Shares { flaky: 300, ..Shares::default() }),
        ("few bad", few),
        ("poison", Shares { poison: 200, ..Shares::default() }),
        ("half poison", Shares { poison: 500, ..Shares::default() }),
        ("rejected", Shares { rejected: 300, ..Shares::default() }),
        ("all kinds", all),
    ];
    let mut cells = Vec::new();
    for (name, shares) in mixes {
        for keys in [50, 2_000, 50_000] {
            for reuse in [false, true] {
                for circuit in [false, true] {
                    cells.push(Cell { name, shares, keys, reuse, circuit, ..Cell::PLAIN });
                }
            }
        }
    }
    let calls = Shares { poison: 50, rejected: 50, ..Shares::default() };
    let outages = [
        ("outage", Shares::default(), Guest::File),
        ("outage with few bad", few, Guest::File),
        ("outage of HTTP", Shares::default(), Guest::Http),
        ("outage of HTTP with bad", calls, Guest::Http),
    ];
    for (name, shares, guest) in outages {
        for reuse in [false, true] {
            cells.push(Cell { name, shares, reuse, circuit: true, outage: true, guest, ..Cell::PLAIN });
        }
    }
    let languages = LANGUAGES.chunks(1).chain([&LANGUAGES[..]]);
    for guest in languages.map(Guest::Languages) {
        for (name, shares) in [("languages", few), ("languages, all kinds", all)] {
            for reuse in [false, true] {
                let keys = 200;
                cells.push(Cell { name, shares, keys, reuse, circuit: reuse, guest, ..Cell::PLAIN });
            }
        }
    }
    cells
}

/// Some cells that stand for the rest.
pub fn few() -> Vec<Cell> {
    let mixed = Shares { flaky: 100, poison: 50, rejected: 20, slow: 10 };
    let poison = Shares { poison: 300, ..Shares::default() };
    let (reuse, circuit, outage) = (true, true, true);
    let (http, languages) = (Guest::Http, Guest::Languages(&LANGUAGES));
    vec![
        Cell { name: "all kinds", shares: mixed, keys: 200, reuse, ..Cell::PLAIN },
        Cell { name: "poison", shares: poison, circuit, ..Cell::PLAIN },
        Cell { name: "outage", shares: mixed, reuse, circuit, outage, ..Cell::PLAIN },
        Cell { name: "outage of HTTP", shares: poison, reuse, circuit, outage, guest: http, ..Cell::PLAIN },
        Cell { name: "languages", shares: mixed, keys: 200, reuse, guest: languages, ..Cell::PLAIN },
    ]
}

/// Runs a campaign. `say` gets the number of cells that are done, and what is under way.
///
/// # Errors
/// The server or the host cannot be used. What is wrong with a cell stands in the report.
pub async fn run(plan: &Plan, say: &impl Fn(usize, String)) -> Result<Report> {
    let mut outcomes = Vec::new();
    for (number, cell) in plan.cells.iter().enumerate() {
        let kind = if cell.reuse { "reused" } else { "fresh" };
        say(number, format!("{}: {} keys, {kind} instances", cell.name, cell.keys));
        let outcome = run_cell(plan, *cell).await;
        outcomes
            .push(outcome.with_context(|| format!("cell {number}, `{}`, seed {}", cell.name, plan.seed))?);
    }
    Ok(Report { seed: plan.seed, events: plan.events, rate: plan.rate, outcomes })
}

async fn run_cell(plan: &Plan, cell: Cell) -> Result<Outcome> {
    let server = Server::start().await;
    let mut outside = Outside::start(&cell).await?;
    let app = outside.application(&cell);
    let port = outside.port();
    let host = app.start(&server.url()).await;
    let jetstream = server.jetstream().await;
    let began = Instant::now();
    let outage = async {
        if cell.outage {
            tokio::time::sleep(Duration::from_secs(1)).await;
            outside.fail()?;
            tokio::time::sleep(OUTAGE).await;
            outside.recover().await?;
        }
        anyhow::Ok(())
    };
    let judged = async {
        publish(&jetstream, plan, cell, port).await?;
        Progress::new(&jetstream).until_all_ended(plan.events, STUCK).await
    };
    let (stuck, ()) = tokio::try_join!(judged, outage)?;
    let seconds = began.elapsed().as_secs_f64();
    let memory = host.memory() >> 20;
    let verdict = Verdict::of(&jetstream, plan, cell, stuck).await?;
    let circuit = host.log().lines().filter(|line| line.contains("circuit")).map(str::to_owned).collect();
    host.kill().await;
    Ok(Outcome { cell, verdict, seconds, memory, circuit })
}

/// Publishes the events of a cell at the plan's pace.
async fn publish(jetstream: &jetstream::Context, plan: &Plan, cell: Cell, port: u16) -> Result<()> {
    let began = Instant::now();
    let events = futures::stream::iter(1..=plan.events).then(|number| async move {
        let due = Duration::from_nanos(number * 1_000_000_000 / plan.rate);
        tokio::time::sleep_until((began + due).into()).await;
        number
    });
    let sent = events.map(|number| async move {
        let key = Class::key(plan.seed, cell.keys, number);
        let payload = Class::of(plan.seed, &cell, number).payload(&cell, port, key);
        let mut headers = async_nats::HeaderMap::new();
        headers.insert(NUMBER, number.to_string());
        let subject = cell.guest.subject(key, number);
        jetstream.publish_with_headers(subject, headers, payload.into()).await?.await?;
        anyhow::Ok(())
    });
    sent.buffered(1_000).try_for_each(|()| std::future::ready(Ok(()))).await
}
