//! The command line in scripts: pipes that close early, what strangers wrote, errors as JSON, questions, long lists; and
//! the server of `heddle dev`.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;

use heddle_tests::{App, Checker, Server};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::Child;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An application whose dead letters come at once.
fn app(more: &str) -> App {
    App::contrary(&format!("outage = false\n{more}\n[handlers.h.retry]\nmax-attempts = 1"))
}

fn reject(reason: &str) -> Value {
    json!([{ "reject": { "reason": reason } }])
}

/// Says something to a server as it stands, which no client library would.
fn raw(server: &Server, lines: &[u8]) {
    let mut connection =
        std::net::TcpStream::connect(("127.0.0.1", server.port())).expect("the server listens");
    connection.write_all(b"CONNECT {\"verbose\":false,\"headers\":true}\r\n").expect("it reads");
    connection.write_all(lines).expect("it reads");
    connection.write_all(b"PING\r\n").expect("it reads");
    let mut answer = String::new();
    while !answer.contains("PONG") {
        let mut buffer = [0; 4096];
        let count = connection.read(&mut buffer).expect("it answers");
        assert!(count > 0, "the server has closed the connection: {answer}");
        answer.push_str(&text(buffer.get(..count).unwrap_or_default()));
    }
}

/// A host whose standard error goes where the test wants.
fn host(app: &App, url: &str, stderr: impl Into<Stdio>) -> Child {
    let mut command = app.command(&["run", "--url", url]);
    command.stdout(Stdio::null()).stderr(stderr).spawn().expect("heddle starts")
}

