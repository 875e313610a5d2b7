//! Headers of ours on events of others are data, never believed: a dead letter or a held-back event says what happened
//! to its own event, whatever that event says of itself.

use heddle_tests::{App, Checker, RawMessage, Server, Wire, wait_for};
use serde_json::{Value, json};

fn reject() -> Vec<u8> {
    json!({ "do": [{ "reject": { "reason": "no" } }] }).to_string().into_bytes()
}

async fn dead_letters(app: &App, url: &str, arguments: &[&str]) -> (i32, String) {
    let all = [&["dead-letters"], arguments, &["--url", url]].concat();
    let output = app.command(&all).env("HEDDLE_LOG", "error").output().await.expect("heddle runs");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text.into_owned())
}

async fn shown(app: &App, url: &str, sequence: u64) -> Value {
    let (code, text) = dead_letters(app, url, &["show", "--json", &sequence.to_string()]).await;
    assert_eq!(code, 0, "{text}");
    serde_json::from_str(&text).expect("one document")
}

/// The only dead letter under a filter.
async fn only_dead_letter(checker: &Checker, filter: &str) -> u64 {
    checker.wait_for(filter, 1).await;
    let dead_letters = checker.rows_under(filter).await;
    assert_eq!(dead_letters.len(), 1);
    dead_letters.first().map(|row| row.sequence).expect("there is one")
}

