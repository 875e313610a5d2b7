//! The commands: place orders, check the stream, or both with the wait between.

use std::io::Write as _;
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};
use tokio::time::{Instant, timeout_at};

use crate::broker::{Broker, Read, Reader, STREAM};
use crate::check::{Acknowledged, Terms, check, host_headers};
use crate::event::{Event, Reading};
use crate::meter::Meter;
use crate::orders::{DISCONTINUED, LIMIT, Plan};
use crate::progress::Progress;
use crate::summary::Summary;

/// After the last awaited event the stream is watched for so long: an event that comes too often comes late.
const QUIET: Duration = Duration::from_secs(1);

/// Drives and checks the order saga.
///
/// The saga itself runs elsewhere: start it with `heddle dev -c examples/order-saga/heddle.toml`, which
/// prints the address to give here as --url.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Place orders and return when the server has acknowledged every one.
    Load {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        drawn: Drawn,
    },
    /// Place orders, wait until each has ended, check the stream, and print the summary.
    ///
    /// Ends with 0 only if every promise is kept.
    Demo {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        drawn: Drawn,
        /// Give up after N seconds in which no order came any further.
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        patience: u64,
        /// Print the summary as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check the stream as it is, and print the summary.
    ///
    /// Run it when all orders have ended: one that is still on its way counts as lost.
    Check {
        #[command(flatten)]
        server: Server,
        /// Print the summary as JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct Server {
    /// Where the application's server is.
    #[arg(long, env = "NATS_URL", default_value = "nats://127.0.0.1:4222")]
    url: String,
}

/// Which orders to place, and how fast.
#[derive(Debug, Args)]
struct Drawn {
    /// How many orders to place.
    #[arg(long, default_value_t = 5_000)]
    orders: u64,
    /// How many customers to spread them over.
    #[arg(long, default_value = "500")]
    customers: NonZeroU64,
    /// Where the orders are drawn from; each seed gives orders of its own.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Place N orders a second [default: as fast as the server takes them]
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<NonZeroU32>,
}

impl Cli {
    /// Runs the command; false if a promise is broken.
    pub async fn run(self) -> Result<bool> {
        match self.command {
            Command::Load { server, drawn } => {
                let broker = Broker::connect(&server.url).await?;
                let start = Instant::now();
                let placed = place(&broker, &drawn).await?.len();
                print(&format!("placed {placed} orders in {:.2} s", start.elapsed().as_secs_f64()))?;
                Ok(true)
            }
            Command::Demo { server, drawn, patience, json } => {
                let broker = Broker::connect(&server.url).await?;
                let acknowledged = place(&broker, &drawn).await?;
                wait(&broker, &acknowledged, Duration::from_secs(patience)).await?;
                examine(&broker, &acknowledged, json).await
            }
            Command::Check { server, json } => examine(&Broker::connect(&server.url).await?, &[], json).await,
        }
    }
}

async fn place(broker: &Broker, drawn: &Drawn) -> Result<Vec<Acknowledged>> {
    let plan = Plan { orders: drawn.orders, customers: drawn.customers, seed: drawn.seed };
    let mut meter = Meter::new("placed", drawn.orders);
    broker.place(plan.orders(), drawn.rate, |placed| meter.set(placed)).await
}

/// Waits until every acknowledged order has passed all its stages and the stream has fallen quiet.
async fn wait(broker: &Broker, acknowledged: &[Acknowledged], patience: Duration) -> Result<()> {
    let mut progress = Progress::new(acknowledged);
    let mut meter = Meter::new("settled", acknowledged.len() as u64);
    let mut reader = broker.read().await?;
    let mut dead_letter = None;
    let mut deadline = Instant::now() + patience;
    while !progress.is_done() {
        let Some(Read { message, .. }) = next_before(deadline, &mut reader).await? else {
            drop(meter);
            let dead = dead_letter.unwrap_or_else(|| "there are no dead letters".to_owned());
            bail!("no order came any further for {patience:?}: {}\n{dead}", progress.missing());
        };
        match Event::read(&message) {
            Reading::Event(event) if progress.observe(&event) => deadline = Instant::now() + patience,
            Reading::DeadLetter if dead_letter.is_none() => {
                let headers = host_headers(&message);
                dead_letter = Some(format!("the first dead letter is `{}` ({headers})", message.subject));
            }
            _ => {}
        }
        meter.set(progress.settled() as u64);
    }
    let mut deadline = Instant::now() + QUIET;
    while let Some(Read { message, .. }) = next_before(deadline, &mut reader).await? {
        if !matches!(Event::read(&message), Reading::Internal) {
            deadline = Instant::now() + QUIET;
        }
    }
    Ok(())
}

/// The next message, if there is one before the deadline.
async fn next_before(deadline: Instant, reader: &mut Reader) -> Result<Option<Read>> {
    // Looked at first, for a stream that never pauses would never let the timer have its turn.
    if Instant::now() >= deadline {
        return Ok(None);
    }
    timeout_at(deadline, reader.next()).await.ok().transpose()
}

async fn examine(broker: &Broker, acknowledged: &[Acknowledged], json: bool) -> Result<bool> {
    let messages = broker.read_all().await?;
    let terms = Terms { stream: STREAM, limit: LIMIT, discontinued: DISCONTINUED, acknowledged };
    let summary = Summary::of(&check(&messages, &terms));
    match json {
        true => {
            print(&serde_json::to_string_pretty(&summary).context("failed to write the summary as JSON")?)?
        }
        false => print(&summary.to_string())?,
    }
    Ok(summary.holds)
}

fn print(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").context("failed to write to standard output")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
