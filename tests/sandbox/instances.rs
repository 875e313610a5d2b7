//! Instances: fresh ones share nothing, reused ones live for N events and never after a trap; plugins are
//! admitted with a reason or not at all, and compiled once.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use heddle_sandbox::{Call, Error, Policy};
use heddle_tests::{heddle, plugin};
use heddle_values::policy::Instances;
use serde_json::{Value, json};

use crate::bench::{Bench, call, only_message, policy, sandbox_with};

async fn counted(bench: &Bench) -> Value {
    only_message(&bench.effects(json!([{"leak_static": {"subject": "out.a"}}])).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_sees_what_another_left_in_a_fresh_instance() {
    let bench = Bench::new(policy()).await;
    let first = counted(&bench).await;
    assert_eq!(counted(&bench).await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reused_instance_is_replaced_after_its_events_and_after_a_trap() {
    let mut policy = policy();
    policy.instances = Instances::Reuse(NonZeroU32::new(3).unwrap());
    let bench = Bench::new(policy).await;
    let mut seen = Vec::new();
    for _ in 0..7 {
        seen.push(counted(&bench).await.as_u64().unwrap());
    }
    let first = seen[0];
    let expected: Vec<u64> = [0, 1, 2, 0, 1, 2, 0].iter().map(|n| first + n).collect();
    assert_eq!(seen, expected);
    bench.cause(json!([{"trap": null}])).await;
    assert_eq!(counted(&bench).await, first, "an instance lived on after a trap");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_ready_before_the_event_that_needs_it() {
    let instances = Instances::Reuse(NonZeroU32::new(2).unwrap());
    let bench = Bench::new(Policy { instances, ..policy() }).await;
    let plugin = &bench.plugin;
    plugin.warm(3).await;
    assert_eq!(plugin.ready(), 3);
    bench.effects(json!([{"count": null}])).await;
    assert!(plugin.ready() == 3 && !plugin.is_short(), "it serves another event");
    bench.effects(json!([{"count": null}])).await;
    assert!(plugin.ready() == 2 && plugin.is_short(), "it has served its events");
    bench.cause(json!([{"trap": null}])).await;
    plugin.refill().await;
    assert!(plugin.ready() == 3 && !plugin.is_short(), "what has gone is replaced");
    let fresh = Bench::new(policy()).await;
    fresh.plugin.warm(3).await;
    assert!(
        fresh.plugin.ready() == 0 && !fresh.plugin.is_short(),
        "instances of one event are not made ahead"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_events_do_not_add_to_the_instances_that_are_kept() {
    let instances = Instances::Reuse(NonZeroU32::new(100).unwrap());
    let bench = Bench::new(Policy { instances, ..policy() }).await;
    let plugin = &bench.plugin;
    plugin.warm(2).await;
    for end in [json!([{"trap": null}]), json!([{"retry": {"reason": "r"}}]), json!([{"count": null}])] {
        for attempt in 1..=5 {
            plugin.run(Call { attempt, ..call(7, end.clone()) }).await;
            plugin.run(Call { attempt, ..call(8, end.clone()) }).await;
        }
        for _ in 0..5 {
            plugin.run(call(9, end.clone())).await;
        }
        plugin.refill().await;
        assert!(plugin.ready() <= 2 && !plugin.is_short(), "{} wait after {end}", plugin.ready());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reused_instance_sees_the_time_of_each_event() {
    let mut policy = policy();
    policy.instances = Instances::Reuse(NonZeroU32::new(100).unwrap());
    let bench = Bench::new(policy).await;
    for sequence in [1, 2] {
        let mut call = crate::bench::call(sequence, json!([{"context": {"subject": "out.a"}}]));
        let mut event = (*call.event).clone();
        event.time += sequence;
        let time = event.time;
        call.event = Arc::new(event);
        let seen = only_message(&crate::bench::effects(bench.plugin.run(call).await));
        assert_eq!(seen["now_ns"], json!(time));
        assert_eq!(seen["id"], json!(format!("S/{sequence}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_plugin_is_refused_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox_with(folder.path().join("artifacts"), heddle());
    let admit = |bytes: Vec<u8>| {
        let path = folder.path().join("x.wasm");
        std::fs::write(&path, bytes).unwrap();
        let sandbox = &sandbox;
        async move { sandbox.admit(&path, Arc::new(policy())).await.err() }
    };
    assert!(matches!(admit(b"hello".to_vec()).await, Some(Error::NotWasm)));
    assert!(matches!(admit(b"\0asm\x01\0\0\0".to_vec()).await, Some(Error::CoreModule)));
    assert!(matches!(admit(b"\0asm\x0d\0\x01\0".to_vec()).await, Some(Error::WrongWorld { .. })));
    let whole = std::fs::read(plugin("contrary")).unwrap();
    assert!(matches!(admit(whole[..whole.len() / 2].to_vec()).await, Some(Error::Compile(_))));
    let missing = sandbox.admit(&folder.path().join("none.wasm"), Arc::new(policy())).await.err();
    assert!(matches!(missing, Some(Error::Unreadable { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_compiled_once() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = folder.path().join("artifacts");
    let first = sandbox_with(artifacts.clone(), heddle());
    first.admit(&plugin("contrary"), Arc::new(policy())).await.unwrap_or_else(|error| panic!("{error}"));
    // There is no compiler any more, and none is needed.
    let second = sandbox_with(artifacts, PathBuf::from("no-such-program"));
    assert!(second.admit(&plugin("contrary"), Arc::new(policy())).await.is_ok());
    assert!(matches!(
        second.admit(&plugin("credit"), Arc::new(policy())).await.err(),
        Some(Error::Compile(_))
    ));
}
