//! Lists that are read from the stream: whole, or not believed, wherever a connection breaks; and what is stored for a
//! time is gone at the end, whoever died meanwhile.

use std::time::Duration;

use heddle_tests::{App, Checker, Host, Proxy, RawMessage, Server, Wire, wait_for};
use serde_json::{Value, json};

/// Keys of the journeys: many enough for a list to be cut in its middle.
const KEYS: usize = 200;

/// An application that holds keys; `well` as long as the configuration says so.
fn holding() -> App {
    App::contrary(
        "on-dead-letter = \"hold-key\"\noutage = false\nconfig = { }\n[handlers.h.retry]\nmax-attempts = 1",
    )
}

/// It fails until the handler is well, and counts then.
fn guarded(key: usize) -> Value {
    json!([
        {"fail_unless": {"name": "well"}},
        {"count": null},
        {"echo_state": {"subject": format!("out.k{key}")}},
    ])
}

/// A poisoned event for each key, and `behind` that are held back behind it.
async fn hold_all(checker: &Checker, keys: usize, behind: usize) {
    for key in 0..keys {
        checker.publish(&format!("in.k{key}"), guarded(key)).await;
    }
    checker.wait_for("dead.>", keys).await;
    checker.publish_counts(keys * behind, keys).await;
    checker.wait_for("_heddle.t.held.>", keys * behind).await;
}

/// With the handler well, so that replays succeed.
fn well(app: App) -> App {
    app.with("config = { }", "config = { well = \"yes\" }")
}

