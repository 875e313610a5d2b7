//! A trial: one guest beside a healthy neighbour, over a real server and in a real host.
//!
//! A guest that is a plugin gets its events while the neighbour has its own. Then each hostile event must have ended as
//! expected and exactly once, nothing else of the guest may be in the stream, the neighbour must have lost, repeated and
//! reordered nothing and have waited no longer than in a clean run, and the host must be well and its log be readable.
//! A guest that is none must be refused, by `heddle run` and by `heddle check`.

use std::time::Duration;

use heddle_tests::{App, Checker, Row, Server, wait_for};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::expect::{Dead, Expect};
use crate::guest::Guest;
use crate::load::Load;

/// A latency that is never held against a neighbour: what a busy machine alone can cost.
const FLOOR: Duration = Duration::from_millis(100);

/// How often the load is tried until the latency is as it should be.
const ROUNDS: usize = 3;

/// What the host may log for each hostile event, in bytes: it is run twice at the most, with 100 lines of 4,096 bytes each
/// time, and there is room for what the host itself has to say.
const LOG: usize = 2 * 100 * (4_096 + 256);

/// Trials come one after the other, for each measures what the machine gives.
static MACHINE: Mutex<()> = Mutex::const_new(());

/// The latency of the neighbour beside a handler that does nothing.
static CLEAN: OnceCell<Duration> = OnceCell::const_new();

/// Waits until no other trial runs.
pub(crate) async fn machine() -> MutexGuard<'static, ()> {
    MACHINE.lock().await
}

/// The application: the guest, and a healthy neighbour on other subjects.
pub(crate) fn application(guest: &Guest) -> App {
    let (healthy, section) = (heddle_tests::plugin("contrary"), &guest.section);
    let app = App::new(&format!(
        r#"
app = "t"
shards = 4
[stream]
name = "T"
subjects = ["in.>", "bad.>", "out.>", "evil.>"]
[handlers.bad]
plugin = "bad.wasm"
subscribe = ["bad.*"]
key = "{{subject.1}}"
publishes = ["evil.>"]
outage = false
retry = {{ max-attempts = 2, backoff = {{ initial = "1ms", max = "2ms" }} }}
limits = {{ time = "100ms", memory = "16MiB", messages = 50, output = "64KiB", state = "16KiB" }}
{section}
[handlers.healthy]
plugin = {healthy:?}
subscribe = ["in.*"]
key = "{{subject.1}}"
publishes = ["out.>"]
"#
    ));
    std::fs::write(app.folder().join("bad.wasm"), &guest.plugin).expect("the plugin is written");
    app
}

/// Tries the guest of this name.
pub(crate) async fn trial(name: &str, expected: Expect) {
    let machine = machine().await;
    let guest = Guest::read(name);
    match expected {
        Expect::Refused(reason) => refused(&guest, reason).await,
        expected => {
            let clean = *CLEAN.get_or_init(measure_clean).await;
            beside_a_neighbour(&guest, expected, clean).await;
        }
    }
    drop(machine);
}

/// Measures the neighbour beside a handler that does nothing.
async fn measure_clean() -> Duration {
    let server = Server::start().await;
    let idle = Guest::idle();
    let app = application(&idle);
    let host = app.start(&server.url()).await;
    let mut load = Load::new(server.jetstream().await, &idle);
    let latency = load.round().await;
    assert_eq!(host.stop().await, 0);
    latency
}

/// Runs the guest's events: they end as expected, and the neighbour never notices.
async fn beside_a_neighbour(guest: &Guest, expected: Expect, clean: Duration) {
    let server = Server::start().await;
    let app = application(guest);
    let host = app.start(&server.url()).await;
    if let Some(then) = &guest.then {
        std::fs::write(app.folder().join("bad.wasm"), then).expect("the plugin is written");
    }
    let checker = Checker::new(server.jetstream().await, "T");
    let mut load = Load::new(server.jetstream().await, guest);
    let mut rounds = vec![(load.round().await, clean)];
    // The machine may have become busy since: then a clean run is slower as well.
    while rounds.last().is_some_and(|(latency, clean)| *latency > (2 * *clean).max(FLOOR)) {
        let (latency, clean) = (load.round().await, measure_clean().await);
        rounds.push((latency, clean));
        let failed = rounds.len() > ROUNDS && latency > (2 * clean).max(FLOOR);
        assert!(!failed, "the neighbour's p99, and that of a clean run: {rounds:?}");
    }
    println!("the neighbour's p99, and that of a clean run: {rounds:?}");
    let events = load.hostile_events();
    if !matches!(expected, Expect::Waits) {
        ended(&checker, events).await;
    }
    match expected {
        Expect::Done(payload) => done(&checker, |said| said == payload).await,
        Expect::Tells(part) => done(&checker, |said| said.contains(part)).await,
        Expect::Dead(dead) => dead_letters(&checker, dead).await,
        Expect::Waits => waits(&checker).await,
        Expect::Refused(_) => unreachable!("a refused plugin has no events"),
    }
    assert_eq!(checker.faults().await, Vec::<String>::new());
    assert_eq!(host.stop().await, 0, "{}", app.logs());
    let log = app.logs();
    assert!(!log.lines().any(|line| line.starts_with("thread '")), "the host panicked: {log}");
    let control = log.lines().find(|line| line.chars().any(char::is_control));
    assert_eq!(control, None, "a control character reached the log");
    assert!(log.len() < LOG * events, "the log has {} bytes", log.len());
}

