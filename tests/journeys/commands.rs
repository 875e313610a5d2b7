//! The command line.

use std::process::Stdio;

use heddle_tests::{App, Checker, Server, plugin};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn a_bad_file_reports_all_its_faults_and_ends_with_2() {
    let app = App::new(
        "app = \"x y\"\n[stream]\nname = \"T\"\nsubject = [\"a.>\"]\n[handlers.h]\nplugin = \"h.wasm\"\nsubscibe = [\"a.*\"]\n",
    );
    for command in ["run", "check", "graph"] {
        let output = app.output(&[command]).await;
        assert_eq!(output.status.code(), Some(2), "{command}");
        let errors = text(&output.stderr);
        for part in [
            "heddle.toml:1:7: `app`: `x y` cannot be a name",
            "heddle.toml:4:1: unknown key `subject` in [stream]; did you mean `subjects`?",
            "heddle.toml:7:1: unknown key `subscibe` in [handlers.h]; did you mean `subscribe`?",
        ] {
            assert!(errors.contains(part), "no {part:?} in {errors}");
        }
    }
}

#[tokio::test]
async fn what_a_person_gets_wrong_about_a_command_ends_with_2() {
    let app = App::contrary("");
    let wasm = plugin("contrary");
    let wasm = wasm.to_str().unwrap();
    let folder = app.folder();
    std::fs::write(folder.join("none.json"), "{").unwrap();
    std::fs::write(folder.join("event.json"), "{\"subject\": \"in.a\"}").unwrap();
    std::fs::create_dir(folder.join("empty")).unwrap();
    for (arguments, code) in [
        (&["new", "Upper", "--lang", "rust"][..], "usage"),
        (&["new", "empty", "--lang", "rust"], "usage"),
        (&["build", "nowhere"], "usage"),
        (&["build", "empty"], "usage"),
        (&["invoke", wasm, "--event", "nowhere.json"], "event-file"),
        (&["invoke", wasm, "--event", "none.json"], "event-file"),
        (&["invoke", wasm, "--event", "event.json", "--set", "noname"], "usage"),
        (&["invoke", wasm, "--event", "event.json", "--state", "@nowhere"], "usage"),
        (&["test", "nowhere"], "usage"),
        (&["test", "empty"], "test-file"),
    ] {
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        let output = app.output(&arguments).await;
        let error: Value = serde_json::from_slice(&output.stderr)
            .unwrap_or_else(|_| panic!("{arguments:?}: {}", text(&output.stderr)));
        assert_eq!(error["error"]["code"], code, "{arguments:?}");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[tokio::test]
async fn plugins_that_are_none_are_refused_each_with_its_reason() {
    let app = App::contrary("");
    let wasm = plugin("contrary");
    let toml = |plugin: &str| {
        format!(
            "app = \"t\"\n[stream]\nname = \"T\"\nsubjects = [\"in.>\"]\n[handlers.h]\nplugin = {plugin:?}\nsubscribe = [\"in.*\"]\n"
        )
    };
    let folder = app.folder();
    std::fs::write(folder.join("text.wasm"), "hello").unwrap();
    std::fs::write(folder.join("module.wasm"), b"\0asm\x01\0\0\0").unwrap();
    std::fs::write(folder.join("empty.wasm"), b"\0asm\x0d\0\x01\0").unwrap();
    let whole = std::fs::read(&wasm).unwrap();
    std::fs::write(folder.join("cut.wasm"), &whole[..whole.len() / 2]).unwrap();
    for (file, reason) in [
        ("text.wasm", "not a WebAssembly file"),
        ("module.wasm", "a core module, not a component"),
        ("empty.wasm", "does not fit the world"),
        ("cut.wasm", "failed to compile"),
        ("missing.wasm", "failed to read"),
    ] {
        std::fs::write(folder.join("heddle.toml"), toml(file)).unwrap();
        let output = app.output(&["check", "--offline"]).await;
        assert_eq!(output.status.code(), Some(2), "{file}");
        assert!(text(&output.stdout).contains(reason), "{file}: {}", text(&output.stdout));
    }
}

#[tokio::test]
async fn check_finds_cycles_and_loose_ends() {
    let wasm = plugin("contrary");
    let handler = |name: &str, from: &str, to: &str| {
        format!("[handlers.{name}]\nplugin = {wasm:?}\nsubscribe = [{from:?}]\npublishes = [{to:?}]\n")
    };
    let app = App::new(&format!(
        "app = \"t\"\n[stream]\nname = \"T\"\nsubjects = [\"a.>\", \"b.>\", \"c.>\"]\n{}{}{}",
        handler("one", "a.*", "b.*"),
        handler("two", "b.*", "a.*"),
        handler("three", "c.in", "c.out")
    ));
    let output = app.output(&["check", "--offline", "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let notes = report["notes"].to_string();
    for part in [
        "cycle: one → two",
        "publishes `c.out`, which no handler consumes",
        "subscribes to `c.in`, which no handler publishes",
    ] {
        assert!(notes.contains(part), "no {part:?} in {notes}");
    }
    let graph = app.output(&["graph"]).await;
    assert!(text(&graph.stdout).starts_with("flowchart LR\n"));
    let dot = app.output(&["graph", "--format", "dot"]).await;
    assert!(text(&dot.stdout).starts_with("digraph \"t\""));
}

#[tokio::test]
async fn invoke_runs_one_event_without_a_server() {
    let app = App::contrary("");
    let event = json!({"subject": "in.a", "key": "a", "payload": {"do": [
        {"count": null},
        {"log": {"level": "info", "message": "hello"}},
        {"publish": {"subject": "out.a", "payload": "{\"n\":1}"}},
    ]}});
    std::fs::write(app.folder().join("event.json"), event.to_string()).unwrap();
    let wasm = plugin("contrary");
    let wasm = wasm.to_str().unwrap();
    let output = app.output(&["invoke", wasm, "--event", "event.json", "--state", "41", "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdict"]["verdict"], "done");
    assert_eq!(report["state"]["set"], 42);
    assert_eq!(report["messages"][0]["subject"], "out.a");
    assert_eq!(report["messages"][0]["payload"]["n"], 1);
    assert_eq!(report["logs"][0]["text"], "hello");
    assert!(report["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
    // Under the handler's policy a subject outside `publishes` is refused.
    let event =
        json!({"subject": "in.a", "payload": {"do": [{"publish": {"subject": "in.b", "payload": ""}}]}});
    std::fs::write(app.folder().join("event.json"), event.to_string()).unwrap();
    let output = app.output(&["invoke", wasm, "--event", "event.json", "--handler", "h"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("effect"), "{}", text(&output.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_tail_status_and_state_show_a_running_application() {
    let server = Server::start().await;
    let url = server.url();
    let app = App::contrary("");
    let host = app.start(&url).await;
    let payload = json!({"do": [{"count": null}, {"echo_state": {"subject": "out.a"}}]}).to_string();
    let output =
        app.output(&["publish", "in.a", &payload, "-H", "Kind: x", "--count", "5", "--url", &url]).await;
    assert!(text(&output.stdout).starts_with("stored in T/"), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains("note:"), "{}", text(&output.stderr));
    let output = app.output(&["publish", "out.b", "x", "--url", &url]).await;
    let note = "note: no handler of application `t` subscribes to `out.b`: they subscribe to `in.*`\n";
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains(note), "{}", text(&output.stderr));
    let output = app.output(&["publish", "in.x", "x", "--dry-run", "--json", "--url", &url]).await;
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["handlers"], json!(["h"]));
    let checker = Checker::new(server.jetstream().await, "T");
    checker.wait_for("out.a", 5).await;
    let output = app.output(&["tail", "--from", "1", "-n", "6", "--json", "--url", &url]).await;
    let tail = text(&output.stdout);
    let rows: Vec<Value> = tail.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 6);
    assert_eq!(rows[0]["subject"], "in.a");
    assert_eq!(rows[0]["headers"][0], json!(["Kind", "x"]));
    let output = app.output(&["state", "get", "h", "a", "--url", &url]).await;
    assert_eq!(text(&output.stdout), "5\n");
    let output = app.output(&["state", "get", "h", "nobody", "--url", &url]).await;
    assert_eq!(output.status.code(), Some(1));
    let caught_up = || async {
        let output = app.output(&["status", "--json", "--url", &url]).await;
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        let handler = status["handlers"]["h"].clone();
        (handler["lag"] == 0).then_some((status, handler))
    };
    let (status, handler) = heddle_tests::wait_for("the lag is 0", caught_up).await;
    assert_eq!(status["hosts"].as_array().map(Vec::len), Some(1));
    assert_eq!(handler["dead_letters"], 0);
    assert!(handler["low"].as_u64().is_some_and(|low| low > 5));
    let wait = json!({"do": [{"reply": {"payload": "here"}}]}).to_string();
    let output = app.output(&["publish", "in.b", &wait, "--wait", "--url", &url]).await;
    assert!(text(&output.stdout).ends_with("here\n"), "{}", text(&output.stderr));
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_ends_with_what_is_stored_or_says_that_it_waits_for_more() {
    let server = Server::start().await;
    let url = server.url();
    let app = App::contrary("");
    let host = app.start(&url).await;
    let payload = json!({"do": [{"publish": {"subject": "out.a", "payload": "x"}}]}).to_string();
    app.output(&["publish", "in.a", &payload, "--count", "3", "--url", &url]).await;
    Checker::new(server.jetstream().await, "T").wait_for("out.a", 3).await;
    for (arguments, shown) in [
        (&["--no-follow"][..], 6),
        (&["--no-follow", "in.>"], 3),
        (&["--no-follow", "nowhere"], 0),
        (&["--no-follow", "-n", "2"], 2),
        (&["--no-follow", "--from", "1000000"], 0),
    ] {
        let output = app.output(&[&["tail", "--json", "--url", &url], arguments].concat()).await;
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        let said = text(&output.stdout);
        assert_eq!(said.lines().count(), shown, "{arguments:?}: {said}");
    }
    let mut command = app.command(&["tail", "in.>", "--from", "1", "-n", "4", "--url", &url]);
    let mut tail = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("heddle starts");
    let mut said = BufReader::new(tail.stderr.take().expect("it is piped")).lines();
    while said.next_line().await.unwrap().expect("it says so") != "waiting for new events; Ctrl-C ends it" {}
    app.output(&["publish", "in.b", &payload, "--url", &url]).await;
    let output = tail.wait_with_output().await.expect("heddle runs");
    assert_eq!(text(&output.stdout).lines().filter(|line| line.contains("  in.")).count(), 4);
    assert_eq!(host.stop().await, 0);
}

#[tokio::test]
async fn every_command_teaches_itself() {
    let app = App::contrary("");
    for command in ["run", "dev", "check", "graph", "invoke", "push", "publish", "tail", "status", "state"] {
        let output = app.output(&[command, "--help"]).await;
        assert!(output.status.success(), "{command}");
        assert!(text(&output.stdout).contains("Usage:"), "{command}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_says_what_the_server_does_not_store() {
    let server = crate::login::server("max_payload: 8192\n").await;
    let url = server.url();
    let app = App::contrary("");
    let host = app.start(&url).await;
    let publish = async |payload: &str, more: &[&str]| {
        let arguments = [&["publish", "in.a", payload, "--url", &url], more].concat();
        let output = app.output(&arguments).await;
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    let known = ["-H", "Nats-Msg-Id:1", "--count", "3"];
    let (code, said) = publish("{}", &known).await;
    assert!(code == Some(0) && said.contains("; 2 not stored again"), "{said}");
    let (code, said) = publish("{}", &known).await;
    assert!(code == Some(0) && said.contains("not stored again: `Nats-Msg-Id` is known"), "{said}");
    for more in [&["--dry-run"], &[] as &[&str]] {
        let (code, said) = publish(&"x".repeat(9_000), more).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("payload and headers have 9000 bytes, but the server accepts 8192"), "{said}");
    }
    assert_eq!(host.stop().await, 0);
}

#[tokio::test]
async fn completions_are_scripts_that_a_shell_reads_and_man_pages_name_every_command() {
    let app = App::contrary("");
    let script = app.output(&["completions", "bash"]).await;
    std::fs::write(app.folder().join("heddle.bash"), &script.stdout).unwrap();
    // What bash itself completes with it.
    let ask = "source heddle.bash; COMP_WORDS=(heddle dead-letters rep); COMP_CWORD=2; _heddle heddle rep dead-letters; echo ${COMPREPLY[@]}";
    let told = tokio::process::Command::new("bash").args(["-c", ask]).current_dir(app.folder()).output();
    assert_eq!(text(&told.await.expect("bash runs").stdout).trim(), "replay");
    let man = app.output(&["man", "pages", "--json"]).await;
    let facts: Value = serde_json::from_slice(&man.stdout).unwrap();
    let pages = facts["pages"].as_array().unwrap();
    for page in ["heddle.1", "heddle-run.1", "heddle-dead-letters-replay.1", "heddle-publish.1"] {
        assert!(pages.contains(&json!(page)), "{page} is not among {pages:?}");
    }
    let page = std::fs::read_to_string(app.folder().join("pages/heddle-run.1")).unwrap();
    assert!(page.contains(".TH heddle-run 1"), "{page}");
}
