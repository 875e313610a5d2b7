//! Dead letters and what operators do about them.

use std::time::Duration;

use heddle_tests::{App, Checker, Server, wait_for};
use serde_json::{Value, json};

/// An application whose dead letters come at once.
fn app(more: &str) -> App {
    // Many keys that fail at once are no outage here.
    App::contrary(&format!("{more}\noutage = false\n[handlers.h.retry]\nmax-attempts = 1"))
}

async fn run(app: &App, url: &str, arguments: &[&str]) -> (i32, String) {
    let mut all = vec!["dead-letters"];
    all.extend(arguments);
    all.extend(["--url", url]);
    let output = app.command(&all).env("HEDDLE_LOG", "error").output().await.expect("heddle runs");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text.into_owned())
}

/// An event that fails until the plugin's setting says otherwise.
fn fails_unless_well() -> Value {
    json!([{"fail_unless": {"name": "well"}}, {"count": null}, {"echo_state": {"subject": "out.a"}}])
}

/// Lets the events above be done from now on: the host is started again with another setting.
fn well(app: App) -> App {
    app.with("publishes = [\"out.>\"]", "publishes = [\"out.>\"]\nconfig = { well = \"yes\" }")
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_in_groups_and_shown_whole() {
    let server = Server::start().await;
    let url = server.url();
    let app = app("");
    let host = app.start(&url).await;
    let checker = Checker::new(server.jetstream().await, "T");
    for n in 0..3 {
        checker.publish("in.a", json!([{"reject": {"reason": format!("order {n} is unknown")}}])).await;
    }
    let log = json!({"log": {"level": "info", "message": "about to fall"}});
    checker.publish("in.b", json!([log, {"panic": {"message": "out of thread"}}])).await;
    checker.wait_for("dead.>", 4).await;

    let (code, text) = run(&app, &url, &["list", "--json"]).await;
    assert_eq!(code, 0, "{text}");
    let groups: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(groups.len(), 2, "{text}");
    assert_eq!((&groups[0]["count"], &groups[0]["cause"]), (&json!(3), &json!("reject")));
    assert_eq!((&groups[1]["count"], &groups[1]["cause"]), (&json!(1), &json!("trap")));
    let fingerprint = groups[0]["fingerprint"].as_str().unwrap();
    let (_, text) = run(&app, &url, &["list", "--each", "--json", "--fingerprint", fingerprint]).await;
    let lines: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["message"], "order 0 is unknown");
    for (filter, expected) in [
        (vec!["--cause", "trap"], 1),
        (vec!["--key", "a"], 3),
        (vec!["--subject", "in.*"], 4),
        (vec!["--subject", "out.*"], 0),
        (vec!["--handler", "h", "--newer-than", "1h"], 4),
        (vec!["--older-than", "1h"], 0),
    ] {
        let arguments = [&["list", "--each", "--json"], filter.as_slice()].concat();
        let lines: Vec<Value> = serde_json::from_str(&run(&app, &url, &arguments).await.1).unwrap();
        assert_eq!(lines.len(), expected, "{filter:?}");
    }

    let (_, text) = run(&app, &url, &["show", "--cause", "trap", "--json"]).await;
    let dead_letter: Value = serde_json::from_str(&text).unwrap();
    assert!(dead_letter["message"].as_str().unwrap().contains("out of thread"), "{text}");
    assert!(dead_letter["backtrace"].as_array().is_some_and(|frames| !frames.is_empty()), "{text}");
    assert!(text.contains("abuse.rs:"), "no line of the source: {text}");
    assert_eq!(dead_letter["logs"][0], "about to fall");
    // The host's log has it in one line.
    let log = host.log();
    let panics: Vec<&str> =
        log.lines().filter(|line| line.contains("WARN event{") && line.contains("panic")).collect();
    assert!(
        matches!(&panics[..], [line] if line.contains("abuse.rs:") && line.contains(": out of thread")),
        "{panics:?} in {log}"
    );
    assert_eq!(dead_letter["attempts"], "1");
    assert_eq!(dead_letter["failed_at"].as_array().map(Vec::len), Some(1));
    assert_eq!(dead_letter["event"]["key"], "b");
    let (_, text) = run(&app, &url, &["show", "--cause", "trap"]).await;
    assert!(text.contains("last lines\n  about to fall"), "{text}");
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_dead_letter_takes_effect_once_and_is_then_removed() {
    let server = Server::start().await;
    let url = server.url();
    let plugin = heddle_tests::plugin("contrary");
    // Another handler of the same events, which is well all the time.
    let app = app("").append(&format!(
        "[handlers.other]\nplugin = {plugin:?}\nsubscribe = [\"in.*\"]\nkey = \"{{subject.1}}\"\npublishes = [\"out.*\"]\nconfig = {{ well = \"yes\" }}\n",
    ));
    let host = app.start(&url).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let first = checker.publish("in.a", fails_unless_well()).await;
    let second = checker.publish("in.a", fails_unless_well()).await;
    checker.wait_for("dead.t.h.>", 2).await;
    assert_eq!(host.stop().await, 0);

    let app = well(app);
    let (code, text) = run(&app, &url, &["replay", "--handler", "h"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("no host runs application `t`"), "{text}");
    let host = app.start(&url).await;
    let (code, text) = run(&app, &url, &["replay", "--handler", "h"]).await;
    assert_eq!((code, text.trim()), (0, "2 dead letters replayed: 2 done, 0 dead again"));
    // In the order of the key, as the events that they were.
    let rows = checker.rows("out.").await;
    let (own, others): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.header("Heddle-Handler") == "h");
    let causes: Vec<u64> = own.iter().map(|row| row.cause()).collect();
    assert_eq!(causes, [first, second]);
    assert_eq!(own[1].payload, "2");
    assert_eq!(others.len(), 2, "it reached a handler that had not failed");
    assert_eq!(checker.count("dead.t.h.>").await, Some(0));
    assert_eq!(checker.count("_heddle.t.replay.>").await, Some(0));
    let (code, text) = run(&app, &url, &["replay", "--handler", "h"]).await;
    assert_eq!((code, text.trim()), (0, "no dead letter is selected"));
    let audit = checker.audit().await;
    assert_eq!(audit.len(), 1, "{audit:?}");
    assert!(audit[0].payload.contains("\"operation\":\"replay\""), "{audit:?}");
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_fails_again_is_a_new_dead_letter_and_a_canary_stops() {
    let server = Server::start().await;
    let url = server.url();
    let app = app("");
    let host = app.start(&url).await;
    let checker = Checker::new(server.jetstream().await, "T");
    for n in 0..10 {
        checker.publish(&format!("in.k{n}"), fails_unless_well()).await;
    }
    checker.wait_for("dead.>", 10).await;
    let (code, text) = run(&app, &url, &["replay", "--all", "--canary", "3"]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("stopped: 3 of the first 3 failed again; 7 dead letters left"), "{text}");
    assert_eq!(checker.count("dead.>").await, Some(10));
    let now = |was: usize| {
        let line = text.lines().nth(was).unwrap_or_default();
        let (before, why) = line.split_once(": ").unwrap_or_default();
        assert!(
            before.starts_with("dead letter ") && why.starts_with("retry: setting well is missing"),
            "{text}"
        );
        before.rsplit(' ').next().and_then(|sequence| sequence.parse::<u64>().ok()).unwrap()
    };
    let told = [now(1), now(2), now(3)];
    let (code, text) = run(&app, &url, &["replay", &told[0].to_string(), "--json"]).await;
    assert_eq!(code, 1, "{text}");
    let report: Value = serde_json::from_str(&text).unwrap();
    let failure = &report["failed_again"][0];
    assert_eq!((&failure["was"], &failure["cause"]), (&json!(told[0]), &json!("retry")), "{text}");
    let (_, shown) = run(&app, &url, &["show", &failure["sequence"].to_string(), "--json"]).await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["message"], failure["message"], "{shown}");
    let replayed =
        checker.rows("dead.").await.iter().filter(|r| !r.header("Heddle-Dead-Replays").is_empty()).count();
    assert_eq!(replayed, 3);
    assert_eq!(host.stop().await, 0);
    let app = well(app);
    let host = app.start(&url).await;
    let (code, text) = run(&app, &url, &["replay", "--all", "--canary", "3", "--rate", "100"]).await;
    assert_eq!((code, text.trim()), (0, "10 dead letters replayed: 10 done, 0 dead again"));
    assert_eq!(checker.count("dead.>").await, Some(0));
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_how_they_end_and_changes_nothing() {
    let server = Server::start().await;
    let url = server.url();
    let app = app("");
    let host = app.start(&url).await;
    let checker = Checker::new(server.jetstream().await, "T");
    checker.publish("in.a", fails_unless_well()).await;
    checker.wait_for("dead.>", 1).await;
    assert_eq!(host.stop().await, 0);
    let plugin = heddle_tests::plugin("contrary");
    let plugin = plugin.to_str().unwrap();
    let (code, text) = run(&app, &url, &["replay", "--all", "--dry-run", plugin]).await;
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("0 done, 1 failed"), "{text}");
    let app = well(app);
    let (code, text) = run(&app, &url, &["replay", "--all", "--dry-run", plugin]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("1 dead letter run, nothing stored: 1 done, 0 failed"), "{text}");
    assert_eq!(checker.count("dead.>").await, Some(1));
    assert_eq!(checker.count("out.>").await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_payload_is_what_runs_again() {
    let server = Server::start().await;
    let url = server.url();
    let app = app("");
    let host = app.start(&url).await;
    let checker = Checker::new(server.jetstream().await, "T");
    checker.publish("in.a", json!([{"reject": {"reason": "no"}}])).await;
    checker.wait_for("dead.>", 1).await;
    let editor = app.folder().join("editor.sh");
    let repaired = json!({"do": [{"publish": {"subject": "out.a", "payload": "repaired"}}]});
    std::fs::write(&editor, format!("printf '%s' '{repaired}' > \"$1\"\n")).unwrap();
    let output = app
        .command(&["dead-letters", "replay", "--all", "--edit", "--url", &url])
        .env("VISUAL", format!("sh {}", editor.display()))
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(checker.rows("out.").await[0].payload, "repaired");
    assert_eq!(checker.count("dead.>").await, Some(0));
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_can_be_discarded_exported_and_imported() {
    let server = Server::start().await;
    let url = server.url();
    let app = app("");
    let host = app.start(&url).await;
    let jetstream = server.jetstream().await;
    let checker = Checker::new(jetstream.clone(), "T");
    checker.publish("in.a", json!([{"reject": {"reason": "no"}}])).await;
    // Not UTF-8, and so not to be decoded either.
    let bytes: &[u8] = &[0, 159, 146, 150];
    jetstream.publish("in.b", bytes.into()).await.unwrap().await.unwrap();
    checker.wait_for("dead.>", 2).await;
    let (_, exported) = run(&app, &url, &["export", "--all"]).await;
    assert_eq!(exported.lines().count(), 2, "{exported}");
    std::fs::write(app.folder().join("letters.jsonl"), &exported).unwrap();
    let (code, text) = run(&app, &url, &["discard", "--all"]).await;
    assert_eq!(code, 2, "a reason is needed: {text}");
    let (code, text) = run(&app, &url, &["discard", "--all", "--reason", "tests", "--yes"]).await;
    assert_eq!((code, text.trim()), (0, "2 dead letters discarded"));
    assert_eq!(checker.count("dead.>").await, Some(0));
    let (code, text) = run(&app, &url, &["import", "letters.jsonl"]).await;
    assert_eq!((code, text.trim()), (0, "2 dead letters imported, 0 there already"));
    let (_, text) = run(&app, &url, &["import", "letters.jsonl"]).await;
    assert_eq!(text.trim(), "0 dead letters imported, 2 there already");
    let (_, again) = run(&app, &url, &["export", "--all"]).await;
    let without_sequence = |text: &str| -> Vec<Value> {
        let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        rows.map(|mut row| {
            row.as_object_mut().unwrap().remove("sequence");
            row
        })
        .collect()
    };
    assert_eq!(without_sequence(&again), without_sequence(&exported));
    std::fs::write(app.folder().join("bad.jsonl"), format!("{exported}{{\"sequence\":1}}\n")).unwrap();
    let (code, text) = run(&app, &url, &["import", "bad.jsonl"]).await;
    assert_eq!(code, 1);
    assert!(text.contains("line 3"), "{text}");
    let operations: Vec<String> = checker.audit().await.into_iter().map(|r| r.payload).collect();
    assert!(operations[0].contains("\"reason\":\"tests\""), "{operations:?}");
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixture_runs_without_a_server() {
    let server = Server::start().await;
    let url = server.url();
    let app = app("");
    let host = app.start(&url).await;
    let checker = Checker::new(server.jetstream().await, "T");
    checker.publish("in.a", json!([{"count": null}])).await;
    checker.publish("in.a", json!([{"count": null}, {"reject": {"reason": "no"}}])).await;
    checker.wait_for("dead.>", 1).await;
    assert_eq!(host.stop().await, 0);
    let sequence = checker.rows("dead.").await[0].sequence.to_string();
    let (code, text) = run(&app, &url, &["fixture", &sequence, "--output", "case.toml"]).await;
    assert_eq!(code, 0, "{text}");
    let plugin = heddle_tests::plugin("contrary");
    let arguments = ["invoke", plugin.to_str().unwrap(), "--event", "case.toml", "--json"];
    let output = app.output(&arguments).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdict"]["verdict"], "reject");
    let fixture = std::fs::read_to_string(app.folder().join("case.toml")).unwrap();
    assert!(fixture.contains("state = \"1\"") && fixture.contains("key = \"a\""), "{fixture}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_near_the_servers_largest_payload_loses_nothing_and_replays() {
    let server = Server::start().await;
    let url = server.url();
    let app = app("");
    let host = app.start(&url).await;
    let jetstream = server.jetstream().await;
    let checker = Checker::new(jetstream.clone(), "T");
    let instructions = json!([{"fail_unless": {"name": "well"}}, {"publish": {"subject": "out.a"}}]);
    let mut payload = json!({ "do": instructions }).to_string();
    payload.push_str(&" ".repeat((1 << 20) - payload.len() - 100));
    let ack = jetstream.publish("in.a", payload.clone().into()).await.unwrap().await.unwrap();
    checker.wait_for("dead.>", 1).await;
    let dead_letter = &checker.rows("dead.").await[0];
    assert_eq!(dead_letter.header("Heddle-Dead-Payload-Left-Out"), payload.len().to_string());
    assert_eq!(dead_letter.header("Heddle-Dead-Sequence"), ack.sequence.to_string());
    assert_eq!(host.stop().await, 0);
    let app = well(app);
    let host = app.start(&url).await;
    let (code, text) = run(&app, &url, &["replay", "--all"]).await;
    assert_eq!((code, text.trim()), (0, "1 dead letter replayed: 1 done, 0 dead again"));
    assert_eq!(checker.count("out.a").await, Some(1));
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_whose_payload_is_nowhere_any_more_stays_and_the_replay_says_so() {
    let server = Server::start().await;
    let url = server.url();
    let app = app("");
    let host = app.start(&url).await;
    let jetstream = server.jetstream().await;
    let checker = Checker::new(jetstream.clone(), "T");
    let mut payload = json!({ "do": [{"reject": {"reason": "no"}}] }).to_string();
    payload.push_str(&" ".repeat((1 << 20) - payload.len() - 100));
    let ack = jetstream.publish("in.a", payload.into()).await.unwrap().await.unwrap();
    checker.wait_for("dead.>", 1).await;
    let stream = jetstream.get_stream("T").await.unwrap();
    stream.delete_message(ack.sequence).await.unwrap();
    let (code, text) = run(&app, &url, &["replay", "--all"]).await;
    assert!(code == 1 && text.contains("0 done, 0 dead again, 1 left: their payloads"), "{code}: {text}");
    assert_eq!(checker.count("dead.>").await, Some(1));
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_kept_as_long_as_the_file_says() {
    let server = Server::start().await;
    let app = app("").append("[dead-letters]\nmax-age = \"1s\"\n");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    checker.publish("in.a", json!([{"reject": {"reason": "no"}}])).await;
    checker.wait_for("dead.>", 1).await;
    wait_for("the dead letter has expired", || async {
        (checker.count("dead.>").await == Some(0)).then_some(())
    })
    .await;
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_killed_ten_times_repeats_nothing() {
    let server = Server::start().await;
    let url = server.url();
    let app = app("");
    let mut host = app.start(&url).await;
    let checker = Checker::new(server.jetstream().await, "T");
    const EVENTS: usize = 2_000;
    for n in 0..EVENTS {
        let count = json!([{"fail_unless": {"name": "well"}}, {"count": null}, {"echo_state": {"subject": format!("out.k{}", n % 50)}}]);
        checker.publish(&format!("in.k{}", n % 50), count).await;
    }
    checker.wait_for("dead.>", EVENTS).await;
    assert_eq!(host.stop().await, 0);
    let app = well(app);
    host = app.start(&url).await;
    for round in 1..=10 {
        let arguments = ["dead-letters", "replay", "--all", "--url", &url];
        let mut replay = app.command(&arguments).spawn().unwrap();
        let target = EVENTS * round / 14;
        wait_for("some are replayed", || async {
            (checker.count("out.>").await.unwrap_or(0) >= target).then_some(())
        })
        .await;
        replay.kill().await.unwrap();
        if round % 2 == 0 {
            host.kill().await;
            host = app.start(&url).await;
        }
    }
    let (code, text) = run(&app, &url, &["replay", "--all"]).await;
    assert_eq!(code, 0, "{text}");
    assert_eq!(checker.faults().await, Vec::<String>::new());
    assert_eq!(checker.count("dead.>").await, Some(0));
    tokio::time::timeout(Duration::from_secs(30), host.stop()).await.unwrap();
}
