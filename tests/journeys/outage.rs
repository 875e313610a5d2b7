//! Outages: what a handler depends on is away, and nothing becomes a dead letter; pace and concurrency.

use std::time::{Duration, Instant};

use heddle_tests::{App, Checker, Server, wait_for};
use serde_json::{Value, json};

/// A handler that depends on a file: as long as it is there, all is well.
fn app(folder: &std::path::Path, more: &str) -> App {
    app_with(folder, "2s", more)
}

/// The same with another window.
fn app_with(folder: &std::path::Path, window: &str, more: &str) -> App {
    let grants = format!("files = [{{ host = {folder:?}, guest = \"/world\" }}]");
    App::contrary(&format!(
        "outage = {{ window = {window:?}, probe = {{ initial = \"100ms\", max = \"500ms\" }} }}\ngrants = {{ {grants} }}\n[handlers.h.retry]\nmax-attempts = 3\nbackoff = {{ initial = \"50ms\", max = \"200ms\" }}\n{more}"
    ))
}

fn needs_the_world(key: usize) -> Value {
    json!([
        {"need_file": {"path": "/world/up"}},
        {"count": null},
        {"echo_state": {"subject": format!("out.k{key}")}},
    ])
}

async fn publish_many(server: &Server, events: usize, keys: usize) {
    use futures::{StreamExt, TryStreamExt};
    let jetstream = server.jetstream().await;
    let publish = |n: usize| {
        let payload = json!({ "do": needs_the_world(n % keys) }).to_string();
        let jetstream = jetstream.clone();
        async move { jetstream.publish(format!("in.k{}", n % keys), payload.into()).await?.await }
    };
    let acks = futures::stream::iter(0..events).map(publish).buffer_unordered(500);
    acks.try_for_each(|_| std::future::ready(Ok(()))).await.expect("the server takes all events");
}

async fn status(app: &App, url: &str) -> Value {
    let output = app.output(&["status", "--json", "--url", url]).await;
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_a_minute_fills_no_dead_letter_subject_and_is_made_up_for() {
    const EVENTS: usize = 10_000;
    const OUTAGE: Duration = Duration::from_secs(60);
    let server = Server::start().await;
    let url = server.url();
    let world = tempfile::tempdir().unwrap();
    let up = world.path().join("up");
    let app = app(world.path(), "");
    let host = app.start(&url).await;
    let checker = Checker::new(server.jetstream().await, "T");
    // How fast it is when all is well.
    std::fs::write(&up, "").unwrap();
    let began = Instant::now();
    publish_many(&server, EVENTS, 500).await;
    checker.wait_for("out.>", EVENTS).await;
    let well = EVENTS as f64 / began.elapsed().as_secs_f64();

    std::fs::remove_file(&up).unwrap();
    let outage = Instant::now();
    publish_many(&server, EVENTS, 500).await;
    wait_for("the circuit is open", || async {
        let since = &status(&app, &url).await["handlers"]["h"]["outage_since"];
        since.is_string().then_some(())
    })
    .await;
    let text = app.output(&["status", "--url", &url]).await;
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("h: circuit open since"), "{text}");
    // The outage itself: nothing can be waited for.
    tokio::time::sleep(OUTAGE.saturating_sub(outage.elapsed())).await;
    let logs = app.logs();
    let dead: Vec<&str> = logs.lines().filter(|line| line.contains("became a dead letter")).collect();
    assert_eq!(checker.count("dead.>").await, Some(0), "{dead:#?}");
    assert_eq!(checker.count("out.>").await, Some(EVENTS));

    std::fs::write(&up, "").unwrap();
    let back = Instant::now();
    checker.wait_for("out.>", 2 * EVENTS).await;
    let recovery = back.elapsed();
    assert_eq!(checker.count("dead.>").await, Some(0));
    assert_eq!(checker.faults().await, Vec::<String>::new());
    // All of it done within 10 s and the time it takes at nine tenths of the rate.
    let bound = Duration::from_secs(10) + Duration::from_secs_f64(EVENTS as f64 / (0.9 * well));
    assert!(recovery < bound, "{recovery:?} to make up for it, {bound:?} allowed");
    wait_for("the circuit is closed", || async {
        status(&app, &url).await["handlers"]["h"]["outage_since"].is_null().then_some(())
    })
    .await;
    assert_eq!(host.stop().await, 0);
}

