//! What handlers ask for: messages now and later, replies, state; and the headers that say where it came from.

use std::time::{Duration, Instant};

use futures::StreamExt;
use heddle_tests::{App, Checker, Server};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_published_later_arrives_after_its_delay_even_if_the_host_is_gone() {
    let server = Server::start().await;
    let app = App::contrary("");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let began = Instant::now();
    let later = json!({"publish_after": {"seconds": 2, "subject": "out.later", "payload": "hello", "headers": [["Kind", "x"]]}});
    let cause =
        checker.publish("in.a", json!([later, {"publish": {"subject": "out.now", "payload": "x"}}])).await;
    checker.wait_for("out.now", 1).await;
    assert_eq!(host.stop().await, 0);
    checker.wait_for("out.later", 1).await;
    assert!(began.elapsed() >= Duration::from_millis(1_900), "came after {:?}", began.elapsed());
    let row = &checker.rows("out.later").await[0];
    assert_eq!(row.payload, "hello");
    assert_eq!(row.header("Kind"), "x");
    assert_eq!(row.cause(), cause);
    // Nothing is left of the schedule.
    assert_eq!(checker.count("_heddle.t.schedule.>").await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_reaches_the_inbox_of_the_publisher() {
    let server = Server::start().await;
    let app = App::contrary("");
    let host = app.start(&server.url()).await;
    let (client, jetstream) = (server.client().await, server.jetstream().await);
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.unwrap();
    client.flush().await.unwrap();
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Heddle-Reply-To", inbox.as_str());
    let payload = json!({"do": [{"reply": {"payload": "at your service"}}]}).to_string();
    jetstream.publish_with_headers("in.a", headers, payload.into()).await.unwrap().await.unwrap();
    let answer = tokio::time::timeout(heddle_tests::PATIENCE, answers.next()).await.unwrap().unwrap();
    assert_eq!(answer.payload, "at your service");
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_says_which_event_caused_it_and_which_chain_it_belongs_to() {
    let server = Server::start().await;
    let plugin = heddle_tests::plugin("contrary");
    let handler = |name: &str, from: &str| {
        format!(
            "[handlers.{name}]\nplugin = {plugin:?}\nsubscribe = [{from:?}]\nkey = \"{{subject.1}}\"\npublishes = [\"mid.>\", \"out.>\"]\n"
        )
    };
    let app = App::new(&format!(
        "app = \"t\"\n[stream]\nname = \"T\"\nsubjects = [\"in.>\", \"mid.>\", \"out.>\"]\n{}{}",
        handler("first", "in.*"),
        handler("second", "mid.*")
    ));
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let inner = json!({"do": [{"publish": {"subject": "out.a", "payload": "end"}}]}).to_string();
    let first = json!({"do": [{"publish": {"subject": "mid.a", "payload": inner}}]}).to_string();
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let jetstream = server.jetstream().await;
    let stored = jetstream.publish_with_headers("in.a", headers, first.into()).await.unwrap();
    let cause = stored.await.unwrap().sequence;
    checker.wait_for("out.a", 1).await;
    let (mid, out) = (&checker.rows("mid.").await[0], &checker.rows("out.").await[0]);
    assert_eq!((mid.cause(), out.cause()), (cause, mid.sequence));
    for row in [mid, out] {
        assert_eq!(row.header("Heddle-Correlation"), format!("T/{cause}"));
    }
    assert_eq!((mid.header("Heddle-Hops"), out.header("Heddle-Hops")), ("1", "2"));
    assert_eq!((mid.header("Heddle-Handler"), out.header("Heddle-Handler")), ("first", "second"));
    let trace = |row: &heddle_tests::Row| row.header("traceparent").split('-').nth(1).map(str::to_owned);
    assert_eq!(trace(mid).as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
    assert_eq!(trace(mid), trace(out));
    assert_ne!(mid.header("traceparent"), out.header("traceparent"));
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plugin_sees_is_the_event_and_nothing_of_the_machine() {
    let server = Server::start().await;
    let app = App::contrary("config = { colour = \"blue\" }");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let context = json!({"context": {"subject": "out.context"}});
    let config = json!({"config": {"name": "colour", "subject": "out.config"}});
    let cause = checker.publish("in.a", json!([context, config])).await;
    checker.wait_for("out.config", 1).await;
    let row = &checker.rows("out.context").await[0];
    let seen: Value = serde_json::from_str(&row.payload).unwrap();
    assert_eq!(seen["attempt"], 1);
    assert_eq!(seen["stream"], "T");
    assert_eq!(seen["sequence"], cause);
    assert_eq!(seen["handler"], "h");
    assert_eq!(seen["id"], format!("T/{cause}"));
    assert_eq!(seen["correlation"], format!("T/{cause}"));
    assert_eq!(seen["subject"], "in.a");
    assert_eq!(seen["key"], "a");
    assert!(seen["deadline_ms"].as_u64().is_some_and(|ms| (1..=2_000).contains(&ms)));
    assert_eq!(seen["now_ns"], seen["time_ns"], "the clock reads the event's time");
    assert_eq!(seen["env"], json!([]));
    assert_eq!(seen["args"], json!([]));
    assert_eq!(seen["read_dir"], false);
    assert_eq!(seen["tcp"], false);
    assert_eq!(checker.rows("out.config").await[0].payload, "\"blue\"");
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_states_and_checkpoints_are_removed_in_the_background_and_no_last_one_with_them() {
    const EVENTS: usize = 300_000;
    const KEYS: usize = 5_000;
    let server = Server::start().await;
    let app = App::contrary("instances = { reuse = 1000 }");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    // A key that is written once, at the beginning: its state lies below everything that is removed.
    checker.publish_count("once", &[]).await;
    checker.publish_counts(EVENTS, KEYS).await;
    checker.wait_for("out.>", EVENTS + 1).await;
    // Four of five events write a state that stays until it is removed.
    let few = || async { checker.count("_heddle.t.state.>").await.filter(|count| *count <= 160_000) };
    heddle_tests::wait_for("old states are removed", few).await;
    let few = || async { checker.count("_heddle.t.checkpoint.*").await.filter(|count| *count <= 200) };
    heddle_tests::wait_for("old checkpoints are removed", few).await;
    assert_eq!(host.stop().await, 0);
    // What is left is enough to go on from.
    let host = app.start(&server.url()).await;
    checker.publish_count("once", &[]).await;
    checker.publish_counts(KEYS, KEYS).await;
    checker.wait_for("out.>", EVENTS + KEYS + 2).await;
    assert_eq!(checker.faults().await, Vec::<String>::new());
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cleared_state_is_gone_also_after_a_restart() {
    let server = Server::start().await;
    let app = App::contrary("");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    checker.publish("in.a", json!([{"set_state": {"text": "old"}}])).await;
    checker
        .publish("in.a", json!([{"clear_state": null}, {"publish": {"subject": "out.done", "payload": "x"}}]))
        .await;
    checker.wait_for("out.done", 1).await;
    assert_eq!(host.stop().await, 0);
    let host = app.start(&server.url()).await;
    checker.publish("in.a", json!([{"echo_state": {"subject": "out.echo"}}])).await;
    checker.wait_for("out.echo", 1).await;
    assert_eq!(checker.rows("out.echo").await[0].header("state"), "none");
    assert_eq!(host.stop().await, 0);
}
