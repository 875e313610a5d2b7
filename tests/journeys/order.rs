//! Promise 1: the events of one key run one at a time, in the order of the stream.

use std::collections::BTreeMap;

use heddle_tests::{App, Checker, Server};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn per_key_order_holds_across_64_lanes_with_random_handler_times() {
    let server = Server::start().await;
    let app = App::contrary("");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let mut random = StdRng::seed_from_u64(1);
    for _ in 0..1_500 {
        let key = format!("k{}", random.random_range(0..64));
        let time = random.random_range(0..4);
        let work = if random.random_bool(0.5) {
            json!({"sleep_ms": {"ms": time}})
        } else {
            json!({"spin_ms": {"n": time}})
        };
        checker.publish_count(&key, &[work]).await;
    }
    checker.wait_for("out.>", 1_500).await;
    assert_eq!(checker.faults().await, Vec::<String>::new());
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_event_is_not_overtaken_by_later_events_of_its_key() {
    let server = Server::start().await;
    let app = App::contrary("[handlers.h.retry]\nbackoff = { initial = \"30ms\", max = \"60ms\" }");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    for n in 0..120 {
        let key = format!("k{}", n % 4);
        let flaky = json!({"retry_until": {"attempt": 1 + n % 3}});
        checker.publish_count(&key, &[flaky]).await;
    }
    checker.wait_for("out.>", 120).await;
    assert_eq!(checker.faults().await, Vec::<String>::new());
    assert_eq!(checker.count("dead.>").await, Some(0));
    drop(host);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_key_delays_no_other_key() {
    let server = Server::start().await;
    let app = App::contrary("[handlers.h.retry]\nbackoff = { initial = \"10m\", max = \"10m\" }");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    checker.publish("in.stuck", json!([{"defer": {"delay_ms": 600_000}}])).await;
    for n in 0..1_000 {
        checker.publish_count("stuck", &[]).await;
        checker.publish_count(&format!("k{}", n % 50), &[]).await;
    }
    // All of the other keys are done while the stuck one has not moved.
    checker.wait_for("out.>", 1_000).await;
    assert_eq!(checker.count("out.stuck").await, Some(0));
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    for row in checker.rows("out.").await {
        last.insert(row.subject, row.payload);
    }
    assert_eq!(last.len(), 50);
    assert!(last.values().all(|count| count == "20"), "{last:?}");
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_handlers_see_the_same_event_independently() {
    let server = Server::start().await;
    let plugin = heddle_tests::plugin("contrary");
    let app = App::new(&format!(
        r#"
app = "t"
[stream]
name = "T"
subjects = ["in.>", "out.>"]
[handlers.one]
plugin = {plugin:?}
subscribe = ["in.*"]
key = "{{subject.1}}"
publishes = ["out.>"]
[handlers.two]
plugin = {plugin:?}
subscribe = ["in.>"]
key = "{{event}}"
publishes = ["out.>"]
"#
    ));
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    for _ in 0..50 {
        checker.publish("in.a", json!([{"publish": {"subject": "out.a", "payload": "x"}}])).await;
    }
    checker.wait_for("out.a", 100).await;
    for handler in ["one", "two"] {
        let rows = checker.rows("out.").await;
        let mine: Vec<u64> = rows
            .iter()
            .filter(|row| row.header("Heddle-Handler") == handler)
            .map(|row| row.cause())
            .collect();
        assert_eq!(mine.len(), 50, "{handler}");
        assert!(handler == "two" || mine.is_sorted());
    }
    assert_eq!(host.stop().await, 0);
}
