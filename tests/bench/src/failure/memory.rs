//! A long queue behind one key that cannot go on: what it costs the host in memory, and how fast it is held back and
//! made up for.

use anyhow::{Result, ensure};
use heddle_flow::shard::WINDOW;
use tokio::time::Instant;

use super::Figure;
use super::app::{self, DEAD, HELD, Health, PUBLISHED, Tally};
use crate::plan::Size;
use crate::process::{Worker, usage};
use crate::report::Target;
use crate::rig::{LOOK, PATIENCE, Rig};
use crate::workload::Store;

const MB: f64 = 1e6;

/// The first event is tried again and again, with long waits; what is behind it waits.
const WAIT: &str = "[handlers.h.retry]\nmax-attempts = 1000000\n\
                    backoff = { initial = \"60s\", factor = 1.0, max = \"60s\" }";

/// The first event is a dead letter, and what is behind it is held back.
const HOLD: &str = "on-dead-letter = \"hold-key\"\nmax-held = 10000000\n[handlers.h.retry]\nmax-attempts = 1";

pub(super) async fn measure(store: Store, size: Size, say: &impl Fn(String)) -> Result<Vec<Figure>> {
    let behind: u64 = if size == Size::Quick { 5_000 } else { 1_000_000 };
    let mut rig = Rig::start(store).await?;
    say(format!("stuck · writing {behind} events of one key"));
    // Only the first can fail.
    rig.fill_with(behind + 1, |number| app::event(1, number == 0, 0), |_| {}).await?;
    say(format!("stuck · {behind} events that are ordinary"));
    let ordinary = ordinary(&rig, behind + 1).await?;
    say(format!("stuck · {behind} events behind one that waits"));
    let (waiting, read) = waiting(&rig, behind + 1).await?;
    say(format!("stuck · {behind} events behind a dead letter"));
    let held = held(&rig, behind, say).await?;
    let what = |text: &str, rss: u64| {
        format!("{text}: {:.0} MB, {:.0} after as many ordinary ones", rss as f64 / MB, ordinary as f64 / MB)
    };
    let growth = |rss: u64| vec![rss as f64 / MB - ordinary as f64 / MB];
    let (most, events) = (Target::AtMost(50.0), format!("{behind} events"));
    Ok(vec![
        Figure::new(
            "waiting_rss_mb",
            what(&format!("MB for {events} behind one that waits"), waiting),
            growth(waiting),
            most,
        ),
        Figure::new(
            "read_ahead",
            format!("events read of {events} before reading stops"),
            vec![read as f64],
            Target::None,
        ),
        Figure::new(
            "held_rss_mb",
            what(&format!("MB for {events} that were held back"), held.rss),
            growth(held.rss),
            most,
        ),
        Figure::new(
            "held_back_per_s",
            "events/s that are held back",
            vec![behind as f64 / held.held_back],
            Target::None,
        ),
        Figure::new(
            "made_up_per_s",
            "events/s that were held back and are done",
            vec![behind as f64 / held.drained],
            Target::None,
        ),
    ])
}

/// Memory of a host that has done all of them.
async fn ordinary(rig: &Rig, events: u64) -> Result<u64> {
    let mut host = app::start_anew(rig, Health::Well, WAIT).await?;
    Tally::of(rig, PUBLISHED).await?.reach(events, &mut host).await?;
    settled(rig, host).await
}

/// Memory of a host that has read as far as it may, and waits; and how many events that are.
async fn waiting(rig: &Rig, events: u64) -> Result<(u64, u64)> {
    let mut host = app::start_anew(rig, Health::Ill, WAIT).await?;
    let began = Instant::now();
    while rig.delivered().await? < events.min(WINDOW as u64) {
        host.check().await?;
        ensure!(began.elapsed() < PATIENCE, "the host does not read");
        tokio::time::sleep(LOOK).await;
    }
    let done = Tally::of(rig, PUBLISHED).await?.now().await?;
    ensure!(done == 0, "{done} events overtook the first");
    rig.quiet().await?;
    let read = rig.delivered().await?;
    Ok((settled(rig, host).await?, read))
}

/// Memory of a host that has come to rest.
async fn settled(rig: &Rig, host: Worker) -> Result<u64> {
    rig.quiet().await?;
    let rss = usage(host.pid()?)?.resident;
    host.stop().await?;
    Ok(rss)
}

/// What became of events behind a dead letter.
struct Held {
    rss: u64,
    /// Seconds until they were held back, and until they were done afterwards.
    held_back: f64,
    drained: f64,
}

async fn held(rig: &Rig, behind: u64, say: &impl Fn(String)) -> Result<Held> {
    let mut host = app::start_anew(rig, Health::Ill, HOLD).await?;
    let began = Instant::now();
    Tally::of(rig, HELD).await?.reach(behind, &mut host).await?;
    let held_back = began.elapsed().as_secs_f64();
    let dead_letters = Tally::of(rig, DEAD).await?.now().await?;
    ensure!(dead_letters == 1, "{dead_letters} dead letters instead of one");
    let rss = settled(rig, host).await?;
    say(format!("stuck · {behind} events run after the dead letter before them"));
    let mut host = app::start(rig, Health::Well, HOLD).await?;
    let began = Instant::now();
    app::dead_letters(rig, &["replay", "--all"]).await?;
    Tally::of(rig, PUBLISHED).await?.reach(behind + 1, &mut host).await?;
    let drained = began.elapsed().as_secs_f64();
    host.stop().await?;
    Ok(Held { rss, held_back, drained })
}
