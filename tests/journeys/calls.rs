//! Handlers that call out over HTTP: granted, refused, and accepted alike by every command.

use std::sync::Arc;

use heddle_tests::{App, Checker, Server, Service, workspace};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio_rustls::TlsAcceptor;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The certificates of the tests, made once for a hundred years: an authority of nobody, and `localhost` signed by it.
fn certificate(name: &str) -> std::path::PathBuf {
    workspace().join("tests/journeys/certificates").join(name)
}

fn tls() -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(certificate("site.pem")).expect("the certificate is there");
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("it is one");
    let key = PrivateKeyDer::from_pem_file(certificate("site.key")).expect("the key is there");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the versions are known")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("the key fits");
    TlsAcceptor::from(Arc::new(config))
}

async fn publish(server: &Server, payload: String) {
    let client = server.client().await;
    client.publish("in.a", payload.into()).await.expect("the event is sent");
    client.flush().await.expect("the event is stored");
}

#[tokio::test]
async fn what_check_accepts_push_invoke_test_and_run_accept() {
    let (server, service) = (Server::start().await, Service::start(None).await);
    let (url, port) = (server.url(), service.port());
    let app = App::caller(&format!("grants = {{ http = [\"localhost:{port}\"] }}"));
    let event = json!({"subject": "in.a", "payload": format!("plocalhost:{port}")});
    std::fs::write(app.folder().join("event.json"), event.to_string()).expect("the event is written");
    let case = format!(
        "name = \"one\"\nhandler = \"h\"\n[[events]]\nsubject = \"in.a\"\npayload = \"plocalhost:{port}\"\n[events.expect]\nverdict = \"done\"\n"
    );
    std::fs::write(app.folder().join("one.toml"), case).expect("the case is written");
    for command in [
        &["check", "--offline"][..],
        &["test", "one.toml"],
        &["invoke", "caller.wasm", "--event", "event.json"],
        &["invoke", "caller.wasm", "--event", "event.json", "--handler", "h"],
        &["push", "--url", &url, "caller.wasm", "--as", "caller"],
    ] {
        let output = app.output(command).await;
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{command:?}: {said}");
    }
    let host = app.start(&url).await;
    publish(&server, format!("plocalhost:{port}")).await;
    Checker::new(server.jetstream().await, "T").wait_for("out.status", 1).await;
    host.stop().await;
}

#[tokio::test]
async fn a_service_behind_a_private_authority_is_reached_by_the_grant_or_by_the_environment() {
    let service = Service::start(Some(tls())).await;
    let event = json!({"subject": "in.a", "payload": format!("slocalhost:{}", service.port())}).to_string();
    let ca = certificate("ca.pem");
    let granted = format!("http = [\"localhost:{}\"]", service.port());
    for (grants, environment, code) in [
        (format!("grants = {{ {granted} }}"), false, 1),
        (format!("grants = {{ {granted}, http-ca = {ca:?} }}"), false, 0),
        (format!("grants = {{ {granted} }}"), true, 0),
    ] {
        let app = App::caller(&grants);
        std::fs::write(app.folder().join("event.json"), &event).expect("the event is written");
        let mut command = app.command(&["invoke", "caller.wasm", "--event", "event.json"]);
        if environment {
            command.env("SSL_CERT_FILE", &ca);
        }
        let output = command.output().await.expect("heddle runs");
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{grants}, {environment}: {said}");
    }
}

#[tokio::test]
async fn without_a_grant_every_command_says_which_one_is_needed() {
    let server = Server::start().await;
    let url = server.url();
    let app = App::caller("");
    let refused = app.output(&["push", "--url", &url, "caller.wasm", "--as", "caller"]).await;
    assert_eq!(refused.status.code(), Some(2));
    let said = text(&refused.stderr);
    assert!(said.contains("plugin of handler `h`: imports `wasi:http/outgoing-handler@0.2.6`"), "{said}");
    assert_eq!(app.output(&["check", "--offline"]).await.status.code(), Some(2));
    // Nobody uses this one yet: it is taken, and what it needs is said.
    std::fs::copy(app.folder().join("caller.wasm"), app.folder().join("other.wasm")).expect("a copy");
    let pushed = app.output(&["push", "--url", &url, "other.wasm", "--as", "other"]).await;
    let said = text(&pushed.stderr);
    assert_eq!(pushed.status.code(), Some(0), "{said}");
    assert!(said.contains("it needs `http` among the grants of its handler"), "{said}");
}

#[tokio::test]
async fn a_refused_call_is_told_in_the_dead_letter_with_what_is_granted() {
    let server = Server::start().await;
    let url = server.url();
    let app = App::caller("grants = { http = [\"api.example.com\", \"localhost:9\"] }");
    let host = app.start(&url).await;
    let checker = Checker::new(server.jetstream().await, "T");
    publish(&server, "sother.example".to_owned()).await;
    checker.wait_for("dead.t.>", 1).await;
    let dead = checker.rows("dead.t.").await;
    let reason = dead[0].header("Heddle-Dead-Message");
    for part in ["call to `https://other.example:443` is not granted", "`api.example.com`, `localhost:9`"] {
        assert!(reason.contains(part), "no {part:?} in {reason:?}");
    }
    host.stop().await;
}
