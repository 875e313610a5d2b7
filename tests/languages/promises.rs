//! What every language keeps.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what fails here fails a test")]

use std::time::Duration;

use heddle_sandbox::LogLevel;
use heddle_values::effects::{StateChange, When};
use heddle_values::limit::Limit;
use heddle_values::policy::Limits;
use heddle_values::verdict::CauseClass;
use serde_json::{Value, json};

use crate::guest::{Guest, TIME, ask};

/// Text that trips those who count bytes, code units or what looks like a letter.
const ODD: &str = "a\u{df}\u{20ac}\u{1f980}e\u{301}\u{0}\u{ffff}\u{10ffff}\u{202e}z";

pub(crate) async fn a_payload_passes_unchanged(language: &str) {
    let guest = Guest::reused(language).await;
    let all: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = (0..700_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for payload in [Vec::new(), b"x".to_vec(), ODD.as_bytes().to_vec(), all, large] {
        let echoed = guest.payload(ask("echo").bytes(payload.clone())).await;
        assert!(echoed == payload, "{} bytes came back as {}", payload.len(), echoed.len());
    }
}

pub(crate) async fn a_hundred_headers_arrive_in_their_order(language: &str) {
    let guest = Guest::fresh(language).await;
    let headers: Vec<(String, String)> =
        (0..100).map(|i| (format!("H-{}", i % 7), format!("{i} \u{fc}"))).collect();
    let seen = guest.answer(ask("headers").headers(&headers)).await;
    let expected: Vec<Value> = headers.iter().map(|(name, value)| json!([name, value])).collect();
    assert_eq!(seen, Value::Array(expected));
    let effects = guest.effects(ask("echo").headers(&headers)).await;
    let copied: Vec<(String, String)> = effects.messages[0]
        .0
        .headers
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert_eq!(copied, headers[..64]);
}

pub(crate) async fn text_is_unicode_and_what_is_not_is_a_dead_letter(language: &str) {
    let guest = Guest::reused(language).await;
    for text in ["", "plain", ODD] {
        let reversed: String = text.chars().rev().collect();
        let answer = guest.answer(ask("text").bytes(text.as_bytes().to_vec())).await;
        assert_eq!(answer, json!({ "chars": text.chars().count(), "reversed": reversed }));
    }
    for bytes in [&b"\xff"[..], b"a\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"ok\xf4\x90\x80\x80"] {
        let failure = guest.failure(ask("text").bytes(bytes.to_vec())).await;
        assert_eq!(failure.class, CauseClass::Decode, "{failure:?}");
        assert!(failure.message.starts_with("cannot decode the payload: "), "{failure:?}");
    }
}

pub(crate) async fn json_is_read_and_written(language: &str) {
    let guest = Guest::reused(language).await;
    for (name, n) in [("ada", 1_i64), (ODD, -5), ("\"\\/\n\t", 9_007_199_254_740_990)] {
        let answer = guest.answer(ask("json").json(json!({ "name": name, "n": n, "more": [1, {}] }))).await;
        assert_eq!(answer, json!({ "greeting": format!("hello {name}"), "next": n + 1 }));
    }
    let escaped = r#"{"name": "\u00df\ud83e\udd80", "n": 0}"#;
    let answer = guest.answer(ask("json").bytes(escaped)).await;
    assert_eq!(answer["greeting"], "hello \u{df}\u{1f980}");
}

pub(crate) async fn what_cannot_be_read_is_named(language: &str) {
    let guest = Guest::reused(language).await;
    for payload in ["", "not JSON", "{\"name\": \"a\", \"n\": 1", "{\"name\": \"a\"} x"] {
        let failure = guest.failure(ask("json").bytes(payload)).await;
        assert_eq!(failure.class, CauseClass::Decode, "{payload}: {failure:?}");
        assert!(failure.message.starts_with("cannot decode the payload: "), "{failure:?}");
        assert!(failure.message.len() > "cannot decode the payload: ".len() + 3, "{failure:?}");
    }
    let failure = guest.failure(ask("count").state("not JSON")).await;
    assert_eq!(failure.class, CauseClass::Decode);
    assert!(failure.message.starts_with("cannot decode the state: "), "{failure:?}");
}

pub(crate) async fn each_verdict_arrives_with_its_reason(language: &str) {
    let guest = Guest::reused(language).await;
    let reason = format!("because {}", ODD.replace('\0', ""));
    let wish = |verdict: &str| json!({ "verdict": verdict, "reason": reason, "delay_ms": 1_500 });
    assert_eq!(guest.payload(ask("verdict").json(wish("done"))).await, "forgotten");
    for (verdict, class, delay) in [
        ("retry", CauseClass::Retry, None),
        ("reject", CauseClass::Reject, None),
        ("defer", CauseClass::Defer, Some(Duration::from_millis(1_500))),
    ] {
        let failure = guest.failure(ask("verdict").json(wish(verdict))).await;
        assert_eq!((failure.class, failure.delay), (class, delay), "{failure:?}");
        assert_eq!(failure.message, reason);
        assert!(failure.backtrace.is_empty(), "what a handler says by itself needs no stack: {failure:?}");
    }
}

pub(crate) async fn what_a_failed_event_did_is_forgotten(language: &str) {
    let guest = Guest::reused(language).await;
    guest.failure(ask("verdict").json(json!({ "verdict": "retry", "reason": "r" }))).await;
    let effects = guest.effects(ask("count").state("41")).await;
    assert_eq!(effects.messages.len(), 1, "{effects:?}");
    assert_eq!(effects.state, StateChange::Set("42".into()));
}

pub(crate) async fn a_state_is_kept_as_json(language: &str) {
    let guest = Guest::reused(language).await;
    let effects = guest.effects(ask("count")).await;
    assert_eq!(effects.state, StateChange::Set("1".into()));
    let effects = guest.effects(ask("count").state("41")).await;
    assert_eq!(effects.state, StateChange::Set("42".into()));
    assert_eq!(effects.messages[0].0.payload, "42");
}

pub(crate) async fn a_state_may_be_any_bytes(language: &str) {
    let guest = Guest::reused(language).await;
    let none = json!({ "state": null, "bytes": null });
    assert_eq!(guest.answer(ask("state").json(json!({ "op": "get" }))).await, none);
    assert_eq!(guest.answer(ask("state").json(json!({ "op": "clear" })).state("x")).await, none);
    let answer = guest.answer(ask("state").json(json!({ "op": "get" })).state(ODD)).await;
    assert_eq!(answer, json!({ "state": ODD, "bytes": ODD.len() }));
    let answer = guest.answer(ask("state").json(json!({ "op": "set", "value": ODD }))).await;
    assert_eq!(answer, json!({ "state": ODD, "bytes": ODD.len() }));
    let bytes: Vec<u8> = vec![0, 255, 128, 10];
    let change = json!({ "op": "set-bytes", "value": bytes });
    let effects = guest.effects(ask("state").json(change)).await;
    assert_eq!(effects.state, StateChange::Set(bytes.clone().into()));
    let answer: Value = serde_json::from_slice(&effects.messages[0].0.payload).unwrap();
    assert_eq!(answer, json!({ "state": null, "bytes": 4 }));
    let effects = guest.effects(ask("state").json(json!({ "op": "set", "value": "" }))).await;
    assert_eq!(effects.state, StateChange::Set("".into()), "an empty state is not the same as none");
    let effects = guest.effects(ask("state").json(json!({ "op": "clear" })).state("x")).await;
    assert_eq!(effects.state, StateChange::Clear);
}

pub(crate) async fn a_message_may_be_delayed(language: &str) {
    let guest = Guest::fresh(language).await;
    let effects = guest.effects(ask("later").json(json!({ "seconds": 90 }))).await;
    assert_eq!(effects.messages[0].1, When::After(90));
    assert_eq!(effects.messages[0].0.payload, "later");
}

pub(crate) async fn an_event_is_answered_once(language: &str) {
    let guest = Guest::reused(language).await;
    let effects = guest.effects(ask("reply").bytes("pong \u{df}")).await;
    let reply = &effects.replies[0];
    assert_eq!((&*reply.subject, &reply.payload[..]), ("_INBOX.x.y", "pong \u{df}".as_bytes()));
    assert_eq!(reply.headers.get("X-Probe"), Some("yes"));
    let failure = guest.failure(ask("reply").bytes("pong").headers(&[])).await;
    assert_eq!(failure.class, CauseClass::Effect, "{failure:?}");
}

pub(crate) async fn the_context_is_that_of_the_event(language: &str) {
    let guest = Guest::fresh(language).await;
    let answer = guest.answer(ask("context").attempt(3).sequence(9_007_199_254_740_991)).await;
    let expected = json!({
        "id": "S/9007199254740991", "subject": "probe.context.k", "key": "k", "attempt": 3, "stream": "S",
        "sequence": 9_007_199_254_740_991_u64, "handler": "probe", "correlation": "S/9007199254740991",
        "time_s": TIME / 1_000_000_000, "time_ns": TIME % 1_000_000_000, "deadline": true,
    });
    assert_eq!(answer, expected);
}

pub(crate) async fn a_setting_may_be_missing(language: &str) {
    let guest = Guest::reused(language).await;
    assert_eq!(guest.answer(ask("config").bytes("colour")).await, json!("blau\u{df}"));
    assert_eq!(guest.answer(ask("config").bytes("size")).await, Value::Null);
}

pub(crate) async fn log_lines_keep_their_level_and_what_is_printed_is_logged(language: &str) {
    let guest = Guest::reused(language).await;
    for _ in 0..2 {
        let lines = guest.lines(ask("log")).await;
        let levels = [LogLevel::Trace, LogLevel::Debug, LogLevel::Info, LogLevel::Warn, LogLevel::Error];
        let names = ["trace", "debug", "info", "warn", "error"];
        for (level, name) in levels.into_iter().zip(names) {
            assert!(lines.contains(&(level, format!("at {name}"))), "{lines:?}");
        }
        for printed in ["printed out", "printed err"] {
            assert_eq!(lines.iter().filter(|(_, text)| text == printed).count(), 1, "{lines:?}");
        }
    }
}

pub(crate) async fn an_uncaught_error_arrives_with_its_message_and_stack(language: &str) {
    let guest = Guest::reused(language).await;
    let failure = guest.failure(ask("throw").bytes("boom \u{df}")).await;
    assert!(failure.message.contains("boom \u{df}"), "{failure:?}");
    assert!(!failure.message.contains('\n'), "{failure:?}");
    let of_deep = failure.backtrace.iter().find(|frame| frame.contains("deep") && !frame.contains("deeper"));
    let of_deep = of_deep.unwrap_or_else(|| unreachable!("no frame of `deep`: {failure:?}"));
    let file = match language {
        "rust" => "src/lib.rs:",
        "js" => "src/handler.ts:",
        "python" => ".py:",
        "go" => ".go:",
        _ => ".c:",
    };
    assert!(of_deep.contains(file), "the frame does not say where: {of_deep}");
    let class = if matches!(language, "rust" | "c") { CauseClass::Trap } else { CauseClass::Retry };
    assert_eq!(failure.class, class);
    assert_eq!(guest.payload(ask("echo").bytes("still here")).await, "still here");
}

pub(crate) async fn an_uncaught_refusal_is_a_dead_letter(language: &str) {
    let failure = Guest::fresh(language).await.failure(ask("refused")).await;
    assert_eq!(failure.class, CauseClass::Effect, "{failure:?}");
    assert!(failure.message.contains("publish on `secret.x` refused: "), "{failure:?}");
}

pub(crate) async fn a_refusal_can_be_caught(language: &str) {
    let effects = Guest::fresh(language).await.effects(ask("caught")).await;
    let answers: Vec<Value> = effects
        .messages
        .iter()
        .map(|(message, _)| serde_json::from_slice(&message.payload).unwrap())
        .collect();
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert_eq!(answers[0]["kind"], "not-granted");
    assert!(answers[0]["text"].as_str().unwrap().contains("secret.x"), "{answers:?}");
    assert_eq!(answers[1], json!({ "kind": "too-large", "limit": 262_144 }));
    assert_eq!(effects.state, StateChange::Keep);
}

pub(crate) async fn messages_are_bounded(language: &str) {
    let guest = Guest::reused(language).await;
    let effects = guest.effects(ask("many").json(json!({ "n": 50 }))).await;
    let payloads: Vec<String> = effects
        .messages
        .iter()
        .map(|(message, _)| String::from_utf8(message.payload.to_vec()).unwrap())
        .collect();
    assert_eq!(payloads, (0..50).map(|i: u32| i.to_string()).collect::<Vec<_>>());
    let failure = guest.failure(ask("many").json(json!({ "n": 500 }))).await;
    assert_eq!(failure.breach.map(|breach| breach.limit), Some(Limit::Messages), "{failure:?}");
}

pub(crate) async fn output_is_bounded(language: &str) {
    let guest = Guest::reused(language).await;
    let payload = guest.payload(ask("large").json(json!({ "bytes": 900_000 }))).await;
    assert!(payload.len() == 900_000 && payload.iter().all(|byte| *byte == b'a'));
    let failure = guest.failure(ask("large").json(json!({ "bytes": 3_000_000 }))).await;
    let limit = failure.breach.map(|breach| breach.limit);
    assert!(matches!(limit, Some(Limit::Output | Limit::Message)), "{failure:?}");
}

pub(crate) async fn run_time_is_bounded(language: &str) {
    let limits = Limits { time: Duration::from_millis(200), ..Limits::default() };
    let guest = Guest::limited(language, limits).await;
    let failure = guest.failure(ask("loop")).await;
    assert_eq!(failure.breach.map(|breach| breach.limit), Some(Limit::Time), "{failure:?}");
    assert_eq!(guest.payload(ask("echo").bytes("still here")).await, "still here");
}

pub(crate) async fn memory_is_bounded(language: &str) {
    let limits = Limits { time: Duration::from_secs(20), ..Limits::default() };
    let guest = Guest::limited(language, limits).await;
    let failure = guest.failure(ask("allocate")).await;
    assert_eq!(failure.breach.map(|breach| breach.limit), Some(Limit::Memory), "{failure:?}");
    assert_eq!(guest.payload(ask("echo").bytes("still here")).await, "still here");
}

pub(crate) async fn recursion_ends(language: &str) {
    let limits = Limits { time: Duration::from_secs(20), ..Limits::default() };
    let guest = Guest::limited(language, limits).await;
    let failure = guest.failure(ask("recurse")).await;
    assert!(!failure.message.is_empty(), "{failure:?}");
    let cause = failure.kind();
    assert!(["limit:stack", "limit:memory", "trap", "retry"].contains(&&*cause), "{failure:?}");
    assert_eq!(guest.payload(ask("echo").bytes("still here")).await, "still here");
}

pub(crate) async fn the_clock_reads_the_events_time(language: &str) {
    let guest = Guest::reused(language).await;
    for _ in 0..2 {
        let now = guest.answer(ask("clock")).await["now_ms"].as_u64().unwrap();
        let time = TIME / 1_000_000;
        assert!((time..time + 5).contains(&now), "{now} instead of {time}");
    }
}

pub(crate) async fn random_numbers_are_the_same_on_every_run(language: &str) {
    let (fresh, reused) = (Guest::fresh(language).await, Guest::reused(language).await);
    let numbers = fresh.answer(ask("random")).await;
    let list = numbers.as_array().unwrap();
    assert!(list.len() == 3 && list[0] != list[1] && list[1] != list[2], "{numbers}");
    assert_eq!(fresh.answer(ask("random")).await, numbers);
    let other = reused.answer(ask("random").sequence(8)).await;
    assert_ne!(other, numbers, "another event has other numbers");
    assert_eq!(reused.answer(ask("random")).await, numbers, "whatever ran before in the instance");
}

pub(crate) async fn an_instance_is_reused_and_a_new_one_remembers_nothing(language: &str) {
    let (fresh, reused) = (Guest::fresh(language).await, Guest::reused(language).await);
    for expected in 1..=3 {
        assert_eq!(reused.answer(ask("global")).await, json!(expected));
        assert_eq!(fresh.answer(ask("global")).await, json!(1));
    }
}

pub(crate) async fn an_asynchronous_handler_runs_to_its_end(language: &str) {
    let guest = Guest::reused(language).await;
    for _ in 0..3 {
        assert_eq!(guest.answer(ask("async")).await, json!("awaited"));
    }
}

pub(crate) async fn what_waits_for_ever_fails_with_a_reason(language: &str) {
    let guest = Guest::reused(language).await;
    let failure = guest.failure(ask("never")).await;
    let part = match language {
        "js" | "python" => "never",
        "go" => "deadlock",
        _ => "unknown verb",
    };
    assert!(failure.message.contains(part), "{failure:?}");
    assert_eq!(guest.payload(ask("echo").bytes("still here")).await, "still here");
}

pub(crate) async fn an_unknown_verb_is_rejected(language: &str) {
    let failure = Guest::fresh(language).await.failure(ask("dance")).await;
    assert_eq!((failure.class, &*failure.message), (CauseClass::Reject, "unknown verb `dance`"));
}

pub(crate) async fn thousands_of_events_do_not_grow_an_instance(language: &str) {
    const EVENTS: u64 = 8_000;
    let guest = Guest::reused(language).await;
    let mut settled = 0;
    for sequence in 1..=EVENTS {
        let name = "x".repeat(200);
        let run =
            guest.run(ask("json").json(json!({ "name": name, "n": sequence })).sequence(sequence)).await;
        let memory = run.usage.memory;
        if sequence == EVENTS / 2 {
            settled = memory;
        }
        assert!(
            settled == 0 || memory <= settled * 5 / 4,
            "{settled} bytes became {memory} after {sequence} events"
        );
    }
    assert_eq!(guest.answer(ask("global")).await, json!(1), "one instance has served them all");
}
