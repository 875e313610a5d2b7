//! Plugins that come from the server's object store or from a registry, and orders about their versions.

use heddle_tests::component::{digest, variant, with_version};
use heddle_tests::versions::{app, assert_sound, contrary, live, put, remembered, shifts, wait_for_stage};
use heddle_tests::{App, Checker, Flow, OciRegistry, Server};
use oci_client::client::{Client, ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::secrets::RegistryAuth;

/// An application with a plugin from somewhere else; events on `in-NAME.>`.
fn follower(name: &str, plugin: &str) -> App {
    App::new(&format!(
        r#"
app = "{name}"
shards = 4
[stream]
name = "{name}"
subjects = ["in-{name}.>"]
[handlers.h]
plugin = "{plugin}"
subscribe = ["in-{name}.*"]
"#
    ))
}

async fn run(app: &App, url: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let output = app.output(&[arguments, &["--url", url]].concat()).await;
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// Waits until a host has put a version on trial.
async fn wait_for_trial(server: &Server, app: &str, component: &[u8]) {
    let checker = Checker::new(server.jetstream().await, app);
    heddle_tests::wait_for("the version is on trial", || async {
        let last = checker.last(&format!("_heddle.{app}.plugin.h")).await?;
        last.payload.contains(&format!("\"canary\":\"{}\"", digest(component))).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_into_the_object_store_is_seen_by_every_host() {
    let (server, first) = (Server::start().await, contrary());
    let newer = with_version(&first, "2.0.0");
    let apps = [follower("a", "object:plugins/p"), follower("b", "object:plugins/p")];
    let file = apps[0].folder().join("p.wasm");
    let push = async |component: &[u8]| {
        std::fs::write(&file, component).unwrap();
        let (code, text) = run(&apps[0], &server.url(), &["push", "p.wasm", "--as", "p"]).await;
        assert_eq!(code, Some(0), "{text}");
    };
    push(&first).await;
    let hosts = [apps[0].start(&server.url()).await, apps[1].start(&server.url()).await];
    push(&newer).await;
    wait_for_trial(&server, "a", &newer).await;
    wait_for_trial(&server, "b", &newer).await;
    for (app, host) in apps.iter().zip(hosts) {
        assert!(!app.logs().contains("ERROR"), "{}", app.logs());
        assert_eq!(host.stop().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_comes_after_the_host_is_followed_and_a_fault_of_the_source_is_shown() {
    let (server, first) = (Server::start().await, contrary());
    let app = follower("a", "p.wasm");
    let file = app.folder().join("p.wasm");
    std::fs::write(&file, &first).unwrap();
    let mut host = app.start(&server.url()).await;
    let app = app.with("plugin = \"p.wasm\"", "plugin = \"object:later/p\"");
    host.wait_for_line("there is no object `later/p`").await;
    let (_, text) = run(&app, &server.url(), &["plugins"]).await;
    assert!(text.contains(&digest(&first)[7..19]), "{text}");
    let push = ["push", "p.wasm", "--as", "p", "--bucket", "later"];
    assert_eq!(run(&app, &server.url(), &push).await.0, Some(0));
    let (code, text) = run(&app, &server.url(), &["reload"]).await;
    assert_eq!((code, text.contains("changed h")), (Some(0), true), "{text}");
    let newer = variant(&first, 1);
    std::fs::write(&file, &newer).unwrap();
    assert_eq!(run(&app, &server.url(), &push).await.0, Some(0));
    wait_for_trial(&server, "a", &newer).await;
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_from_a_registry_runs_and_another_tag_replaces_it() {
    let Some(registry) = OciRegistry::start(None).await else { return };
    let (server, first) = (Server::start().await, contrary());
    let newer = variant(&first, 1);
    rustls::crypto::ring::default_provider().install_default().ok();
    let http = ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() };
    let client = Client::try_from(http).unwrap();
    for (tag, component) in [("1", &first), ("2", &newer)] {
        let image = format!("{}/team/p:{tag}", registry.address()).parse().unwrap();
        let layers = [ImageLayer::new(component.clone(), "application/wasm".to_owned(), None)];
        let config = Config::new(b"{}".to_vec(), "application/vnd.wasm.config.v0+json".to_owned(), None);
        client.push(&image, &layers, config, &RegistryAuth::Anonymous, None).await.unwrap();
    }
    let app = follower("a", &format!("oci:{}/team/p:1", registry.address()));
    let host = app.start(&server.url()).await;
    let app = app.with("team/p:1", "team/p:2");
    wait_for_trial(&server, "a", &newer).await;
    assert!(!app.logs().contains("ERROR"), "{}", app.logs());
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_decide_which_version_runs_while_events_flow() {
    let (server, first) = (Server::start().await, contrary());
    let app = app(&first, "canary = { events = 20 }");
    let url = server.url();
    let host = app.start(&url).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let mut flow = Flow::start(&server, 10, 200).await;
    let newer = variant(&first, 1);
    put(&app, &newer);
    wait_for_stage(&checker, &newer, "live").await;

    let (code, text) = run(&app, &url, &["rollback", "h"]).await;
    assert_eq!((code, text.contains("runs ")), (Some(0), true), "{text}");
    assert_eq!(live(&checker).await, digest(&first));
    assert_eq!(remembered(&checker, &newer).await["stage"], "rolled-back");
    flow.pass(40).await;
    // What was left does not come back, though its file is still there.
    assert_eq!(live(&checker).await, digest(&first));

    let (code, text) = run(&app, &url, &["pin", "h", &digest(&newer)[7..15]]).await;
    assert_eq!((code, text.contains("stays with it")), (Some(0), true), "{text}");
    let newest = variant(&first, 2);
    put(&app, &newest);
    flow.pass(60).await;
    assert_eq!(live(&checker).await, digest(&newer));
    let (_, text) = run(&app, &url, &["plugins"]).await;
    assert!(text.contains("(pinned)"), "{text}");

    assert_eq!(run(&app, &url, &["unpin", "h"]).await.0, Some(0));
    wait_for_stage(&checker, &newest, "live").await;
    for (arguments, why) in [
        (&["rollback", "h", "--to", "0123456789abcdef"][..], "knows no version"),
        (&["rollback", "nobody"], "the file has no handler `nobody`"),
        (&["reload", "--forget", "h", "--yes"], "is in the file"),
    ] {
        let (code, text) = run(&app, &url, arguments).await;
        assert_eq!((code, text.contains(why)), (Some(1), true), "{arguments:?}: {text}");
    }
    flow.pass(40).await;
    assert_sound(&checker, flow.end().await).await;
    let expected: Vec<String> =
        [&first, &newer, &first, &newer, &newest].map(|version| digest(version)).into();
    for (key, of_key) in shifts(&checker).await {
        assert_eq!(of_key, expected, "the versions of `{key}`");
    }
    assert_eq!(host.stop().await, 0);
    // Whoever decides is on the audit subject.
    assert!(checker.audit().await.iter().any(|row| row.payload.contains("\"command\":\"pin\"")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_is_forgotten_begins_anew_and_one_that_is_not_goes_on() {
    let server = Server::start().await;
    let app = App::contrary("");
    let mut host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    checker.publish_count("k", &[]).await;
    checker.wait_for("out.>", 1).await;
    let path = app.folder().join("heddle.toml");
    let whole = std::fs::read_to_string(&path).unwrap();
    let without = whole.replace("[handlers.h]", "[handlers.other]").replace("in.*", "in.never");
    for (forget, states) in [(&["reload"][..], 1), (&["reload", "--forget", "h", "--yes"], 0)] {
        std::fs::write(&path, &without).unwrap();
        let (code, text) = run(&app, &server.url(), forget).await;
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(checker.count("_heddle.t.state.>").await, Some(states), "{forget:?}");
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(run(&app, &server.url(), &["reload"]).await.0, Some(0));
        // Forgotten, it begins with the first event again.
        checker.wait_for("out.>", 2 - states).await;
    }
    host.wait_for_line("handler is forgotten").await;
    assert_eq!(host.stop().await, 0);
}
