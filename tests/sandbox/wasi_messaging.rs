//! A handler written for the draft of `wasi:messaging` runs unchanged.
#![expect(clippy::panic, clippy::unwrap_used, reason = "what fails here fails a test")]

use std::num::NonZeroU32;

use heddle_sandbox::Policy;
use heddle_values::effects::When;
use heddle_values::limit::Limit;
use heddle_values::policy::Instances;
use heddle_values::verdict::{CauseClass, Failure, Verdict};

use crate::bench::{Bench, effects, policy};
use crate::worlds::{call, done, failed, only_text, run};

async fn bench_with(policy: Policy) -> Bench {
    Bench::of("wasi_messaging_echo", policy).await.unwrap_or_else(|error| panic!("{error}"))
}

async fn bench() -> Bench {
    bench_with(policy()).await
}

fn reused(times: u32) -> Policy {
    Policy { instances: Instances::Reuse(NonZeroU32::new(times).unwrap()), ..policy() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_arrives_whole() {
    let headers = [("Kind", "first"), ("Content-Type", "text/x"), ("Kind", "second"), ("Other", "y")];
    let seen = effects(bench().await.plugin.run(call(&headers, b"do\ndescribe")).await);
    let metadata = r#"Some([("Kind", "first"), ("Kind", "second"), ("Other", "y")])"#;
    assert_eq!(only_text(&seen), format!("Some(\"in.a\") Some(\"text/x\") {metadata}"));
    let bare = effects(bench().await.plugin.run(call(&[], b"do\ndescribe")).await);
    assert_eq!(only_text(&bare), "Some(\"in.a\") None None");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_is_an_effect_with_its_metadata_as_headers() {
    let data: Vec<u8> = (0..=255).collect();
    let headers = [
        ("Kind", "first"),
        ("content-type", "text/x"),
        ("Kind", "second"),
        ("Heddle-Cause", "S/1"),
        ("traceparent", "t"),
    ];
    let done = effects(bench().await.plugin.run(call(&headers, &data)).await);
    let (message, when) = &done.messages[0];
    assert_eq!((&*message.subject, &message.payload[..], *when), ("out.a", &data[..], When::Now));
    // The host's own headers are not passed on: the message gets its own.
    let sent: Vec<(&str, &str)> = message.headers.iter().collect();
    assert_eq!(sent, [("Content-Type", "text/x"), ("Kind", "first"), ("Kind", "second")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_changed_as_the_draft_says() {
    let headers = [("Kind", "x"), ("Colour", "red"), ("Kind", "y"), ("Colour", "green")];
    let done = effects(bench().await.plugin.run(call(&headers, b"do\nadd Colour blue")).await);
    let sent: Vec<(&str, &str)> = done.messages[0].0.headers.iter().collect();
    assert_eq!(sent, [("Colour", "blue")]);
    assert_eq!(only_text(&done), "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_the_host_cannot_be_forged() {
    let failure = failed(&bench().await, "add Heddle-Hops 0").await;
    assert_eq!((failure.class, &*failure.message), (CauseClass::Effect, "header `Heddle-Hops` is reserved"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_error_becomes_its_verdict() {
    let bench = bench().await;
    assert_eq!(failed(&bench, "timeout").await, Failure::retry("timeout"));
    assert_eq!(failed(&bench, "connection lost").await, Failure::retry("lost"));
    assert_eq!(failed(&bench, "denied you").await, Failure::reject("you"));
    assert_eq!(failed(&bench, "other thing").await, Failure::retry("thing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_the_handler_reports_is_the_cause_and_not_tried_again() {
    let bench = bench().await;
    let refusal = "subject `in.b` is not within the handler's `publishes`";
    // It came as `permission-denied` and went back as such.
    let failure = failed(&bench, "send in.b x").await;
    assert_eq!((failure.class, failure.message), (CauseClass::Effect, format!("{refusal}; {refusal}")));
    let failure = failed(&bench, "wrap in.b").await;
    assert_eq!((failure.class, failure.message), (CauseClass::Effect, format!("failed to send: {refusal}")));
    let failure = failed(&bench, "send out.* x").await;
    assert_eq!(failure.class, CauseClass::Effect);
    let flood: String = (0..101).map(|n| format!("send out.a {n}\n")).collect();
    let failure = failed(&bench, &flood).await;
    assert_eq!(failure.breach.map(|breach| breach.limit), Some(Limit::Messages), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_goes_to_the_inbox_once() {
    let bench = bench().await;
    for instructions in ["reply yes", "send _INBOX.x.y yes"] {
        let done = done(&bench, instructions).await;
        assert!(done.messages.is_empty(), "{done:?}");
        assert_eq!((&*done.replies[0].subject, &done.replies[0].payload[..]), ("_INBOX.x.y", &b"yes"[..]));
    }
    let twice = failed(&bench, "reply yes\nreply again").await;
    assert_eq!((twice.class, &*twice.message), (CauseClass::Effect, "event has been answered already"));
    let own = failed(&bench, "reply-to-own").await;
    assert_eq!(
        (own.class, &*own.message),
        (CauseClass::Effect, "only the message of this run can be replied to")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_nobody_waits_for_does_nothing() {
    let done = effects(bench().await.plugin.run(call(&[], b"do\nreply yes\nreply again")).await);
    assert!(done.replies.is_empty() && done.messages.is_empty(), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_refused_with_what_to_do_instead() {
    let failure = failed(&bench().await, "request out.a").await;
    let expected = "no request to `out.a`: Heddle has no request and reply inside a handler; publish a message, and take the answer as an event of its own";
    assert_eq!((failure.class, &*failure.message), (CauseClass::Effect, expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_do_not_pile_up_over_ten_thousand_events_of_an_instance() {
    let bench = bench_with(reused(20_000)).await;
    let instructions = "describe\nsend out.a x\nreply yes\nadd Colour blue\nsend in.b x";
    for _ in 0..5_000 {
        effects(bench.plugin.run(call(&[("Kind", "x")], b"data")).await);
        // A refusal leaves no handles either.
        let failure = failed(&bench, instructions).await;
        assert_eq!(failure.class, CauseClass::Effect, "{failure:?}");
    }
    // Nothing is kept, so there is room for all but what the instance itself has.
    done(&bench, "hoard 50").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leaked_handles_are_bounded_and_the_trap_says_so() {
    let bench = bench_with(reused(20_000)).await;
    let failure = failed(&bench, "leak 2000").await;
    assert_eq!(failure.class, CauseClass::Trap);
    assert!(failure.message.contains("handles"), "{failure:?}");
    // What is leaked event by event comes to the same end, and the next instance begins again.
    let mut ends = Vec::new();
    for _ in 0..30 {
        ends.push(matches!(run(&bench, "leak 100").await.verdict, Verdict::Done(_)));
    }
    let trapped = ends.iter().filter(|done| !**done).count();
    assert!((2..=4).contains(&trapped), "{ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_messages_hold_counts_as_memory() {
    let failure = failed(&bench().await, "hoard 100").await;
    assert_eq!(failure.breach.map(|breach| breach.limit), Some(Limit::Memory), "{failure:?}");
    done(&bench().await, "hoard 10").await;
}
