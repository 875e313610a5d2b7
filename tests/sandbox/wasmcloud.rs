//! A handler written for `wasmcloud:messaging` runs unchanged.
#![expect(clippy::panic, reason = "what fails here fails a test")]

use heddle_sandbox::{LogLevel, Policy};
use heddle_values::effects::When;
use heddle_values::limit::Limit;
use heddle_values::verdict::{CauseClass, Failure, Verdict};

use crate::bench::{Bench, effects, policy};
use crate::worlds::{call, done, failed, only_text, run};

async fn bench_with(policy: Policy) -> Bench {
    Bench::of("wasmcloud_echo", policy).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn bench() -> Bench {
    bench_with(policy()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_arrives_whole_and_what_is_published_is_an_effect() {
    let body: Vec<u8> = (0..=255).collect();
    let done = effects(bench().await.plugin.run(call(&[("Kind", "x")], &body)).await);
    let (message, when) = &done.messages[0];
    assert_eq!((&*message.subject, &message.payload[..], *when), ("out.a", &body[..], When::Now));
    assert_eq!((done.messages.len(), message.headers.len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_an_event_that_fails() {
    let failure = failed(&bench().await, "publish out.a x\nfail no").await;
    assert_eq!(failure, Failure::retry("no"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_on_the_inbox_of_the_event_is_its_answer() {
    let bench = bench().await;
    let done = done(&bench, "answer yes").await;
    assert!(done.messages.is_empty(), "{done:?}");
    assert_eq!((&*done.replies[0].subject, &done.replies[0].payload[..]), ("_INBOX.x.y", &b"yes"[..]));
    // Where nobody waits, there is no subject for it.
    let alone = bench.plugin.run(call(&[], b"do\nanswer yes")).await.verdict;
    assert_eq!(alone, Verdict::Failed(Box::new(Failure::retry("nobody waits for an answer"))));
    let twice = failed(&bench, "answer yes\nanswer again").await;
    assert_eq!((twice.class, &*twice.message), (CauseClass::Effect, "event has been answered already"));
    // The inbox of somebody else is a subject like any other, and reserved.
    let other = failed(&bench, "publish _INBOX.other x").await;
    assert_eq!(other.class, CauseClass::Effect);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_the_handler_reports_is_the_cause_and_not_tried_again() {
    let bench = bench().await;
    let refusal = "subject `in.b` is not within the handler's `publishes`";
    let failure = failed(&bench, "publish in.b x").await;
    assert_eq!((failure.class, &*failure.message), (CauseClass::Effect, refusal));
    let failure = failed(&bench, "wrap in.b").await;
    assert_eq!(
        (failure.class, failure.message),
        (CauseClass::Effect, format!("failed to publish: {refusal}"))
    );
    let flood: String = (0..101).map(|n| format!("publish out.a {n}\n")).collect();
    let failure = failed(&bench, &flood).await;
    assert_eq!(failure.breach.map(|breach| breach.limit), Some(Limit::Messages), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_has_nothing_to_do_with_a_refusal_is_tried_again() {
    let bench = bench().await;
    assert_eq!(failed(&bench, "tolerate in.b\nfail busy").await, Failure::retry("busy"));
    assert_eq!(only_text(&done(&bench, "tolerate in.b\npublish out.a x").await), "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_refused_with_what_to_do_instead() {
    let failure = failed(&bench().await, "request out.a").await;
    assert_eq!(failure.class, CauseClass::Effect);
    let expected = "no request to `out.a`: Heddle has no request and reply inside a handler; publish a message, and take the answer as an event of its own";
    assert_eq!(failure.message, expected);
    let failure = failed(&bench().await, "ask out.a").await;
    assert!(failure.message.starts_with("no reply on `answers.here` can be asked for: "), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_read() {
    let bench = bench().await;
    assert_eq!(only_text(&done(&bench, "config colour").await), "Some(\"blue\")");
    assert_eq!(only_text(&done(&bench, "config none").await), "None");
    assert_eq!(only_text(&done(&bench, "configs").await), "[(\"colour\", \"blue\")]");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_come_with_their_level_and_their_context() {
    let run = run(&bench().await, "log shop sold\u{1b}[2J").await;
    let lines: Vec<(LogLevel, &str)> = run.logs.iter().map(|line| (line.level, line.text.as_str())).collect();
    let shop = "shop: sold\\u{1b}[2J";
    let expected = [
        (LogLevel::Trace, shop),
        (LogLevel::Debug, shop),
        (LogLevel::Info, shop),
        (LogLevel::Warn, shop),
        (LogLevel::Error, shop),
        (LogLevel::Error, shop),
        (LogLevel::Info, "without context"),
    ];
    assert_eq!(lines, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_are_bounded_as_ours_are() {
    let flood = "log shop sold\n".repeat(30);
    let run = run(&bench().await, &flood).await;
    assert_eq!((run.logs.len(), run.logs_dropped), (100, 110));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_counted_as_ours_are() {
    let mut policy = policy();
    policy.limits.host_calls = 100;
    let bench = bench_with(policy).await;
    let publish = |times| "publish out.a x\n".repeat(times);
    assert_eq!(done(&bench, &publish(100)).await.messages.len(), 100);
    let failure = failed(&bench, "spin").await;
    assert_eq!(failure.breach.map(|breach| (breach.limit, breach.used)), Some((Limit::HostCalls, Some(101))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trap_is_a_trap() {
    assert_eq!(failed(&bench().await, "trap").await.class, CauseClass::Trap);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_never_asks_for_state() {
    assert!(!bench().await.plugin.uses_state());
}
