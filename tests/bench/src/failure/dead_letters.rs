//! Many dead letters: how long it takes to list them, and to send all of them again.

use anyhow::{Result, ensure};

use super::Figure;
use super::app::{self, DEAD, Health, PUBLISHED, Tally};
use crate::plan::Size;
use crate::report::Target;
use crate::rig::Rig;
use crate::workload::scatter;

const KEYS: u64 = 1_000;

/// Every failure is a dead letter at once, and many of them are no outage.
const AT_ONCE: &str = "outage = false\n[handlers.h.retry]\nmax-attempts = 1";

pub(super) async fn measure(rig: &mut Rig, size: Size, say: &impl Fn(String)) -> Result<Vec<Figure>> {
    let (dead_letters, rounds) = if size == Size::Quick { (2_000, 1) } else { (100_000, 3) };
    say(format!("dead letters · writing {dead_letters} events"));
    rig.fill_with(dead_letters, |number| app::event(scatter(number) % KEYS, true, 0), |_| {}).await?;
    let (mut buried, mut listed, mut replayed) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        let say =
            |what: &str| say(format!("dead letters · {what} {dead_letters} · round {round} of {rounds}"));
        say("making");
        let mut host = app::start_anew(rig, Health::Ill, AT_ONCE).await?;
        let began = tokio::time::Instant::now();
        Tally::of(rig, DEAD).await?.reach(dead_letters, &mut host).await?;
        buried.push(dead_letters as f64 / began.elapsed().as_secs_f64());
        host.stop().await?;
        // From now on the same events are done.
        let mut host = app::start(rig, Health::Well, AT_ONCE).await?;
        rig.quiet().await?;
        say("listing");
        let (seconds, said) = app::dead_letters(rig, &["list"]).await?;
        ensure!(
            said.contains(&dead_letters.to_string()),
            "not {dead_letters} dead letters are listed: {said}"
        );
        listed.push(seconds);
        say("replaying");
        let (seconds, said) = app::dead_letters(rig, &["replay", "--all"]).await?;
        ensure!(said.contains(&format!("{dead_letters} done, 0 dead again")), "not all are done: {said}");
        Tally::of(rig, PUBLISHED).await?.reach(dead_letters, &mut host).await?;
        let left = Tally::of(rig, DEAD).await?.now().await?;
        ensure!(left == 0, "{left} dead letters are left");
        replayed.push(dead_letters as f64 / seconds);
        host.stop().await?;
    }
    let what = |text: &str| text.replace('N', &dead_letters.to_string());
    Ok(vec![
        Figure::new("dead_letters_per_s", "dead letters/s that a host writes", buried, Target::None),
        Figure::new("list_s", what("seconds to list N dead letters"), listed, Target::AtMost(2.0)),
        Figure::new("replays_per_s", what("replays/s of N"), replayed, Target::AtLeast(5_000.0)),
    ])
}