/// Replays a dead letter that fails again: it is replaced by another one.
async fn fails_again(app: &App, url: &str, checker: &Checker, dead_letter: u64) -> u64 {
    let (code, text) = dead_letters(app, url, &["replay", &dead_letter.to_string()]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("1 dead again"), "{text}");
    let filter = "dead.>";
    wait_for("it is replaced", || async { (checker.count(filter).await? == 1).then_some(()) }).await;
    let again = only_dead_letter(checker, filter).await;
    assert!(again > dead_letter);
    again
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_names_another_handler_is_a_dead_letter_of_the_one_that_failed() {
    let server = Server::start().await;
    let (app, url) = (App::contrary("outage = false"), server.url());
    let host = app.start(&url).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let mut wire = Wire::connect(&server).await;
    wire.publish_one(RawMessage::with_lines(b"in.a", b"Heddle-Dead-Handler: other", &reject())).await;
    let dead_letter = only_dead_letter(&checker, "dead.>").await;
    let (_, text) = dead_letters(&app, &url, &["list", "--each", "--json", "--handler", "h"]).await;
    let lines: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!((lines.len(), &lines[0]["handler"]), (1, &json!("h")));
    assert_eq!(
        shown(&app, &url, dead_letter).await["event"]["headers"],
        json!([["Heddle-Dead-Handler", "other"]])
    );
    let again = fails_again(&app, &url, &checker, dead_letter).await;
    let shown = shown(&app, &url, again).await;
    assert_eq!(shown["handler"], "h");
    assert_eq!(shown["event"]["headers"], json!([["Heddle-Dead-Handler", "other"]]));
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_names_another_event_is_replayed_itself() {
    let server = Server::start().await;
    let (app, url) = (App::contrary("outage = false"), server.url());
    let host = app.start(&url).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let mut wire = Wire::connect(&server).await;
    let first = json!([{ "publish": { "subject": "out.first", "payload": "x" } }]);
    let first = checker.publish("in.b", first).await;
    checker.wait_for("out.first", 1).await;
    let lines = format!(
        "Heddle-Dead-Stream: T\r\nHeddle-Dead-Sequence: {first}\r\nHeddle-Dead-Headers-Left-Out: 1\r\nHeddle-Dead-Payload-Left-Out: 1"
    );
    let forged = wire.publish_one(RawMessage::with_lines(b"in.a", lines.as_bytes(), &reject())).await;
    let dead_letter = only_dead_letter(&checker, "dead.>").await;
    let again = fails_again(&app, &url, &checker, dead_letter).await;
    assert_eq!(shown(&app, &url, again).await["event"]["id"], format!("T/{forged}"));
    assert_eq!(checker.count("out.first").await, Some(1));
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_held_back_runs_itself_whatever_it_says_of_another() {
    let server = Server::start().await;
    let url = server.url();
    let app = App::contrary(
        "on-dead-letter = \"hold-key\"\noutage = false\nconfig = { ill = \"yes\" }\n[handlers.h.retry]\nmax-attempts = 1",
    );
    let host = app.start(&url).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let mut wire = Wire::connect(&server).await;
    let first = json!([{ "publish": { "subject": "out.first", "payload": "x" } }]);
    let first = checker.publish("in.b", first).await;
    checker.wait_for("out.first", 1).await;
    checker.publish("in.a", json!([{ "fail_unless": { "name": "well" } }])).await;
    checker.wait_for("dead.>", 1).await;
    let lines =
        format!("Heddle-Held-Sequence: {first}\r\nHeddle-Held-Stream: T\r\nHeddle-Held-Payload-Left-Out: 1");
    let report = json!({ "do": [{ "context": { "subject": "out.own" } }] }).to_string();
    wire.publish_one(RawMessage::with_lines(b"in.a", lines.as_bytes(), report.as_bytes())).await;
    // Headers that cannot be sent again as headers are held back as bytes.
    wire.publish_one(RawMessage::with_lines(b"in.a", b"My Header: 1", report.as_bytes())).await;
    let unreadable = wire.publish_one(RawMessage::with_lines(b"in.a", b"NoColon", report.as_bytes())).await;
    checker.wait_for("_heddle.t.held.>", 3).await;
    assert_eq!(host.stop().await, 0);
    let app = app.with("ill = \"yes\"", "well = \"yes\"");
    let host = app.start(&url).await;
    let (code, text) = dead_letters(&app, &url, &["replay", "--all"]).await;
    assert_eq!(code, 0, "{text}");
    checker.wait_for("out.own", 2).await;
    let rows = checker.rows_under("out.own").await;
    let headers = |n: usize| serde_json::from_str::<Value>(&rows[n].payload).unwrap()["headers"].clone();
    let held = |name: &str, value: &str| json!([format!("Heddle-Held-{name}"), value]);
    let expected =
        json!([held("Payload-Left-Out", "1"), held("Sequence", &first.to_string()), held("Stream", "T")]);
    assert_eq!((headers(0), headers(1)), (expected, json!([["My Header", "1"]])));
    wait_for("the unreadable one is a dead letter", || async {
        let dead_letters = checker.rows_under("dead.>").await;
        let found =
            dead_letters.iter().find(|row| row.header("Heddle-Dead-Sequence") == unreadable.to_string());
        found.map(|row| assert_eq!(row.header("Heddle-Dead-Cause"), "unreadable"))
    })
    .await;
    assert_eq!(checker.count("out.first").await, Some(1));
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_of_another_application_are_events_like_others() {
    let server = Server::start().await;
    let url = server.url();
    let shop = App::contrary("outage = false");
    let host = shop.start(&url).await;
    let plugin = heddle_tests::plugin("contrary");
    let alarm = App::new(&format!(
        "app = \"u\"\n[stream]\nname = \"U\"\nsubjects = [\"u.>\"]\n[handlers.alarm]\nplugin = {plugin:?}\n\
         stream = \"T\"\nsubscribe = [\"dead.t.>\"]\noutage = false\n"
    ));
    let watching = alarm.start(&url).await;
    let (ours, theirs) =
        (Checker::new(server.jetstream().await, "T"), Checker::new(server.jetstream().await, "U"));
    let mut wire = Wire::connect(&server).await;
    let event = wire.publish_one(RawMessage::with_lines(b"in.a", b"Kind: x", &reject())).await;
    let first = only_dead_letter(&ours, "dead.t.>").await;
    let dead_letter = only_dead_letter(&theirs, "dead.u.>").await;
    says_its_own(&shown(&alarm, &url, dead_letter).await, first, event);
    let again = fails_again(&alarm, &url, &theirs, dead_letter).await;
    says_its_own(&shown(&alarm, &url, again).await, first, event);
    assert_eq!((watching.stop().await, host.stop().await), (0, 0));
}

/// A dead letter of `alarm` is of the dead letter at `first`, whose headers it keeps, and not of `event`.
#[track_caller]
fn says_its_own(shown: &Value, first: u64, event: u64) {
    let (handler, id) = (shown.pointer("/handler"), shown.pointer("/event/id"));
    assert_eq!((handler, id), (Some(&json!("alarm")), Some(&json!(format!("T/{first}")))));
    let headers = shown.pointer("/event/headers").and_then(Value::as_array).expect("the event has headers");
    assert!(headers.contains(&json!(["Heddle-Dead-Handler", "h"])), "{headers:?}");
    assert!(headers.contains(&json!(["Heddle-Dead-Sequence", event.to_string()])), "{headers:?}");
    assert!(headers.contains(&json!(["Kind", "x"])), "{headers:?}");
}
