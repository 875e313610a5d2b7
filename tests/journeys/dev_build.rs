//! `heddle dev` builds plugins: those that are missing or older than their sources, and those whose sources change.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use heddle_tests::{App, plugin, wait_for};
use rustix::process::Signal;
use serde_json::json;

/// How long a build that runs may delay the end of the host.
const LONGEST_END: Duration = Duration::from_secs(2);

/// A handler for each name, all with the plugin `built.wasm`, and the build that is given. The folder `src` is watched,
/// and has a component in it.
fn app(handlers: &[&str], command: &str) -> App {
    let sections = handlers.iter().map(|name| {
        format!(
            "[handlers.{name}]\nplugin = \"built.wasm\"\nsubscribe = [\"in.*\"]\npublishes = [\"out.>\"]\n\
             [handlers.{name}.build]\ncommand = {command:?}\nwatch = [\"src\"]\n"
        )
    });
    let sections: String = sections.collect();
    let app = App::new(&format!(
        "app = \"t\"\nshards = 4\n[stream]\nname = \"T\"\nsubjects = [\"in.>\", \"out.>\"]\n{sections}"
    ));
    std::fs::create_dir(app.folder().join("src")).expect("a folder for sources");
    let source = app.folder().join("src/contrary.wasm");
    std::fs::copy(plugin("contrary"), source).expect("the component is copied");
    app
}

