//! What is not taken as a new version: the live one goes on, whatever stands in the plugin's file, and events flow.

use std::io::Write;
use std::time::{Duration, Instant};

use heddle_tests::component::{digest, variant, with_section, with_version};
use heddle_tests::versions::{
    app, assert_in_turn, assert_sound, contrary, live, put, remembered, wait_for_stage,
};
use heddle_tests::{App, Checker, Flow, Host, Server, assemble, workspace};

/// A guest of the hostile suite.
fn hostile(name: &str) -> Vec<u8> {
    let file = workspace().join(format!("tests/guests/hostile/{name}.wat"));
    assemble(&std::fs::read_to_string(file).expect("the guest is there")).expect("the guest is sound")
}

/// A running application, and events that flow through it.
struct Scene {
    server: Server,
    app: App,
    checker: Checker,
    flow: Flow,
    first: Vec<u8>,
}

impl Scene {
    async fn start(more: &str) -> (Self, heddle_tests::Host) {
        let (server, first) = (Server::start().await, contrary());
        let app = app(&first, more);
        let host = app.start(&server.url()).await;
        let checker = Checker::new(server.jetstream().await, "T");
        let flow = Flow::start(&server, 20, 300).await;
        (Scene { server, app, checker, flow, first }, host)
    }

    /// Nothing was lost, repeated or reordered, and only the first version ran.
    async fn end(self, host: heddle_tests::Host) {
        assert_eq!(live(&self.checker).await, digest(&self.first));
        assert_sound(&self.checker, self.flow.end().await).await;
        assert_in_turn(&self.checker, &[&self.first]).await;
        assert_eq!(host.stop().await, 0);
        drop(self.server);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_plugin_is_refused_with_its_reason_and_the_live_version_goes_on() {
    let (mut scene, host) = Scene::start("").await;
    let first = scene.first.clone();
    let cases = [
        (b"noise".to_vec(), "not a WebAssembly file"),
        (Vec::new(), "not a WebAssembly file"),
        (hostile("core_module"), "a core module, not a component"),
        (hostile("no_handler"), "does not fit the world"),
        (hostile("wrong_version"), "is built for the world `heddle:plugin@9.0.0`"),
        (hostile("unknown_import"), "imports `evil:host/shell@1.0.0`, which no host function answers"),
        (first[..first.len() / 2].to_vec(), "failed to compile"),
        (first[..first.len() - 1].to_vec(), "failed to compile"),
        (hostile("trap_in_start"), "unreachable"),
        (hostile("too_many_functions"), "functions count exceeds limit"),
    ];
    for (content, expected) in &cases {
        put(&scene.app, content);
        wait_for_stage(&scene.checker, content, "refused").await;
        let reason = remembered(&scene.checker, content).await["reason"].to_string();
        assert!(reason.contains(expected), "{reason} does not say {expected}");
        scene.flow.pass(50).await;
    }
    let log = host.log();
    assert_eq!(log.matches("version is refused; the live one stays").count(), cases.len(), "{log}");
    assert!(!log.contains("version is on trial"), "{log}");
    scene.end(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_slowly_is_taken_when_it_is_whole() {
    let (mut scene, host) = Scene::start("canary = { events = 50 }").await;
    let second = with_version(&scene.first, "2.0.0");
    // In the place of the old one, as a compiler or `cp` does.
    let mut file = std::fs::File::create(scene.app.folder().join("plugin.wasm")).unwrap();
    for piece in second.chunks(second.len() / 12) {
        file.write_all(piece).unwrap();
        // Between two pieces time passes, and events do.
        scene.flow.pass(15).await;
    }
    drop(file);
    wait_for_stage(&scene.checker, &second, "live").await;
    scene.flow.pass(50).await;
    assert_sound(&scene.checker, scene.flow.end().await).await;
    assert_in_turn(&scene.checker, &[&scene.first, &second]).await;
    assert_eq!(host.stop().await, 0);
}

/// Puts a component in place that takes seconds to compile, and waits until that has begun.
async fn put_dear(app: &App, host: &mut Host) -> Vec<u8> {
    // Compiled again in every run of the tests.
    let dear = with_section(&hostile("hundred_thousand_functions"), "variant", &rand::random::<[u8; 16]>());
    host.wait_for_line("running").await;
    let before = host.log().matches("compiling").count();
    put(app, &dear);
    heddle_tests::wait_for("it is being compiled", || async {
        (host.log().matches("compiling").count() > before).then_some(())
    })
    .await;
    dear
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_is_dear_to_compile_delays_no_event() {
    let (scene, mut host) = Scene::start("canary = { events = 50 }").await;
    let dear = put_dear(&scene.app, &mut host).await;
    let mut waits = Vec::new();
    loop {
        let began = Instant::now();
        let events = scene.checker.count("in.>").await.unwrap_or(0);
        scene.checker.wait_for("out.>", events).await;
        // What it fails on trial waits for the trial's end.
        if host.log().contains("version is on trial") {
            break;
        }
        waits.push(began.elapsed());
    }
    waits.sort_unstable();
    println!("{} looks while it was compiled; waits of at most {:?}", waits.len(), waits.last());
    assert!(waits.last().is_some_and(|longest| *longest < Duration::from_secs(2)), "{waits:?}");
    // It asks for what it is not granted, and traps.
    wait_for_stage(&scene.checker, &dear, "rolled-back").await;
    scene.end(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_comes_while_another_one_is_compiled_is_not_missed() {
    let (scene, mut host) = Scene::start("canary = { events = 50 }").await;
    put_dear(&scene.app, &mut host).await;
    let newer = with_section(&scene.first, "variant", b"newer");
    put(&scene.app, &newer);
    wait_for_stage(&scene.checker, &newer, "live").await;
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_with_another_digest_than_the_file_names_is_refused() {
    let first = contrary();
    let server = Server::start().await;
    let pinned = format!("\"plugin.wasm@{}\"", digest(&first));
    let app = app(&first, "").with("\"plugin.wasm\"", &pinned);
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    checker.publish_counts(50, 5).await;
    let other = variant(&first, 3);
    put(&app, &other);
    wait_for_stage(&checker, &other, "refused").await;
    let reason = remembered(&checker, &other).await["reason"].to_string();
    assert!(reason.contains("its digest is") && reason.contains(&digest(&first)), "{reason}");
    checker.publish_counts(50, 5).await;
    assert_sound(&checker, 100).await;
    assert_in_turn(&checker, &[&first]).await;
    // The file of the application may name the other one instead.
    let app = app.with(&digest(&first), &digest(&other));
    wait_for_stage(&checker, &other, "canary").await;
    assert_eq!(host.stop().await, 0);
    drop(app);
}

/// A signature as `minisign -S` writes it.
fn sign(key: &minisign::KeyPair, content: &[u8]) -> String {
    sign_as(key, content, "a test")
}

/// A signature that says something of what it covers.
fn sign_as(key: &minisign::KeyPair, content: &[u8], says: &str) -> String {
    let signature = minisign::sign(Some(&key.pk), &key.sk, content, Some(says), None);
    signature.expect("the content can be signed").into_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_trust_a_version_is_taken_only_if_a_trusted_key_has_signed_it() {
    let [trusted, other] = [0; 2].map(|_| minisign::KeyPair::generate_unencrypted_keypair().unwrap());
    let server = Server::start().await;
    let first = contrary();
    let app = app(&first, "canary = { events = 10 }")
        .with("app = \"t\"", &format!("app = \"t\"\ntrust = [{:?}]", trusted.pk.to_base64()));
    let mut host = app.spawn(&server.url());
    assert_eq!(host.ended().await, 2, "what is not signed does not start: {}", host.log());
    let signature = app.folder().join("plugin.wasm.minisig");
    std::fs::write(&signature, sign(&trusted, &first)).unwrap();
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let mut flow = Flow::start(&server, 20, 200).await;

    let refused = [
        ("matches no key in `trust`", Some(sign(&trusted, &first))),
        ("has no signature", None),
        ("matches no key in `trust`", Some(sign(&other, &variant(&first, 12)))),
        ("cannot be read", Some("noise".to_owned())),
    ];
    for (number, (expected, signed)) in (10..).zip(refused) {
        match signed {
            Some(text) => std::fs::write(&signature, text).unwrap(),
            None => std::fs::remove_file(&signature).unwrap(),
        }
        let version = variant(&first, number);
        put(&app, &version);
        wait_for_stage(&checker, &version, "refused").await;
        let reason = remembered(&checker, &version).await["reason"].to_string();
        assert!(reason.contains(expected), "{reason} does not say {expected}");
        flow.pass(20).await;
    }
    // A signature may come after the file.
    let last = variant(&first, 13);
    std::fs::write(&signature, sign(&trusted, &last)).unwrap();
    wait_for_stage(&checker, &last, "live").await;
    assert_eq!(remembered(&checker, &last).await["signed_by"], trusted.pk.to_base64());
    flow.pass(50).await;
    assert_sound(&checker, flow.end().await).await;
    assert_in_turn(&checker, &[&first, &last]).await;
    assert_eq!(host.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_or_one_of_another_handler_does_not_come_by_itself_though_it_is_signed() {
    let key = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let server = Server::start().await;
    let first = contrary();
    let [second, stranger, hotfix] = [2, 3, 4].map(|number| variant(&first, number));
    let app = app(&first, "canary = { events = 10 }").with(
        "app = \"t\"",
        &format!("app = \"t\"\ntrust = [{:?}]\nrequire-named-signatures = true", key.pk.to_base64()),
    );
    let offer = |component: &[u8], says: &str| {
        let signature = sign_as(&key, component, says);
        std::fs::write(app.folder().join("plugin.wasm.minisig"), signature).unwrap();
        put(&app, component);
    };
    offer(&first, "handler:h version:1.9.0");
    let host = app.start(&server.url()).await;
    let checker = Checker::new(server.jetstream().await, "T");
    let mut flow = Flow::start(&server, 20, 200).await;
    offer(&second, "handler:h version:1.10.0");
    wait_for_stage(&checker, &second, "live").await;
    for (component, says, reason) in [
        (&first, "handler:h version:1.9.0", "older than version 1.10.0"),
        (&stranger, "handler:other version:2.0.0", "is for handler `other`"),
    ] {
        offer(component, says);
        wait_for_stage(&checker, component, "refused").await;
        let told = remembered(&checker, component).await["reason"].to_string();
        assert!(told.contains(reason), "{told} does not say {reason}");
        flow.pass(20).await;
        assert_eq!(live(&checker).await, digest(&second));
    }
    // Whoever goes back by command runs the older one, and goes on from there.
    let back = app.output(&["rollback", "h", "--to", &digest(&first), "--url", &server.url()]).await;
    assert!(back.status.success(), "{back:?}");
    assert_eq!(live(&checker).await, digest(&first));
    offer(&hotfix, "handler:h version:1.9.1");
    wait_for_stage(&checker, &hotfix, "live").await;
    flow.pass(20).await;
    assert_sound(&checker, flow.end().await).await;
    assert_eq!(host.stop().await, 0);
}
