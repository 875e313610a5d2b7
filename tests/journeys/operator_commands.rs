//! Commands of operators to a host: each is carried out or refused, and answered.

use heddle_tests::{App, Checker, Server};
use rustix::process::Signal;
use serde_json::json;

/// An application whose events may run for long, and one that does.
async fn busy(server: &Server, ms: u64) -> (App, heddle_tests::Host, Checker) {
    let app = App::contrary("limits = { time = \"20s\" }");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    checker.publish("in.long", json!([{"sleep_ms": {"ms": ms}}])).await;
    // A later one of another key is done: the first has begun.
    checker.publish_count("later", &[]).await;
    checker.wait_for("out.later", 1).await;
    (app, host, checker)
}

async fn run(app: &App, server: &Server, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = app.command(arguments);
    let output = command.env("HEDDLE_NATS_URL", server.url()).output().await.expect("heddle runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_are_given_together_are_all_answered() {
    let server = Server::start().await;
    let (app, host, checker) = busy(&server, 3_000).await;
    // What is read now has to wait for the long event, and so have the commands.
    let app = app.with("[handlers.h]", "[handlers.h]\nconcurrency = 63");
    let commands = (0..5).map(|_| run(&app, &server, &["reload"]));
    for (code, said) in futures::future::join_all(commands).await {
        assert_eq!(code, Some(0), "{said}");
    }
    assert_eq!(checker.count("_heddle.t.command.>").await, Some(0), "commands are left");
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_for_a_handler_that_the_host_does_not_have_is_refused() {
    let server = Server::start().await;
    let (app, mut host, _) = busy(&server, 1).await;
    let app =
        app.append("[handlers.z]\nplugin = \"none.wasm\"\nsubscribe = [\"in.*\"]\nkey = \"{subject.1}\"\n");
    host.wait_for_line("reload rejected; keeping the current configuration").await;
    for command in ["pin", "unpin", "rollback"] {
        let (code, said) = run(&app, &server, &[command, "z"]).await;
        assert!(code == Some(1) && said.contains("the running host has no handler `z`"), "{code:?} {said}");
    }
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_to_a_host_that_ends_before_it_comes_to_it_is_taken_back() {
    let server = Server::start().await;
    let (app, host, checker) = busy(&server, 3_000).await;
    host.signal(Signal::TERM);
    let (code, said) = run(&app, &server, &["reload", "--forget", "x", "--yes"]).await;
    assert!(code == Some(1) && said.contains("the command was withdrawn"), "{code:?} {said}");
    assert_eq!(checker.count("_heddle.t.command.>").await, Some(0), "it would be carried out later");
}
