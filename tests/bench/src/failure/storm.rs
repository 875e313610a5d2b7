//! A poison storm: one key in twenty cannot be handled. The others must hardly notice.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use futures::stream::SelectAll;
use tokio::time::{Instant, MissedTickBehavior};

use super::Figure;
use super::app::{self, Health, PUBLISHED, Tally};
use crate::native::{Latency, cursor, now};
use crate::plan::Size;
use crate::process::usage;
use crate::report::Target;
use crate::rig::{PATIENCE, Rig};
use crate::workload::{OUTPUT, scatter};

const KEYS: u64 = 1_000;
const POISONED: u64 = 50;

/// The keys whose latency is watched, none of them poisoned. To read everything would be as much work for the server as
/// the job itself.
const WATCHED: std::ops::Range<u64> = POISONED..POISONED + 8;

/// A poisoned key stays stuck: its first event fails for ever, with long waits.
const RETRY: &str = "[handlers.h.retry]\nmax-attempts = 1000000\n\
                     backoff = { initial = \"60s\", factor = 1.0, max = \"60s\" }";

/// The share of what can be published and handled at once that is offered when latency is measured.
const LOAD: f64 = 0.5;

/// The share of the echoes that is not counted: the beginning.
const WARM_UP: f64 = 0.2;

/// What a host logs when it takes failures for an outage.
const OPENED: &str = "circuit is open";

const TICK: Duration = Duration::from_millis(1);

/// Whether the events of poisoned keys fail.
const RUNS: [Health; 2] = [Health::Well, Health::Ill];

pub(super) async fn measure(rig: &mut Rig, size: Size, say: &impl Fn(String)) -> Result<Vec<Figure>> {
    let (events, rounds, seconds) = if size == Size::Quick { (20_000, 1, 2.0) } else { (300_000, 5, 10.0) };
    let mut opened = 0_u32;
    let backlog = throughput(rig, events, rounds, &mut opened, say).await?;
    let live = most_at_once(rig, events / 3, say).await?;
    let (latencies, cpu) = latency(rig, (live, seconds, rounds), &mut opened, say).await?;
    let rates = "healthy events/s over a backlog";
    let p99 = format!("p99 ms of healthy keys at {:.0} events/s", live * LOAD);
    Ok(vec![
        Figure::compared("storm_throughput", rates, backlog, Target::AtLeast(0.9)),
        Figure::compared("storm_p99", &p99, latencies, Target::AtMost(2.0)),
        Figure::compared("storm_cpu", "CPU µs of the host for each of these events", cpu, Target::None),
        Figure::new("storm_outages", "circuits that opened", vec![opened.into()], Target::AtMost(0.0)),
    ])
}

/// Which key the event of a number has, and whether it can fail.
fn key(number: u64) -> u64 {
    scatter(number) % KEYS
}

fn is_poisoned(key: u64) -> bool {
    key < POISONED
}

/// Healthy events a second over a backlog, in clean runs and in storms.
async fn throughput(
    rig: &mut Rig,
    events: u64,
    rounds: usize,
    opened: &mut u32,
    say: &impl Fn(String),
) -> Result<[Vec<f64>; 2]> {
    say(format!("storm · writing {events} events"));
    rig.fill_with(events, |number| app::event(key(number), is_poisoned(key(number)), 0), |_| {}).await?;
    let healthy = (0..events).filter(|number| !is_poisoned(key(*number))).count() as u64;
    let mut rates = [Vec::new(), Vec::new()];
    for round in 1..=rounds {
        for (health, rates) in RUNS.into_iter().zip(&mut rates) {
            say(format!("storm · {health:?}: a backlog · round {round} of {rounds}"));
            let mut host = app::start_anew(rig, health, RETRY).await?;
            let began = now();
            let expected = if health == Health::Well { events } else { healthy };
            Tally::of(rig, PUBLISHED).await?.reach(expected, &mut host).await?;
            let seconds = rig.last_echo().await?.saturating_sub(began) as f64 / 1e9;
            *opened += u32::from(host.said(OPENED));
            host.stop().await?;
            rates.push(healthy as f64 / seconds);
        }
    }
    Ok(rates)
}

