//! Permissions and room: what the server denies or has no room for is named, and only what needs it waits.

use std::time::{Duration, Instant};

use async_nats::ConnectOptions;
use heddle_tests::{App, CONFIG, Checker, Server, plugin, wait_for, workspace};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Who may do everything, to look at what happened.
const PROBE: &str = "{ user: probe, password: probe }";

/// A key pair of nobody.
const OPERATOR_SEED: &str = "SUAAAAICAMCAKBQHBAEQUCYMBUHA6EARCIJRIFIWC4MBSGQ3DQOR4H776Y";
const OPERATOR_KEY: &str = "UAB2CB576PHBBPQ5ODORRZ2LYCMWPZGWGCN2KDK7DXOIMZASKUY3RLKK";

/// A server that lets whoever gives no name do everything but what is denied.
fn denying(publish: &str, subscribe: &str) -> String {
    format!(
        "authorization {{ users = [ {{ user: app, password: app, permissions: {{ \
         publish: {{ allow: \">\", deny: [{publish}] }}, subscribe: {{ allow: \">\", deny: [{subscribe}] }} }} }}, {PROBE} ] }}\n\
         no_auth_user: app\n"
    )
}

async fn server(config: &str) -> Server {
    let folder = Server::prepare();
    std::fs::write(folder.path().join(CONFIG), config).expect("the server's configuration is written");
    Server::start_in(folder).await
}

/// Has the server read another configuration.
fn configure(server: &Server, config: &str) {
    std::fs::write(server.folder().join(CONFIG), config).expect("the server's configuration is written");
    let pid = i32::try_from(server.pid()).ok().and_then(Pid::from_raw).expect("the server is a process");
    kill_process(pid, Signal::HUP).expect("the server is there");
}

async fn jetstream(server: &Server, user: &str, password: &str) -> async_nats::jetstream::Context {
    let options = ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned());
    async_nats::jetstream::new(options.connect(server.url()).await.expect("the server lets the test in"))
}

async fn checker(server: &Server, stream: &str) -> Checker {
    Checker::new(jetstream(server, "probe", "probe").await, stream)
}

/// The usual application, and a second handler beside it.
fn app() -> App {
    let plugin = plugin("contrary");
    App::contrary("").with("shards = 4", "shards = 1").append(&format!(
        "[handlers.g]\nplugin = {plugin:?}\nsubscribe = [\"in.g.*\"]\nkey = \"{{subject.2}}\"\npublishes = [\"out.>\"]\n"
    ))
}

