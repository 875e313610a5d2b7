//! Handlers written for other worlds: what is common to them.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails here fails a test"
)]

use std::sync::Arc;

use heddle_sandbox::{Call, Error, Run};
use heddle_tests::{heddle, plugin, workspace};
use heddle_values::effects::Effects;
use heddle_values::event::{Event, Headers, Source};
use heddle_values::key::Key;
use heddle_values::verdict::{Failure, Verdict};

use crate::bench::{Bench, TIME, effects, policy, sandbox_with};

/// A first run of an event on `in.a`.
pub(crate) fn call(headers: &[(&'static str, &'static str)], payload: &[u8]) -> Call {
    let event = Event {
        stream: "S".into(),
        sequence: 7,
        subject: "in.a".into(),
        time: TIME,
        headers: Headers::from_pairs(headers.iter().copied()),
        payload: payload.to_vec().into(),
        source: Source::Stream,
    };
    Call { event: Arc::new(event), key: Key::new("a"), attempt: 1, state: None }
}

/// Runs instructions on an event that wants an answer.
pub(crate) async fn run(bench: &Bench, instructions: &str) -> Run {
    let payload = format!("do\n{instructions}");
    bench.plugin.run(call(&[("Heddle-Reply-To", "_INBOX.x.y")], payload.as_bytes())).await
}

/// The effects of instructions that must succeed.
pub(crate) async fn done(bench: &Bench, instructions: &str) -> Effects {
    effects(run(bench, instructions).await)
}

/// The failure of instructions that must fail.
pub(crate) async fn failed(bench: &Bench, instructions: &str) -> Failure {
    match run(bench, instructions).await.verdict {
        Verdict::Failed(failure) => *failure,
        Verdict::Done(effects) => panic!("done: {effects:?}"),
    }
}

/// The payload of the only message, as text.
pub(crate) fn only_text(effects: &Effects) -> String {
    assert_eq!(effects.messages.len(), 1, "{effects:?}");
    String::from_utf8(effects.messages[0].0.payload.to_vec()).unwrap()
}

/// What becomes of a component.
async fn admitted(wasm: &[u8]) -> Result<(), Error> {
    let sandbox = sandbox_with(workspace().join("target/test-artifacts"), heddle());
    let code = sandbox.load(wasm.to_vec()).await?;
    sandbox.plugin(code, Arc::new(policy())).await.map(drop)
}

/// A plugin in which every `old` is `new`, which is as long.
fn edited(name: &str, old: &str, new: &str) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let mut wasm = std::fs::read(plugin(name)).unwrap();
    let places: Vec<usize> = wasm
        .windows(old.len())
        .enumerate()
        .filter(|(_, part)| *part == old.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty(), "`{name}` has no `{old}`");
    for at in places {
        wasm[at..at + new.len()].copy_from_slice(new.as_bytes());
    }
    wasm
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_version_of_wasmcloud_messaging_goes_with_ours() {
    let mut wasm =
        edited("wasmcloud_echo", "wasmcloud:messaging/handler@0.2.0", "wasmcloud:messaging/handler@0.2.9");
    assert!(admitted(&wasm).await.is_ok());
    wasm =
        edited("wasmcloud_echo", "wasmcloud:messaging/consumer@0.2.0", "wasmcloud:messaging/consumer@0.2.9");
    assert!(admitted(&wasm).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_is_refused_with_the_one_there_is() {
    for (name, old, new, answered) in [
        ("wasmcloud_echo", "wasmcloud:messaging/handler@0.2.0", "wasmcloud:messaging/handler@0.3.0", "0.2.x"),
        (
            "wasmcloud_echo",
            "wasmcloud:messaging/consumer@0.2.0",
            "wasmcloud:messaging/consumer@0.1.0",
            "0.2.x",
        ),
        (
            "wasi_messaging_echo",
            "wasi:messaging/producer@0.2.0-draft",
            "wasi:messaging/producer@0.3.0-draft",
            "0.2.0-draft",
        ),
        (
            "wasmcloud_echo",
            "wasi:config/store@0.2.0-rc.1",
            "wasi:config/store@0.2.0-rc.2",
            "0.2.0-rc.1 or 0.2.0-draft",
        ),
    ] {
        let refused = admitted(&edited(name, old, new)).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("is built for `{new}`, of which this host has version {answered}")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_with_two_handlers_is_refused() {
    let wat = r#"(component
        (instance $empty)
        (export "wasmcloud:messaging/handler@0.2.0" (instance $empty))
        (export "wasi:messaging/incoming-handler@0.2.0-draft" (instance $empty)))"#;
    let refused = admitted(&wat::parse_str(wat).unwrap()).await.unwrap_err().to_string();
    let expected =
        "it exports `wasmcloud:messaging/handler@0.2.0` and `wasi:messaging/incoming-handler@0.2.0-draft`";
    assert!(refused.contains(expected), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_of_the_wrong_type_is_refused_with_its_world() {
    for (export, expected) in [
        ("wasmcloud:messaging/handler@0.2.0", "wasmcloud:messaging@0.2.0"),
        ("wasi:messaging/incoming-handler@0.2.0-draft", "wasi:messaging/messaging-request-reply@0.2.0-draft"),
    ] {
        let wat = format!("(component (instance $empty) (export {export:?} (instance $empty)))");
        let refused = admitted(&wat::parse_str(wat).unwrap()).await.unwrap_err();
        assert!(matches!(refused, Error::WrongWorld { .. }), "{refused}");
        assert!(refused.to_string().contains(expected), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_packages_of_wasmcloud_are_not_answered() {
    let wat = r#"(component (import "wasmcloud:bus/lattice@1.0.0" (instance)))"#;
    let refused = admitted(&wat::parse_str(wat).unwrap()).await.unwrap_err();
    assert!(matches!(refused, Error::UnknownImport(_)), "{refused}");
}
