//! Logging in: every way there is, what is rotated, what is not there yet, and that nothing of it is ever shown.

use std::path::Path;
use std::process::Output;

use heddle_broker::Broker;
use heddle_tests::{App, CONFIG, Checker, Host, Server, free_port, wait_for};
use heddle_values::settings::{Api, NatsSettings};
use nkeys::KeyPair;
use serde_json::json;

const PASSWORD: &str = "s3cret-p4ss";
const TOKEN: &str = "t0psecret-t0ken";
const SETTING: &str = "hush-s3tting";

/// A server with a configuration. Tests log in as `probe`.
pub(crate) async fn server(config: &str) -> Server {
    let folder = Server::prepare();
    std::fs::write(folder.path().join(CONFIG), config).expect("the folder is ours");
    Server::start_in(folder).await
}

fn address(server: &Server) -> String {
    format!("127.0.0.1:{}", server.port())
}

async fn checker(server: &Server) -> Checker {
    let options = async_nats::ConnectOptions::with_user_and_password("probe".to_owned(), "probe".to_owned());
    let client = options.connect(server.url()).await.expect("the tests can log in");
    Checker::new(async_nats::jetstream::new(client), "T")
}

pub(crate) fn with_nats(lines: &str) -> App {
    App::contrary("").append(&format!("[nats]\n{lines}\n"))
}

/// Publishes an event that counts, and waits until it is handled.
pub(crate) async fn handles(checker: &Checker, count: usize) {
    checker.publish_count("a", &[]).await;
    checker.wait_for("out.>", count).await;
}

