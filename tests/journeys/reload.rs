//! `heddle.toml` changes while the host runs: events flow on, and a faulty file changes nothing.

use heddle_tests::component::with_section;
use heddle_tests::versions::{app, assert_sound, contrary};
use heddle_tests::{App, Checker, Flow, Host, Row, Server, assemble, wait_for};
use rustix::process::Signal;

/// A second handler: publishes one message for each event, on a subject of its own.
const SECOND: &str = r#"
[handlers.g]
plugin = "second.wasm"
subscribe = ["in.*"]
key = "{subject.1}"
publishes = ["also.>"]
"#;

/// An application with a second handler's plugin at hand, its host, and events that flow.
async fn scene(server: &Server) -> (App, Host, Checker, Flow) {
    let app = app(&contrary(), "")
        .with("\"out.>\"]", "\"out.>\", \"also.>\"]")
        .with("app = \"t\"", "app = \"t\"\ntrust = []");
    let second =
        assemble("(func $handle (type $event) (call $try_subject (@text \"also.done\")) (call $ok))");
    std::fs::write(app.folder().join("second.wasm"), second.expect("the guest is sound"))
        .expect("the plugin is written");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let mut flow = Flow::start(server, 20, 300).await;
    flow.pass(60).await;
    (app, host, checker, flow)
}

/// Waits until the host has read the file for the nth time.
async fn taken(host: &Host, times: usize) {
    let taken = || async { (host.log().matches("reload complete").count() >= times).then_some(()) };
    wait_for("the file is taken", taken).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_that_are_added_changed_and_removed_lose_repeat_and_reorder_nothing() {
    let server = Server::start().await;
    let (app, host, checker, mut flow) = scene(&server).await;
    let app = app.append(SECOND);
    taken(&host, 1).await;
    flow.pass(60).await;
    let app = app.with("[handlers.h]", "[handlers.h]\nconcurrency = 63");
    taken(&host, 2).await;
    flow.pass(60).await;
    let app = app.with(SECOND, "");
    taken(&host, 3).await;
    let last = checker.rows("also.").await.iter().map(Row::cause).max();
    flow.pass(60).await;
    let events = flow.end().await;
    assert_sound(&checker, events).await;
    // A handler that is added begins with the first event, and one that is removed ends somewhere.
    let mut causes: Vec<u64> = checker.rows("also.").await.iter().map(Row::cause).collect();
    assert_eq!(causes.iter().max().copied(), last, "a handler that was removed ran");
    causes.sort_unstable();
    let all: Vec<u64> = checker.rows("in.").await.iter().map(|row| row.sequence).collect();
    assert!(causes.len() > 120 && causes.windows(2).all(|pair| pair[0] < pair[1]), "{causes:?}");
    assert!(causes.iter().all(|cause| all.contains(cause)));
    let log = host.log();
    for what in ["added g", "changed h", "removed g"] {
        assert!(log.contains(what), "the host does not say {what:?}: {log}");
    }
    // Back again, it goes on where it was.
    let app = app.append(SECOND);
    taken(&host, 4).await;
    checker.wait_for("also.>", events).await;
    let mut causes: Vec<u64> = checker.rows("also.").await.iter().map(Row::cause).collect();
    causes.sort_unstable();
    assert_eq!(causes, all);
    assert_eq!(host.stop().await, 0);
    drop(app);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_faulty_file_changes_nothing_and_says_why() {
    let server = Server::start().await;
    let (mut app, mut host, checker, mut flow) = scene(&server).await;
    let faults = [
        ("shards = 4", "shards = 5", "shards cannot change while the host runs"),
        ("app = \"t\"", "app = \"u\"", "app cannot change while the host runs"),
        ("\"also.>\"]", "\"other.>\"]", "[stream] cannot change while the host runs"),
        ("trust = []", "trust = [", "expected"),
        ("trust = []", "colour = 3", "colour"),
        ("\"plugin.wasm\"", "\"missing.wasm\"", "missing.wasm"),
    ];
    for (number, (old, new, why)) in (1..).zip(faults) {
        app = app.with(old, new);
        let refusals = || host.log().matches("reload rejected; keeping the current configuration").count();
        wait_for("the file is refused", || async { (refusals() >= number).then_some(()) }).await;
        host.wait_for_line(why).await;
        flow.pass(30).await;
        app = app.with(new, old);
        flow.pass(30).await;
    }
    assert!(!host.log().contains("reload complete"), "nothing was accepted: {}", host.log());
    assert_sound(&checker, flow.end().await).await;
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_has_the_file_read_again_with_the_secrets_that_it_names() {
    let server = Server::start().await;
    let (app, mut host, checker, mut flow) = scene(&server).await;
    let secret = app.folder().join("secret");
    std::fs::write(&secret, "one").unwrap();
    let app = app.with("[handlers.h]", "[handlers.h]\nconfig = { word = { file = \"secret\" } }");
    taken(&host, 1).await;
    flow.pass(30).await;
    // Nobody watches this one.
    std::fs::write(&secret, "two").unwrap();
    host.signal(Signal::HUP);
    host.wait_for_line("SIGHUP").await;
    taken(&host, 2).await;
    flow.pass(30).await;
    assert_sound(&checker, flow.end().await).await;
    let ask = serde_json::json!([{"config": {"name": "word", "subject": "also.word"}}]);
    checker.publish("in.asks", ask).await;
    checker.wait_for("also.>", 1).await;
    assert_eq!(checker.rows("also.").await[0].payload, "\"two\"");
    assert_eq!(host.stop().await, 0);
    drop(app);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_handlers_of_one_plugin_share_its_code() {
    let server = Server::start().await;
    // Compiled again in every run of the test.
    let plugin = with_section(&contrary(), "variant", &rand::random::<[u8; 16]>());
    let app = app(&plugin, "").append("# more");
    let host = app.start(&server.url()).await;
    let one = host.memory();
    let handler = |n| {
        format!(
            "[handlers.h{n}]\nplugin = \"plugin.wasm\"\nsubscribe = [\"in.*\"]\npublishes = [\"out.>\"]\n"
        )
    };
    let app = app.with("# more", &(0..99).map(handler).collect::<String>());
    taken(&host, 1).await;
    let hundred = host.memory();
    println!("{} MiB with one handler, {} MiB with a hundred", one >> 20, hundred >> 20);
    assert_eq!(host.log().matches("compiling").count(), 1, "{}", host.log());
    assert!(hundred < one + 99 * (1 << 20), "{one} bytes with one handler, {hundred} with a hundred");
    assert_eq!(host.stop().await, 0);
    // The next host compiles nothing.
    let host = app.start(&server.url()).await;
    assert!(!host.log().contains("compiling"), "{}", host.log());
    assert_eq!(host.stop().await, 0);
}