/// Waits until each event has had an effect or is a dead letter.
async fn ended(checker: &Checker, events: usize) {
    wait_for("each hostile event ends", || async {
        let ended = checker.count("evil.>").await? + checker.count("dead.>").await?;
        (ended >= events).then_some(())
    })
    .await;
}

/// Each event has published one message, and none is a dead letter.
async fn done(checker: &Checker, expected: impl Fn(&str) -> bool) {
    assert!(checker.rows("dead.").await.is_empty(), "{:?}", checker.rows("dead.").await);
    let rows = checker.rows("evil.").await;
    for row in &rows {
        assert_eq!((&*row.subject, row.header("Heddle-Handler")), ("evil.done", "bad"));
        assert!(expected(&row.payload), "the message says `{}`", row.payload);
    }
    let mut causes: Vec<u64> = rows.iter().map(Row::cause).collect();
    causes.sort_unstable();
    let events: Vec<u64> = checker.rows("bad.").await.iter().map(|row| row.sequence).collect();
    assert_eq!(causes, events, "the events that took effect");
}

/// Each event is a dead letter as it was, once, and nothing that it published is there.
async fn dead_letters(checker: &Checker, dead: Dead) {
    let dead_letters = checker.rows("dead.").await;
    for dead_letter in &dead_letters {
        assert!(dead_letter.subject.starts_with("dead.t.bad.bad."), "{dead_letter:?}");
        let (cause, message) =
            (dead_letter.header("Heddle-Dead-Cause"), dead_letter.header("Heddle-Dead-Message"));
        assert!(
            cause == dead.cause && message.contains(dead.message),
            "`{cause}: {message}` is not {dead:?}"
        );
        assert_eq!(dead_letter.header("Heddle-Dead-Attempts"), dead.attempts, "{dead_letter:?}");
        if let Some(limit) = dead.limit {
            assert_eq!(dead_letter.header("Heddle-Dead-Limit"), limit, "{dead_letter:?}");
        }
    }
    let sequence = |dead_letter: &Row| dead_letter.header("Heddle-Dead-Sequence").parse().unwrap_or(0);
    let mut dead: Vec<(u64, &str)> = dead_letters.iter().map(|row| (sequence(row), &*row.payload)).collect();
    dead.sort_unstable();
    let events = checker.rows("bad.").await;
    let events: Vec<(u64, &str)> = events.iter().map(|row| (row.sequence, &*row.payload)).collect();
    assert_eq!(dead, events, "the events that are dead letters");
    assert_nothing_is_left(checker).await;
}

/// No event is settled.
async fn waits(checker: &Checker) {
    assert!(checker.rows("dead.").await.is_empty(), "{:?}", checker.rows("dead.").await);
    assert_nothing_is_left(checker).await;
}

/// No effect of an event that is not done is in the stream.
async fn assert_nothing_is_left(checker: &Checker) {
    for place in ["evil.>", "_heddle.t.state.*.bad.>", "_heddle.t.schedule.bad.>"] {
        assert_eq!(checker.count(place).await, Some(0), "something is left under `{place}`");
    }
}

/// The plugin is refused, by `run` and by `check`, with a reason that names its handler.
async fn refused(guest: &Guest, reason: &str) {
    let server = Server::start().await;
    let app = application(guest);
    let mut host = app.spawn(&server.url());
    assert_eq!(host.ended().await, 2, "{}", host.log());
    let check = app.output(&["check", "--offline"]).await;
    assert_eq!(check.status.code(), Some(2));
    for said in [host.log(), String::from_utf8_lossy(&check.stdout).into_owned()] {
        let line = said.lines().find(|line| line.contains("plugin of handler `bad`: "));
        let line = line.unwrap_or_else(|| panic!("the handler is not named: {said}"));
        assert!(line.contains(reason), "`{line}` does not say `{reason}`");
        assert!(!said.contains("plugin of handler `healthy`"), "the neighbour is blamed: {said}");
    }
}
