//! `heddle dev`: its own server beside production's file, and what it leaves behind when it is killed.

use heddle_tests::{App, Checker, Server, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_runs_with_productions_file_and_says_which_keys_do_not_count() {
    for (nats, replicas, left_out) in [
        (
            "tls = { required = true }\ncreds = \"prod.creds\"",
            "replicas = 3",
            "nats.creds, nats.tls, stream.replicas",
        ),
        ("nkey = \"prod.nk\"", "", "nats.nkey"),
    ] {
        let app = App::contrary("").with("[stream]\n", &format!("[nats]\n{nats}\n[stream]\n{replicas}\n"));
        let mut host = app.dev();
        host.wait_for_line(" running").await;
        assert!(host.log().contains(&format!("do not count: {left_out}\n")), "{}", host.log());
        let event = json!({"do": [{"reply": {"payload": "here"}}]}).to_string();
        let output = app.output(&["publish", "in.a", &event, "--wait"]).await;
        assert!(text(&output.stdout).ends_with("here\n"), "{}", text(&output.stderr));
        assert_eq!(host.stop().await, 0);
        std::fs::create_dir(app.folder().join("tests")).expect("a folder for tests");
        let case =
            "[[events]]\nsubject = \"in.a\"\njson = { do = [] }\n[events.expect]\nverdict = \"done\"\n";
        std::fs::write(app.folder().join("tests/one.toml"), case).expect("a test");
        let output = app.output(&["test", "--server"]).await;
        assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    }
}

/// Publishes an event with the command of an application.
async fn publish(app: &App) -> (Option<i32>, String) {
    let mut command = app.command(&["publish", "in.a", "{\"do\": []}"]);
    let output = command.env("HEDDLE_LOG", "warn").output().await.expect("heddle runs");
    (output.status.code(), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_dev_that_was_killed_commands_go_to_the_server_of_the_file() {
    let (live, stranger) = (Server::start().await, Server::start().await);
    let url = live.url();
    let app = App::contrary("").with("[stream]\n", &format!("[nats]\nurl = {url:?}\n[stream]\n"));
    let mut checkers = Vec::new();
    for server in [&live, &stranger] {
        let jetstream = server.jetstream().await;
        let config = async_nats::jetstream::stream::Config {
            name: "T".to_owned(),
            subjects: vec!["in.>".to_owned(), "out.>".to_owned()],
            ..Default::default()
        };
        jetstream.create_stream(config).await.expect("a stream");
        checkers.push(Checker::new(jetstream, "T"));
    }
    let mut dev = app.dev();
    dev.wait_for_line(" running").await;
    assert_eq!(publish(&app).await, (Some(0), String::new()));
    assert_eq!(checkers[0].count("in.a").await, Some(0), "it went to the server of `heddle dev`");
    let file = app.folder().join(".heddle/url");
    let written = std::fs::read_to_string(&file).expect("dev says where its server is");
    let mut document: Value = serde_json::from_str(&written).expect("JSON");
    let port = document["url"].as_str().expect("a URL").to_owned();

    // Another server has got the port of one that still is in the file.
    let server_id = document["server"].take();
    document["server"] = json!("NSOMEOTHER");
    std::fs::write(&file, document.to_string()).expect("it is written");
    let (code, said) = publish(&app).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("another server answers there than the one in `.heddle/url`"), "{said}");

    let server =
        std::fs::read_to_string(app.folder().join(".heddle/nats/server.pid")).expect("its server's id");
    dev.kill().await;
    let server = server.trim().parse().ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(server, Signal::KILL).expect("the server of dev runs");
    // A stranger has the port, as the file says it.
    document["server"] = server_id;
    document["url"] = json!(stranger.url());
    assert_ne!(port, stranger.url());
    std::fs::write(&file, document.to_string()).expect("it is written");
    assert_eq!(publish(&app).await, (Some(0), String::new()));
    assert_eq!(checkers[0].count("in.a").await, Some(1));
    assert_eq!(checkers[1].count("in.a").await, Some(0));
    assert!(!file.exists(), "what a dead process left behind is removed");
    let output = app.output(&["status", "--url", "nats://127.0.0.1:1"]).await;
    assert!(text(&output.stderr).contains("the server is that of --url"), "{}", text(&output.stderr));
    wait_for("the server of dev is gone", || async { kill_process(server, Signal::KILL).err() }).await;
}
