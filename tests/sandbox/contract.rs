//! Every item of `wit/` is exercised by a guest, and the list of them is held against the file.

use std::time::Duration;

use heddle_sandbox::LogLevel;
use heddle_tests::workspace;
use heddle_values::effects::{StateChange, When};
use heddle_values::verdict::{CauseClass, Failure, Verdict};
use serde_json::{Value, json};

use crate::bench::{Bench, TIME, effects, only_message, policy};

/// Functions and cases of the contract, each with the test that exercises it.
const EXERCISED: &[(&str, &str)] = &[
    ("publish", "effects_are_held_back_until_done"),
    ("publish-after", "effects_are_held_back_until_done"),
    ("publish-text", "the_functions_for_text_do_what_those_for_bytes_do"),
    ("get-text", "the_functions_for_text_do_what_those_for_bytes_do"),
    ("set-text", "the_functions_for_text_do_what_those_for_bytes_do"),
    ("payload-text", "the_functions_for_text_do_what_those_for_bytes_do"),
    ("reply", "effects_are_held_back_until_done"),
    ("get", "state_and_config_are_read"),
    ("set", "effects_are_held_back_until_done"),
    ("clear", "a_cleared_state_is_a_change"),
    ("attempt", "the_event_and_its_context_arrive_whole"),
    ("stream", "the_event_and_its_context_arrive_whole"),
    ("sequence", "the_event_and_its_context_arrive_whole"),
    ("handler", "the_event_and_its_context_arrive_whole"),
    ("correlation", "the_event_and_its_context_arrive_whole"),
    ("deadline-ms", "the_event_and_its_context_arrive_whole"),
    ("log", "log_lines_and_printed_text_come_with_their_level"),
    ("handle", "every_verdict_arrives"),
    ("retry", "every_verdict_arrives"),
    ("defer", "every_verdict_arrives"),
    ("reject", "every_verdict_arrives"),
    ("not-granted", "every_refusal_reaches_the_plugin"),
    ("invalid", "every_refusal_reaches_the_plugin"),
    ("too-large", "every_refusal_reaches_the_plugin"),
    ("too-many", "every_refusal_reaches_the_plugin"),
];

/// Names of functions and of variant cases in the text of the contract.
fn items(wit: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut in_variant = false;
    for line in wit.lines().map(str::trim).filter(|line| !line.starts_with("///")) {
        in_variant = (in_variant || line.starts_with("variant ")) && line != "}";
        let function = line.split_once(": func(").map(|(name, _)| name);
        let case = line.split_once('(').filter(|_| in_variant).map(|(name, _)| name);
        names.extend(function.or(case).map(|name| name.trim_start_matches('%').to_owned()));
    }
    names
}

