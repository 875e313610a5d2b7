//! Events that are gone before their handler came to them: said, and counted exactly where that can be known.

use async_nats::jetstream::stream::Config;
use heddle_tests::{App, Checker, Server, wait_for};
use serde_json::json;

use super::{foreign, publish, status, text, with_foreign};

/// Waits until the events on a subject have aged out.
async fn gone(checker: &Checker, subject: &str) {
    wait_for("the events age out", || async { (checker.count(subject).await == Some(0)).then_some(()) })
        .await;
}

/// Waits until `heddle status` counts N lost events of the handler `h`.
async fn lost(app: &App, server: &Server, events: u64) {
    wait_for("status counts what is lost", || async {
        (status(app, server, "h").await.get("lost")? == events).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_aged_out_while_no_host_ran_are_said_and_counted() {
    let server = Server::start().await;
    let app = App::contrary("").with("subjects =", "max-age = \"3s\"\nsubjects =");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    checker.publish_count("a", &[]).await;
    checker.wait_for("out.a", 1).await;
    assert_eq!(host.stop().await, 0);
    // What nobody lost: the event before, its effect, and whatever Heddle removes of its own.
    gone(&checker, "out.a").await;
    let host = app.start(&server.url()).await;
    checker.publish_count("b", &[]).await;
    checker.wait_for("out.b", 1).await;
    assert_eq!(host.stop().await, 0);
    assert!(!app.logs().contains("are lost for handler"), "{}", app.logs());
    let first = checker.publish_count("lost", &[]).await;
    for _ in 1..100 {
        checker.publish_count("lost", &[]).await;
    }
    gone(&checker, "in.lost").await;
    let mut host = app.start(&server.url()).await;
    host.wait_for_line("up to 100 events").await;
    let range = format!("sequences {first} to {}", first + 99);
    assert!(host.log().contains(&range), "no {range:?} in {}", host.log());
    lost(&app, &server, 100).await;
    checker.publish_count("c", &[]).await;
    checker.wait_for("out.c", 1).await;
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_waited_for_its_retry_and_aged_out_over_a_restart_is_said() {
    let server = Server::start().await;
    let app = App::contrary("").with("subjects =", "max-age = \"3s\"\nsubjects =");
    let checker = Checker::new(server.jetstream().await, "T");
    for killed in [false, true] {
        let host = app.start(&server.url()).await;
        let sequence = checker.publish("in.a", json!([{"defer": {"delay_ms": 3_600_000}}])).await;
        wait_for("it waits", || async {
            (status(&app, &server, "h").await["retrying"].as_u64() > Some(0)).then_some(())
        })
        .await;
        match killed {
            true => host.kill().await,
            false => assert_eq!(host.stop().await, 0),
        }
        gone(&checker, "in.a").await;
        let mut host = app.start(&server.url()).await;
        host.wait_for_line("1 events of stream `T` are lost for handler `h`").await;
        // A host that was killed has written no mark, but its checkpoint knows the event.
        let place = format!("sequences {sequence} to {sequence}");
        assert!(!killed || host.log().contains(&place), "no {place:?} in {}", host.log());
        lost(&app, &server, 1).await;
        checker.publish_count("b", &[]).await;
        assert_eq!(host.stop().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_age_out_in_front_of_a_slow_handler_are_counted_exactly() {
    const EVENTS: u64 = 300;
    let server = Server::start().await;
    let app = App::contrary("concurrency = 1").with("subjects =", "max-age = \"6s\"\nsubjects =");
    let mut host = app.start(&server.url()).await;
    let jetstream = server.jetstream().await;
    // So large that the host has room for less than half of them, and so slow that the others age out.
    let work = json!({"do": [{"sleep_ms": {"ms": 100}}, {"count": null}]}).to_string();
    let event = work + &" ".repeat(900_000);
    for _ in 0..EVENTS {
        jetstream.publish("in.a", event.clone().into()).await.unwrap().await.unwrap();
    }
    host.wait_for_line("events of stream `T` are lost for handler `h`").await;
    let handled = async || {
        let output = app.output(&["state", "get", "h", "a", "--url", &server.url()]).await;
        text(&output.stdout).trim().parse::<u64>().unwrap_or(0)
    };
    wait_for("every event was handled or is lost", || async {
        let lost = status(&app, &server, "h").await["lost"].as_u64()?;
        (lost > 0 && handled().await + lost == EVENTS).then_some(())
    })
    .await;
    assert!(!host.log().contains("up to"), "{}", host.log());
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_foreign_stream_lost_while_no_host_ran_is_said_once() {
    for killed in [false, true] {
        let server = Server::start().await;
        let jetstream = server.jetstream().await;
        jetstream.create_stream(Config { max_messages: 10, ..foreign() }).await.unwrap();
        let app = with_foreign("e");
        let mut host = app.start(&server.url()).await;
        let checker = Checker::new(jetstream.clone(), "T");
        checker.publish("ext.a", publish("out.e")).await;
        checker.wait_for("out.e", 1).await;
        // Nothing is left that a checkpoint does not know yet.
        wait_for("its progress is stored", || async {
            (status(&app, &server, "e").await["low"].as_u64() > Some(1)).then_some(())
        })
        .await;
        match killed {
            true => host.kill().await,
            false => assert_eq!(host.stop().await, 0),
        }
        for _ in 0..50 {
            checker.publish("ext.a", publish("out.e")).await;
        }
        host = app.start(&server.url()).await;
        host.wait_for_line("are lost for handler `e`").await;
        assert!(host.log().contains("up to 40 events"), "{}", host.log());
        checker.wait_for("out.e", 11).await;
        // Until the stream was looked at more than once.
        checker.publish("ext.a", publish("out.e")).await;
        checker.wait_for("out.e", 12).await;
        wait_for("status counts what is lost", || async {
            (status(&app, &server, "e").await["lost"] == 40).then_some(())
        })
        .await;
        assert_eq!(host.log().matches("are lost for handler").count(), 1, "{}", host.log());
        assert_eq!(host.stop().await, 0);
    }
}