/// How many events a second can be published and handled at once when nothing fails.
async fn most_at_once(rig: &mut Rig, events: u64, say: &impl Fn(String)) -> Result<f64> {
    say("storm · measuring what can be published and handled at once".to_owned());
    rig.fill_with(0, |_| app::event(0, false, 0), |_| {}).await?;
    let mut host = app::start_anew(rig, Health::Well, RETRY).await?;
    let mut handled = Tally::of(rig, PUBLISHED).await?;
    let began = Instant::now();
    rig.publish(events, |number| app::event(key(number), is_poisoned(key(number)), 0), |_| {}).await?;
    handled.reach(events, &mut host).await?;
    let seconds = began.elapsed().as_secs_f64();
    host.stop().await?;
    Ok(events as f64 / seconds)
}

/// p99 of healthy keys in milliseconds, and what an event costs the host in microseconds of CPU; both in clean runs and
/// in storms.
async fn latency(
    rig: &mut Rig,
    (live, seconds, rounds): (f64, f64, usize),
    opened: &mut u32,
    say: &impl Fn(String),
) -> Result<([Vec<f64>; 2], [Vec<f64>; 2])> {
    let rate = live * LOAD;
    let (mut found, mut cpu) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for round in 1..=rounds {
        for ((health, found), cpu) in RUNS.into_iter().zip(&mut found).zip(&mut cpu) {
            say(format!("storm · {health:?}: latency at {rate:.0} events/s · round {round} of {rounds}"));
            rig.fill_with(0, |_| app::event(0, false, 0), |_| {}).await?;
            let host = app::start_anew(rig, health, RETRY).await?;
            let before = usage(host.pid()?)?;
            let (_, latency) = tokio::try_join!(load(rig, rate, seconds), watch(rig, rate, seconds))?;
            let used = usage(host.pid()?)?.cpu_since(before);
            *opened += u32::from(host.said(OPENED));
            host.stop().await?;
            found.push(latency.p99_ms);
            cpu.push(used * 1e6 / count(rate, seconds) as f64);
        }
    }
    Ok((found, cpu))
}

/// Publishes at a steady rate, whatever the rest of the system does. An event carries the time at which it was due.
async fn load(rig: &Rig, rate: f64, seconds: f64) -> Result<()> {
    let client = rig.jetstream.client();
    let (began, began_nanos) = (Instant::now(), now());
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0..count(rate, seconds) {
        let due = number as f64 / rate;
        while began.elapsed().as_secs_f64() < due {
            ticks.tick().await;
        }
        let key = key(number);
        let (subject, payload) = app::event(key, is_poisoned(key), began_nanos + (due * 1e9) as u64);
        client.publish(subject, payload).await?;
    }
    Ok(client.flush().await?)
}

fn count(rate: f64, seconds: f64) -> u64 {
    (rate * seconds) as u64
}

/// Reads what some healthy keys publish: how long after its event was due did each message arrive?
async fn watch(rig: &Rig, rate: f64, seconds: f64) -> Result<Latency> {
    let mut readers = SelectAll::new();
    for key in WATCHED {
        let reader = cursor(&rig.jetstream, OUTPUT, &format!("out.k{key}")).await?;
        readers.push(reader.stream().messages().await?);
    }
    let events = count(rate, seconds);
    let of = |events: u64| (0..events).filter(|number| WATCHED.contains(&key(*number))).count();
    let (warm_up, wanted) = (of((events as f64 * WARM_UP) as u64), of(events));
    let mut nanos = Vec::with_capacity(wanted);
    while nanos.len() < wanted {
        let next = tokio::time::timeout(PATIENCE, readers.next()).await;
        let next = next.with_context(|| format!("only {} of {wanted} messages came", nanos.len()))?;
        let message = next.context("reading ended")??;
        let sent = app::sent(&message.payload).context("a message carries no time")?;
        nanos.push(now().saturating_sub(sent));
    }
    Latency::of(nanos.split_off(warm_up)).context("the warm-up is all there is")
}
