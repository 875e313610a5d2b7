//! `heddle doctor`, and machines on which Heddle cannot work.

use heddle_tests::{App, Checker, Server, heddle};
use serde_json::{Value, json};
use tokio::process::Command;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What it says, as grade and text, about one thing.
fn of(report: &Value, about: &str) -> Vec<(String, String)> {
    let findings =
        report["findings"].as_array().into_iter().flatten().filter(|finding| finding["about"] == about);
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
    findings.map(|finding| (text(finding, "grade"), text(finding, "text"))).collect()
}

async fn doctor(app: &App, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = app.output(&[&["doctor", "--json"], arguments].concat()).await;
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    assert_ne!(report, Value::Null, "{} {}", text(&output.stdout), text(&output.stderr));
    (output.status.code(), report)
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_says_of_machine_file_server_and_hosts_what_is_wrong() {
    let server = Server::start().await;
    let url = server.url();
    let app = App::contrary("");
    let (code, report) = doctor(&app, &["--url", &url]).await;
    assert_eq!((code, &report["ok"]), (Some(0), &json!(true)), "{report}");
    let has = |about: &str, grade: &str, part: &str| {
        let found = of(&report, about);
        assert!(
            found.iter().any(|(of, text)| of == grade && text.contains(part)),
            "{grade} {part}: {found:?}"
        );
    };
    has("machine", "ok", "plugins can be compiled and run");
    has("file", "ok", "application `t`");
    has("server", "ok", "nats-server 2.");
    has("stream", "ok", "does not exist and will be created");
    has("hosts", "note", "no host has run");

    let host = app.start(&url).await;
    let (code, report) = doctor(&app, &["--url", &url]).await;
    assert_eq!(code, Some(0), "{report}");
    let has = |about: &str, part: &str| of(&report, about).iter().any(|(_, text)| text.contains(part));
    assert!(has("hosts", "runs it, heddle"), "{report}");
    assert!(has("server", "its clock agrees with the one here"), "{report}");
    assert!(has("stream", "fits"), "{report}");
    assert_eq!(host.stop().await, 0);

    let (code, report) = doctor(&app, &["--url", "nats://127.0.0.1:9"]).await;
    assert_eq!(code, Some(1));
    assert!(of(&report, "server").iter().any(|(grade, _)| grade == "error"), "{report}");
    let (code, report) = doctor(&app, &["--offline"]).await;
    assert_eq!((code, of(&report, "server").len()), (Some(0), 1), "{report}");

    std::fs::write(app.folder().join("heddle.toml"), "app = 7\nhandler = 1\n").unwrap();
    let (code, report) = doctor(&app, &[]).await;
    assert_eq!(code, Some(1));
    assert!(of(&report, "file").len() > 1, "every fault is a finding of its own: {report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_project_is_sound_although_no_server_runs_yet() {
    // Without a name in the file it is the usual address, where somebody's own server may run on this machine.
    if std::net::TcpStream::connect("127.0.0.1:4222").is_ok() {
        return eprintln!("skipped: a server runs at the usual address");
    }
    let app = App::contrary("");
    let (code, report) = doctor(&app, &[]).await;
    assert_eq!((code, &report["ok"]), (Some(0), &json!(true)), "{report}");
    let said = of(&report, "server");
    assert!(
        matches!(&said[..], [(grade, text)] if grade == "note" && text.contains("`heddle dev` starts one")),
        "{said:?}"
    );
    let (code, report) = doctor(&app, &["--nats-server", "nowhere"]).await;
    assert_eq!(code, Some(1), "{report}");
    let said = of(&report, "tools");
    assert!(
        said.iter().any(|(grade, text)| grade == "error" && text.contains("`heddle dev` has none to start")),
        "{said:?}"
    );
    let mut command = app.command(&["doctor", "--json", "--offline"]);
    let output = command.env("HEDDLE_NATS_SERVER", "").output().await.expect("heddle runs");
    assert_eq!(
        (output.status.code(), text(&output.stderr)),
        (Some(0), String::new()),
        "{}",
        text(&output.stdout)
    );
}

/// A command of heddle in a process that may not make memory executable, as under `MemoryDenyWriteExecute` of systemd.
fn denied(app: &App, arguments: &[&str]) -> Command {
    // PR_SET_MDWE with PR_MDWE_REFUSE_EXEC_GAIN; 77 says that this kernel has no such thing.
    const SCRIPT: &str = "import ctypes, os, sys\n\
        if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) != 0: sys.exit(77)\n\
        os.execv(sys.argv[1], sys.argv[1:])";
    let mut command = Command::new("python3");
    command.args(["-c", SCRIPT]).arg(heddle()).args(arguments).current_dir(app.folder());
    // What others have compiled is not to be found.
    command.env("HEDDLE_CACHE", app.folder().join("cache")).env("HEDDLE_LOG", "info");
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_may_not_make_memory_executable_says_so_and_no_plugin_is_blamed() {
    let server = Server::start().await;
    let url = server.url();
    let app = App::contrary("");
    let output = match denied(&app, &["doctor", "--offline"]).output().await {
        Err(error) => return eprintln!("skipped: there is no `python3`: {error}"),
        Ok(output) if output.status.code() == Some(77) => {
            return eprintln!("skipped: this kernel cannot keep memory from being executable");
        }
        Ok(output) => output,
    };
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(
        said.contains("may not make memory executable") && said.contains("MemoryDenyWriteExecute"),
        "{said}"
    );
    let run = denied(&app, &["run", "--url", &url]).output().await.unwrap();
    let said = text(&run.stderr);
    assert!(!run.status.success() && said.contains("MemoryDenyWriteExecute"), "{said}");

    // The same component is taken as soon as it may be.
    let host = app.start(&url).await;
    let checker = Checker::new(server.jetstream().await, "T");
    checker.publish("in.a", json!([{"count": null}, {"echo_state": {"subject": "out.a"}}])).await;
    checker.wait_for("out.a", 1).await;
    assert_eq!(host.stop().await, 0);
}