async fn is_stopped(host: Host) {
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_in_a_sweep_costs_no_key_its_state() {
    // The fewer there are, the sooner a pass is worth its while.
    const KEYS: usize = 60;
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let app = App::contrary("")
        .with("shards = 4", "shards = 1")
        .with("subjects = [\"in.>\", \"out.>\"]", "subjects = [\"in.>\", \"out.>\"]\nstale-states = 100");
    let host = app.start(&proxy.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    // The keys that a pass must carry on: written once, below everything that follows.
    checker.publish_counts(KEYS, KEYS).await;
    checker.wait_for("out.>", KEYS).await;
    // A pass lists the last states in their order. It is cut in the middle of those that it must not lose.
    proxy.cut_before(&format!("MSG _heddle.t.state.0.h.k{} ", KEYS / 2));
    let mut events = KEYS;
    let states = || async { checker.count("_heddle.t.state.>").await.unwrap_or(usize::MAX) };
    let mut passes = 0;
    while passes < 3 {
        let before = states().await;
        for _ in 0..10 {
            checker.publish_count("busy", &[]).await;
        }
        events += 10;
        checker.wait_for("out.>", events).await;
        passes += usize::from(states().await < before);
        assert!(events < 20_000, "no pass removes anything");
    }
    proxy.has_cut().await;
    is_stopped(host).await;
    // Nothing is in memory any more: every count goes on from the state that the stream still has.
    let host = app.start(&server.url()).await;
    checker.publish_counts(KEYS, KEYS).await;
    checker.publish_count("busy", &[]).await;
    checker.wait_for("out.>", events + KEYS + 1).await;
    assert_eq!(checker.faults().await, Vec::<String>::new());
    is_stopped(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_ends_the_connection_of_a_sweep_stops_no_commit() {
    let server = Server::start().await;
    let app = App::contrary("")
        .with("shards = 4", "shards = 1")
        .with("subjects = [\"in.>\", \"out.>\"]", "subjects = [\"in.>\", \"out.>\"]\nstale-states = 100");
    let mut host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    checker.publish_count("busy", &[]).await;
    checker.wait_for("out.>", 1).await;
    // The client library gives the connection up for good that reads this. It belongs to no key that there is.
    let mut wire = Wire::connect(&server).await;
    wire.publish_one(RawMessage::with_lines(b"_heddle.t.state.0.h.other", b"X: a\rb", b"1")).await;
    let mut events = 1;
    let ended = "connection has ended for good; another one takes its place";
    while !host.log().contains(ended) {
        for _ in 0..10 {
            checker.publish_count("busy", &[]).await;
        }
        events += 10;
        checker.wait_for("out.>", events).await;
        assert!(events < 20_000, "no pass reads it: {}", host.log());
    }
    host.wait_for_line(ended).await;
    checker.publish_counts(20, 20).await;
    checker.wait_for("out.>", events + 20).await;
    is_stopped(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_in_a_take_over_lets_no_held_key_count_as_open() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let app = holding();
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    hold_all(&checker, KEYS, 1).await;
    is_stopped(host).await;
    // The gates are listed in the order in which they were closed.
    proxy.cut_before(&format!(".h.k{} ", KEYS / 2));
    let host = app.start(&proxy.url()).await;
    proxy.has_cut().await;
    checker.publish_counts(KEYS, KEYS).await;
    checker.wait_for("_heddle.t.held.>", 2 * KEYS).await;
    assert_eq!(checker.count("out.>").await, Some(0), "an event of a held key ran");
    is_stopped(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_in_a_reload_holds_up_neither_the_reload_nor_the_flow() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let app = holding();
    let mut host = app.start(&proxy.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    hold_all(&checker, KEYS, 1).await;
    proxy.cut_before(&format!(".h.k{} ", KEYS / 2));
    let app = app.with("outage = false", "outage = false\nmax-held = 100000");
    proxy.has_cut().await;
    host.wait_for_line("reload complete").await;
    checker.publish_counts(KEYS, KEYS).await;
    checker.wait_for("_heddle.t.held.>", 2 * KEYS).await;
    assert_eq!(checker.count("out.>").await, Some(0), "an event of a held key ran");
    checker.publish_count("free", &[]).await;
    checker.wait_for("out.free", 1).await;
    is_stopped(host).await;
    drop(app);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_while_dead_letters_are_listed_leaves_none_out() {
    let server = Server::start().await;
    let proxy = Proxy::start(server.port()).await;
    let app = holding();
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    hold_all(&checker, KEYS, 0).await;
    proxy.cut_before(&format!("MSG dead.t.h.in.k{} ", KEYS / 2));
    let listed = app.output(&["dead-letters", "list", "--each", "--json", "--url", &proxy.url()]).await;
    proxy.has_cut().await;
    let rows: Vec<Value> = serde_json::from_slice(&listed.stdout).expect("the list is JSON");
    let mut keys: Vec<&str> = rows.iter().filter_map(|row| row["key"].as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!((rows.len(), keys.len()), (KEYS, KEYS));
    is_stopped(host).await;
}

/// How many messages are left of each kind that is stored for a time only.
async fn left(checker: &Checker) -> Vec<(&'static str, usize)> {
    let mut left = Vec::new();
    for kind in ["_heddle.t.held.>", "_heddle.t.replay.>", "_heddle.t.command.>", "dead.>"] {
        left.push((kind, checker.count(kind).await.unwrap_or(usize::MAX)));
    }
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_for_a_time_is_removed_whenever_the_host_is_killed() {
    const HELD: usize = 60;
    const BEHIND: usize = 5;
    let server = Server::start().await;
    let url = server.url();
    let app = holding();
    let host = app.start(&url).await;
    let checker = Checker::new(server.jetstream().await, "T");
    hold_all(&checker, HELD, BEHIND).await;
    is_stopped(host).await;
    let app = well(app);
    // Each host dies at another place: as a gate is open and what was held behind it still there, or while dead letters
    // and requests are removed.
    let deaths = [
        ("gate-opened", 1),
        ("gate-opened", 7),
        ("between-removals", 5),
        ("gate-opened", 3),
        ("before-removal", 9),
    ];
    let dead_letters: Vec<String> =
        checker.rows("dead.").await.iter().map(|row| row.sequence.to_string()).collect();
    for ((failpoint, times), dead_letters) in deaths.into_iter().zip(dead_letters.chunks(HELD / deaths.len()))
    {
        let mut host = app.doomed(&url, failpoint, times);
        host.wait_for_line(" running").await;
        let mut replay = vec!["dead-letters", "replay", "--no-wait", "--url", &url];
        replay.extend(dead_letters.iter().map(String::as_str));
        let replayed = app.output(&replay).await;
        assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
        host.killed().await;
    }
    // And some at no special place.
    for pause in [5, 20, 60] {
        let host = app.start(&url).await;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        host.kill().await;
    }
    let host = app.start(&url).await;
    let expected = HELD * (BEHIND + 1);
    checker.wait_for("out.>", expected).await;
    let none = || async { left(&checker).await.iter().all(|(_, count)| *count == 0).then_some(()) };
    wait_for("nothing is left", none).await;
    assert_eq!(checker.faults().await, Vec::<String>::new());
    // What opened a gate is a mark with a time to live, one for each key; checkpoints are bounded.
    let gates = checker.count("_heddle.t.gate.>").await.expect("gates can be counted");
    assert!(gates <= HELD, "{gates} gates are left of {HELD} keys");
    is_stopped(host).await;
}