fn publishes(subject: &str) -> Value {
    json!([{"publish": {"subject": subject, "payload": "x"}}])
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_publishes_where_that_is_denied_is_refused_and_all_others_go_on() {
    let server = server(&denying("\"out.secret.>\"", "")).await;
    let app = app();
    let mut host = app.start(&server.url()).await;
    host.wait_for_line("handler `h` declares `publishes` of `out.>`").await;
    let checker = checker(&server, "T").await;
    checker.publish("in.bad", publishes("out.secret.x")).await;
    checker.publish("in.g.a", publishes("out.g")).await;
    for n in 0..30 {
        checker.publish_count(&format!("k{}", n % 3), &[]).await;
        checker.publish("in.bad", publishes(&format!("out.secret.{n}"))).await;
    }
    checker.wait_for("dead.>", 31).await;
    for key in ["out.k0", "out.k1", "out.k2"] {
        checker.wait_for(key, 10).await;
    }
    checker.wait_for("out.g", 1).await;
    let output = app.output(&["dl", "list", "--each", "--json", "--url", &server.url()]).await;
    let dead_letters: Vec<Value> = serde_json::from_slice(&output.stdout).expect("dead letters are JSON");
    assert!(dead_letters.iter().all(|dead_letter| dead_letter["cause"] == "refused"), "{dead_letters:?}");
    let message = dead_letters[0]["message"].as_str().unwrap_or_default();
    assert!(message.contains("`out.secret.") && message.contains("grant"), "{message}");
    // Once the server has said what it permits, nothing that is denied is sent, and nothing is read again for it.
    let resets = host.log().matches("effects that the server refuses").count();
    assert!((1..=5).contains(&resets), "{resets} resets");
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_heddle_itself_may_not_do_is_named_at_start_with_what_to_grant() {
    // The server does not say beforehand what it permits.
    let silent = |denied| format!("\"$SYS.REQ.USER.INFO\", \"{denied}\"");
    let (member, get) = (silent("_heddle.t.member.*"), silent("$JS.API.STREAM.MSG.GET.T"));
    for (publish, subscribe, grant) in [
        ("\"_heddle.t.>\"", "", "publish on `_heddle.t.>`"),
        ("\"dead.t.h.>\"", "", "publish on `dead.t.>`"),
        ("\"$JS.API.CONSUMER.RESET.>\"", "", "publish on `$JS.API.CONSUMER.RESET.T.*`"),
        ("\"$JS.API.STREAM.MSG.DELETE.T\"", "", "publish on `$JS.API.STREAM.MSG.DELETE.T`"),
        ("", "\"_INBOX.>\"", "subscribe on `_INBOX.>`"),
        (&*member, "", "publish on `_heddle.t.>`"),
        (&*get, "", "publish on `$JS.API.STREAM.MSG.GET.T`"),
    ] {
        let server = server(&denying(publish, subscribe)).await;
        let app = app();
        let began = Instant::now();
        let mut host = app.spawn(&server.url());
        assert_eq!(host.ended().await, 1, "{grant}: {}", host.log());
        let (log, took) = (host.log(), began.elapsed());
        let last = log.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("error: ") && last.contains(grant),
            "{last:?} does not say {grant:?}: {log}"
        );
        assert!(took < Duration::from_secs(15), "{grant}: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_may_not_read_ends_at_once_and_says_what_to_grant() {
    let server = server(&denying("", "")).await;
    let app = app();
    let host = app.start(&server.url()).await;
    let checker = checker(&server, "T").await;
    checker.publish("in.bad", json!([{"reject": "bad"}])).await;
    checker.wait_for("dead.>", 1).await;
    assert_eq!(host.stop().await, 0);
    for (publish, command, grant) in [
        ("\"$JS.API.STREAM.INFO.T\"", &["status"][..], "publish on `$JS.API.STREAM.INFO.T`"),
        ("\"$JS.API.CONSUMER.CREATE.T\"", &["status"], "publish on `$JS.API.CONSUMER.CREATE.T`"),
        ("\"$JS.API.CONSUMER.CREATE.T\"", &["dl", "list"], "publish on `$JS.API.CONSUMER.CREATE.T`"),
        ("\"$JS.API.CONSUMER.CREATE.T\"", &["plugins"], "publish on `$JS.API.CONSUMER.CREATE.T`"),
        (
            "\"$JS.API.CONSUMER.CREATE.T.>\"",
            &["tail", "--no-follow"],
            "publish on `$JS.API.CONSUMER.CREATE.T.>`",
        ),
        (
            "\"$JS.API.STREAM.MSG.GET.T\"",
            &["state", "get", "h", "a"],
            "publish on `$JS.API.STREAM.MSG.GET.T`",
        ),
        ("\"$JS.API.STREAM.MSG.GET.T\"", &["dl", "show", "2"], "publish on `$JS.API.STREAM.MSG.GET.T`"),
        ("\"$JS.API.INFO\"", &["status"], "publish on `$JS.API.INFO`"),
    ] {
        // The server does not say beforehand what it permits.
        configure(&server, &denying(&format!("\"$SYS.REQ.USER.INFO\", {publish}"), ""));
        let began = Instant::now();
        let output = app.command(command).args(["--url", &server.url()]).output().await.expect("it runs");
        let (text, took) = (String::from_utf8_lossy(&output.stderr).into_owned(), began.elapsed());
        let last = text.lines().last().unwrap_or_default();
        assert!(!output.status.success() && last.contains(grant), "{command:?}, {publish}: {text}");
        assert!(took < Duration::from_secs(4), "{command:?}, {publish}: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_of_heddle_that_is_withdrawn_is_named_and_events_go_on_once_it_is_granted() {
    let server = server(&denying("", "")).await;
    let app = app();
    let mut host = app.start(&server.url()).await;
    let checker = checker(&server, "T").await;
    checker.publish_count("k", &[]).await;
    checker.wait_for("out.k", 1).await;
    configure(&server, &denying("\"_heddle.t.state.>\"", ""));
    wait_for("the server has read its configuration", || async {
        let log = std::fs::read_to_string(server.folder().join("server.log")).unwrap_or_default();
        log.contains("Reloaded server configuration").then_some(())
    })
    .await;
    checker.publish_count("k", &[]).await;
    host.wait_for_line("grant this user to publish on `_heddle.t.>`").await;
    host.wait_for_line("commits wait until that is granted").await;
    configure(&server, &denying("", ""));
    checker.wait_for("out.k", 2).await;
    assert_eq!(checker.faults().await, Vec::<String>::new());
    assert_eq!(checker.count("dead.>").await, Some(0));
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_room_is_named_and_events_go_on_once_there_is_some() {
    let server = server("jetstream { max_file_store: 8MB }\n").await;
    let app = App::contrary("limits = { time = \"20s\" }");
    let mut host = app.start(&server.url()).await;
    let jetstream = server.jetstream().await;
    let checker = Checker::new(jetstream.clone(), "T");
    checker.publish_count("k", &[json!({"sleep_ms": {"ms": 1500}})]).await;
    let filler = vec![b'x'; 256 << 10];
    loop {
        let sent = jetstream.publish("out.fill", filler.clone().into()).await.expect("it is sent");
        if sent.await.is_err() {
            break;
        }
    }
    host.wait_for_line("commits wait until there is room").await;
    assert!(host.log().contains("no room: the server"), "{}", host.log());
    let stream = jetstream.get_stream("T").await.expect("the stream is there");
    stream.purge().filter("out.fill").await.expect("the server makes room");
    checker.wait_for("out.k", 1).await;
    assert_eq!(checker.faults().await, Vec::<String>::new());
    assert_eq!(host.stop().await, 0);
}

/// The order saga as it is in the examples, in a folder of its own.
fn saga() -> App {
    let file = workspace().join("examples/order-saga/heddle.toml");
    let toml = std::fs::read_to_string(file).expect("the example is there");
    let folder = plugin("order").parent().expect("plugins lie in a folder").display().to_string();
    App::new(&toml.replace("../../target/wasm32-wasip2/plugin", &folder))
}

/// What `heddle permissions` prints, with a password for each user, and somebody who may do everything.
async fn least_rights(app: &App) -> String {
    let output = app.output(&["permissions"]).await;
    assert!(output.status.success(), "{output:?}");
    let block = String::from_utf8(output.stdout).expect("it is text");
    let operator = "user: \"shop-operator\", password: $SHOP_OPERATOR_PASSWORD";
    assert!(block.contains(operator), "{block}");
    let block = block.replace(operator, &format!("nkey: {OPERATOR_KEY}"));
    let passwords = "SHOP_HOST_PASSWORD: h\nSHOP_PUBLISHER_PASSWORD: p\n";
    let block = block.replacen("users = [", &format!("users = [ {PROBE}"), 1);
    format!("{passwords}{block}no_auth_user: shop-host\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_saga_runs_with_exactly_the_least_rights() {
    let app = saga();
    let server = server(&least_rights(&app).await).await;
    let url = server.url();
    let host = app.start(&url).await;
    let customers = jetstream(&server, "shop-publisher", "p").await;
    let checker = checker(&server, "SHOP").await;
    let orders = [("ada", "loom", 150), ("bob", "spinning-jenny", 150), ("cy", "loom", 20_000)];
    for (customer, item, amount) in orders {
        let order = json!({"order": format!("o-{customer}"), "item": item, "amount": amount}).to_string();
        let stored = customers.publish(format!("order.placed.{customer}"), order.into()).await;
        stored.expect("an order is sent").await.expect("an order is stored");
    }
    checker.wait_for("notice.sent.*", 3).await;
    let stored = customers.publish("order.placed.ada", "no order".into()).await;
    stored.expect("an event is sent").await.expect("an event is stored");
    checker.wait_for("dead.>", 1).await;

    // What an operator does, as a user of its own.
    let operator = saga();
    std::fs::write(operator.folder().join("operator.nk"), OPERATOR_SEED).expect("the seed is written");
    let operator = operator.append("[nats]\nnkey = \"operator.nk\"\n");
    for command in [
        vec!["status", "--json"],
        vec!["plugins"],
        vec!["dl", "list", "--each"],
        vec!["dl", "replay", "--all"],
        vec!["reload"],
        vec!["tail", "--from", "1", "-n", "3"],
        vec!["check"],
    ] {
        let mut all = command.clone();
        all.extend(["--url", &url]);
        let output = operator.output(&all).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("denies"), "{command:?}: {said}");
        let fails = ["check", "dl"].contains(&command[0]);
        assert!(fails || output.status.success(), "{command:?}: {said}");
    }
    // It has failed once more.
    checker.wait_for("dead.>", 1).await;
    assert_eq!(host.stop().await, 0);
    // The next host goes on, and removes what is old.
    let host = app.start(&url).await;
    checker.wait_for("order.approved.*", 1).await;
    assert_eq!(host.stop().await, 0);
    let log = std::fs::read_to_string(server.folder().join("server.log")).expect("the server has a log");
    let violations: Vec<&str> = log.lines().filter(|line| line.contains("Violation")).collect();
    assert_eq!(violations, Vec::<&str>::new());
    assert!(!app.logs().contains("server denies"), "{}", app.logs());
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_printed_for_every_kind_of_server() {
    let app = saga();
    let printed = |arguments: &'static [&str]| {
        let command = app.command(arguments).output();
        async move {
            let output = command.await.expect("heddle runs");
            (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
        }
    };
    let (code, text) = printed(&["permissions", "--json"]).await;
    assert_eq!(code, Some(0), "{text}");
    let all: Value = serde_json::from_str(&text).expect("it is JSON");
    let publish = all["host"]["publish"].as_array().expect("the host publishes");
    for subject in
        ["_heddle.shop.>", "dead.shop.>", "notice.sent.*", "$JS.API.CONSUMER.RESET.SHOP.*", "_INBOX.>"]
    {
        assert!(publish.contains(&json!(subject)), "{subject}: {text}");
    }
    let publisher = all["publisher"]["publish"].as_array().expect("a publisher publishes");
    assert!(publisher.contains(&json!("order.>")) && !publisher.contains(&json!("dead.shop.>")), "{text}");
    let (code, text) = printed(&["permissions", "--nsc", "--role", "host"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("nsc add user --account \"$ACCOUNT\" --name shop-host"), "{text}");
    assert!(!text.contains("shop-operator"), "{text}");
    let (code, text) = printed(&["permissions", "--role", "host", "--nkey", OPERATOR_SEED]).await;
    assert_eq!((code, text.as_str()), (Some(1), ""), "a seed is not printed");
}