pub(crate) fn shown(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[track_caller]
fn assert_hidden(what: &str, text: &str) {
    for secret in [PASSWORD, TOKEN, SETTING] {
        assert!(!text.contains(secret), "{what} shows a secret: {text}");
    }
}

const USERS: &str =
    "authorization { users = [{ user: app, password: \"s3cret-p4ss\" }, { user: probe, password: probe }] }";

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_taken_from_the_url_from_a_file_and_from_the_environment() {
    let server = server(USERS).await;
    let checker = checker(&server).await;
    let plain = server.url();
    let with_login = format!("nats://app:{PASSWORD}@{}", address(&server));
    let nowhere = "nats://app:other@127.0.0.1:1";
    let ways = [
        (with_nats(""), format!("{nowhere},{with_login}")),
        (with_nats("user = \"app\"\npassword = { file = \"secret\" }"), plain.clone()),
        (with_nats("user = \"app\"\npassword = \"s3cret-p4ss\""), plain.clone()),
    ];
    for (count, (app, url)) in ways.into_iter().enumerate() {
        std::fs::write(app.folder().join("secret"), format!("{PASSWORD}\n")).unwrap();
        let host = app.start(&url).await;
        handles(&checker, count + 1).await;
        assert_hidden("the log", &host.log());
        assert_eq!(host.stop().await, 0);
    }
    let app = with_nats("user = \"app\"\npassword = { env = \"APP_PASSWORD\" }");
    let output =
        app.command(&["status", "--url", &plain]).env("APP_PASSWORD", PASSWORD).output().await.unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let output = app.output(&["status", "--url", &plain]).await;
    assert!(shown(&output).contains("`APP_PASSWORD`: environment variable is not set"), "{}", shown(&output));
    assert_eq!(checker.faults().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_taken_from_the_url_and_from_the_file() {
    let server = server(&format!("authorization {{ token: \"{TOKEN}\" }}")).await;
    let url = format!("nats://{TOKEN}@{}", address(&server));
    let host = with_nats("").start(&url).await;
    assert_hidden("the log", &host.log());
    assert_eq!(host.stop().await, 0);
    let app = with_nats(&format!("token = \"{TOKEN}\""));
    let output = app.output(&["status", "--url", &server.url()]).await;
    assert!(output.status.success(), "{}", shown(&output));
}

/// A user's nkey: its seed and its public key.
fn nkey() -> (String, String) {
    let pair = KeyPair::new_user();
    (pair.seed().expect("a new pair has a seed"), pair.public_key())
}

fn accept(server: &Server, key: &str) {
    let config =
        format!("authorization {{ users = [{{ nkey: {key} }}, {{ user: probe, password: probe }}] }}");
    std::fs::write(server.folder().join(CONFIG), config).expect("the folder is ours");
    let id = i32::try_from(server.pid()).ok().and_then(rustix::process::Pid::from_raw);
    let told = rustix::process::kill_process(id.expect("the server runs"), rustix::process::Signal::HUP);
    told.expect("the server is ours");
}

pub(crate) async fn refuses(host: &mut Host) {
    host.wait_for_line("authorization violation").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_nkey_is_read_again_and_a_refused_one_is_tried_again() {
    let ((seed_a, key_a), (seed_b, key_b)) = (nkey(), nkey());
    let server = server(&format!(
        "authorization {{ users = [{{ nkey: {key_a} }}, {{ user: probe, password: probe }}] }}"
    ))
    .await;
    let checker = checker(&server).await;
    let app = with_nats("nkey = \"u.nk\"");
    std::fs::write(app.folder().join("u.nk"), &seed_a).unwrap();
    let mut host = app.start(&server.url()).await;
    handles(&checker, 1).await;
    // Refused for a while, and then good again.
    accept(&server, &key_b);
    refuses(&mut host).await;
    accept(&server, &key_a);
    handles(&checker, 2).await;
    // First the server, then the file: it is refused until the file has it.
    accept(&server, &key_b);
    checker.publish_count("a", &[]).await;
    std::fs::write(app.folder().join("u.nk"), &seed_b).unwrap();
    checker.wait_for("out.>", 3).await;
    assert!(!host.log().contains(&seed_a) && !host.log().contains(&seed_b), "{}", host.log());
    assert_eq!(host.stop().await, 0);
    assert_eq!(checker.faults().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_starts_before_its_server_waits_for_it() {
    let mut server = Server::start().await;
    server.kill().await;
    let app = App::contrary("");
    let mut host = app.spawn(&server.url());
    host.wait_for_line("waiting for the server: failed to connect").await;
    // A command says at once what is wrong.
    let output = app.output(&["status", "--url", &server.url()]).await;
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
    server.restart().await;
    host.wait_for_line(" running").await;
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_jetstream_is_named_and_not_waited_for() {
    let server = server("accounts { A: { users: [{ user: a, password: a }] }, B: { jetstream: enabled, users: [{ user: probe, password: probe }] } }").await;
    let app = App::contrary("");
    let mut host = app.spawn(&format!("nats://a:a@{}", address(&server)));
    assert_eq!(host.ended().await, 1);
    assert!(host.log().contains("has no JetStream"), "{}", host.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_named_where_tls_is_asked_for() {
    let server = Server::start().await;
    let output = with_nats("tls = { required = true }").output(&["status", "--url", &server.url()]).await;
    let text = shown(&output);
    assert!(text.contains("the server answers without TLS: check `tls` in `[nats]`"), "{text}");
}

/// A hub with JetStream and a leaf without, both for the account of `app`.
async fn hub_and_leaf() -> (Server, Server) {
    let port = free_port();
    let accounts = |jetstream: &str| {
        format!(
            "accounts {{ APP: {{ {jetstream} users: [{{ user: probe, password: probe }}] }}, $SYS: {{ users: [{{ user: sys, password: sys }}] }} }}\nno_auth_user: probe\n"
        )
    };
    let hub = server(&format!(
        "server_name: hub\n{}jetstream {{ domain: hub }}\nleafnodes {{ listen: \"127.0.0.1:{port}\" }}\n",
        accounts("jetstream: enabled,")
    ))
    .await;
    let leaf = server(&format!(
        "server_name: leaf\n{}jetstream {{ domain: leaf }}\nleafnodes {{ remotes = [{{ url: \"nats-leaf://probe:probe@127.0.0.1:{port}\", account: APP }}] }}\n",
        accounts("")
    ))
    .await;
    (hub, leaf)
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_of_another_domain_is_reached_by_its_name_or_prefix() {
    let (hub, leaf) = hub_and_leaf().await;
    let checker = checker(&hub).await;
    for (count, key) in ["domain = \"hub\"", "api-prefix = \"$JS.hub.API\""].into_iter().enumerate() {
        let host = with_nats(key).start(&leaf.url()).await;
        handles(&checker, count + 1).await;
        assert_eq!(host.stop().await, 0);
    }
    let output = App::contrary("").output(&["status", "--url", &leaf.url()]).await;
    let text = shown(&output);
    assert!(text.contains("`domain`") || text.contains("has no JetStream"), "{text}");
    assert_eq!(checker.faults().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_user_may_do_is_told_by_its_own_server_and_not_by_those_beyond_a_leaf_node() {
    let (hub, leaf) = hub_and_leaf().await;
    let settings = NatsSettings { url: leaf.url().into(), ..NatsSettings::default() };
    let settings = NatsSettings { api: Api::Domain("hub".to_owned()), ..settings };
    let connect = || async { Broker::connect(&settings, "a test").await.ok() };
    let broker = wait_for("the link is there", connect).await;
    for question in 0..300 {
        let told = broker.permissions().await.expect("the server tells");
        assert!(told.publish.permit("$JS.hub.API.CONSUMER.CREATE.T"), "{question}: {told:?}");
    }
    drop(hub);
}

/// Replaces what a mounted secret shows, as Kubernetes does: a link to a folder is renamed over another.
fn mount(folder: &Path, version: &str, text: &str) {
    let data = folder.join(version);
    std::fs::create_dir_all(&data).expect("the folder is ours");
    std::fs::write(data.join("key"), text).expect("the folder is ours");
    std::os::unix::fs::symlink(version, folder.join("..new")).expect("the folder is ours");
    std::fs::rename(folder.join("..new"), folder.join("..data")).expect("the folder is ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mounted_secret_that_is_swapped_reaches_the_handler() {
    let server = Server::start().await;
    let app = App::contrary("config = { key = { file = \"secrets/key\" } }");
    let secrets = app.folder().join("secrets");
    mount(&secrets, "..one", "one\n");
    std::os::unix::fs::symlink("..data/key", secrets.join("key")).unwrap();
    let mut host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let echo = json!([{"config": {"name": "key", "subject": "out.config"}}]);
    checker.publish("in.a", echo.clone()).await;
    checker.wait_for("out.config", 1).await;
    mount(&secrets, "..two", "two\n");
    host.wait_for_line("reload complete").await;
    checker.publish("in.a", echo).await;
    checker.wait_for("out.config", 2).await;
    let seen: Vec<String> = checker.rows("out.config").await.into_iter().map(|row| row.payload).collect();
    assert_eq!(seen, ["\"one\"", "\"two\""]);
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_shown_anywhere() {
    let mut server = server(USERS).await;
    let checker = checker(&server).await;
    let url = format!("nats://app:{PASSWORD}@{}", address(&server));
    let app = App::contrary("config = { key = { env = \"HANDLER_KEY\" } }")
        .append(&format!("[nats]\nuser = \"app\"\npassword = \"{PASSWORD}\"\n"));
    let run = |arguments: &'static [&'static str], url: String| {
        let mut command = app.command(&["--log", "trace", "--log-format", "json"]);
        command.args(arguments).env("HEDDLE_NATS_URL", url).env("HANDLER_KEY", SETTING);
        async move { shown(&command.output().await.expect("heddle runs")) }
    };
    let mut command = app.command(&["--log", "trace", "--log-format", "json", "run", "--url", &url]);
    let file = std::fs::File::create(app.folder().join("trace.log")).unwrap();
    let mut host = command.env("HANDLER_KEY", SETTING).stderr(file).spawn().unwrap();
    wait_for("the host runs", || async {
        let log = std::fs::read_to_string(app.folder().join("trace.log")).unwrap_or_default();
        log.contains("\"running\"").then_some(())
    })
    .await;
    checker.publish("in.bad", json!([{"reject": {"reason": "no"}}])).await;
    checker.wait_for("dead.>", 1).await;
    // A fault in the file, at a line that holds a secret, is shown in the log; so is what a command changes, in the audit.
    let app_file = std::fs::read_to_string(app.folder().join("heddle.toml")).unwrap();
    let faulty = app_file
        .replace("user = \"app\"\n", "user = \"app\"\nurl = \"nats://app:s3cret-p4ss@a:b:c\"\ntokn = 1\n");
    heddle_tests::component::replace(&app.folder().join("heddle.toml"), faulty.as_bytes());
    wait_for("the fault is shown", || async {
        let log = std::fs::read_to_string(app.folder().join("trace.log")).unwrap_or_default();
        log.contains("tokn").then_some(())
    })
    .await;
    heddle_tests::component::replace(&app.folder().join("heddle.toml"), app_file.as_bytes());
    let commands: [&[&str]; 8] = [
        &["check"],
        &["check", "--json"],
        &["status"],
        &["status", "--json"],
        &["dl", "list", "--each"],
        &["dl", "discard", "--all"],
        &["reload"],
        &["run", "--help"],
    ];
    for arguments in commands {
        assert_hidden(&format!("`{arguments:?}`"), &run(arguments, url.clone()).await);
    }
    for row in checker.rows("").await {
        assert_hidden("the stream", &format!("{row:?}"));
    }
    server.kill().await;
    for url in
        [url.clone(), format!("nats://{TOKEN}@127.0.0.1:1"), format!("nats://app:{PASSWORD}@127.0.0.1:x")]
    {
        assert_hidden("an error", &run(&["status"], url.clone()).await);
        assert_hidden("an error", &run(&["check", "--json"], url).await);
    }
    host.kill().await.unwrap();
    assert_hidden("the host's log", &std::fs::read_to_string(app.folder().join("trace.log")).unwrap());
}
