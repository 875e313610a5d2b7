//! Promise 2: what a handler did takes effect once, whatever dies.

use std::time::Duration;

use heddle_tests::{App, Checker, Proxy, Server};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;

const KEYS: u32 = 40;

/// Events that a shard may have run without having committed them when it is killed: all that is in memory.
const IN_MEMORY: usize = 4_096 + 2 * 256;

/// Events in front of the host beyond which no more are published. Fewer than the log lines that a handler may write in a
/// second: where runs are counted by their lines, none may be left out.
const IN_FRONT: usize = 1_000;

/// Publishes events of random keys until it is dropped, as long as no more than N are in front of the host.
fn load(
    checker: Checker,
    seed: u64,
    in_front: Option<usize>,
) -> (JoinSet<()>, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let published = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&published);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut random = StdRng::seed_from_u64(seed);
        loop {
            let burst: Vec<String> = (0..16).map(|_| format!("k{}", random.random_range(0..KEYS))).collect();
            // One key comes once in a burst, so that its events are stored in the order they were meant.
            let unique: std::collections::BTreeSet<String> = burst.into_iter().collect();
            futures::future::join_all(unique.iter().map(|key| checker.publish_count(key, &[]))).await;
            let published =
                unique.len() + counter.fetch_add(unique.len(), std::sync::atomic::Ordering::SeqCst);
            while let Some(most) = in_front
                && checker.count("out.>").await.is_some_and(|done| done + most < published)
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            // Steady rather than as fast as it goes: the host is meant to be killed amid it, not buried.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    (tasks, published)
}

async fn settle(checker: &Checker) -> usize {
    let events = checker.rows("in.").await.len();
    checker.wait_for("out.>", events).await;
    assert_eq!(checker.faults().await, Vec::<String>::new());
    assert_eq!(checker.count("dead.>").await, Some(0));
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_and_state_are_exactly_once_after_100_kills_of_the_host_under_load() {
    const KILLS: usize = 100;
    let server = Server::start().await;
    let app = App::contrary("");
    drop(app.start(&server.url()).await);
    let checker = Checker::new(server.jetstream().await, "T");
    let (tasks, _) = load(Checker::new(server.jetstream().await, "T"), 7, Some(IN_FRONT));
    let mut random = StdRng::seed_from_u64(3);
    for _ in 0..KILLS {
        let host = app.start(&server.url()).await;
        // Anything from "before the first commit" to "amid many".
        tokio::time::sleep(Duration::from_millis(random.random_range(0..250))).await;
        host.kill().await;
    }
    drop(tasks);
    let host = app.start(&server.url()).await;
    let events = settle(&checker).await;
    assert_eq!(host.stop().await, 0);
    let runs = app.logs().matches("ran").count();
    assert!(events > 1_000, "only {events} events: the load did not flow");
    assert!(runs >= events, "{events} events, but {runs} runs");
    println!(
        "{events} events, {KILLS} kills, {runs} runs: {} re-runs for each kill",
        (runs - events) / KILLS
    );
    assert!(runs <= events + (KILLS + 1) * IN_MEMORY, "{events} events, but {runs} runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_and_state_are_exactly_once_after_20_kills_of_the_server_under_load() {
    let mut server = Server::start().await;
    let app = App::contrary("");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let (tasks, published) = load(Checker::new(server.jetstream().await, "T"), 11, None);
    let mut random = StdRng::seed_from_u64(5);
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(random.random_range(50..400))).await;
        server.kill().await;
        server.restart().await;
        let before = published.load(std::sync::atomic::Ordering::SeqCst);
        heddle_tests::wait_for("events flow again", || {
            let now = published.load(std::sync::atomic::Ordering::SeqCst);
            async move { (now > before).then_some(()) }
        })
        .await;
    }
    drop(tasks);
    let events = settle(&checker).await;
    println!("{events} events, 20 kills of the server");
    // The host lived through all of it, and ran nothing twice: what was finished was committed later.
    assert_eq!(host.stop().await, 0);
    assert_eq!(app.logs().matches("ran").count(), events);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unanswered_commit_is_resolved_by_reading_the_checkpoint_back() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let app = App::contrary("");
    let host = app.start(&proxy.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let (tasks, _) = load(Checker::new(server.jetstream().await, "T"), 13, None);
    let resolved = || app.logs().contains("commit was stored, its answer was lost");
    // Ten times at least, and until a commit was under way at the right moment.
    for round in 0..100 {
        let before = checker.count("out.>").await;
        let more = || async { (checker.count("out.>").await > before).then_some(()) };
        heddle_tests::wait_for("events flow", more).await;
        // What is sent now is stored, but nobody tells the host.
        proxy.lose_answers(true);
        tokio::time::sleep(Duration::from_millis(150)).await;
        proxy.cut();
        proxy.lose_answers(false);
        if round >= 10 && resolved() {
            break;
        }
    }
    drop(tasks);
    let events = settle(&checker).await;
    assert_eq!(host.stop().await, 0);
    assert!(resolved(), "{}", app.logs());
    assert_eq!(app.logs().matches("ran").count(), events, "nothing is run twice for a lost answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_from_the_checkpoint_and_runs_nothing_twice() {
    let server = Server::start().await;
    let app = App::contrary("");
    let checker = Checker::new(server.jetstream().await, "T");
    let mut expected = 0;
    for round in 0..4 {
        let host = app.start(&server.url()).await;
        for n in 0..100 {
            checker.publish_count(&format!("k{}", (n + round) % 10), &[]).await;
        }
        expected += 100;
        checker.wait_for("out.>", expected).await;
        assert_eq!(host.stop().await, 0);
        // Published while no host runs.
        checker.publish_count("k0", &[]).await;
        expected += 1;
    }
    let host = app.start(&server.url()).await;
    checker.wait_for("out.>", expected).await;
    assert_eq!(host.stop().await, 0);
    assert_eq!(checker.faults().await, Vec::<String>::new());
    assert_eq!(app.logs().matches("ran").count(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_drains_what_runs_is_finished_and_committed() {
    let server = Server::start().await;
    let app = App::contrary("");
    let checker = Checker::new(server.jetstream().await, "T");
    let mut published = 0;
    for _ in 0..5 {
        let host = app.start(&server.url()).await;
        for n in 0..60 {
            checker.publish_count(&format!("k{n}"), &[serde_json::json!({"sleep_ms": {"ms": 40}})]).await;
        }
        published += 60;
        assert_eq!(host.stop().await, 0);
    }
    let host = app.start(&server.url()).await;
    checker.wait_for("out.>", published).await;
    assert_eq!(host.stop().await, 0);
    assert_eq!(checker.faults().await, Vec::<String>::new());
    assert_eq!(app.logs().matches("ran").count(), published, "an event that ran was not committed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_host_at_once() {
    use rustix::process::Signal;
    let server = Server::start().await;
    let app = App::contrary("[handlers.h.limits]\ntime = \"60s\"");
    let mut host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    checker.publish("in.a", serde_json::json!([{"sleep_ms": {"ms": 8_000}}])).await;
    let announced = || async { host_is_busy(&checker).await };
    heddle_tests::wait_for("the event runs", announced).await;
    host.signal(Signal::TERM);
    host.wait_for_line("a second signal stops at once").await;
    host.signal(Signal::TERM);
    assert_eq!(host.ended().await, 130);
}

async fn host_is_busy(checker: &Checker) -> Option<()> {
    let rows = checker.rows("_heddle.t.member.").await;
    rows.last().is_some_and(|row| row.payload.contains("\"in_flight\":1")).then_some(())
}
