//! Promise 4: a plugin cannot hurt the host or its neighbours.

use std::time::{Duration, Instant};

use heddle_tests::{App, Checker, Server};
use serde_json::{Value, json};

/// A handler that gets the instructions and a healthy neighbour on another subject.
fn app(limits: &str) -> App {
    let plugin = heddle_tests::plugin("contrary");
    App::new(&format!(
        r#"
app = "t"
shards = 4
[stream]
name = "T"
subjects = ["in.>", "bad.>", "out.>", "evil.>"]
[handlers.bad]
plugin = {plugin:?}
subscribe = ["bad.*"]
key = "{{subject.1}}"
publishes = ["evil.>"]
retry = {{ max-attempts = 2, backoff = {{ initial = "1ms", max = "2ms" }} }}
limits = {{ {limits} }}
[handlers.healthy]
plugin = {plugin:?}
subscribe = ["in.*"]
key = "{{subject.1}}"
publishes = ["out.>"]
"#
    ))
}

/// Runs bad events beside healthy ones: the bad end as dead letters of this cause, the healthy ones never notice.
async fn contained(limits: &str, instructions: Value, cause: &str, message: &str) {
    let server = Server::start().await;
    let app = app(limits);
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    for n in 0..8 {
        checker.publish(&format!("bad.b{n}"), instructions.clone()).await;
    }
    let began = Instant::now();
    for n in 0..200 {
        checker.publish_count(&format!("k{}", n % 20), &[]).await;
    }
    checker.wait_for("out.>", 200).await;
    let healthy = began.elapsed();
    checker.wait_for("dead.t.bad.>", 8).await;
    for dead_letter in checker.rows("dead.").await {
        assert_eq!(dead_letter.header("Heddle-Dead-Cause"), cause, "{dead_letter:?}");
        assert!(dead_letter.header("Heddle-Dead-Message").contains(message), "{dead_letter:?}");
    }
    assert_eq!(checker.faults().await, Vec::<String>::new());
    assert_eq!(checker.count("evil.>").await, Some(0), "effects of a failed event were stored");
    assert!(healthy < Duration::from_secs(20), "the neighbour took {healthy:?}");
    assert_eq!(host.stop().await, 0);
}

const EVIL: &str = "evil.a";

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_loops_is_contained() {
    let publish = json!({"publish": {"subject": EVIL, "payload": "x"}});
    contained("time = \"100ms\"", json!([publish, {"spin": null}]), "limit", "ms used, 100 ms allowed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_calls_the_host_without_end_is_contained() {
    contained("time = \"100ms\"", json!([{"spin_calls": null}]), "limit", " allowed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_sleeps_is_contained() {
    contained("time = \"100ms\"", json!([{"sleep_ms": {"ms": 60_000}}]), "limit", "in host calls").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_hoards_memory_is_contained() {
    contained(
        "memory = \"8MiB\"",
        json!([{"hoard": {"mib": 512}}]),
        "limit",
        "bytes used, 8388608 bytes allowed",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_traps_is_contained() {
    contained("", json!([{"trap": null}]), "trap", "unreachable").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_panics_is_contained_and_says_why() {
    contained("", json!([{"panic": {"message": "out of thread"}}]), "trap", "out of thread").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_exits_is_contained() {
    contained("", json!([{"exit": {"code": 0}}]), "trap", "exited").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_recurses_without_end_is_contained() {
    contained("", json!([{"recurse": null}]), "limit", "stack").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_floods_is_contained() {
    let flood = json!([{"flood": {"subject": EVIL, "messages": 1_000_000}}]);
    contained("messages = 50", flood, "limit", "messages: 51 used, 50 allowed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_publishes_too_much_at_once_is_contained() {
    let big = json!([{"big_output": {"subject": EVIL, "bytes": 2_000_000}}]);
    contained("output = \"64KiB\"", big, "limit", "message: ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_floods_the_log_is_contained() {
    let flood = json!([{"log_flood": {"lines": 200_000}}, {"reject": {"reason": "done"}}]);
    contained("", flood, "reject", "done").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_forges_subjects_and_headers_is_refused_each_time() {
    let server = Server::start().await;
    let app = app("messages = 100");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    checker.publish("bad.a", json!([{"forge": {"subject": EVIL}}])).await;
    checker.wait_for("evil.>", 1).await;
    let rows = checker.rows("evil.").await;
    assert_eq!(rows.len(), 1, "something forged reached the stream: {rows:?}");
    let reports: Vec<Value> = serde_json::from_str(&rows[0].payload).unwrap();
    assert!(reports.len() > 30, "{} forgeries", reports.len());
    for report in &reports {
        assert_ne!(report["answer"], "ok", "{}", report["forged"]);
    }
    assert_eq!(rows[0].header("Heddle-Handler"), "bad");
    assert_eq!(host.stop().await, 0);
}