/// With few events a second, the retries of the first are long over when the circuit can tell an outage.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_that_shows_slowly_fills_no_dead_letter_subject_either() {
    const KEYS: usize = 30;
    let server = Server::start().await;
    let world = tempfile::tempdir().unwrap();
    let up = world.path().join("up");
    std::fs::write(&up, "").unwrap();
    let app = app_with(world.path(), "60s", "");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    publish_many(&server, 100, KEYS).await;
    checker.wait_for("out.>", 100).await;

    std::fs::remove_file(&up).unwrap();
    for n in 0..KEYS {
        checker.publish(&format!("in.k{n}"), needs_the_world(n)).await;
        // Three attempts, a quarter of a second in all, end before the next key fails.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(app.logs().contains("circuit is open"), "{}", app.logs());
    assert_eq!(checker.count("dead.>").await, Some(0));

    std::fs::write(&up, "").unwrap();
    checker.wait_for("out.>", 100 + KEYS).await;
    assert_eq!(checker.count("dead.>").await, Some(0));
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_event_of_which_nothing_tells_whether_it_fails_in_an_outage_is_given_up_after_the_window() {
    let server = Server::start().await;
    let world = tempfile::tempdir().unwrap();
    let app = app_with(world.path(), "5s", "");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let began = Instant::now();
    checker.publish("in.p", json!([{"retry": {"reason": "poison"}}])).await;
    // Whoever wonders why it is no dead letter yet sees the event, and why.
    let mut shown = status(&app, &server.url()).await;
    while shown["handlers"]["h"]["retries"][0]["attempts"] != 2 {
        assert!(began.elapsed() < Duration::from_secs(5), "{shown}");
        shown = status(&app, &server.url()).await;
    }
    let retry = &shown["handlers"]["h"]["retries"][0];
    assert!(retry["event"].as_str().is_some_and(|event| event.starts_with("T/")), "{shown}");
    assert_eq!((&retry["cause"], &retry["message"]), (&json!("retry"), &json!("poison")));
    checker.wait_for("dead.>", 1).await;
    assert!(began.elapsed() >= Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(!app.logs().contains("circuit is open"));
    // Another one fails while the handler works.
    let began = Instant::now();
    checker.publish("in.p", json!([{"retry": {"reason": "poison"}}])).await;
    let works = async {
        loop {
            checker.publish("in.q", json!([{"count": null}])).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = works => {}
        () = checker.wait_for("dead.>", 2) => {}
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_poisoned_keys_are_no_outage() {
    let server = Server::start().await;
    let world = tempfile::tempdir().unwrap();
    std::fs::write(world.path().join("up"), "").unwrap();
    let app = app(world.path(), "");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    for n in 0..5 {
        checker.publish(&format!("in.p{n}"), json!([{"retry": {"reason": "poison"}}])).await;
    }
    publish_many(&server, 500, 50).await;
    checker.wait_for("out.>", 500).await;
    checker.wait_for("dead.>", 5).await;
    assert!(!app.logs().contains("circuit is open"));
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_is_kept() {
    let server = Server::start().await;
    let app = App::contrary("rate-limit = \"100/s\"");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let began = Instant::now();
    checker.publish_counts(300, 30).await;
    checker.wait_for("out.>", 300).await;
    let took = began.elapsed();
    // 300 at 100 a second, less the tenth of a second that may be saved up.
    assert!(took >= Duration::from_millis(2_800), "{took:?}");
    assert_eq!(checker.faults().await, Vec::<String>::new());
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_runs_at_once_than_the_concurrency_allows() {
    let server = Server::start().await;
    let app = App::contrary("concurrency = 2\nlimits = { time = \"10s\" }");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let began = Instant::now();
    for n in 0..8 {
        let nap = json!([{"sleep_ms": {"ms": 250}}, {"publish": {"subject": "out.a"}}]);
        checker.publish(&format!("in.k{n}"), nap).await;
    }
    checker.wait_for("out.>", 8).await;
    // Eight naps of a quarter of a second, two at a time.
    assert!(began.elapsed() >= Duration::from_millis(950), "{:?}", began.elapsed());
    assert_eq!(host.stop().await, 0);
}
