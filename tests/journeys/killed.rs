//! Hosts that are killed around a commit: nothing is lost, repeated or reordered, whatever was under way.

use heddle_tests::{App, Checker, Server, wait_for};
use serde_json::json;

/// The events of some keys, one of which fails for good in between.
async fn publish(checker: &Checker) -> usize {
    const EVENTS: usize = 60;
    for n in 0..EVENTS {
        let key = format!("k{}", n % 5);
        checker.publish_count(&key, &[]).await;
        if n == 20 {
            checker.publish("bad.a", json!([{"reject": {"reason": "no"}}])).await;
        }
    }
    EVENTS
}

fn app(more: &str) -> App {
    App::contrary(more)
        .with("[\"in.>\", \"out.>\"]", "[\"in.>\", \"out.>\", \"bad.>\"]")
        .with("[\"in.*\"]", "[\"in.*\", \"bad.*\"]")
}

/// Kills hosts at a place, one after the other, each later than the one before, then lets one live.
async fn survives(failpoint: &str) {
    let server = Server::start().await;
    let url = server.url();
    let app = app("[handlers.h.retry]\nmax-attempts = 1");
    let checker = Checker::new(server.jetstream().await, "T");
    // The first one makes the stream.
    let host = app.start(&url).await;
    assert_eq!(host.stop().await, 0);
    let events = publish(&checker).await;
    for times in [1, 1, 2, 3] {
        let before = checker.count("out.>").await.unwrap_or(0) + checker.count("dead.>").await.unwrap_or(0);
        let mut host = app.doomed(&url, failpoint, times);
        if before < events + 1 {
            // It is killed at its commit, or has nothing left to commit.
            tokio::select! {
                () = host.killed() => {}
                () = checker.wait_for("out.>", events) => {}
            }
        }
        host.kill().await;
    }
    let host = app.start(&url).await;
    checker.wait_for("out.>", events).await;
    checker.wait_for("dead.>", 1).await;
    assert_eq!(checker.faults().await, Vec::<String>::new());
    assert_eq!(checker.count("dead.>").await, Some(1));
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_before_a_commit_loses_nothing() {
    survives("before-commit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_after_a_commit_repeats_nothing() {
    survives("after-commit").await;
}

/// An application with dead letters of three keys that are done when they run again.
async fn with_dead_letters(server: &Server, url: &str) -> (App, Checker) {
    let settings = "outage = false\nconfig = {  }\non-dead-letter = \"hold-key\"\n";
    let app = App::contrary(&format!("{settings}[handlers.h.retry]\nmax-attempts = 1"));
    let checker = Checker::new(server.jetstream().await, "T");
    let host = app.start(url).await;
    let fail = json!({"fail_unless": {"name": "well"}});
    for key in ["a", "b", "c"] {
        checker.publish_count(key, std::slice::from_ref(&fail)).await;
    }
    checker.wait_for("dead.>", 3).await;
    for _ in 0..5 {
        for key in ["a", "b", "c"] {
            checker.publish_count(key, &[]).await;
        }
    }
    checker.wait_for("_heddle.t.held.>", 15).await;
    assert_eq!(host.stop().await, 0);
    (app.with("config = {  }", "config = { well = \"yes\" }"), checker)
}

/// Kills a host while it replays, at a place, then lets one live.
async fn replays(failpoint: &str) {
    let server = Server::start().await;
    let url = server.url();
    let (app, checker) = with_dead_letters(&server, &url).await;
    let output = app.output(&["dead-letters", "replay", "--all", "--no-wait", "--url", &url]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for times in 1..=3 {
        let mut host = app.doomed(&url, failpoint, times);
        tokio::select! {
            () = host.killed() => {}
            () = at_rest(&checker) => {}
        }
        host.kill().await;
    }
    let host = app.start(&url).await;
    at_rest(&checker).await;
    assert_eq!(checker.faults().await, Vec::<String>::new());
    // Whoever replays again finds nothing to be replayed.
    let output = app.output(&["dead-letters", "replay", "--all", "--url", &url]).await;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(text.trim(), "no dead letter is selected");
    assert_eq!(host.stop().await, 0);
}

/// Everything has run, and no dead letter or request is left.
async fn at_rest(checker: &Checker) {
    checker.wait_for("out.>", 18).await;
    wait_for("dead letters and requests are removed", || async {
        let left = checker.count("dead.>").await? + checker.count("_heddle.t.replay.>").await?;
        (left == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_killed_before_its_commit_takes_effect_once() {
    replays("before-commit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_killed_after_its_commit_takes_effect_once() {
    replays("after-commit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_killed_before_its_dead_letter_is_removed_takes_effect_once() {
    replays("before-removal").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_killed_before_its_request_is_removed_takes_effect_once() {
    replays("between-removals").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_when_a_key_is_free_again_runs_nothing_twice() {
    replays("gate-opened").await;
}
