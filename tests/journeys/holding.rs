//! Keys that a dead letter holds back: what is held back runs in order once it is replayed, and nothing else does.

use heddle_tests::{App, Checker, Host, Row, Server, wait_for};
use serde_json::{Value, json};

/// An application that holds keys; `well` as long as the file `well` says so.
fn app(config: &str) -> App {
    App::contrary(&format!(
        "on-dead-letter = \"hold-key\"\noutage = false\nconfig = {{ {config} }}\n[handlers.h.retry]\nmax-attempts = 1"
    ))
}

/// Counts, unless the handler is not well yet.
fn guarded(key: &str) -> Value {
    json!([
        {"fail_unless": {"name": "well"}},
        {"count": null},
        {"echo_state": {"subject": format!("out.{key}")}},
    ])
}

fn counting(key: &str) -> Value {
    json!([{"count": null}, {"echo_state": {"subject": format!("out.{key}")}}])
}

async fn dead_letters(app: &App, url: &str, arguments: &[&str]) -> (i32, String) {
    let all = [&["dead-letters"], arguments, &["--url", url]].concat();
    let output = app.command(&all).env("HEDDLE_LOG", "error").output().await.expect("heddle runs");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text.trim().to_owned())
}

async fn held_back(checker: &Checker, count: usize) {
    checker.wait_for("_heddle.t.held.>", count).await;
}

/// Waits until every event of the key has run, each once, in order.
async fn in_order(checker: &Checker, key: &str, expected: &[u64]) {
    checker.wait_for(&format!("out.{key}"), expected.len()).await;
    let rows = checker.rows("out.").await;
    let of_key: Vec<&Row> = rows.iter().filter(|row| row.subject == format!("out.{key}")).collect();
    let causes: Vec<u64> = of_key.iter().map(|row| row.cause()).collect();
    assert_eq!(causes, expected);
    let counts: Vec<String> = of_key.iter().map(|row| row.payload.clone()).collect();
    let dense: Vec<String> = (1..=expected.len()).map(|n| n.to_string()).collect();
    assert_eq!(counts, dense);
}

/// One event that fails and some behind it, all of one key, beside another key.
async fn poisoned(checker: &Checker, behind: usize) -> Vec<u64> {
    let mut events = vec![checker.publish("in.a", guarded("a")).await];
    checker.wait_for("dead.>", 1).await;
    for _ in 0..behind {
        events.push(checker.publish("in.a", counting("a")).await);
    }
    events
}

async fn restarted(host: Host, app: App, url: &str) -> (Host, App) {
    assert_eq!(host.stop().await, 0);
    let app = app.with("config = {  }", "config = { well = \"yes\" }");
    (app.start(url).await, app)
}

#[tokio::test(flavor = "multi_thread")]
async fn later_events_of_a_held_key_wait_and_run_in_order_after_its_replay() {
    let server = Server::start().await;
    let url = server.url();
    let app = app("");
    let host = app.start(&url).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let mut events = poisoned(&checker, 40).await;
    held_back(&checker, 40).await;
    let other = checker.publish("in.b", counting("b")).await;
    in_order(&checker, "b", &[other]).await;
    assert_eq!(checker.count("out.a").await, Some(0));

    let status = app.output(&["status", "--json", "--url", &url]).await;
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let held = &status["handlers"]["h"]["held_keys"][0];
    assert_eq!((&held["key"], &held["held_back"]), (&json!("a"), &json!(40)), "{status}");
    let status = app.output(&["status", "--url", &url]).await;
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(text.contains("key `a` is held since"), "{text}");

    // Across a restart it is still held; what fails again keeps it held.
    assert_eq!(host.stop().await, 0);
    let host = app.start(&url).await;
    let (code, text) = dead_letters(&app, &url, &["replay", "--all"]).await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((code, lines[0]), (1, "1 dead letter replayed: 0 done, 1 dead again"));
    assert!(
        lines[1].ends_with(": retry: setting well is missing"),
        "the mark of its key lies between: {text}"
    );
    events.push(checker.publish("in.a", counting("a")).await);
    held_back(&checker, 41).await;
    assert_eq!(checker.count("out.a").await, Some(0));

    let (host, app) = restarted(host, app, &url).await;
    let (code, text) = dead_letters(&app, &url, &["replay", "--all"]).await;
    assert_eq!((code, text.as_str()), (0, "1 dead letter replayed: 1 done, 0 dead again"));
    in_order(&checker, "a", &events).await;
    // It is open again.
    events.push(checker.publish("in.a", counting("a")).await);
    in_order(&checker, "a", &events).await;
    wait_for("what was held back is removed", || async {
        (checker.count("_heddle.t.held.>").await == Some(0)).then_some(())
    })
    .await;
    assert_eq!(held_keys(&app, &url).await, json!([]));
    assert_eq!(host.stop().await, 0);
}

