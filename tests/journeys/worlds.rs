//! Handlers written for other worlds take part in an application like any other.

use std::collections::BTreeMap;

use heddle_tests::{App, Checker, Server};
use serde_json::json;

/// A handler of ours, one written for another host, and one of ours again: `in.*`, `mid.*`, `out.mid.*`, `end.>`.
fn chain(foreign: &str) -> App {
    let (ours, foreign) = (heddle_tests::plugin("contrary"), heddle_tests::plugin(foreign));
    App::new(&format!(
        r#"
app = "t"
shards = 4
[stream]
name = "T"
subjects = ["in.>", "mid.>", "out.>", "end.>"]
[handlers.first]
plugin = {ours:?}
subscribe = ["in.*"]
key = "{{subject.1}}"
publishes = ["mid.>"]
[handlers.foreign]
plugin = {foreign:?}
subscribe = ["mid.*"]
key = "{{subject.1}}"
publishes = ["out.>"]
instances = {{ reuse = 50 }}
retry = {{ max-attempts = 3, backoff = {{ initial = "1ms", max = "2ms" }} }}
[handlers.last]
plugin = {ours:?}
subscribe = ["out.mid.*"]
key = "{{subject.2}}"
publishes = ["end.>"]
"#
    ))
}

/// Events pass all three handlers, while the host is killed: each key's are counted at the end, in order and once.
async fn events_pass(foreign: &str) {
    const EVENTS: usize = 300;
    const KEYS: usize = 5;
    let server = Server::start().await;
    let app = chain(foreign);
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let publish = async |events: std::ops::Range<usize>| {
        for n in events {
            let key = format!("k{}", n % KEYS);
            let last = json!({"do": [{"count": null}, {"echo_state": {"subject": format!("end.{key}")}}]});
            let passed_on = json!({"subject": format!("mid.{key}"), "payload": last.to_string()});
            checker.publish(&format!("in.{key}"), json!([{"publish": passed_on}])).await;
        }
    };
    // Half of the events are there before the host comes back, so that it is killed amid its work.
    publish(0..1).await;
    checker.wait_for("end.>", 1).await;
    assert_eq!(host.stop().await, 0);
    publish(1..EVENTS / 2).await;
    let host = app.start(&server.url()).await;
    checker.wait_for("mid.>", 2).await;
    host.kill().await;
    publish(EVENTS / 2..EVENTS).await;
    let host = app.start(&server.url()).await;
    checker.wait_for("end.>", EVENTS).await;
    assert_eq!(host.stop().await, 0);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for row in checker.rows("end.").await {
        let count = counts.entry(row.subject.clone()).or_default();
        *count += 1;
        assert_eq!(row.payload, count.to_string(), "{row:?}");
        assert_eq!((row.header("Heddle-Hops"), row.header("Heddle-Handler")), ("3", "last"));
    }
    assert!(counts.len() == KEYS && counts.values().all(|count| *count == EVENTS / KEYS), "{counts:?}");
    let passed_on = checker.rows("out.mid.").await;
    assert_eq!(passed_on.len(), EVENTS);
    assert!(passed_on.iter().all(|row| row.header("Heddle-Handler") == "foreign"));
    assert_eq!(checker.count("dead.>").await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wasmcloud_handler_stands_between_two_of_ours_and_the_host_is_killed() {
    events_pass("wasmcloud_echo").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wasi_messaging_handler_stands_between_two_of_ours_and_the_host_is_killed() {
    events_pass("wasi_messaging_echo").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_wasmcloud_handler_fails_is_tried_again_unless_it_was_refused() {
    let server = Server::start().await;
    let app = chain("wasmcloud_echo");
    let host = app.start(&server.url()).await;
    let (checker, jetstream) = (Checker::new(server.jetstream().await, "T"), server.jetstream().await);
    for (subject, body) in [
        ("mid.busy", "do\npublish out.a x\nfail busy"),
        ("mid.refused", "do\npublish in.elsewhere x"),
        ("mid.request", "do\nrequest out.a"),
    ] {
        jetstream.publish(subject, body.into()).await.unwrap().await.unwrap();
    }
    checker.wait_for("dead.>", 3).await;
    assert_eq!(host.stop().await, 0);
    let dead_letters = checker.rows("dead.").await;
    let mut causes: Vec<(&str, &str, &str)> = dead_letters
        .iter()
        .map(|row| {
            let header = |name| row.header(name);
            (&*row.subject, header("Heddle-Dead-Cause"), header("Heddle-Dead-Attempts"))
        })
        .collect();
    causes.sort_unstable();
    let expected = [
        ("dead.t.foreign.mid.busy", "retry", "3"),
        ("dead.t.foreign.mid.refused", "effect", "1"),
        ("dead.t.foreign.mid.request", "effect", "1"),
    ];
    assert_eq!(causes, expected);
    assert_eq!(checker.count("out.>").await, Some(0), "effects of a failed event were stored");
}
