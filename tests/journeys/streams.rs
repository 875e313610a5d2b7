//! Streams that operators and others have made: what cannot work is refused, what goes wrong later is said, and nobody
//! else stands still for it.

mod loss;

use std::time::Duration;

use async_nats::jetstream::stream::{Config, ConsumerLimits, RetentionPolicy, SubjectTransform};
use heddle_tests::{App, Checker, Server, wait_for};
use serde_json::{Value, json};

/// A stream as Heddle makes it for the application `t`.
fn own() -> Config {
    let subjects = ["in.>", "out.>", "_heddle.t.>", "dead.t.>"];
    Config {
        name: "T".into(),
        subjects: subjects.map(str::to_owned).into(),
        allow_rollup: true,
        allow_direct: true,
        allow_message_ttl: true,
        allow_atomic_publish: true,
        allow_message_schedules: true,
        ..Config::default()
    }
}

/// A stream of others.
fn foreign() -> Config {
    Config { name: "EXT".into(), subjects: vec!["ext.>".into()], ..Config::default() }
}

/// The usual application, with a handler of this name that reads `EXT`.
fn with_foreign(name: &str) -> App {
    App::contrary("").append(&section(name))
}

fn section(name: &str) -> String {
    let plugin = heddle_tests::plugin("contrary");
    format!(
        "\n[handlers.{name}]\nplugin = {plugin:?}\nstream = \"EXT\"\nsubscribe = [\"ext.*\"]\nkey = \"{{subject.1}}\"\npublishes = [\"out.>\"]\n"
    )
}

