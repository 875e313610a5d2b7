//! Versions as they can be seen from outside: which one ran each event, and what is remembered of a handler's.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::component::{digest, replace};
use crate::{App, Checker, Row, wait_for};

/// The application of [`App::contrary`], with a file of its own for the plugin.
pub fn app(component: &[u8], more: &str) -> App {
    let built = format!("{:?}", crate::plugin("contrary"));
    let app = App::contrary(more).with(&built, "\"plugin.wasm\"");
    put(&app, component);
    app
}

/// The plugin that most tests use.
pub fn contrary() -> Vec<u8> {
    std::fs::read(crate::plugin("contrary")).expect("the plugins are built")
}

/// A plugin that traps whatever the event.
pub fn traps() -> Vec<u8> {
    crate::assemble("(func $handle (type $event) unreachable)").expect("the guest is sound")
}

/// Replaces the plugin's file.
pub fn put(app: &App, content: &[u8]) {
    replace(&app.folder().join("plugin.wasm"), content);
}

/// What the host remembers of the versions of handler `h`.
pub async fn rollout(checker: &Checker) -> Value {
    let last = checker.last("_heddle.t.plugin.h").await;
    last.and_then(|row| serde_json::from_str(&row.payload).ok()).unwrap_or_default()
}

/// The digest of the live version.
pub async fn live(checker: &Checker) -> String {
    let rollout = rollout(checker).await;
    rollout.get("live").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// What is remembered of one version.
pub async fn remembered(checker: &Checker, component: &[u8]) -> Value {
    let wanted = digest(component);
    let rollout = rollout(checker).await;
    let versions = rollout.get("versions").and_then(Value::as_array).cloned().unwrap_or_default();
    let is = |version: &Value| version.get("digest").and_then(Value::as_str) == Some(&wanted);
    versions.into_iter().find(is).unwrap_or_default()
}

/// Waits until a version is at a stage: `live`, `canary`, `refused`, `rolled-back`.
pub async fn wait_for_stage(checker: &Checker, component: &[u8], stage: &str) {
    wait_for(&format!("a version is {stage}"), || async {
        let version = remembered(checker, component).await;
        (version.get("stage").and_then(Value::as_str) == Some(stage)).then_some(())
    })
    .await;
}

/// The versions that ran the events of each key, one after the other. Fails if an effect names none.
pub async fn shifts(checker: &Checker) -> BTreeMap<String, Vec<String>> {
    let mut shifts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in checker.rows("out.").await {
        let plugin = version_of(&row);
        let of_key = shifts.entry(row.subject.replacen("out.", "", 1)).or_default();
        if of_key.last() != Some(&plugin) {
            of_key.push(plugin);
        }
    }
    shifts
}

fn version_of(row: &Row) -> String {
    let plugin = row.header("Heddle-Plugin");
    assert!(plugin.starts_with("sha256:"), "an effect names no version: {row:?}");
    plugin.to_owned()
}

/// Asserts that every key went through these versions and no others, in this order, and never back. Which ones a key has
/// had no event of is left out.
pub async fn assert_in_turn(checker: &Checker, versions: &[&[u8]]) {
    let order: Vec<String> = versions.iter().map(|version| digest(version)).collect();
    let shifts = shifts(checker).await;
    assert!(!shifts.is_empty(), "nothing ran");
    for (key, of_key) in shifts {
        let places: Vec<Option<usize>> =
            of_key.iter().map(|plugin| order.iter().position(|known| known == plugin)).collect();
        let rises = places.windows(2).all(|pair| pair.first() < pair.last());
        assert!(rises && !places.contains(&None), "`{key}` ran with the versions {places:?}: {of_key:?}");
    }
}

/// Waits until every event has taken effect; nothing may be lost, repeated, reordered, torn or dead.
pub async fn assert_sound(checker: &Checker, events: usize) {
    checker.wait_for("out.>", events).await;
    assert_eq!(checker.faults().await, Vec::<String>::new());
    assert_eq!(checker.count("dead.>").await, Some(0));
}