async fn held_keys(app: &App, url: &str) -> Value {
    let status = app.output(&["status", "--json", "--url", url]).await;
    let status: Value = serde_json::from_slice(&status.stdout).expect("status is JSON");
    status.pointer("/handlers/h/held_keys").cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_were_held_together_are_all_free_after_their_replay() {
    let server = Server::start().await;
    let url = server.url();
    let app = app("");
    let host = app.start(&url).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let mut events = Vec::new();
    for n in 0..20 {
        events.push(vec![checker.publish(&format!("in.k{n}"), guarded(&format!("k{n}"))).await]);
    }
    checker.wait_for("dead.>", 20).await;
    for (n, of_key) in events.iter_mut().enumerate() {
        of_key.push(checker.publish(&format!("in.k{n}"), counting(&format!("k{n}"))).await);
    }
    held_back(&checker, 20).await;
    let (host, app) = restarted(host, app, &url).await;
    let (code, text) = dead_letters(&app, &url, &["replay", "--all"]).await;
    assert_eq!((code, text.as_str()), (0, "20 dead letters replayed: 20 done, 0 dead again"));
    for (n, of_key) in events.iter().enumerate() {
        in_order(&checker, &format!("k{n}"), of_key).await;
    }
    wait_for("no key is held any more", || async {
        (held_keys(&app, &url).await == json!([])).then_some(())
    })
    .await;
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_were_held_back_run_once_also_across_kills_in_the_middle() {
    let server = Server::start().await;
    let url = server.url();
    let app = app("");
    let host = app.start(&url).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let mut events = poisoned(&checker, 1_500).await;
    held_back(&checker, 1_500).await;
    let (mut host, app) = restarted(host, app, &url).await;
    let (code, text) = dead_letters(&app, &url, &["replay", "--all", "--no-wait"]).await;
    assert_eq!(code, 0, "{text}");
    for target in [100, 400, 700, 1_000, 1_300] {
        checker.wait_for("out.a", target).await;
        host.kill().await;
        events.push(checker.publish("in.a", counting("a")).await);
        host = app.start(&url).await;
    }
    in_order(&checker, "a", &events).await;
    assert_eq!(checker.count("dead.>").await, Some(0));
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_held_again_by_an_event_that_fails_after_it_was_held_back() {
    let server = Server::start().await;
    let url = server.url();
    let app = app("");
    let host = app.start(&url).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let first = checker.publish("in.a", guarded("a")).await;
    checker.wait_for("dead.>", 1).await;
    let second = checker.publish("in.a", counting("a")).await;
    let third = checker.publish("in.a", json!([{"reject": {"reason": "never"}}])).await;
    let fourth = checker.publish("in.a", counting("a")).await;
    held_back(&checker, 3).await;
    let (host, app) = restarted(host, app, &url).await;
    dead_letters(&app, &url, &["replay", "--all"]).await;
    in_order(&checker, "a", &[first, second]).await;
    checker.wait_for("dead.>", 1).await;
    assert_eq!(checker.rows("dead.").await[0].header("Heddle-Dead-Sequence"), third.to_string());
    let fifth = checker.publish("in.a", counting("a")).await;
    held_back(&checker, 4).await;
    assert_eq!(checker.count("out.a").await, Some(2));
    let status = app.output(&["status", "--json", "--url", &url]).await;
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["handlers"]["h"]["held_back"], 2, "two of the four have run: {status}");

    let (code, text) = dead_letters(&app, &url, &["discard", "--all", "--reason", "hopeless"]).await;
    assert_eq!(code, 1);
    assert!(text.contains("holds key `a` back"), "{text}");
    let (code, text) =
        dead_letters(&app, &url, &["discard", "--all", "--reason", "hopeless", "--release", "--yes"]).await;
    assert_eq!((code, text.as_str()), (0, "1 dead letter discarded"));
    in_order(&checker, "a", &[first, second, fourth, fifth]).await;
    assert_eq!(checker.count("dead.>").await, Some(0));
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn held_events_whose_gate_is_purged_by_hand_do_not_go_without_a_word() {
    let server = Server::start().await;
    let url = server.url();
    let app = app("");
    let host = app.start(&url).await;
    let jetstream = server.jetstream().await;
    let checker = Checker::new(jetstream.clone(), "T");
    poisoned(&checker, 3).await;
    held_back(&checker, 3).await;
    assert_eq!(host.stop().await, 0);
    jetstream.get_stream("T").await.unwrap().purge().filter("_heddle.t.gate.>").await.unwrap();
    let mut host = app.start(&url).await;
    host.wait_for_line("there is no gate any more").await;
    assert!(host.log().contains("removed=3"), "{}", host.log());
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_dead_letter_is_gone_can_be_released() {
    let server = Server::start().await;
    let url = server.url();
    let app = app("");
    let host = app.start(&url).await;
    let jetstream = server.jetstream().await;
    let checker = Checker::new(jetstream.clone(), "T");
    let events = poisoned(&checker, 3).await;
    held_back(&checker, 3).await;
    jetstream.get_stream("T").await.unwrap().purge().filter("dead.>").await.unwrap();
    let (code, text) = dead_letters(&app, &url, &["release", "h", "b"]).await;
    assert_eq!((code, text.as_str()), (1, "error: key `b` of handler `h` is not held"));
    let (code, text) = dead_letters(&app, &url, &["release", "h", "a"]).await;
    assert_eq!((code, text.as_str()), (0, "key `a` of handler `h` is released"));
    in_order(&checker, "a", &events[1..]).await;
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_quota_stops_reading_and_drops_nothing() {
    let server = Server::start().await;
    let url = server.url();
    let app = app("").with("on-dead-letter", "max-held = 20\non-dead-letter");
    let host = app.start(&url).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let mut events = poisoned(&checker, 20).await;
    held_back(&checker, 20).await;
    for _ in 0..30 {
        events.push(checker.publish("in.a", counting("a")).await);
    }
    let other = checker.publish("in.b", counting("b")).await;
    // What was read before the quota was reached may still be held back; the rest waits in the stream.
    wait_for("reading stops", || async {
        let status = app.output(&["status", "--json", "--url", &url]).await;
        let status: Value = serde_json::from_slice(&status.stdout).ok()?;
        (status["handlers"]["h"]["lag"].as_u64()? > 0).then_some(())
    })
    .await;
    let (host, app) = restarted(host, app, &url).await;
    dead_letters(&app, &url, &["replay", "--all", "--no-wait"]).await;
    in_order(&checker, "a", &events).await;
    in_order(&checker, "b", &[other]).await;
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn held_events_whose_payload_is_nowhere_any_more_are_counted_once_as_lost_and_the_others_run() {
    // More than are taken back at once.
    const LOST: usize = 40;
    let server = crate::login::server("max_payload: 65536\n").await;
    let url = server.url();
    let app = app("");
    let host = app.start(&url).await;
    let jetstream = server.jetstream().await;
    let checker = Checker::new(jetstream.clone(), "T");
    let mut events = poisoned(&checker, 1).await;
    // Too large to be stored a second time with what says that it was held back.
    let mut payload = json!({ "do": counting("a") }).to_string();
    payload.push_str(&" ".repeat((1 << 16) - payload.len() - 100));
    let mut large = Vec::new();
    for _ in 0..LOST {
        let ack = jetstream.publish("in.a", payload.clone().into()).await.unwrap();
        large.push(ack.await.unwrap().sequence);
    }
    events.push(checker.publish("in.a", counting("a")).await);
    held_back(&checker, 2 + LOST).await;
    let stream = jetstream.get_stream("T").await.unwrap();
    for sequence in large {
        stream.delete_message(sequence).await.unwrap();
    }
    let (host, app) = restarted(host, app, &url).await;
    dead_letters(&app, &url, &["replay", "--all", "--no-wait"]).await;
    in_order(&checker, "a", &events).await;
    wait_for("the loss is counted", || async {
        let status = app.output(&["status", "--json", "--url", &url]).await;
        let status: Value = serde_json::from_slice(&status.stdout).ok()?;
        (status["handlers"]["h"]["lost"] == LOST).then_some(())
    })
    .await;
    let held = || async { checker.count("_heddle.t.held.>").await.filter(|held| *held == 0) };
    wait_for("nothing is held back any more", held).await;
    assert_eq!(app.logs().matches("it is lost").count(), LOST, "{}", app.logs());
    assert_eq!(host.stop().await, 0);
}