/// Publishes an event, and waits for the handler's answer to it.
async fn is_answered(app: &App) {
    let event = json!({"do": [{"reply": {"payload": "here"}}]}).to_string();
    let output = app.output(&["publish", "in.a", &event, "--wait"]).await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.ends_with("here\n"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

/// Waits until a file has N lines.
async fn lines(file: &Path, count: usize) -> Vec<String> {
    wait_for(&format!("{count} lines in `{}`", file.display()), || async {
        let text = std::fs::read_to_string(file).ok()?;
        let lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        (text.ends_with('\n') && lines.len() >= count).then_some(lines)
    })
    .await
}

/// Whether a process has ended. One that nobody has awaited yet has.
fn has_ended(id: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{id}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_plugin_is_built_at_the_start_and_again_when_its_sources_change() {
    let app = app(&["one", "two"], "echo run >> runs; cp src/contrary.wasm new && mv new built.wasm");
    let mut host = app.dev();
    host.wait_for_line("ready: ").await;
    let log = host.log();
    assert!(log.contains("building one, two: `"), "{log}");
    assert!(log.contains("built one, two in "), "{log}");
    is_answered(&app).await;
    let runs = app.folder().join("runs");
    assert_eq!(lines(&runs, 1).await.len(), 1, "one command for two handlers runs once");
    std::fs::write(app.folder().join("src/lib.rs"), "changed").unwrap();
    assert_eq!(lines(&runs, 2).await.len(), 2);
    wait_for("it is said", || async {
        (host.log().matches("built one, two in ").count() == 2).then_some(())
    })
    .await;
    is_answered(&app).await;
    assert_eq!(host.stop().await, 0);
}

/// The plugin is there, and was built long before its sources were written.
fn built_long_ago(app: &App) {
    let built = app.folder().join("built.wasm");
    std::fs::copy(plugin("contrary"), &built).expect("the component is copied");
    let built = std::fs::File::options().write(true).open(built).expect("it is there");
    built.set_modified(SystemTime::now() - Duration::from_secs(600)).expect("its time is set");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_older_than_its_sources_is_built_at_the_start() {
    let app = app(&["h"], "echo run >> runs; cp src/contrary.wasm new && mv new built.wasm");
    built_long_ago(&app);
    for starts in [1, 2] {
        let mut host = app.dev();
        host.wait_for_line("ready: ").await;
        let log = host.log();
        let part = "building h: `built.wasm` is older than `src/contrary.wasm`";
        assert_eq!(log.contains(part), starts == 1, "{log}");
        assert_eq!(
            lines(&app.folder().join("runs"), 1).await.len(),
            1,
            "what was just built is not built again"
        );
        assert_eq!(host.stop().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_plugin_is_kept_where_it_cannot_be_built_again() {
    let app = app(&["h"], "echo 'error: broken' >&2; exit 3");
    built_long_ago(&app);
    let mut host = app.dev();
    host.wait_for_line("ready: ").await;
    let log = host.log();
    assert!(log.contains("build of h failed after ") && log.contains("error: broken\n"), "{log}");
    is_answered(&app).await;
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn test_and_check_say_that_a_plugin_is_older_than_its_sources() {
    let app = app(&["one", "two"], "sh make.sh");
    built_long_ago(&app);
    std::fs::create_dir(app.folder().join("tests")).unwrap();
    std::fs::write(app.folder().join("tests/a.toml"), "[[events]]\nsubject = \"in.a\"\njson = { do = [] }\n")
        .unwrap();
    let note = "`built.wasm` is older than `src/contrary.wasm`: `sh make.sh` builds it again";
    let run = async |arguments: &[&str]| {
        let output = app.output(arguments).await;
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap())
    };
    let [_, said] = run(&["test"]).await;
    assert_eq!(said.matches(&format!("note: {note}\n")).count(), 1, "{said}");
    let [said, _] = run(&["test", "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["stale"], json!([note]));
    let [said, _] = run(&["check", "--offline"]).await;
    assert_eq!(said.matches(&format!("note  plugin: {note}\n")).count(), 1, "{said}");
    std::fs::copy(plugin("contrary"), app.folder().join("built.wasm")).unwrap();
    let [said, complained] = run(&["test"]).await;
    assert!(said.contains("1 passed") && !complained.contains("older"), "{said}{complained}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_fails_shows_what_it_wrote_and_the_host_goes_on() {
    let app = app(
        &["h"],
        "echo compiling; test -e src/broken && { echo 'error: broken' >&2; exit 3; }; cp src/contrary.wasm built.wasm",
    );
    let mut host = app.dev();
    host.wait_for_line("ready: ").await;
    std::fs::write(app.folder().join("src/broken"), "").unwrap();
    host.wait_for_line("build of h failed after ").await;
    host.wait_for_line("error: broken").await;
    let log = host.log();
    assert!(log.contains("(exit status: 3):\ncompiling\nerror: broken\n"), "{log}");
    is_answered(&app).await;
    std::fs::remove_file(app.folder().join("src/broken")).unwrap();
    wait_for("it is built", || async { (host.log().matches("built h in ").count() == 2).then_some(()) })
        .await;
    // What a build that succeeds writes is not shown: once at the start, once with the failure.
    assert_eq!(host.log().matches("compiling\n").count(), 2, "{}", host.log());
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_during_a_build_starts_another_one() {
    let command = "echo run >> runs; while [ -e held ]; do sleep 0.02; done; cp src/contrary.wasm built.wasm";
    let app = app(&["h"], command);
    let mut host = app.dev();
    host.wait_for_line("ready: ").await;
    let runs = app.folder().join("runs");
    std::fs::write(app.folder().join("held"), "").unwrap();
    std::fs::write(app.folder().join("src/lib.rs"), "one").unwrap();
    assert_eq!(lines(&runs, 2).await.len(), 2);
    std::fs::write(app.folder().join("src/lib.rs"), "other").unwrap();
    is_answered(&app).await;
    assert_eq!(lines(&runs, 2).await.len(), 2, "one at a time");
    std::fs::remove_file(app.folder().join("held")).unwrap();
    assert_eq!(lines(&runs, 3).await.len(), 3);
    wait_for("it is built", || async { (host.log().matches("built h in ").count() == 3).then_some(()) })
        .await;
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_under_way_holds_up_no_end_and_leaves_nothing_behind() {
    let hang =
        "(trap '' TERM INT; while :; do sleep 600; done) & echo $! >> running; echo $$ >> running; wait";
    let app = app(&["h"], &format!("test -e built.wasm || exec cp src/contrary.wasm built.wasm; {hang}"));
    let mut host = app.dev();
    host.wait_for_line("ready: ").await;
    std::fs::write(app.folder().join("src/lib.rs"), "changed").unwrap();
    let running = lines(&app.folder().join("running"), 2).await;
    assert!(!running.iter().any(|id| has_ended(id)));
    let began = Instant::now();
    host.signal(Signal::TERM);
    assert_eq!(host.ended().await, 0);
    assert!(began.elapsed() < LONGEST_END, "{:?}: {}", began.elapsed(), host.log());
    wait_for("the build is gone", || async { running.iter().all(|id| has_ended(id)).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_build_that_fails_or_is_given_up_ends_the_command() {
    let app = app(&["h"], "echo broken >&2; exit 3");
    let mut host = app.dev();
    assert_eq!(host.ended().await, 1);
    let log = host.log();
    assert!(log.contains("\nbroken\n") && log.contains("build of h failed after "), "{log}");
    let app = app.with("exit 3", "exit 0");
    let mut host = app.dev();
    assert_eq!(host.ended().await, 1);
    assert!(host.log().contains("has succeeded, but `"), "{}", host.log());
    let app = app.with("echo broken >&2; exit 0", "sleep 600 & echo $! >> running; wait");
    let mut host = app.dev();
    let running = lines(&app.folder().join("running"), 1).await;
    host.signal(Signal::TERM);
    assert_eq!(host.ended().await, 0);
    assert!(host.log().contains("stopped while starting"), "{}", host.log());
    wait_for("the build is gone", || async { running.iter().all(|id| has_ended(id)).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn run_neither_builds_nor_needs_the_sources() {
    let server = heddle_tests::Server::start().await;
    let app = app(&["h"], "touch was-run; exit 3");
    std::fs::rename(app.folder().join("src/contrary.wasm"), app.folder().join("built.wasm")).unwrap();
    std::fs::remove_dir(app.folder().join("src")).unwrap();
    let host = app.start(&server.url()).await;
    assert_eq!(host.stop().await, 0);
    assert!(!app.folder().join("was-run").exists());
    let mut host = app.dev();
    assert_eq!(host.ended().await, 2);
    assert!(host.log().contains("src` does not exist"), "{}", host.log());
}