fn publish(subject: &str) -> Value {
    json!([{"publish": {"subject": subject, "payload": "x"}}])
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What `heddle status` says of a handler.
async fn status(app: &App, server: &Server, handler: &str) -> Value {
    let output = app.output(&["status", "--json", "--url", &server.url()]).await;
    let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let row = status.get("handlers").and_then(|handlers| handlers.get(handler));
    row.cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_stream_that_would_lose_unread_events_is_refused_by_run_and_check() {
    let server = Server::start().await;
    let jetstream = server.jetstream().await;
    let app = with_foreign("e");
    for (retention, name) in
        [(RetentionPolicy::Interest, "interest"), (RetentionPolicy::WorkQueue, "workqueue")]
    {
        jetstream.create_stream(Config { retention, ..foreign() }).await.unwrap();
        let run = app.output(&["run", "--url", &server.url()]).await;
        let check = app.output(&["check", "--url", &server.url()]).await;
        assert_eq!((run.status.code(), check.status.code()), (Some(1), Some(2)));
        for said in [text(&run.stderr), text(&check.stdout)] {
            let fault = format!("`retention` is {name}, should be limits");
            for part in ["stream `EXT`", &fault, "nats stream add EXT-LOG --mirror EXT"] {
                assert!(said.contains(part), "no {part:?} in {said}");
            }
        }
        jetstream.delete_stream("EXT").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_names_every_fault_of_every_stream_at_once() {
    let server = Server::start().await;
    let jetstream = server.jetstream().await;
    let limits = ConsumerLimits { inactive_threshold: Duration::from_secs(60), max_ack_pending: 0 };
    let transform = SubjectTransform { source: "in.*".into(), destination: "in.x.{{wildcard(1)}}".into() };
    let config = Config {
        deny_delete: true,
        consumer_limits: Some(limits),
        subject_transform: Some(transform),
        subject_delete_marker_ttl: Some(Duration::from_secs(60)),
        ..own()
    };
    jetstream.create_stream(config).await.unwrap();
    jetstream.create_stream(Config { max_consumers: 1, ..foreign() }).await.unwrap();
    let app = with_foreign("e");
    let check = app.output(&["check", "--json", "--url", &server.url()]).await;
    let report: Value = serde_json::from_slice(&check.stdout).unwrap();
    let errors = report["errors"].to_string();
    for part in [
        "stream `T`: `deny_delete` is true, should be false",
        "stream `T`: `consumer_limits.inactive_threshold` is 1m, should be unset, or at least 5m",
        "stream `T`: `subject_transform` is in.*",
        "stream `T`: `subject_delete_marker_ttl` is 1m, should be unset",
        "stream `EXT`: `max_consumers` is 1, should be unlimited, or at least",
    ] {
        assert!(errors.contains(part), "no {part:?} in {errors}");
    }
    let run = app.output(&["run", "--url", &server.url()]).await;
    assert_eq!(run.status.code(), Some(1));
    for part in ["deny_delete", "consumer_limits", "subject_transform", "stream `EXT` cannot be used"] {
        assert!(text(&run.stderr).contains(part), "no {part:?} in {}", text(&run.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_changed_and_works_keeps_no_file_from_being_read() {
    let server = Server::start().await;
    let app = App::contrary("");
    let mut host = app.start(&server.url()).await;
    let jetstream = server.jetstream().await;
    let mut config = jetstream.get_stream("T").await.unwrap().cached_info().config.clone();
    config.max_age = Duration::from_secs(30 * 86_400);
    config.subjects.push("more.>".into());
    jetstream.update_stream(&config).await.unwrap();
    let app = app.with("[handlers.h]", "[handlers.h]\nconcurrency = 63");
    host.wait_for_line("reload complete").await;
    let checker = Checker::new(jetstream, "T");
    checker.publish_count("a", &[]).await;
    checker.wait_for("out.a", 1).await;
    assert!(host.log().contains("`max_age` is 30days, and unlimited in the file"), "{}", host.log());
    assert_eq!(host.stop().await, 0);
    drop(app);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_writes_for_an_expired_event_is_no_event() {
    let server = Server::start().await;
    let jetstream = server.jetstream().await;
    let config = Config {
        allow_message_ttl: true,
        allow_rollup: true,
        subject_delete_marker_ttl: Some(Duration::from_secs(60)),
        ..foreign()
    };
    let stream = jetstream.create_stream(config).await.unwrap();
    let app = with_foreign("e");
    let host = app.start(&server.url()).await;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-TTL", "1s");
    let event = json!({ "do": publish("out.e") }).to_string();
    jetstream.publish_with_headers("ext.a", headers, event.into()).await.unwrap().await.unwrap();
    wait_for("the server writes a marker", || async {
        let last = stream.get_last_raw_message_by_subject("ext.a").await.ok()?;
        last.headers.get("Nats-Marker-Reason").map(drop)
    })
    .await;
    let checker = Checker::new(jetstream, "T");
    checker.publish("ext.a", publish("out.e")).await;
    checker.wait_for("out.e", 2).await;
    wait_for("the marker is counted", || async {
        (status(&app, &server, "e").await["markers"] == 1).then_some(())
    })
    .await;
    assert_eq!((checker.count("out.e").await, checker.count("dead.t.>").await), (Some(2), Some(0)));
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_cannot_work_any_more_is_said_once_while_events_flow_on() {
    let server = Server::start().await;
    // Streams whose events live for so long are looked at every two seconds.
    let app = App::contrary("").with("subjects =", "max-age = \"8s\"\nsubjects =");
    let mut host = app.start(&server.url()).await;
    let jetstream = server.jetstream().await;
    let sound = jetstream.get_stream("T").await.unwrap().cached_info().config.clone();
    let marks = Some(Duration::from_secs(60));
    jetstream.update_stream(&Config { subject_delete_marker_ttl: marks, ..sound.clone() }).await.unwrap();
    let fault = "`subject_delete_marker_ttl` is 1m, should be unset";
    host.wait_for_line(fault).await;
    let checker = Checker::new(jetstream.clone(), "T");
    checker.publish_count("a", &[]).await;
    checker.wait_for("out.a", 1).await;
    jetstream.update_stream(&sound).await.unwrap();
    host.wait_for_line("stream suits the application again").await;
    assert_eq!(host.log().matches(fault).count(), 1, "{}", host.log());
    assert_eq!(host.stop().await, 0);
}

/// Deletes EXT, creates it again and publishes N events.
async fn recreate(server: &Server, checker: &Checker, events: usize) {
    let jetstream = server.jetstream().await;
    jetstream.delete_stream("EXT").await.expect("the server is ours");
    jetstream.create_stream(foreign()).await.expect("the server is ours");
    for _ in 0..events {
        checker.publish("ext.a", publish("out.e")).await;
    }
}

/// A server with EXT, and an application whose handler `e` has handled three events of it.
async fn handled(app: &App) -> (Server, Checker, heddle_tests::Host) {
    let server = Server::start().await;
    let jetstream = server.jetstream().await;
    jetstream.create_stream(foreign()).await.expect("the server is ours");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(jetstream, "T");
    for _ in 0..3 {
        checker.publish("ext.a", publish("out.e")).await;
    }
    checker.wait_for("out.e", 3).await;
    (server, checker, host)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recreated_foreign_stream_stops_its_handler_alone_until_it_is_told_to_begin_again() {
    let app = with_foreign("e");
    let (server, checker, host) = handled(&app).await;
    assert_eq!(host.stop().await, 0);
    recreate(&server, &checker, 3).await;
    let mut host = app.start(&server.url()).await;
    host.wait_for_line("handler is stopped, the others go on: stream `EXT` was recreated").await;
    checker.publish_count("b", &[]).await;
    checker.wait_for("out.b", 1).await;
    wait_for("status shows it", || async {
        let reason = status(&app, &server, "e").await["stopped"].as_str().map(str::to_owned);
        reason.filter(|reason| reason.contains("was recreated"))
    })
    .await;
    let reload =
        async |handler: &str| app.output(&["reload", "--restart", handler, "--url", &server.url()]).await;
    let refused = reload("h").await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("handler `h` is not stopped"), "{}", text(&refused.stderr));
    assert_eq!(checker.count("out.e").await, Some(3), "it did not begin by itself");
    let done = reload("e").await;
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    checker.wait_for("out.e", 6).await;
    checker.publish("ext.a", publish("out.e")).await;
    checker.wait_for("out.e", 7).await;
    // And it stays so.
    assert_eq!(host.stop().await, 0);
    let host = app.start(&server.url()).await;
    checker.publish("ext.a", publish("out.e")).await;
    checker.wait_for("out.e", 8).await;
    assert_eq!(checker.faults().await.iter().filter(|fault| fault.contains("out.b")).count(), 0);
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_stream_deleted_under_a_host_stops_its_handler_alone() {
    let app = with_foreign("e");
    let (server, checker, mut host) = handled(&app).await;
    server.jetstream().await.delete_stream("EXT").await.unwrap();
    host.wait_for_line("handler is stopped, the others go on: stream `EXT` does not exist any more").await;
    checker.publish_count("b", &[]).await;
    checker.wait_for("out.b", 1).await;
    // A file that changes meanwhile is read all the same.
    let app = app.with("[handlers.h]", "[handlers.h]\nconcurrency = 63");
    host.wait_for_line("reload complete").await;
    server.jetstream().await.create_stream(foreign()).await.unwrap();
    checker.publish("ext.a", publish("out.e")).await;
    let done = app.output(&["reload", "--restart", "e", "--url", &server.url()]).await;
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    checker.wait_for("out.e", 4).await;
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_name_or_forgetting_is_a_way_back_from_a_recreated_stream_too() {
    let app = with_foreign("e").with("shards = 4", "shards = 16");
    let (server, checker, host) = handled(&app).await;
    assert_eq!(host.stop().await, 0);
    recreate(&server, &checker, 3).await;
    // The shards of other keys have not written since.
    let app = app.with("[handlers.e]", "[handlers.e2]");
    let mut host = app.start(&server.url()).await;
    checker.wait_for("out.e", 6).await;
    // The old one is remembered as what it was.
    let app = app.append(&section("e"));
    host.wait_for_line("handler is stopped, the others go on: stream `EXT` was recreated").await;
    let app = app.with(&section("e"), "");
    wait_for("it is out of the file", || async {
        (host.log().matches("reload complete").count() >= 2).then_some(())
    })
    .await;
    let forgotten = app.output(&["reload", "--forget", "e", "--yes", "--url", &server.url()]).await;
    assert_eq!(forgotten.status.code(), Some(0), "{}", text(&forgotten.stderr));
    let app = app.append(&section("e"));
    checker.wait_for("out.e", 9).await;
    assert_eq!(host.stop().await, 0);
    drop(app);
}
