//! Retries and dead letters.

use heddle_tests::{App, Checker, Server};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_keeps_failing_becomes_a_dead_letter_with_its_cause() {
    let server = Server::start().await;
    let app = App::contrary(
        "[handlers.h.retry]\nmax-attempts = 3\nbackoff = { initial = \"5ms\", max = \"10ms\" }",
    );
    let host = app.start(&server.url()).await;
    let jetstream = server.jetstream().await;
    let checker = Checker::new(jetstream.clone(), "T");
    let payload = json!({"do": [
        {"log": {"level": "trace", "message": "tried"}},
        {"publish": {"subject": "out.a", "payload": "never"}},
        {"retry": {"reason": "not today\nnor tomorrow"}},
    ]})
    .to_string();
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Kind", "first");
    headers.append("Kind", "second");
    headers.insert("Nats-Msg-Id", "once");
    let ack =
        jetstream.publish_with_headers("in.a", headers, payload.clone().into()).await.unwrap().await.unwrap();
    let next = checker.publish_count("a", &[]).await;
    checker.wait_for("dead.>", 1).await;
    checker.wait_for("out.>", 1).await;

    let dead_letters = checker.rows("dead.").await;
    let dead_letter = &dead_letters[0];
    assert_eq!(dead_letters.len(), 1);
    assert_eq!(dead_letter.subject, "dead.t.h.in.a");
    assert_eq!(dead_letter.payload, payload);
    assert_eq!(dead_letter.header("Kind"), "first");
    assert_eq!(dead_letter.header("Heddle-Dead-Cause"), "retry");
    assert_eq!(dead_letter.header("Heddle-Dead-Message"), "not today\\nnor tomorrow");
    assert_eq!(dead_letter.header("Heddle-Dead-Attempts"), "3");
    assert_eq!(dead_letter.header("Heddle-Dead-Handler"), "h");
    assert_eq!(dead_letter.header("Heddle-Dead-Stream"), "T");
    assert_eq!(dead_letter.header("Heddle-Dead-Sequence"), ack.sequence.to_string());
    assert_eq!(dead_letter.header("Heddle-Dead-Subject"), "in.a");
    assert_eq!(dead_letter.header("Heddle-Dead-Key"), "a");
    assert!(dead_letter.header("Heddle-Dead-Plugin").starts_with("sha256:"));
    assert!(dead_letter.header("Heddle-Dead-Time").ends_with('Z'));
    // Its effects vanished, and the next event of the key came after it.
    let out = checker.rows("out.").await;
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].cause(), next);
    assert!(out[0].sequence > dead_letter.sequence);
    assert_eq!(host.stop().await, 0);
    assert_eq!(app.logs().matches("tried").count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_event_is_never_tried_again() {
    let server = Server::start().await;
    let app = App::contrary("");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let log = json!({"log": {"level": "trace", "message": "tried"}});
    checker.publish("in.a", json!([log, {"reject": {"reason": "no such customer"}}])).await;
    checker.wait_for("dead.>", 1).await;
    assert_eq!(checker.rows("dead.").await[0].header("Heddle-Dead-Cause"), "reject");
    assert_eq!(host.stop().await, 0);
    assert_eq!(app.logs().matches("tried").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_a_key_becomes_a_dead_letter() {
    let server = Server::start().await;
    let app = App::contrary("").with("{subject.1}", "{header.Customer}");
    let host = app.start(&server.url()).await;
    let jetstream = server.jetstream().await;
    let checker = Checker::new(jetstream.clone(), "T");
    let empty = r#"{"do":[]}"#;
    jetstream.publish("in.a", empty.into()).await.unwrap().await.unwrap();
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Customer", "c1");
    jetstream.publish_with_headers("in.a", headers, empty.into()).await.unwrap().await.unwrap();
    checker.wait_for("dead.>", 1).await;
    let dead_letter = &checker.rows("dead.").await[0];
    assert_eq!(dead_letter.header("Heddle-Dead-Cause"), "key");
    assert!(
        dead_letter.header("Heddle-Dead-Message").contains("header `Customer` is missing"),
        "{dead_letter:?}"
    );
    assert_eq!(host.stop().await, 0);
    assert_eq!(checker.count("dead.>").await, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_events_that_goes_in_a_circle_ends() {
    let server = Server::start().await;
    let app = App::contrary("");
    let host = app.start(&server.url()).await;
    let jetstream = server.jetstream().await;
    let checker = Checker::new(jetstream.clone(), "T");
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Heddle-Hops", "101");
    jetstream.publish_with_headers("in.a", headers, r#"{"do":[]}"#.into()).await.unwrap().await.unwrap();
    checker.wait_for("dead.>", 1).await;
    assert_eq!(checker.rows("dead.").await[0].header("Heddle-Dead-Cause"), "hops");
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_and_back_off_survive_a_kill() {
    let server = Server::start().await;
    let app = App::contrary(
        "[handlers.h.retry]\nmax-attempts = 4\nbackoff = { initial = \"400ms\", factor = 1, max = \"400ms\" }",
    );
    let checker = Checker::new(server.jetstream().await, "T");
    let mut host = app.start(&server.url()).await;
    let log = json!({"log": {"level": "trace", "message": "tried"}});
    checker.publish("in.a", json!([log, {"retry": {"reason": "again"}}])).await;
    let mut restarts = 0;
    while checker.count("dead.>").await != Some(1) {
        // Killed once the attempt is on record, which the checkpoint's growth shows.
        let tried = app.logs().matches("tried").count();
        heddle_tests::wait_for("another try", || {
            let more = app.logs().matches("tried").count() > tried;
            let checker = &checker;
            async move { (more || checker.count("dead.>").await == Some(1)).then_some(()) }
        })
        .await;
        let recorded = || async {
            checker
                .rows("_heddle.t.checkpoint.")
                .await
                .iter()
                .any(|row| row.payload.contains("again"))
                .then_some(())
        };
        if checker.count("dead.>").await != Some(1) {
            heddle_tests::wait_for("the attempt is recorded", recorded).await;
            restarts += 1;
            host.kill().await;
            host = app.start(&server.url()).await;
        }
    }
    assert_eq!(checker.rows("dead.").await[0].header("Heddle-Dead-Attempts"), "4");
    assert!(restarts >= 1);
    // A kill may come between a run and its record, which repeats that run; never more.
    let tried = app.logs().matches("tried").count();
    assert!((4..=4 + restarts).contains(&tried), "{tried} runs with {restarts} restarts");
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_that_the_server_refuses_for_good_become_a_dead_letter_and_hold_up_nothing_else() {
    let server = Server::start().await;
    let app = App::contrary("");
    let host = app.start(&server.url()).await;
    let jetstream = server.jetstream().await;
    let checker = Checker::new(jetstream.clone(), "T");
    // An operator narrows the stream while the host runs.
    let mut config = jetstream.get_stream("T").await.unwrap().cached_info().config.clone();
    config.max_message_size = 4_000;
    jetstream.update_stream(config).await.unwrap();
    let big = json!({"big_output": {"subject": "out.big", "bytes": 6_000}});
    for n in 0..300 {
        checker.publish_count(&format!("k{}", n % 8), &[]).await;
        if n % 100 == 50 {
            checker.publish("in.k1", json!([{"count": null}, big.clone()])).await;
        }
    }
    checker.wait_for("out.>", 300).await;
    checker.wait_for("dead.>", 3).await;
    assert_eq!(checker.count("out.big").await, Some(0));
    for dead_letter in checker.rows("dead.").await {
        assert_eq!(dead_letter.header("Heddle-Dead-Cause"), "refused", "{dead_letter:?}");
    }
    // The state that the refused events had counted up is as if they had never run.
    let counts: Vec<String> = checker.rows("out.k1").await.into_iter().map(|row| row.payload).collect();
    let expected: Vec<String> = (1..=counts.len()).map(|n| n.to_string()).collect();
    assert_eq!(counts, expected);
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_headers_fill_the_servers_limit_still_becomes_a_dead_letter() {
    let server = Server::start().await;
    let app = App::contrary("");
    let host = app.start(&server.url()).await;
    let jetstream = server.jetstream().await;
    let checker = Checker::new(jetstream.clone(), "T");
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Big", "x".repeat(65_200).as_str());
    let payload = json!({"do": [{"reject": {"reason": "no"}}]}).to_string();
    jetstream.publish_with_headers("in.a", headers, payload.clone().into()).await.unwrap().await.unwrap();
    checker.publish_count("b", &[]).await;
    checker.wait_for("dead.>", 1).await;
    checker.wait_for("out.b", 1).await;
    let dead_letter = &checker.rows("dead.").await[0];
    assert_eq!(dead_letter.payload, payload);
    assert_eq!(dead_letter.header("Heddle-Dead-Cause"), "reject");
    assert_eq!(dead_letter.header("Heddle-Dead-Headers-Left-Out"), "1");
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_put_off_for_ever_ends_with_max_elapsed() {
    let server = Server::start().await;
    let app = App::contrary("[handlers.h.retry]\nmax-elapsed = \"1s\"");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    checker.publish("in.a", json!([{"defer": {"delay_ms": 300, "reason": "not yet"}}])).await;
    checker.wait_for("dead.>", 1).await;
    let dead_letter = &checker.rows("dead.").await[0];
    assert_eq!(dead_letter.header("Heddle-Dead-Cause"), "defer");
    assert_eq!(dead_letter.header("Heddle-Dead-Message"), "not yet (`max-elapsed` is used up)");
    assert_eq!(dead_letter.header("Heddle-Dead-Attempts"), "1", "a deferral counted as an attempt");
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_cause_is_answered_as_the_file_says() {
    let server = Server::start().await;
    let app = App::contrary(
        "limits = { time = \"50ms\", messages = 1 }\n[handlers.h.retry]\nmax-attempts = 3\nbackoff = { initial = \"1ms\", max = \"2ms\" }\n[handlers.h.retry.on]\ntrap = \"dead-letter\"\ntime = \"retry\"\neffect = \"retry\"\noutput = \"once\"",
    );
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    for (key, instruction, cause, attempts) in [
        ("trap", json!({"trap": null}), "trap", "1"),
        ("time", json!({"spin": null}), "limit", "3"),
        ("effect", json!({"publish": {"subject": "in.x"}}), "effect", "3"),
        ("output", json!({"flood": {"subject": "out.a", "messages": 2}}), "limit", "2"),
        ("decode", json!({"dance": null}), "decode", "1"),
    ] {
        checker.publish(&format!("in.{key}"), json!([instruction])).await;
        checker.wait_for(&format!("dead.t.h.in.{key}"), 1).await;
        let dead_letter = &checker.rows(&format!("dead.t.h.in.{key}")).await[0];
        let found = (dead_letter.header("Heddle-Dead-Cause"), dead_letter.header("Heddle-Dead-Attempts"));
        assert_eq!(found, (cause, attempts), "{key}: {dead_letter:?}");
    }
    heddle_tests::wait_for("the breaches are counted", || async {
        let status = app.output(&["status", "--json", "--url", &server.url()]).await;
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).ok()?;
        let failures = &status["handlers"]["h"]["failures"];
        (failures["limit:time"] == 3 && failures["limit:messages"] == 2).then_some(())
    })
    .await;
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_innocent_event_is_not_blamed_for_what_others_left_in_its_instance() {
    let server = Server::start().await;
    let app = App::contrary("instances = { reuse = 1000 }\nlimits = { memory = \"16MiB\" }");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    for n in 0..40 {
        checker.publish_count(&format!("k{}", n % 4), &[json!({"hoard": {"mib": 4}})]).await;
    }
    checker.wait_for("out.>", 40).await;
    assert_eq!(checker.faults().await, Vec::<String>::new());
    assert_eq!(checker.count("dead.>").await, Some(0));
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_stream_full_events_wait_and_nothing_is_lost() {
    let folder = Server::prepare();
    let config = folder.path().join(heddle_tests::CONFIG);
    std::fs::write(&config, "jetstream { max_file_store: 3MB }\n").unwrap();
    let mut server = Server::start_in(folder).await;
    let app = App::contrary("");
    let mut host = app.start(&server.url()).await;
    let jetstream = server.jetstream().await;
    let checker = Checker::new(jetstream.clone(), "T");
    for n in 0..40 {
        checker.publish_count(&format!("k{}", n % 4), &[]).await;
    }
    checker.wait_for("out.>", 40).await;
    // An event that takes a while; meanwhile the stream is filled with what no handler reads.
    checker.publish("in.last", json!([{"sleep_ms": {"ms": 2_000}}, {"reject": {"reason": "no"}}])).await;
    let filling = "x".repeat(100_000);
    while let Ok(ack) = jetstream.publish("out.filling", filling.clone().into()).await {
        if ack.await.is_err() {
            break;
        }
    }
    host.wait_for_line("retrying commit").await;
    assert_eq!(checker.count("dead.>").await, Some(0));
    server.kill().await;
    std::fs::remove_file(&config).unwrap();
    server.restart().await;
    checker.publish_count("k1", &[]).await;
    checker.wait_for("dead.>", 1).await;
    checker.wait_for("out.k1", 11).await;
    assert_eq!(checker.count("dead.>").await, Some(1));
    assert_eq!(host.stop().await, 0);
}
