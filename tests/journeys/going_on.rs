//! A host ends only for the reasons that the documentation lists; its successor waits while it drains.

use std::time::{Duration, Instant};

use heddle_tests::component::{replace, variant};
use heddle_tests::versions::{contrary, put, wait_for_stage};
use heddle_tests::{App, Checker, Flow, Server, heddle, versions};
use rustix::process::Signal;
use serde_json::json;

fn app() -> App {
    App::contrary("limits = { time = \"20s\" }")
}

/// Publishes an event that runs for a while, and waits until it has begun: a later one of another key is done.
async fn begin_long(checker: &Checker, ms: u64) {
    let publishes = json!({"publish": {"subject": "out.long", "payload": "x"}});
    checker.publish("in.long", json!([{"sleep_ms": {"ms": ms}}, publishes])).await;
    checker.publish_count("later", &[]).await;
    checker.wait_for("out.later", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_an_operator_has_changed_and_a_harmless_edit_of_the_file_end_nothing() {
    let server = Server::start().await;
    let app = app();
    let mut host = app.start(&server.url()).await;
    let jetstream = server.jetstream().await;
    let checker = Checker::new(jetstream.clone(), "T");
    checker.publish_counts(20, 5).await;
    let mut stream = jetstream.get_stream("T").await.expect("the stream is there");
    let mut config = stream.info().await.expect("the stream tells").config.clone();
    config.max_messages = 1_000_000;
    jetstream.update_stream(config.clone()).await.expect("an operator changes the stream");
    let app = app.with("[handlers.h]", "[handlers.h]\nconcurrency = 63");
    host.wait_for_line("reload rejected; keeping the current configuration").await;
    host.wait_for_line("`max_msgs` is 1000000").await;
    checker.publish_counts(20, 5).await;
    checker.wait_for("out.>", 40).await;
    config.max_messages = -1;
    jetstream.update_stream(config).await.expect("an operator changes the stream back");
    host.signal(Signal::HUP);
    host.wait_for_line("reload complete").await;
    checker.publish_counts(20, 5).await;
    checker.wait_for("out.>", 60).await;
    assert_eq!(host.stop().await, 0);
    drop(app);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_in_the_middle_of_a_reload_is_waited_for() {
    let mut server = Server::start().await;
    let app = app();
    let mut host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    begin_long(&checker, 3_000).await;
    let app = app.with("[handlers.h]", "[handlers.h]\nconcurrency = 63");
    host.wait_for_line("reload accepted; finishing running events").await;
    server.kill().await;
    host.wait_for_line("failed to resume; retrying").await;
    server.restart().await;
    host.wait_for_line("reload complete").await;
    checker.publish_counts(20, 5).await;
    for key in ["out.k0", "out.k4"] {
        checker.wait_for(key, 4).await;
    }
    checker.wait_for("out.long", 1).await;
    assert_eq!(checker.count("out.long").await, Some(1));
    assert_eq!(host.stop().await, 0);
    drop(app);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_waits_for_the_server_in_a_reload_stops_when_it_is_asked_to() {
    let mut server = Server::start().await;
    let app = app();
    let mut host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    begin_long(&checker, 2_000).await;
    let app = app.with("[handlers.h]", "[handlers.h]\nconcurrency = 63");
    host.wait_for_line("reload accepted; finishing running events").await;
    server.kill().await;
    host.wait_for_line("failed to resume; retrying").await;
    assert_eq!(host.stop().await, 0);
    drop(app);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_waits_while_its_predecessor_drains_and_then_takes_over() {
    let server = Server::start().await;
    let app = app();
    let mut old = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    begin_long(&checker, 4_000).await;
    old.signal(Signal::TERM);
    let mut new = app.spawn(&server.url());
    new.wait_for_line("it drains").await;
    assert_eq!(old.ended().await, 0);
    let ended = Instant::now();
    new.wait_for_line(" running").await;
    assert!(ended.elapsed() < Duration::from_secs(5), "{:?} after the other one has ended", ended.elapsed());
    checker.publish_count("later", &[]).await;
    checker.wait_for("out.later", 2).await;
    assert_eq!(checker.count("out.long").await, Some(1));
    assert_eq!(new.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_removed_or_replaced_takes_new_versions_all_the_same() {
    let server = Server::start().await;
    let app = versions::app(&contrary(), "");
    let program = app.folder().join("heddle");
    std::fs::copy(heddle(), &program).expect("the program is copied");
    let host = app.start_program(&program, &server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let flow = Flow::start(&server, 20, 200).await;
    // Nobody has compiled these before.
    let [second, third] = [0, 1].map(|n| variant(&contrary(), rand::random::<u64>() & !1 | n));
    std::fs::remove_file(&program).expect("the program is removed");
    put(&app, &second);
    wait_for_stage(&checker, &second, "live").await;
    replace(&program, b"#!/bin/sh\nexit 1\n");
    put(&app, &third);
    wait_for_stage(&checker, &third, "live").await;
    versions::assert_sound(&checker, flow.end().await).await;
    assert_eq!(host.stop().await, 0);
}
