//! New versions of a plugin take over while events flow, or are rolled back; nothing is lost, repeated or reordered.

use std::collections::{BTreeMap, BTreeSet};

use heddle_tests::component::{digest, variant, with_version};
use heddle_tests::versions::{
    app, assert_in_turn, assert_sound, contrary, live, put, remembered, rollout, shifts, traps,
    wait_for_stage,
};
use heddle_tests::{Checker, Flow, Server, assemble, wait_for};
use serde_json::json;

/// Is done with every event without a trace.
const IDLES: &str = "(func $handle (type $event) (call $ok))";

/// Publishes one message for each event, after N rounds of a loop.
fn busy(rounds: u32) -> Vec<u8> {
    let text = format!(
        "(func $handle (type $event) (local $left i32)
           (local.set $left (i32.const {rounds}))
           (block $end (loop $again
             (br_if $end (i32.eqz (local.get $left)))
             (local.set $left (i32.sub (local.get $left) (i32.const 1)))
             (br $again)))
           (call $try_subject (@text \"out.busy\"))
           (call $ok))"
    );
    assemble(&text).expect("the guest is sound")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_takes_over_while_events_flow_and_each_key_changes_once() {
    let server = Server::start().await;
    let first = contrary();
    let app = app(&first, "canary = { events = 50 }");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let mut flow = Flow::start(&server, 20, 400).await;
    let newer = [with_version(&first, "2.0.0"), with_version(&first, "3.0.0")];
    for version in &newer {
        flow.pass(100).await;
        put(&app, version);
        wait_for_stage(&checker, version, "live").await;
    }
    // An earlier version may come back.
    put(&app, &first);
    wait_for_stage(&checker, &first, "live").await;
    flow.pass(100).await;
    assert_sound(&checker, flow.end().await).await;
    assert_eq!(remembered(&checker, &newer[0]).await["version"], "2.0.0");
    let expected: Vec<String> = [&first, &newer[0], &newer[1], &first].map(|version| digest(version)).into();
    for (key, of_key) in shifts(&checker).await {
        assert_eq!(of_key, expected, "the versions of `{key}`");
    }
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_fails_on_trial_is_rolled_back_and_makes_no_dead_letter() {
    let server = Server::start().await;
    let first = contrary();
    let settings = "canary = { events = 50, max-failures = \"10%\" }\n\
        retry = { max-attempts = 2, backoff = { initial = \"5ms\", max = \"10ms\" } }";
    let app = app(&first, settings);
    let mut host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let mut flow = Flow::start(&server, 20, 400).await;
    flow.pass(100).await;
    let bad = traps();
    put(&app, &bad);
    wait_for_stage(&checker, &bad, "rolled-back").await;
    flow.pass(100).await;
    // The same file once more: it is not tried again at once, nor by the next host.
    put(&app, &bad);
    host.wait_for_line("it failed on trial and rests").await;
    assert_eq!(host.stop().await, 0);
    let host = app.start(&server.url()).await;
    flow.pass(100).await;
    assert_sound(&checker, flow.end().await).await;
    assert_in_turn(&checker, &[&first]).await;
    assert_eq!(app.logs().matches("version is on trial").count(), 1, "{}", app.logs());
    assert_eq!(live(&checker).await, digest(&first));
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_used_up_their_attempts_on_trial_wait_for_its_end_and_run_again() {
    let server = Server::start().await;
    let first = contrary();
    // More events than there are: only the patience with those that wait ends the trial.
    let settings = "canary = { events = 5000, max-failures = \"10%\" }\nretry = { max-attempts = 1 }";
    let app = app(&first, settings);
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let bad = traps();
    put(&app, &bad);
    wait_for_stage(&checker, &bad, "canary").await;
    checker.publish_counts(60, 6).await;
    wait_for_stage(&checker, &bad, "rolled-back").await;
    assert_sound(&checker, 60).await;
    assert_in_turn(&checker, &[&first]).await;
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_of_versions_is_stored_again_when_it_was_removed() {
    let (server, first) = (Server::start().await, contrary());
    let app = app(&first, "");
    let mut host = app.start(&server.url()).await;
    let jetstream = server.jetstream().await;
    let checker = Checker::new(jetstream.clone(), "T");
    wait_for_stage(&checker, &first, "live").await;
    jetstream.get_stream("T").await.unwrap().purge().filter("_heddle.t.plugin.>").await.unwrap();
    let second = with_version(&first, "2.0.0");
    put(&app, &second);
    host.wait_for_line("rollout record was removed; storing it again").await;
    wait_for_stage(&checker, &second, "canary").await;
    checker.publish_counts(200, 6).await;
    wait_for_stage(&checker, &second, "live").await;
    assert_sound(&checker, 200).await;
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_goes_back_to_the_live_version_ends_the_trial_of_another() {
    let (server, first) = (Server::start().await, contrary());
    // More events than there are: nothing else ends the trial.
    let app = app(&first, "canary = { events = 5000 }");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    wait_for_stage(&checker, &first, "live").await;
    let second = with_version(&first, "2.0.0");
    // And it may be tried again at once.
    for round in 1..=2 {
        put(&app, &second);
        wait_for_stage(&checker, &second, "canary").await;
        put(&app, &first);
        wait_for_stage(&checker, &second, "rolled-back").await;
        // It is stored before the host goes by it.
        let over = || app.logs().matches("trial is over").count() == round;
        wait_for("the host goes by it", || async { over().then_some(()) }).await;
    }
    checker.publish_counts(60, 6).await;
    assert_sound(&checker, 60).await;
    assert_in_turn(&checker, &[&first]).await;
    assert_eq!(live(&checker).await, digest(&first));
    assert_eq!(host.stop().await, 0);
}

/// A version goes on trial with a backlog of events of many keys, fails with all it gets, and is rolled back.
async fn rolled_back_under_load(bad: &[u8], settings: &str) {
    let server = Server::start().await;
    let first = contrary();
    let app = app(&first, &format!("canary = {{ events = 50, max-failures = \"10%\" }}\n{settings}"));
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    put(&app, bad);
    wait_for_stage(&checker, bad, "canary").await;
    checker.publish_counts(3_000, 300).await;
    wait_for_stage(&checker, bad, "rolled-back").await;
    assert_sound(&checker, 3_000).await;
    assert_in_turn(&checker, &[&first]).await;
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_with_a_version_when_it_is_rolled_back_runs_again_with_the_live_one() {
    rolled_back_under_load(&traps(), "retry = { max-attempts = 1 }").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_rejects_every_event_is_rolled_back_and_makes_no_dead_letter() {
    let rejects = assemble("(func $handle (type $event) (call $reject (@text \"no\")))").unwrap();
    rolled_back_under_load(&rejects, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_comes_in_an_outage_of_the_live_one_ends_it() {
    let server = Server::start().await;
    let down = assemble("(func $handle (type $event) (call $retry (@text \"down\")))").unwrap();
    let settings = "canary = { events = 20 }\n\
        outage = { keys = 5, probe = { initial = \"20ms\", max = \"50ms\" } }\n\
        retry = { max-attempts = 100, backoff = { initial = \"10ms\", max = \"50ms\" } }";
    let app = app(&down, settings);
    let mut host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    checker.publish_counts(400, 40).await;
    host.wait_for_line("circuit is open").await;
    let well = contrary();
    put(&app, &well);
    wait_for_stage(&checker, &well, "live").await;
    assert_sound(&checker, 400).await;
    assert_in_turn(&checker, &[&well]).await;
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_too_slow_is_rolled_back() {
    let server = Server::start().await;
    let (fast, slow) = (busy(0), busy(3_000_000));
    let app = app(&fast, "canary = { events = 1000, max-slowdown = 5.0 }");
    let mut host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let mut flow = Flow::start(&server, 20, 200).await;
    flow.pass(200).await;
    put(&app, &slow);
    wait_for_stage(&checker, &slow, "rolled-back").await;
    host.wait_for_line("in the median").await;
    let before = checker.rows("in.").await.len();
    flow.pass(100).await;
    let events = flow.end().await;
    checker.wait_for("out.>", events).await;
    // Each event has one effect, those of a key in order, and only the fast version ran in the end.
    let mut keys: BTreeMap<u64, String> = BTreeMap::new();
    keys.extend(checker.rows("in.").await.into_iter().map(|row| (row.sequence, row.subject)));
    let (mut last, mut seen) = (BTreeMap::<&str, u64>::new(), BTreeSet::new());
    for row in checker.rows("out.").await {
        let cause = row.cause();
        assert!(seen.insert(cause), "event {cause} took effect twice");
        let before = last.insert(&keys[&cause], cause).unwrap_or(0);
        assert!(before < cause, "event {cause} came after {before}");
    }
    assert_eq!(seen.len(), events);
    let late = checker.rows("out.").await.into_iter().skip(before + 50);
    late.for_each(|row| assert_eq!(row.header("Heddle-Plugin"), digest(&fast)));
    assert_eq!(checker.count("dead.>").await, Some(0));
    assert_eq!(host.stop().await, 0);
}

/// The keys that a version has run.
async fn keys_of(checker: &Checker, version: &[u8]) -> BTreeSet<String> {
    let digest = digest(version);
    let shifts = shifts(checker).await.into_iter();
    shifts.filter(|(_, of_key)| of_key.contains(&digest)).map(|(key, _)| key).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn on_trial_exactly_the_keys_of_the_share_run_on_the_new_version() {
    const KEYS: usize = 200;
    let server = Server::start().await;
    let first = contrary();
    let app = app(&first, "canary = { share = \"25%\", events = 1000000 }");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let mut flow = Flow::start(&server, KEYS, 500).await;
    let second = with_version(&first, "2.0.0");
    put(&app, &second);
    wait_for_stage(&checker, &second, "canary").await;
    flow.pass(3 * KEYS).await;
    // Another host goes on with the trial, and another version has the same share of the keys.
    host.kill().await;
    let host = app.start(&server.url()).await;
    assert_eq!(rollout(&checker).await["canary"], digest(&second));
    flow.pass(3 * KEYS).await;
    let third = with_version(&first, "3.0.0");
    put(&app, &third);
    wait_for_stage(&checker, &third, "canary").await;
    flow.pass(3 * KEYS).await;
    assert_sound(&checker, flow.end().await).await;
    let (chosen, later) = (keys_of(&checker, &second).await, keys_of(&checker, &third).await);
    assert!((30..70).contains(&chosen.len()), "{} keys of {KEYS} are 25 %", chosen.len());
    assert_eq!(chosen, later);
    for (key, of_key) in shifts(&checker).await {
        let on_trial = [&first, &second, &third].map(|version| digest(version));
        let expected = if chosen.contains(&key) { &on_trial[..] } else { &on_trial[..1] };
        assert!(expected.ends_with(&of_key), "`{key}` ran with {of_key:?}");
    }
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_starts_with_a_faulty_file_goes_on_with_the_last_good_version() {
    let server = Server::start().await;
    let first = contrary();
    let app = app(&first, "");
    let checker = Checker::new(server.jetstream().await, "T");
    assert_eq!(app.start(&server.url()).await.stop().await, 0);
    for faulty in [b"noise".as_slice(), &first[..first.len() / 2], b""] {
        put(&app, faulty);
        let mut host = app.start(&server.url()).await;
        host.wait_for_line("version is refused; the live one stays").await;
        checker.publish_counts(20, 4).await;
        assert_eq!(host.stop().await, 0);
    }
    std::fs::remove_file(app.folder().join("plugin.wasm")).unwrap();
    let host = app.start(&server.url()).await;
    assert_sound(&checker, 60).await;
    assert_in_turn(&checker, &[&first]).await;
    let second = variant(&first, 1);
    put(&app, &second);
    wait_for_stage(&checker, &second, "canary").await;
    checker.publish_counts(200, 4).await;
    wait_for_stage(&checker, &second, "live").await;
    assert_sound(&checker, 260).await;
    assert_in_turn(&checker, &[&first, &second]).await;
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_run_shows_what_a_new_version_would_do_otherwise() {
    let server = Server::start().await;
    let first = contrary();
    let app = app(&first, "shadow = 40\ncanary = { events = 10 }");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    checker.publish_counts(100, 5).await;
    assert_sound(&checker, 100).await;
    let same = variant(&first, 2);
    put(&app, &same);
    wait_for_stage(&checker, &same, "canary").await;
    assert_eq!(remembered(&checker, &same).await["reason"], "compared with 40 events: no difference");
    checker.publish_counts(50, 5).await;
    wait_for_stage(&checker, &same, "live").await;
    assert_sound(&checker, 150).await;
    let idles = assemble(IDLES).unwrap();
    put(&app, &idles);
    wait_for_stage(&checker, &idles, "canary").await;
    let reason = remembered(&checker, &idles).await["reason"].to_string();
    assert!(reason.contains("of 40 events, 40 differ") && reason.contains("1 messages → 0"), "{reason}");
    assert_eq!(host.stop().await, 0);
    // Nothing of what ran for a shadow run is seen.
    assert_sound(&checker, 150).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_whose_shadow_run_must_match_and_does_not_is_refused() {
    let server = Server::start().await;
    let first = contrary();
    let app = app(&first, "shadow = 1000\nshadow-must-match = true\ncanary = { events = 10 }");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    checker.publish("in.k0", json!([{"count": null}, {"echo_state": {"subject": "out.k0"}}])).await;
    checker.wait_for("out.>", 1).await;
    let idles = assemble(IDLES).unwrap();
    put(&app, &idles);
    wait_for_stage(&checker, &idles, "refused").await;
    let same = variant(&first, 2);
    put(&app, &same);
    wait_for_stage(&checker, &same, "canary").await;
    checker.publish_counts(50, 5).await;
    wait_for_stage(&checker, &same, "live").await;
    assert_sound(&checker, 51).await;
    assert_in_turn(&checker, &[&first, &same]).await;
    assert_eq!(host.stop().await, 0);
}
