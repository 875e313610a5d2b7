//! Reading: windows that fill, handlers that lag, cursors and connections that break.

use heddle_tests::{App, Checker, Server};
use serde_json::json;

/// Publishes many events that publish one message each, fast.
async fn publish_many(server: &Server, count: usize, instructions: &serde_json::Value) {
    use futures::{StreamExt, TryStreamExt};
    let jetstream = server.jetstream().await;
    let payload = json!({ "do": instructions }).to_string();
    let one = |n: usize| {
        let (jetstream, payload) = (&jetstream, payload.clone());
        async move {
            let ack = jetstream.publish(format!("in.k{}", n % 997), payload.into()).await?;
            ack.await.map(drop)
        }
    };
    futures::stream::iter(0..count)
        .map(one)
        .buffer_unordered(256)
        .try_collect::<()>()
        .await
        .expect("all are stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_fills_stops_reading_and_nothing_is_dropped() {
    const WINDOW: usize = 65_536;
    const EVENTS: usize = WINDOW + 6_000;
    let server = Server::start().await;
    let limits = "instances = { reuse = 1000 }\nlimits = { time = \"60s\" }";
    let app = App::contrary(limits).with("shards = 4", "shards = 1");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    // The first event takes long, and as long again after a kill.
    let long = json!({"sleep_ms": {"ms": 25_000}});
    let stuck = json!([long, {"publish": {"subject": "out.stuck", "payload": "x"}}]);
    let stuck = checker.publish("in.stuck", stuck).await;
    publish_many(&server, EVENTS, &json!([{"publish": {"subject": "out.a", "payload": "x"}}])).await;
    // It runs ahead by the window and no further than what was under way.
    checker.wait_for("out.a", WINDOW - 1).await;
    let full = checker.count("out.a").await.unwrap();
    assert!(full < EVENTS, "{full} events ran while one was stuck below them");
    heddle_tests::wait_for("status names what is waited for", || async {
        let output = app.output(&["status", "--json", "--url", &server.url()]).await;
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        let event = status["handlers"]["h"]["waits_for"]["event"].as_str()?.to_owned();
        (event == format!("T/{stuck}")).then_some(())
    })
    .await;
    // A kill meanwhile: the done ones above the low mark are in the checkpoint and do not run again.
    host.kill().await;
    let host = app.start(&server.url()).await;
    checker.wait_for("out.a", EVENTS).await;
    checker.wait_for("out.stuck", 1).await;
    // The window is open again.
    publish_many(&server, 100, &json!([{"publish": {"subject": "out.a", "payload": "x"}}])).await;
    checker.wait_for("out.a", EVENTS + 100).await;
    assert_eq!(host.stop().await, 0);
    assert_eq!(checker.count("out.a").await, Some(EVENTS + 100));
    assert_eq!(checker.count("out.stuck").await, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_handler_holds_up_no_other_and_loses_nothing() {
    const EVENTS: usize = 12_000;
    let server = Server::start().await;
    let plugin = heddle_tests::plugin("contrary");
    let handler = |name: &str, key: &str, messages: u32| {
        format!(
            "[handlers.{name}]\nplugin = {plugin:?}\nsubscribe = [\"in.*\"]\nkey = {key:?}\npublishes = [\"out.>\"]\n\
             instances = {{ reuse = 1000 }}\nlimits = {{ messages = {messages} }}\n"
        )
    };
    // Every event sleeps. One handler has all of them in one lane, the other each in a lane of its own. Only the
    // fast one may publish; the slow one counts.
    let app = App::new(&format!(
        "app = \"t\"\n[stream]\nname = \"T\"\nsubjects = [\"in.>\", \"out.>\"]\n{}{}",
        handler("slow", "one{subject.0}", 0),
        handler("fast", "{event}", 1)
    ));
    let mut host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let publish = json!({"publish": {"subject": "out.a", "payload": "x", "tolerate": true}});
    publish_many(&server, EVENTS, &json!([publish, {"count": null}, {"sleep_ms": {"ms": 1}}])).await;
    checker.wait_for("out.a", EVENTS).await;
    let slow = || async {
        let output = app.output(&["state", "get", "slow", "onein", "--url", &server.url()]).await;
        String::from_utf8_lossy(&output.stdout).trim().parse::<usize>().unwrap_or(0)
    };
    assert!(slow().await < EVENTS, "the slow handler was as fast as the other");
    host.wait_for_line("handler is lagging; it now has its own consumer").await;
    heddle_tests::wait_for("the slow handler has counted", || async {
        (slow().await == EVENTS).then_some(())
    })
    .await;
    // It shares a cursor again and goes on.
    checker.publish("in.last", json!([{"count": null}])).await;
    heddle_tests::wait_for("it goes on", || async { (slow().await == EVENTS + 1).then_some(()) }).await;
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_cursor_is_made_anew_and_nothing_is_lost() {
    let server = Server::start().await;
    let app = App::contrary("");
    let mut host = app.start(&server.url()).await;
    let jetstream = server.jetstream().await;
    let checker = Checker::new(jetstream.clone(), "T");
    let stream = jetstream.get_stream("T").await.unwrap();
    for round in 1..=4 {
        for n in 0..50 {
            checker.publish_count(&format!("k{}", n % 7), &[]).await;
        }
        checker.wait_for("out.>", round * 50).await;
        let name = heddle_tests::wait_for("a cursor", || async { stream.get_consumer_name().await }).await;
        stream.delete_consumer(&name).await.unwrap();
    }
    host.wait_for_line("recreating consumer").await;
    checker.publish_count("k0", &[]).await;
    checker.wait_for("out.>", 201).await;
    assert_eq!(checker.faults().await, Vec::<String>::new());
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_is_new_begins_where_its_settings_say() {
    let server = Server::start().await;
    let app = App::contrary("");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let hello = json!([{"publish": {"subject": "out.a", "payload": "x"}}]);
    for _ in 0..20 {
        checker.publish("in.a", hello.clone()).await;
    }
    checker.wait_for("out.a", 20).await;
    assert_eq!(host.stop().await, 0);
    let plugin = heddle_tests::plugin("contrary");
    let more = |name: &str, start: &str| {
        format!(
            "\n[handlers.{name}]\nplugin = {plugin:?}\nsubscribe = [\"in.*\"]\npublishes = [\"out.>\"]\nstart = {start:?}\n"
        )
    };
    let app = app.append(&(more("all", "all") + &more("fresh", "new")));
    let host = app.start(&server.url()).await;
    checker.publish("in.a", hello).await;
    checker.wait_for("out.a", 20 + 1 + 21 + 1).await;
    let rows = checker.rows("out.").await;
    let of = |handler: &str| rows.iter().filter(|row| row.header("Heddle-Handler") == handler).count();
    assert_eq!((of("h"), of("all"), of("fresh")), (21, 21, 1));
    assert_eq!(host.stop().await, 0);
}

/// Finding the name of the only consumer.
trait ConsumerName {
    async fn get_consumer_name(&self) -> Option<String>;
}

impl ConsumerName for async_nats::jetstream::stream::Stream {
    async fn get_consumer_name(&self) -> Option<String> {
        use futures::StreamExt;
        let mut names = self.consumer_names();
        while let Some(Ok(name)) = names.next().await {
            if name.starts_with("heddle-t") {
                return Some(name);
            }
        }
        None
    }
}