async fn stopped(mut host: Child) -> Option<i32> {
    let id = host.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw).expect("it runs");
    kill_process(id, Signal::TERM).expect("it runs");
    host.wait().await.expect("it can be awaited").code()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_log_cannot_be_written_goes_on() {
    let server = Server::start().await;
    let app = app("");
    let checker = Checker::new(server.jetstream().await, "T");
    let (reader, gone) = std::io::pipe().expect("a pipe");
    drop(reader);
    let full = File::options().write(true).open("/dev/full").expect("a device that is full");
    for (count, stderr) in [(1, Stdio::from(full)), (2, Stdio::from(gone))] {
        let host = host(&app, &server.url(), stderr);
        checker.publish("in.a", reject("no")).await;
        checker.wait_for("dead.>", count).await;
        checker.publish("in.a", json!([{"publish": {"subject": "out.a", "payload": "x"}}])).await;
        checker.wait_for("out.a", count).await;
        assert_eq!(stopped(host).await, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_stalls_no_event_and_says_later_how_much_is_lost() {
    let server = Server::start().await;
    let app = app("");
    let checker = Checker::new(server.jetstream().await, "T");
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    // As much as a pipe has room for.
    writer.write_all(&vec![b'.'; 64 << 10]).expect("a pipe has room for 64 KiB");
    let host = host(&app, &server.url(), writer);
    for key in 0..20 {
        checker.publish(&format!("in.{key}"), reject("no")).await;
    }
    checker.wait_for("dead.>", 20).await;
    let log = std::thread::spawn(move || {
        let (mut log, mut buffer) = (String::new(), vec![0; 8192]);
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            log.push_str(&text(&buffer[..count]));
        }
        log
    });
    // It is read now, so what comes next can be written.
    for key in 20..25 {
        checker.publish(&format!("in.{key}"), reject("read again")).await;
    }
    checker.wait_for("dead.>", 25).await;
    assert_eq!(stopped(host).await, Some(0));
    let log = log.join().expect("the log is read");
    assert!(log.contains("log lines are lost: standard error could not be written"), "{}", &log[64 << 10..]);
    assert!(log.contains("read again"), "{}", &log[64 << 10..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_reader_has_gone_ends_in_silence() {
    let server = Server::start().await;
    let url = server.url();
    let app = app("");
    let host = app.start(&url).await;
    let checker = Checker::new(server.jetstream().await, "T");
    checker.publish("in.a", reject("no")).await;
    checker.wait_for("dead.>", 1).await;
    for arguments in [
        "tail --from 1",
        "tail --from 1 --json",
        "dl list",
        "dl list --each",
        "dl list --each --json",
        "dl show --all",
        "dl export --all",
        "graph",
        "status",
        "status --json",
        "plugins",
        "plugins h",
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = app.command(&arguments.split(' ').collect::<Vec<_>>());
        command.env("HEDDLE_NATS_URL", &url).env("HEDDLE_LOG", "warn").stdout(writer).stderr(Stdio::piped());
        // `output` would take the place of the pipe.
        let child = command.spawn().expect("heddle starts");
        drop(command);
        let output = child.wait_with_output().await.expect("heddle runs");
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(141), String::new()), "{arguments}");
    }
    // A full disk is another matter.
    let full = File::options().write(true).open("/dev/full").expect("a device that is full");
    let mut command = app.command(&["status", "--url", &url]);
    let child = command.stdout(full).stderr(Stdio::piped()).spawn().expect("heddle starts");
    let output = child.wait_with_output().await.expect("heddle runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("failed to write to standard output"), "{}", text(&output.stderr));
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_stranger_wrote_reaches_a_terminal_as_it_is() {
    let server = Server::start().await;
    let url = server.url();
    let app = app("on-dead-letter = \"hold-key\"");
    let mut host = app.start(&url).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let instructions = json!({"do": [
        {"log": {"level": "info", "message": "\u{1b}[35mlog\u{9b}35m\nforged"}},
        {"reject": {"reason": "\u{1b}[31mno"}},
    ]})
    .to_string();
    let header = "NATS/1.0\r\nX: \u{1b}]0;owned\u{7}\u{1b}[2J\r\n\r\n";
    let (length, total) = (header.len(), header.len() + instructions.len());
    raw(&server, format!("HPUB in.a {length} {total}\r\n{header}{instructions}\r\n").as_bytes());
    let length = instructions.len();
    raw(&server, format!("PUB in.\u{1b}[31mred {length}\r\n{instructions}\r\n").as_bytes());
    raw(&server, b"PUB in.b 13\r\n\x1b[2Jnot JSON.\r\n");
    checker.wait_for("dead.>", 3).await;
    host.wait_for_line("31mno").await;
    for arguments in [
        "tail --from 1 -n 6",
        "tail --from 1 -n 6 --json",
        "dl list",
        "dl list --each",
        "dl list --each --json",
        "dl show --all",
        "dl show --all --json",
        "dl export --all",
        "status",
        "status --json",
        "plugins",
    ] {
        let mut command = app.command(&arguments.split(' ').collect::<Vec<_>>());
        let output = command.env("HEDDLE_NATS_URL", &url).output().await.expect("heddle runs");
        assert_eq!(output.status.code(), Some(0), "{arguments}: {}", text(&output.stderr));
        let shown = text(&output.stdout);
        assert!(!shown.is_empty() && !shown.contains(active), "{arguments}: {shown:?}");
    }
    // What is shown of a key finds it again.
    for key in ["\\u{1b}[31mred", "\u{1b}[31mred"] {
        let mut command = app.command(&["dl", "list", "--each", "--json", "--key", key]);
        let output = command.env("HEDDLE_NATS_URL", &url).output().await.expect("heddle runs");
        let found: Vec<Value> = serde_json::from_slice(&output.stdout).expect("a list");
        assert_eq!(found.len(), 1, "{key:?}: {found:?}");
    }
    assert_eq!(host.log().matches(active).count(), 0, "{:?}", host.log());
    assert!(!host.log().contains("\nforged"), "a plugin begins a line of the log: {}", host.log());
    assert_eq!(host.stop().await, 0);
}

/// What does something to a terminal.
fn active(c: char) -> bool {
    c.is_control() && c != '\n'
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_json_objects_with_a_code_where_json_is_asked_for() {
    let app = app("");
    let faulty = App::new("app = \"x y\"\n");
    let server = Server::start().await;
    let url = server.url();
    let nowhere = "nats://127.0.0.1:1";
    let error = |app: &App, arguments: &str, url: &str| {
        let mut command = app.command(&arguments.split(' ').collect::<Vec<_>>());
        command.env("HEDDLE_NATS_URL", url).env("HEDDLE_LOG", "error");
        async move {
            let output = command.output().await.expect("heddle runs");
            assert_eq!(text(&output.stdout), "");
            let said = text(&output.stderr);
            let document: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("no JSON: {said}"));
            let error = document["error"].clone();
            assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{said}");
            assert!(error.get("hint").is_some(), "{said}");
            (output.status.code(), error["code"].as_str().unwrap_or_default().to_owned(), said)
        }
    };
    for (arguments, expected, code) in [
        ("status --json --bogus", 2, "usage"),
        ("dl export --json", 1, "connect"),
        ("status --json", 1, "connect"),
    ] {
        let (status, found, said) = error(&app, arguments, nowhere).await;
        assert_eq!((status, found.as_str()), (Some(expected), code), "{arguments}");
        assert!(
            code == "usage" || said.contains("HEDDLE_NATS_URL"),
            "it does not say where the URL is from: {said}"
        );
    }
    assert_eq!(error(&faulty, "check --json", nowhere).await.1, "file");
    assert_eq!(error(&app, "status --json", &url).await.1, "no-stream");
    let host = app.start(&url).await;
    for (arguments, expected, code) in [
        ("dl export --json", 2, "usage"),
        ("dl show 7 --json", 1, "not-found"),
        ("state get h nobody --json", 1, "not-found"),
        ("rollback nobody --json", 1, "not-found"),
        ("pin h 0123456789 --json", 1, "refused"),
    ] {
        let (status, found, said) = error(&app, arguments, &url).await;
        assert_eq!((status, found.as_str()), (Some(expected), code), "{arguments}: {said}");
    }
    assert_eq!(host.stop().await, 0);
    assert_eq!(error(&app, "reload --json", &url).await.1, "no-host");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_undone_is_not_done_without_a_yes() {
    let server = Server::start().await;
    let url = server.url();
    let app = app("");
    let host = app.start(&url).await;
    let checker = Checker::new(server.jetstream().await, "T");
    checker.publish("in.a", reject("no")).await;
    checker.wait_for("dead.>", 1).await;
    let run = async |arguments: &str| {
        let mut command = app.command(&arguments.split(' ').collect::<Vec<_>>());
        let command = command.env("HEDDLE_NATS_URL", &url).env("HEDDLE_LOG", "warn");
        let output = command.output().await.expect("heddle runs");
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    let (code, said) = run("dl discard --all --reason x").await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("give --yes"), "{said}");
    let (code, said) = run("reload --forget gone").await;
    assert_eq!((code, said.contains("give --yes")), (Some(2), true), "{said}");
    for (arguments, expected) in [
        ("dl discard --all --reason x --dry-run", "1 dead letter would be discarded"),
        ("dl replay --all --dry-run", "1 dead letter would be replayed"),
        ("reload --forget gone --dry-run", "remove the progress and the states of gone"),
        ("pin h --dry-run", "and stays with it"),
        ("rollback h --dry-run", "has no earlier version"),
        ("publish in.a x --count 3 --dry-run", "would publish 3 × 1 B on in.a, stored in T"),
        ("publish in.a x -H Nats-Rollup:all", "is a command to the server"),
        ("publish in.a x -H nats-schedule-target:_heddle.t.checkpoint.0", "is a command to the server"),
        ("publish nowhere x --dry-run", "no stream stores what is published on `nowhere`"),
    ] {
        let (_, said) = run(arguments).await;
        assert!(said.contains(expected), "{arguments}: {said}");
    }
    assert_eq!(checker.count("dead.>").await, Some(1));
    assert_eq!(checker.audit().await.len(), 0, "nothing was done");
    assert_eq!(checker.count("in.>").await, Some(1), "nothing was published");
    let (code, said) = run("dl replay --all --yes").await;
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(
        run("dl discard --all --reason x --yes").await,
        (Some(0), "1 dead letter discarded\n".to_owned())
    );
    assert_eq!(checker.count("dead.>").await, Some(0));
    assert_eq!(host.stop().await, 0);
}

/// A file of N dead letters of 8 KiB.
fn many(app: &App, name: &str, first: usize, count: usize) {
    let mut file = std::io::BufWriter::new(File::create(app.folder().join(name)).expect("a file"));
    let payload = "x".repeat(8 << 10);
    for sequence in first..first + count {
        let headers = json!([
            ["Heddle-Dead-Handler", "h"],
            ["Heddle-Dead-Cause", "reject"],
            ["Heddle-Dead-Stream", "T"],
            ["Heddle-Dead-Sequence", sequence.to_string()],
            ["Heddle-Dead-Subject", "in.a"],
            ["Heddle-Dead-Time", "2026-11-01T00:00:00Z"],
            ["Heddle-Dead-Key", "a"],
        ]);
        let row = json!({ "sequence": sequence, "headers": headers, "payload": payload });
        writeln!(file, "{row}").expect("it is written");
    }
    file.flush().expect("it is written");
}

/// The most memory that a command had, in KiB, as its last looks say.
async fn peak(app: &App, url: &str, arguments: &str) -> u64 {
    let mut command = app.command(&arguments.split(' ').collect::<Vec<_>>());
    let mut child = command.env("HEDDLE_NATS_URL", url).stdout(Stdio::null()).spawn().expect("heddle runs");
    let status = format!("/proc/{}/status", child.id().expect("it runs"));
    let mut peak = 0;
    let ended = loop {
        let look = tokio::time::timeout(std::time::Duration::from_millis(5), child.wait()).await;
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let now = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(now.unwrap_or(0));
        if let Ok(ended) = look {
            break ended.expect("it can be awaited");
        }
    };
    assert!(ended.success(), "{arguments}: {ended}");
    peak
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_the_number_of_dead_letters() {
    let server = Server::start().await;
    let url = server.url();
    let app = app("");
    assert_eq!(app.start(&url).await.stop().await, 0);
    // More than are read at once, and three times as many.
    many(&app, "few.jsonl", 1, 2_500);
    many(&app, "many.jsonl", 2_501, 5_000);
    let commands = ["dl export --all -o x.jsonl", "dl show --all", "dl list --each", "dl list --each --json"];
    let mut peaks = Vec::new();
    for file in ["few.jsonl", "many.jsonl"] {
        let mut of_these = vec![peak(&app, &url, &format!("dl import {file}")).await];
        for command in commands {
            of_these.push(peak(&app, &url, command).await);
        }
        peaks.push(of_these);
    }
    for (number, (few, many)) in peaks[0].iter().zip(&peaks[1]).enumerate() {
        // 5,000 more have 40 MiB.
        assert!(
            *many < few + (20 << 10),
            "command {number}: {few} KiB with 2,500, {many} KiB with 7,500: {peaks:?}"
        );
    }
    let exported = std::fs::read_to_string(app.folder().join("x.jsonl")).expect("it is exported");
    assert_eq!(exported.lines().count(), 7_500);
}
