//! The application's stream: created, checked, fenced, and never taken for another.

use async_nats::jetstream::stream::Config;
use heddle_tests::{App, Checker, Server};
use rustix::process::Signal;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_cannot_work_is_refused_with_every_fault_and_not_changed() {
    let server = Server::start().await;
    let jetstream = server.jetstream().await;
    let config =
        Config { name: "T".into(), subjects: vec!["in.>".into()], max_bytes: 1 << 20, ..Config::default() };
    jetstream.create_stream(config).await.unwrap();
    let app = App::contrary("");
    let output = app.output(&["run", "--url", &server.url()]).await;
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    for part in [
        "stream `T` cannot be used as it is",
        "`subjects` is",
        "_heddle.t.>",
        "`max_bytes` is 1048576",
        "`allow_atomic` is false",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let found = jetstream.get_stream("T").await.unwrap();
    assert_eq!(found.cached_info().config.subjects, ["in.>"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_recreated_under_a_host_stops_it_with_a_clear_error() {
    let server = Server::start().await;
    let app = App::contrary("");
    let mut host = app.start(&server.url()).await;
    let jetstream = server.jetstream().await;
    let checker = Checker::new(jetstream.clone(), "T");
    checker.publish_count("a", &[]).await;
    checker.wait_for("out.a", 1).await;
    let mut config = jetstream.get_stream("T").await.unwrap().cached_info().config.clone();
    config.first_sequence = None;
    jetstream.delete_stream("T").await.unwrap();
    jetstream.create_stream(config).await.unwrap();
    checker.publish_count("a", &[]).await;
    assert_eq!(host.ended().await, 1);
    assert!(host.log().contains("was recreated"), "{}", host.log());
    assert_eq!(
        checker.count("out.>").await,
        Some(0),
        "an event of the new stream was taken for one of the old"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_host_of_the_same_application_is_refused() {
    let server = Server::start().await;
    let app = App::contrary("");
    let host = app.start(&server.url()).await;
    let mut second = app.spawn(&server.url());
    assert_eq!(second.ended().await, 3);
    assert!(second.log().contains("application `t` is already run by process"), "{}", second.log());
    let checker = Checker::new(server.jetstream().await, "T");
    checker.publish_count("a", &[]).await;
    checker.wait_for("out.a", 1).await;
    assert_eq!(host.stop().await, 0);
    // Once the first has stopped, its place is free at once.
    let third = app.start(&server.url()).await;
    assert_eq!(third.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_sleeps_and_wakes_cannot_commit_any_more() {
    let server = Server::start().await;
    let app = App::contrary("");
    let mut sleeper = app.start(&server.url()).await;
    let jetstream = server.jetstream().await;
    let checker = Checker::new(jetstream.clone(), "T");
    for n in 0..200 {
        checker.publish_count(&format!("k{}", n % 10), &[serde_json::json!({"sleep_ms": {"ms": 20}})]).await;
    }
    sleeper.signal(Signal::STOP);
    // As if its announcement had run out on another machine.
    jetstream.get_stream("T").await.unwrap().purge().filter("_heddle.t.member.*").await.unwrap();
    let owner = app.start(&server.url()).await;
    checker.wait_for("out.>", 200).await;
    sleeper.signal(Signal::CONT);
    checker.publish_count("k0", &[]).await;
    assert_eq!(sleeper.ended().await, 3);
    assert!(sleeper.log().contains("has taken the application over"), "{}", sleeper.log());
    checker.wait_for("out.>", 201).await;
    assert_eq!(checker.faults().await, Vec::<String>::new());
    assert_eq!(owner.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_finds_some_checkpoints_gone_handles_nothing_a_second_time() {
    let server = Server::start().await;
    let app = App::contrary("");
    let host = app.start(&server.url()).await;
    let jetstream = server.jetstream().await;
    let checker = Checker::new(jetstream.clone(), "T");
    checker.publish_count("a", &[]).await;
    checker.wait_for("out.a", 1).await;
    assert_eq!(host.stop().await, 0);
    jetstream.get_stream("T").await.unwrap().purge().filter("_heddle.t.checkpoint.1").await.unwrap();
    let mut next = app.spawn(&server.url());
    assert_eq!(next.ended().await, 1);
    assert!(
        next.log().contains("checkpoints of shards [1] are gone, but others are there"),
        "{}",
        next.log()
    );
    assert_eq!(checker.count("out.>").await, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_shards_cannot_be_changed_once_the_application_has_run() {
    let server = Server::start().await;
    let app = App::contrary("");
    assert_eq!(app.start(&server.url()).await.stop().await, 0);
    let app = app.with("shards = 4", "shards = 8");
    let output = app.output(&["run", "--url", &server.url()]).await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("`shards` is 8, but the application has run with 4"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_cannot_be_changed_while_events_are_under_way() {
    let server = Server::start().await;
    let app = App::contrary("");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let defer = serde_json::json!([{"defer": {"delay_ms": 600_000}}]);
    for key in ["a", "b", "c"] {
        checker.publish(&format!("in.{key}"), defer.clone()).await;
        checker.publish_count(key, &[]).await;
    }
    checker.publish_count("d", &[]).await;
    checker.wait_for("out.d", 1).await;
    assert_eq!(host.stop().await, 0);
    let app = app.with("{subject.1}", "{subject}");
    let output = app.output(&["run", "--url", &server.url()]).await;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("`key` of handler `h` was `{subject.1}` and is now `{subject}`"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_can_be_changed_once_everything_is_done() {
    let server = Server::start().await;
    let app = App::contrary("");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    for n in 0..20 {
        checker.publish_count(&format!("k{n}"), &[]).await;
    }
    checker.wait_for("out.>", 20).await;
    assert_eq!(host.stop().await, 0);
    let app = app.with("{subject.1}", "x{subject.1}");
    let host = app.start(&server.url()).await;
    checker.publish("in.k1", serde_json::json!([{"publish": {"subject": "out.new", "payload": "x"}}])).await;
    checker.wait_for("out.new", 1).await;
    assert_eq!(host.stop().await, 0);
    assert_eq!(checker.count("out.>").await, Some(21));
}
