//! Hosts that are killed amid a change of versions: the change is as if it had happened at once or not at all.

use heddle_tests::component::{digest, with_version};
use heddle_tests::versions::{app, assert_in_turn, assert_sound, contrary, live, put, traps, wait_for_stage};
use heddle_tests::{App, Checker, Flow, Host, Server};

/// Starts a host that is to be killed at a place.
async fn doomed(app: &App, server: &Server, failpoint: &str) -> Host {
    let mut host = app.doomed(&server.url(), failpoint, 1);
    host.wait_for_line(" running").await;
    host
}

/// Kills a host at a place of the change to each of two versions, then lets one live.
async fn survives(failpoint: &str) {
    let server = Server::start().await;
    let first = contrary();
    let versions = [first.clone(), with_version(&first, "2.0.0"), with_version(&first, "3.0.0")];
    let app = app(&first, "canary = { events = 30 }");
    assert_eq!(app.start(&server.url()).await.stop().await, 0);
    let checker = Checker::new(server.jetstream().await, "T");
    let mut flow = Flow::start(&server, 20, 300).await;
    for version in &versions[1..] {
        let mut host = doomed(&app, &server, failpoint).await;
        flow.pass(60).await;
        put(&app, version);
        host.killed().await;
        flow.pass(60).await;
        // Nothing is forgotten: the next host brings the version to its end, without a change of the file.
        let host = app.start(&server.url()).await;
        wait_for_stage(&checker, version, "live").await;
        flow.pass(60).await;
        host.kill().await;
    }
    let host = app.start(&server.url()).await;
    flow.pass(60).await;
    assert_sound(&checker, flow.end().await).await;
    let versions: Vec<&[u8]> = versions.iter().map(Vec::as_slice).collect();
    assert_in_turn(&checker, &versions).await;
    assert_eq!(host.stop().await, 0);
}

/// Kills a host at a place while a version is rolled back, then lets one live.
async fn survives_a_bad_version(failpoint: &str) {
    let server = Server::start().await;
    let first = contrary();
    let settings = "canary = { events = 30 }\n\
        retry = { max-attempts = 2, backoff = { initial = \"5ms\", max = \"10ms\" } }";
    let app = app(&first, settings);
    assert_eq!(app.start(&server.url()).await.stop().await, 0);
    let checker = Checker::new(server.jetstream().await, "T");
    let mut flow = Flow::start(&server, 20, 300).await;
    let mut host = doomed(&app, &server, failpoint).await;
    let bad = traps();
    put(&app, &bad);
    host.killed().await;
    let host = app.start(&server.url()).await;
    wait_for_stage(&checker, &bad, "rolled-back").await;
    flow.pass(100).await;
    assert_sound(&checker, flow.end().await).await;
    assert_in_turn(&checker, &[&first]).await;
    assert_eq!(live(&checker).await, digest(&first));
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_before_a_trial_is_stored_begins_it_again() {
    survives("before-trial").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_when_a_trial_is_stored_goes_on_with_it() {
    survives("trial-stored").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_before_the_end_of_a_trial_is_stored_comes_to_the_same_end() {
    survives("trial-ended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_when_the_end_of_a_trial_is_stored_keeps_to_it() {
    survives("end-stored").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_amid_the_trial_of_a_bad_version_rolls_it_back_later() {
    survives_a_bad_version("trial-stored").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_before_a_roll_back_is_stored_makes_no_dead_letter() {
    survives_a_bad_version("trial-ended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_when_a_roll_back_is_stored_keeps_to_it() {
    survives_a_bad_version("end-stored").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_when_a_command_is_stored_carries_it_out_once() {
    let server = Server::start().await;
    let url = server.url();
    let first = contrary();
    let second = with_version(&first, "2.0.0");
    let app = app(&first, "canary = { events = 30 }");
    let checker = Checker::new(server.jetstream().await, "T");
    let host = app.start(&url).await;
    let mut flow = Flow::start(&server, 20, 300).await;
    flow.pass(60).await;
    put(&app, &second);
    wait_for_stage(&checker, &second, "live").await;
    flow.pass(60).await;
    assert_eq!(host.stop().await, 0);
    let mut host = doomed(&app, &server, "command-stored").await;
    let order = app.output(&["rollback", "h", "--no-wait", "--url", &url]).await;
    assert!(order.status.success(), "{}", String::from_utf8_lossy(&order.stderr));
    host.killed().await;
    // The order has gone with its host, and the version that it left does not come back.
    let host = app.start(&url).await;
    flow.pass(60).await;
    assert_eq!(live(&checker).await, digest(&first));
    heddle_tests::wait_for("the command is taken away", || async {
        (checker.count("_heddle.t.command.>").await == Some(0)).then_some(())
    })
    .await;
    assert_sound(&checker, flow.end().await).await;
    for (key, of_key) in heddle_tests::versions::shifts(&checker).await {
        let expected = [&first, &second, &first].map(|version| digest(version));
        assert_eq!(of_key, expected, "the versions of `{key}`");
    }
    assert_eq!(host.stop().await, 0);
}
