//! Logging in with what expires and with certificates.
#![expect(clippy::indexing_slicing, reason = "what fails here fails a test")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use heddle_tests::{Checker, workspace};
use nkeys::KeyPair;
use serde_json::{Value, json};

use crate::login::{handles, refuses, server, shown, with_nats};

/// A user, an account and an operator, whose JWTs are signed as `nsc` would.
struct Operator {
    operator: KeyPair,
    account: KeyPair,
    system: KeyPair,
}

impl Operator {
    fn new() -> Self {
        let [account, system] = [KeyPair::new_account(), KeyPair::new_account()];
        Operator { operator: KeyPair::new_operator(), account, system }
    }

    /// What the server is set to: it knows one account, with JetStream.
    fn config(&self) -> String {
        let (operator, account, system) = (&self.operator, &self.account, &self.system);
        let mut limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
            "leaf": -1,
        });
        let of_account = |limits: &Value| json!({ "type": "account", "version": 2, "limits": limits });
        let of_system = of_account(&limits);
        for kind in ["mem_storage", "disk_storage", "streams", "consumer"] {
            limits[kind] = json!(-1);
        }
        let jwt = |subject: &KeyPair, nats: &Value| token(operator, subject, None, nats);
        let itself = jwt(operator, &json!({ "type": "operator", "version": 2 }));
        let (account_jwt, system_jwt) = (jwt(account, &of_account(&limits)), jwt(system, &of_system));
        let [account, system] = [account, system].map(KeyPair::public_key);
        format!(
            "operator: {itself}\nsystem_account: {system}\nresolver: MEMORY\nresolver_preload: {{ {account}: {account_jwt}, {system}: {system_jwt} }}\n"
        )
    }

    /// The content of a creds file of a new user, whose login ends after some seconds, or never.
    fn creds(&self, seconds: Option<u64>) -> String {
        let user = KeyPair::new_user();
        let nats = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
        let jwt = token(&self.account, &user, seconds, &nats);
        let seed = user.seed().expect("a new pair has a seed");
        format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }
}

/// A JWT in the form that NATS wants.
fn token(issuer: &KeyPair, subject: &KeyPair, seconds: Option<u64>, nats: &Value) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
    let mut claims = json!({
        "jti": format!("{:032x}", rand::random::<u128>()), "iat": now.as_secs(), "iss": issuer.public_key(),
        "sub": subject.public_key(), "name": "t", "nats": nats,
    });
    if let Some(seconds) = seconds {
        claims["exp"] = json!(now.as_secs() + seconds);
    }
    let part = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", part(&json!({ "typ": "JWT", "alg": "ed25519-nkey" })), part(&claims));
    let signature = issuer.sign(signed.as_bytes()).expect("a new pair can sign");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_expire_under_a_running_host_are_read_again() {
    let operator = Operator::new();
    let server = server(&operator.config()).await;
    let probe = server.folder().join("probe.creds");
    std::fs::write(&probe, operator.creds(None)).unwrap();
    let options = async_nats::ConnectOptions::with_credentials_file(&probe).await.unwrap();
    let client = options.connect(server.url()).await.expect("the tests can log in");
    let checker = Checker::new(async_nats::jetstream::new(client), "T");
    let app = with_nats("creds = \"app.creds\"");
    std::fs::write(app.folder().join("app.creds"), operator.creds(Some(5))).unwrap();
    let mut host = app.start(&server.url()).await;
    handles(&checker, 1).await;
    // Not renewed in time: it is refused for a while.
    refuses(&mut host).await;
    checker.publish_count("a", &[]).await;
    std::fs::write(app.folder().join("app.creds"), operator.creds(None)).unwrap();
    checker.wait_for("out.>", 2).await;
    assert_eq!(host.stop().await, 0);
    assert_eq!(checker.faults().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_a_certificate_gets_it_before_and_after_its_greeting() {
    let file = |name: &str| workspace().join("tests/journeys/certificates").join(name);
    let (ca, cert, key) = (file("ca.pem"), file("site.pem"), file("site.key"));
    for first in [false, true] {
        let tls = format!(
            "cert_file: {cert:?}, key_file: {key:?}, ca_file: {ca:?}, verify: true, handshake_first: {first}"
        );
        let server = server(&format!("tls {{ {tls} }}")).await;
        let url = format!("tls://localhost:{}", server.port());
        let mut options = async_nats::ConnectOptions::new().add_root_certificates(ca.clone());
        options = options.add_client_certificate(cert.clone(), key.clone());
        options = if first { options.tls_first() } else { options };
        let client = options.connect(&url).await.expect("the tests can connect");
        let checker = Checker::new(async_nats::jetstream::new(client), "T");
        let app =
            with_nats(&format!("tls = {{ first = {first}, ca = {ca:?}, cert = {cert:?}, key = {key:?} }}"));
        let host = app.start(&url).await;
        handles(&checker, 1).await;
        assert_eq!(host.stop().await, 0);
        assert_eq!(checker.faults().await, Vec::<String>::new());
        let nobody = with_nats(&format!("tls = {{ first = {first}, ca = {ca:?} }}"));
        let output = nobody.output(&["status", "--url", &url]).await;
        assert!(!output.status.success() && shown(&output).contains("`tls.cert`"), "{}", shown(&output));
    }
}
