//! Messages that no handler may publish, for `forge`.
//!
//! Each is tried on its own. The report is a JSON list of `{"forged":"…","answer":"…"}`, where the answer is
//! `ok` if the host took it, and otherwise `not-granted`, `invalid`, `too-large` or `too-many`. One that was
//! taken would be seen in the stream, for the event is done.

use heddle_sdk::{EffectError, Message, Refusal, Verdict};
use serde::Serialize;

/// What is wrong with each is its name in the report.
const SUBJECTS: [(&str, &str); 19] = [
    ("empty subject", ""),
    ("wildcard *", "out.*"),
    ("wildcard >", "out.>"),
    ("wildcard inside a token", "out.a*b"),
    ("leading dot", ".out"),
    ("trailing dot", "out."),
    ("empty token", "out..x"),
    ("space", "out.a b"),
    ("tab", "out.a\tb"),
    ("line break", "out.a\r\nPUB out.b 0\r\n\r\n"),
    ("NUL", "out.a\0b"),
    ("JetStream API", "$JS.API.STREAM.DELETE.SHOP"),
    ("system account", "$SYS.REQ.SERVER.PING"),
    ("key-value bucket", "$KV.bucket.key"),
    ("checkpoint", "_heddle.shop.checkpoint.0"),
    ("state of another handler", "_heddle.shop.state.3.credit.c1"),
    ("inbox", "_INBOX.x.y"),
    ("dead letter", "dead.shop.credit.order.created.c1"),
    ("outside of publishes", "elsewhere.x"),
];

const HEADERS: [(&str, &str, &str); 17] = [
    ("message id", "Nats-Msg-Id", "x"),
    ("roll-up", "Nats-Rollup", "all"),
    ("roll-up in lower case", "nats-rollup", "all"),
    ("expected sequence", "Nats-Expected-Last-Subject-Sequence", "0"),
    ("batch", "Nats-Batch-Commit", "1"),
    ("time to live", "Nats-TTL", "1"),
    ("schedule", "Nats-Schedule", "@at 2030-01-01T00:00:00Z"),
    ("cause", "Heddle-Cause", "forged"),
    ("reply inbox", "Heddle-Reply-To", "_INBOX.x.y"),
    ("host header in lower case", "heddle-correlation", "forged"),
    ("trace", "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ("no name", "", "x"),
    ("colon in a name", "a:b", "x"),
    ("space in a name", "a b", "x"),
    ("line break in a name", "a\r\nNats-Rollup", "all"),
    ("line break in a value", "a", "x\r\nNats-Rollup: all"),
    ("line feed in a value", "a", "x\nNats-Rollup: all"),
];

#[derive(Serialize)]
struct Attempt {
    forged: &'static str,
    answer: &'static str,
}

/// Headers are tried on `subject`, so that they alone can be the reason of a refusal.
pub(crate) fn publish(subject: &str) -> Verdict {
    let subjects = SUBJECTS.map(|(forged, target)| attempt(forged, Message::text(target, "forged")));
    let headers = HEADERS
        .map(|(forged, name, value)| attempt(forged, Message::text(subject, "forged").header(name, value)));
    let crowd =
        (0..65).fold(Message::text(subject, "forged"), |message, n| message.header(format!("h{n}"), "x"));
    let report: Vec<_> = subjects.into_iter().chain(headers).chain([attempt("65 headers", crowd)]).collect();
    heddle_sdk::publish(subject, &report)?;
    Ok(())
}

fn attempt(forged: &'static str, message: Message) -> Attempt {
    Attempt { forged, answer: answer(message.publish()) }
}

fn answer(result: Result<(), EffectError>) -> &'static str {
    match result.as_ref().map_err(EffectError::refusal) {
        Ok(()) => "ok",
        Err(Refusal::NotGranted(_)) => "not-granted",
        Err(Refusal::Invalid(_)) => "invalid",
        Err(Refusal::TooLarge { .. }) => "too-large",
        Err(Refusal::TooMany { .. }) => "too-many",
    }
}
