//! Nothing that lies in a stream stops reading: what no handler can be given is a dead letter of its own.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use heddle_tests::{App, Checker, RawMessage, Server, Wire, wait_for};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::{Value, json};

/// Messages of random bytes in the journey that publishes many.
const RANDOM: usize = 10_000;

/// An application with a second handler on the same stream.
fn app() -> App {
    let plugin = heddle_tests::plugin("contrary");
    App::contrary("outage = false").append(&format!(
        "\n[handlers.g]\nplugin = {plugin:?}\nsubscribe = [\"in.g.*\"]\nkey = \"{{subject.2}}\"\npublishes = [\"out.>\"]\n"
    ))
}

fn told(subject: &str) -> Vec<u8> {
    json!({ "do": [{ "context": { "subject": subject } }] }).to_string().into_bytes()
}

fn done(subject: &str) -> Vec<u8> {
    json!({ "do": [{ "publish": { "subject": subject, "payload": "x" } }] }).to_string().into_bytes()
}

async fn command(app: &App, url: &str, arguments: &[&str]) -> (i32, String) {
    let all = [arguments, &["--url", url]].concat();
    let output = app.command(&all).env("HEDDLE_LOG", "error").output().await.expect("heddle runs");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text.into_owned())
}

/// Both handlers still handle an event.
async fn both_go_on(checker: &Checker, number: usize) {
    let publish = |subject: String| json!([{ "publish": { "subject": subject, "payload": "x" } }]);
    checker.publish("in.other", publish(format!("out.h.{number}"))).await;
    checker.publish("in.g.x", publish(format!("out.g.{number}"))).await;
    checker.wait_for(&format!("out.*.{number}"), 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_with_odd_headers_is_handled_with_them_and_others_go_on() {
    let server = Server::start().await;
    let app = app();
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let mut wire = Wire::connect(&server).await;
    let odd: [(&[u8], &str, &str); 4] = [
        (b"My Header: 1", "My Header", "1"),
        ("Käse: 1".as_bytes(), "Käse", "1"),
        (b"X\tY: 1", "X\tY", "1"),
        // The client library panics at this one: the connection that met it is gone for good.
        (b"X: a\rb", "X", "a\rb"),
    ];
    for (number, (lines, name, value)) in odd.into_iter().enumerate() {
        let subject = format!("out.odd.{number}");
        wire.publish_one(RawMessage::with_lines(b"in.a", lines, &told(&subject))).await;
        checker.wait_for(&subject, 1).await;
        let row = checker.last(&subject).await.unwrap();
        let report: Value = serde_json::from_str(&row.payload).unwrap();
        assert_eq!(report["headers"], json!([[name, value]]), "{report}");
        both_go_on(&checker, number).await;
    }
    assert_eq!(checker.count("dead.>").await, Some(0));
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_has_a_markers_header_and_a_payload_is_an_event() {
    let server = Server::start().await;
    let app = app();
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let mut wire = Wire::connect(&server).await;
    for (number, more) in ["", "\r\nMy Header: 1"].into_iter().enumerate() {
        let subject = format!("out.marked.{number}");
        let lines = format!("Nats-Marker-Reason: MaxAge{more}");
        wire.publish_one(RawMessage::with_lines(b"in.a", lines.as_bytes(), &done(&subject))).await;
        checker.wait_for(&subject, 1).await;
    }
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_handler_can_be_given_is_a_dead_letter_of_its_own_with_its_bytes() {
    let server = Server::start().await;
    let (app, url) = (app(), server.url());
    let host = app.start(&url).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let mut wire = Wire::connect(&server).await;
    let with_lines = |lines: &[u8]| RawMessage::with_lines(b"in.a", lines, &done("out.never"));
    let block = |block: &[u8]| RawMessage { block: block.to_vec(), ..with_lines(b"") };
    let bad = [
        with_lines(b"NoColon"),
        with_lines(b"X: \xff\xfe"),
        block(b"\x00\x01\xff"),
        block(b"HTTP/1.1\r\nA: 1\r\n\r\n"),
        RawMessage { subject: b"in.\xff".to_vec(), block: Vec::new(), payload: done("out.never") },
    ];
    for (number, message) in bad.iter().enumerate() {
        let sequence = wire.publish_one(message.clone()).await;
        checker.wait_for("dead.>", number + 1).await;
        let dead_letter = checker.rows_under("dead.>").await.pop().unwrap();
        assert_eq!(dead_letter.header("Heddle-Dead-Cause"), "unreadable");
        assert_eq!(dead_letter.header("Heddle-Dead-Handler"), "h");
        assert_eq!(dead_letter.header("Heddle-Dead-Sequence"), sequence.to_string());
        assert_eq!(dead_letter.payload.as_bytes(), done("out.never"));
        let kept = dead_letter.header("Heddle-Original-Headers");
        assert_eq!(STANDARD.decode(kept).unwrap(), message.block);
        both_go_on(&checker, number).await;
    }
    // What operators read passes them too.
    for arguments in [
        &["tail", "--from", "1", "-n", "10"][..],
        &["dead-letters", "list", "--each"],
        &["dead-letters", "export", "--all"],
        &["dead-letters", "show", "--all"],
        &["status"],
    ] {
        let (code, text) = command(&app, &url, arguments).await;
        assert_eq!(code, 0, "{arguments:?}: {text}");
    }
    let (code, text) = command(&app, &url, &["dead-letters", "replay", "--all"]).await;
    assert_ne!(code, 0, "{text}");
    assert!(text.contains("cannot be replayed"), "{text}");
    // Edited, it runs without what cannot be read of its headers.
    let first = checker.rows_under("dead.>").await.first().map(|row| row.sequence.to_string()).unwrap();
    let arguments = ["dead-letters", "replay", &first, "--edit", "--url", &url];
    let output = app.command(&arguments).env("VISUAL", "true").output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    checker.wait_for("out.never", 1).await;
    wait_for("the dead letter is gone", || async {
        checker.count("dead.>").await.filter(|count| *count == bad.len() - 1)
    })
    .await;
    // A host that begins at the first message gets past all of them again.
    assert_eq!(host.stop().await, 0);
    let host = app.start(&url).await;
    both_go_on(&checker, 99).await;
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_stream_that_holds_unreadable_messages_is_read_past_them() {
    let server = Server::start().await;
    let jetstream = server.jetstream().await;
    let foreign = async_nats::jetstream::stream::Config {
        name: "EXT".into(),
        subjects: vec!["ext.>".into()],
        ..Default::default()
    };
    jetstream.create_stream(foreign).await.unwrap();
    let mut wire = Wire::connect(&server).await;
    for n in 0..20 {
        wire.publish_one(RawMessage::with_lines(b"ext.a", b"NoColon", b"x")).await;
        let good = RawMessage {
            subject: b"ext.a".to_vec(),
            payload: done(&format!("out.{n}")),
            ..Default::default()
        };
        wire.publish_one(good).await;
    }
    let app = App::contrary("stream = \"EXT\"\noutage = false")
        .with("subscribe = [\"in.*\"]", "subscribe = [\"ext.*\"]");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(jetstream, "T");
    checker.wait_for("out.*", 20).await;
    checker.wait_for("dead.>", 20).await;
    assert_eq!(host.stop().await, 0);
    assert_eq!((checker.count("out.*").await, checker.count("dead.>").await), (Some(20), Some(20)));
}

/// Bytes that no subject can have: the protocol ends a subject there, or the server refuses them in a token.
fn random_token(random: &mut StdRng) -> Vec<u8> {
    let length = random.random_range(1..12);
    let mut token: Vec<u8> = (0..length).map(|_| random.random()).collect();
    token.retain(|byte| !b" \t\r\n.*>".contains(byte));
    token.push(b'x');
    token
}

fn random_bytes(random: &mut StdRng, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; random.random_range(0..most)];
    random.fill_bytes(&mut bytes);
    bytes
}

fn random_block(random: &mut StdRng) -> Vec<u8> {
    const PIECES: [&[u8]; 12] = [
        b"NATS/1.0\r\n",
        b"A: 1\r\n",
        b"NoColon\r\n",
        b"My Header: 1\r\n",
        b" more\r\n",
        b"\r\n",
        b": \r\n",
        b"X: \xff\r\n",
        b"Heddle-Dead-Handler: g\r\n",
        b"Heddle-Hops: 999\r\n",
        b"NATS/1.0 409 x\r\n",
        b"B: \rb\r\n",
    ];
    match random.random_range(0..4) {
        0 => Vec::new(),
        1 => random_bytes(random, 64),
        _ => {
            let mut block = if random.random_bool(0.8) { b"NATS/1.0\r\n".to_vec() } else { Vec::new() };
            for _ in 0..random.random_range(0..5) {
                block.extend(PIECES.choose(random).expect("there are pieces").iter());
            }
            block
        }
    }
}

fn random_message(random: &mut StdRng) -> RawMessage {
    let subject = match random.random_range(0..3) {
        0 => b"in.bad".to_vec(),
        _ => [b"in.", random_token(random).as_slice()].concat(),
    };
    let payload = if random.random_bool(0.3) { done("out.bad") } else { random_bytes(random, 100) };
    RawMessage { subject, block: random_block(random), payload }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_among_good_events_harm_none_of_them() {
    const SEED: u64 = 14;
    let server = Server::start().await;
    let app =
        App::contrary("outage = false\ninstances = { reuse = 1000 }\n[handlers.h.retry]\nmax-attempts = 1");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let mut wire = Wire::connect(&server).await;
    let mut random = StdRng::seed_from_u64(SEED);
    let mut good: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut bad = BTreeSet::new();
    for chunk in 0..RANDOM / 500 {
        let mut messages: Vec<RawMessage> = (0..500).map(|_| random_message(&mut random)).collect();
        let key = format!("k{}", chunk % 7);
        let counts =
            json!({ "do": [{ "count": null }, { "echo_state": { "subject": format!("out.{key}") } }] });
        let subject = format!("in.{key}").into_bytes();
        let one = RawMessage { subject, payload: counts.to_string().into_bytes(), ..RawMessage::default() };
        let places: Vec<usize> = (0..100).map(|_| random.random_range(0..messages.len())).collect();
        for place in places {
            messages.insert(place, one.clone());
        }
        for (message, stored) in messages.iter().zip(wire.publish(&messages).await) {
            match stored {
                Some(sequence) if message.subject == one.subject => {
                    good.entry(format!("out.{key}")).or_default().push(sequence);
                }
                Some(sequence) => assert!(bad.insert(sequence), "stored twice"),
                None => {}
            }
        }
    }
    assert!(bad.len() > RANDOM / 2, "the stream took {} of the random messages", bad.len());
    let all: usize = good.values().map(Vec::len).sum();
    checker.wait_for("out.k*", all).await;
    assert_eq!(checker.faults_among(&good).await, Vec::<String>::new());
    let ends = || async {
        let mut ends: Vec<u64> = checker.rows_under("out.bad").await.iter().map(|row| row.cause()).collect();
        let dead_letters = checker.rows_under("dead.>").await;
        ends.extend(
            dead_letters.iter().map(|row| row.header("Heddle-Dead-Sequence").parse::<u64>().unwrap()),
        );
        ends.sort_unstable();
        ends
    };
    wait_for("every bad event comes to its end", || async {
        let found = checker.count("dead.>").await? + checker.count("out.bad").await?;
        (found >= bad.len()).then_some(())
    })
    .await;
    assert_eq!(ends().await, bad.into_iter().collect::<Vec<_>>());
    assert_eq!(host.stop().await, 0);
}