#[test]
fn no_item_of_the_contract_is_without_a_test() {
    let wit = std::fs::read_to_string(workspace().join("wit/heddle.wit")).unwrap();
    let mut found = items(&wit);
    found.sort_unstable();
    found.dedup();
    let mut exercised: Vec<String> = EXERCISED.iter().map(|(item, _)| (*item).to_owned()).collect();
    exercised.sort_unstable();
    assert_eq!(found, exercised);
    let tests = include_str!("contract.rs");
    for (item, test) in EXERCISED {
        assert!(
            tests.contains(&format!("async fn {test}(")),
            "`{item}` names the test `{test}`, which is gone"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_are_held_back_until_done() {
    let bench = Bench::new(policy()).await;
    let instructions = json!([
        {"publish": {"subject": "out.a", "payload": "now", "headers": [["Kind", "x"]]}},
        {"publish_after": {"seconds": 9, "subject": "out.b", "payload": "later"}},
        {"publish_after": {"seconds": 0, "subject": "out.c", "payload": "at once"}},
        {"reply": {"payload": "yes", "headers": [["Kind", "answer"]]}},
        {"set_state": {"text": "new"}},
    ]);
    let done = bench.effects(instructions.clone()).await;
    let sent: Vec<_> =
        done.messages.iter().map(|(m, when)| (&*m.subject, m.payload.clone(), *when)).collect();
    assert_eq!(sent[0], ("out.a", "now".into(), When::Now));
    assert_eq!(sent[1], ("out.b", "later".into(), When::After(9)));
    assert_eq!(sent[2], ("out.c", "at once".into(), When::Now));
    assert_eq!(done.messages[0].0.headers.get("Kind"), Some("x"));
    assert_eq!((&*done.replies[0].subject, &done.replies[0].payload[..]), ("_INBOX.x.y", &b"yes"[..]));
    assert_eq!(done.state, StateChange::Set("new".into()));
    // The same, and then a failure: nothing is left.
    let mut failing = instructions.as_array().unwrap().clone();
    failing.push(json!({"retry": {"reason": "no"}}));
    assert!(
        matches!(bench.run(json!(failing)).await.verdict, Verdict::Failed(failure) if failure.class == CauseClass::Retry)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_functions_for_text_do_what_those_for_bytes_do() {
    let bench = Bench::new(policy()).await;
    let instructions = json!([{"twins": {"subject": "out.t"}}]);
    let done = bench.effects(instructions.clone()).await;
    let payload = json!({ "do": instructions }).to_string().len();
    let sent: Vec<_> = done.messages.iter().map(|(m, when)| (m.payload.clone(), *when)).collect();
    assert_eq!(sent[0], (format!("{payload}|41\u{df}").into(), When::Now));
    assert_eq!(sent[1], ("later".into(), When::After(7)));
    assert_eq!(done.state, StateChange::Set("41\u{df}".into()));
    let refused = bench.cause(json!([{"twins": {"subject": "elsewhere"}}])).await;
    assert_eq!(refused.class, CauseClass::Effect);
}

#[tokio::test(flavor = "multi_thread")]
async fn state_and_config_are_read() {
    let bench = Bench::new(policy()).await;
    let done = bench.effects(json!([{"count": null}, {"echo_state": {"subject": "out.a"}}])).await;
    assert_eq!(done.messages[0].0.payload, "42", "a plugin sees what it has set itself");
    let done = bench.effects(json!([{"config": {"name": "colour", "subject": "out.a"}}])).await;
    assert_eq!(only_message(&done), json!("blue"));
    let done = bench.effects(json!([{"config": {"name": "none", "subject": "out.a"}}])).await;
    assert_eq!(only_message(&done), Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cleared_state_is_a_change() {
    let bench = Bench::new(policy()).await;
    let done = bench.effects(json!([{"clear_state": null}, {"echo_state": {"subject": "out.a"}}])).await;
    assert_eq!(done.state, StateChange::Clear);
    assert_eq!(done.messages[0].0.headers.get("state"), Some("none"));
    assert_eq!(bench.effects(json!([])).await.state, StateChange::Keep);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_and_its_context_arrive_whole() {
    let bench = Bench::new(policy()).await;
    let seen = only_message(&bench.effects(json!([{"context": {"subject": "out.a"}}])).await);
    for (field, expected) in [
        ("attempt", json!(1)),
        ("stream", json!("S")),
        ("sequence", json!(7)),
        ("handler", json!("h")),
        ("correlation", json!("S/7")),
        ("id", json!("S/7")),
        ("subject", json!("in.a")),
        ("key", json!("a")),
        ("time_ns", json!(TIME)),
        ("now_ns", json!(TIME)),
        ("env", json!([])),
        ("args", json!([])),
        ("read_dir", json!(false)),
        ("tcp", json!(false)),
    ] {
        assert_eq!(seen[field], expected, "{field} in {seen}");
    }
    assert!(seen["deadline_ms"].as_u64().is_some_and(|ms| (1_900..=2_000).contains(&ms)), "{seen}");
    let headers = json!([["Heddle-Reply-To", "_INBOX.x.y"], ["Kind", "first"], ["Kind", "second"]]);
    assert_eq!(seen["headers"], headers);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_and_printed_text_come_with_their_level() {
    let bench = Bench::new(policy()).await;
    let levels = ["trace", "debug", "info", "warn", "error"];
    let mut instructions: Vec<Value> =
        levels.iter().map(|level| json!({"log": {"level": level, "message": format!("{level}!")}})).collect();
    instructions.push(json!({"print": {"text": "out"}}));
    instructions.push(json!({"eprint": {"text": "err\u{1b}[1m"}}));
    let run = bench.run(json!(instructions)).await;
    let lines: Vec<(LogLevel, &str)> = run.logs.iter().map(|line| (line.level, line.text.as_str())).collect();
    let expected = [
        (LogLevel::Trace, "trace!"),
        (LogLevel::Debug, "debug!"),
        (LogLevel::Info, "info!"),
        (LogLevel::Warn, "warn!"),
        (LogLevel::Error, "error!"),
        (LogLevel::Info, "out"),
        (LogLevel::Warn, "err\\u{1b}[1m"),
    ];
    for line in expected {
        assert!(lines.contains(&line), "no {line:?} in {lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verdict_arrives() {
    let bench = Bench::new(policy()).await;
    let verdict = |instructions| async { bench.run(instructions).await.verdict };
    let failed = |failure: Failure| Verdict::Failed(Box::new(failure));
    assert!(matches!(verdict(json!([])).await, Verdict::Done(_)));
    let retry = verdict(json!([{"retry": {"reason": "busy"}}])).await;
    assert_eq!(retry, failed(Failure::retry("busy")));
    let defer = verdict(json!([{"defer": {"delay_ms": 1500, "reason": "later"}}])).await;
    let delay = Duration::from_millis(1500);
    assert_eq!(defer, failed(Failure::defer(delay, "later")));
    let reject = verdict(json!([{"reject": {"reason": "bad"}}])).await;
    assert_eq!(reject, failed(Failure::reject("bad")));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_reaches_the_plugin() {
    let bench = Bench::new(policy()).await;
    let reports = only_message(&bench.effects(json!([{"forge": {"subject": "out.a"}}])).await);
    let answers: Vec<&str> =
        reports.as_array().unwrap().iter().filter_map(|r| r["answer"].as_str()).collect();
    assert!(answers.len() > 30);
    assert!(!answers.contains(&"ok"), "{reports}");
    assert!(answers.contains(&"not-granted") && answers.contains(&"invalid"), "{reports}");
    let flood = bench.cause(json!([{"flood": {"subject": "out.a", "messages": 101}}])).await;
    assert!(flood.message.contains("100"), "{flood:?}");
    let big = bench.cause(json!([{"big_output": {"subject": "out.a", "bytes": 2_000_000}}])).await;
    assert!(big.message.contains("1048576"), "{big:?}");
    let big = bench.cause(json!([{"big_state": {"bytes": 300_000}}])).await;
    assert!(big.message.contains("262144"), "{big:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_event_gives_the_same_effects_and_another_event_other_numbers() {
    let bench = Bench::new(policy()).await;
    let context = || json!([{"context": {"subject": "out.a"}}]);
    let at = |sequence| bench.plugin.run(crate::bench::call(sequence, context()));
    let mut seen = Vec::new();
    for sequence in [7, 7, 8] {
        let mut message = only_message(&effects(at(sequence).await));
        // What is left of the time limit is real time: the one answer that may differ.
        message["deadline_ms"] = Value::Null;
        seen.push(message);
    }
    assert_eq!(seen[0], seen[1]);
    assert_ne!(seen[0]["random"], seen[2]["random"]);
}
