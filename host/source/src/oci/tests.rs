//! A registry that is asked: what it may send, and what is believed of it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use sha2::{Digest, Sha256};

use super::*;

/// What a socket and its buffers take in beside what was read: bounded by the system, not by us.
const ON_THE_WAY: usize = 24 << 20;

/// What was asked: the line of the request with its headers, and its body.
#[derive(Debug)]
struct Asked {
    head: String,
    body: String,
}

enum Answer {
    /// As it is.
    Text(String),
    /// It begins like this, and never ends.
    Endless(String),
}

/// A registry that answers as it is told to, and tells what it was asked. It ends with its test's process.
struct Fake {
    address: String,
    asked: Mutex<Receiver<Asked>>,
    /// How much of an endless answer was taken.
    sent: Mutex<Receiver<usize>>,
}

impl Fake {
    fn start(answer: impl Fn(&Asked, &str) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (asking, asked) = channel();
        let (sending, sent) = channel();
        let own = address.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(asked) = read(&stream) else { continue };
                let answer = answer(&asked, &own);
                // Before the answer: whoever has it may look at what was asked.
                asking.send(asked).unwrap_or(());
                match answer {
                    Answer::Text(text) => drop(stream.write_all(text.as_bytes())),
                    Answer::Endless(begin) => sending.send(flood(stream, &begin)).unwrap_or(()),
                }
            }
        });
        Fake { address, asked: Mutex::new(asked), sent: Mutex::new(sent) }
    }

    fn reference(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.address).parse().unwrap()
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().try_iter().collect()
    }
}

/// Sends until nobody takes it any more; how much.
fn flood(mut stream: TcpStream, begin: &str) -> usize {
    let (mut sent, part) = (begin.len(), [b'x'; 1 << 16]);
    if stream.write_all(begin.as_bytes()).is_err() {
        return sent;
    }
    while stream.write_all(&part).is_ok() {
        sent += part.len();
        assert!(sent < 1 << 30, "a GiB was taken");
    }
    sent
}

fn read(stream: &TcpStream) -> Option<Asked> {
    if speaks_tls(stream) {
        return None;
    }
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        if line == "\r\n" {
            break;
        }
        if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { head, body: String::from_utf8(body).unwrap() })
}

/// Whether it begins as TLS does. Then it is told what servers without TLS tell.
fn speaks_tls(mut stream: &TcpStream) -> bool {
    let mut begin = [0; 1];
    if stream.peek(&mut begin).is_err() || begin != [0x16] {
        return false;
    }
    // What was not read would take the answer with it.
    assert_ne!(stream.read(&mut [0; 1 << 16]).unwrap(), 0);
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").unwrap();
    true
}

fn answer(status: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    Answer::Text(format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
    ))
}

fn endless(status: &str) -> Answer {
    Answer::Endless(format!("HTTP/1.1 {status}\r\nConnection: close\r\n\r\n{{\"token\":\""))
}

fn challenge(own: &str) -> String {
    format!(
        "WWW-Authenticate: Bearer realm=\"http://{own}/token\",service=\"fake\",scope=\"repository:p:pull\"\r\n"
    )
}

fn anonymous() -> Registry {
    Registry::new(&BTreeSet::new(), |_| Ok(Login::Anonymous))
}

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn image(media_type: &str, layer: &str) -> String {
    let (digest, size) = (sha256(layer), layer.len());
    format!(
        r#"{{"schemaVersion":2,"layers":[{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}]}}"#
    )
}

/// A registry that holds these texts, each under its digest and the last one as the tag `1`.
fn holding(texts: &[&str]) -> Fake {
    let tagged = texts.last().map(|text| (*text).to_owned()).unwrap();
    let held: BTreeMap<String, String> =
        texts.iter().map(|text| (sha256(text), (*text).to_owned())).collect();
    Fake::start(move |asked, _| {
        let path = asked.head.split(' ').nth(1).unwrap();
        let name = path.rsplit('/').next().unwrap();
        match held.get(name).or((name == "1").then_some(&tagged)) {
            Some(text) if !asked.head.starts_with("HEAD") => answer("200 OK", "", text),
            Some(text) => answer("200 OK", &format!("Docker-Content-Digest: {}\r\n", sha256(text)), ""),
            None => answer("404 Not Found", "", r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_an_end_is_given_up_after_four_mebibytes() {
    let manifest = Fake::start(|_, _| endless("200 OK"));
    let token = Fake::start(|asked, own| match asked.head.contains("/token") {
        true => endless("200 OK"),
        false => answer("401 Unauthorized", &challenge(own), ""),
    });
    for (what, fake) in [("manifest", manifest), ("token", token)] {
        let (place, began) = (fake.reference("p:1"), Instant::now());
        let error = anonymous().pull(&place, 1000).await.unwrap_err();
        let expected = format!("{what} of `{place}` has ");
        assert!(matches!(&error, Error::TooBig { size, .. } if *size < 5 << 20), "{error}");
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert!(error.to_string().ends_with("and 4194304 are allowed"), "{error}");
        assert!(began.elapsed() < LOOK / 2, "it took {:?}", began.elapsed());
        // No more of it was taken than that and what was on the way.
        let sent = fake.sent.lock().unwrap().recv().unwrap();
        assert!(sent < (4 << 20) + ON_THE_WAY, "{sent} bytes of the {what} were taken");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_without_an_end_is_a_refusal_and_is_told_in_a_line() {
    let denied = Fake::start(|_, _| endless("403 Forbidden"));
    let broken = Fake::start(|_, _| endless("500 Internal Server Error"));
    let token = Fake::start(|asked, own| match asked.head.contains("/token") {
        true => endless("401 Unauthorized"),
        false => answer("401 Unauthorized", &challenge(own), ""),
    });
    for (fake, cause) in
        [(denied, "403 Forbidden"), (broken, "500 Internal"), (token, "no token is given out: 401")]
    {
        let error = anonymous().pull(&fake.reference("p:1"), 1000).await.unwrap_err().to_string();
        assert!(error.contains(cause) && error.len() < 500, "{error}");
        let sent = fake.sent.lock().unwrap().recv().unwrap();
        assert!(sent < ON_THE_WAY, "{sent} bytes of the refusal were taken");
    }
}

#[tokio::test]
async fn an_answer_that_says_it_is_too_large_is_not_read_at_all() {
    let fake =
        Fake::start(|_, _| Answer::Text("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n".to_owned()));
    let error = anonymous().pull(&fake.reference("p:1"), 1000).await.unwrap_err();
    assert!(matches!(error, Error::TooBig { size: 99_999_999, .. }), "{error}");
}

#[tokio::test]
async fn a_registry_without_tls_is_used_if_it_was_named_and_the_error_says_how_otherwise() {
    let fake = holding(&["wasm", &image("application/wasm", "wasm")]);
    let port = fake.address.rsplit(':').next().unwrap();
    // A name of this machine that does not say so.
    let place: Reference = format!("127.1:{port}/p:1").parse().unwrap();
    assert!(!place.is_loopback());
    let error = anonymous().pull(&place, 10).await.unwrap_err();
    assert!(matches!(error, Error::PlainHttp(_)), "{error}");
    let setting = format!("`insecure = true` under [registries.\"127.1:{port}\"]");
    assert!(error.to_string().contains(&setting), "{error}");
    let registry = Registry::new(&BTreeSet::from([format!("127.1:{port}")]), |_| Ok(Login::Anonymous));
    assert_eq!(registry.pull(&place, 10).await.unwrap().wasm, b"wasm");
}

#[tokio::test]
async fn an_identity_token_is_exchanged_for_a_token_of_the_registry() {
    let (wasm, manifest) = ("wasm", image("application/wasm", "wasm"));
    let fake = Fake::start(move |asked, own| {
        let with_token = asked.head.to_ascii_lowercase().contains("authorization: bearer short-lived");
        match asked.head.split(' ').nth(1).unwrap() {
            "/token" => answer("200 OK", "", r#"{"access_token":"short-lived"}"#),
            _ if !with_token => answer("401 Unauthorized", &challenge(own), ""),
            path if path.contains("/blobs/") => answer("200 OK", "", wasm),
            _ => answer("200 OK", "", &manifest),
        }
    });
    let registry = Registry::new(&BTreeSet::new(), |_| Ok(Login::IdentityToken("r+f/s".to_owned())));
    assert_eq!(registry.pull(&fake.reference("p:1"), 10).await.unwrap().wasm, b"wasm");
    let asked = fake.asked();
    let exchange = asked.iter().find(|asked| asked.head.starts_with("POST /token ")).unwrap();
    let expected = "grant_type=refresh_token&client_id=heddle&refresh_token=r%2Bf%2Fs&service=fake&scope=repository%3Ap%3Apull";
    assert_eq!(exchange.body, expected);
    assert!(asked.iter().all(|asked| !asked.head.contains("r+f/s")), "{asked:?}");
}

#[tokio::test]
async fn a_password_goes_to_where_tokens_are_given_out_and_nowhere_else() {
    let fake = Fake::start(|asked, own| match asked.head.contains("/token?") {
        true => answer("200 OK", "", r#"{"token":"t"}"#),
        false if asked.head.contains("Bearer t") => answer("404 Not Found", "", ""),
        false => answer("401 Unauthorized", &challenge(own), ""),
    });
    let error = with_password().digest(&fake.reference("p:1")).await.unwrap_err();
    assert!(matches!(error, Error::Missing(_)), "{error}");
    let with_password = |asked: &&Asked| asked.head.to_ascii_lowercase().contains("authorization: basic");
    let asked = fake.asked();
    let told: Vec<_> = asked.iter().filter(with_password).collect();
    assert_eq!(told.len(), 1, "{asked:?}");
    assert!(told[0].head.starts_with("GET /token?service=fake&scope=repository%3Ap%3Apull "), "{told:?}");
}

/// What sends whoever asks for it elsewhere.
fn elsewhere(status: &str, place: &str) -> Answer {
    answer(status, &format!("Location: {place}\r\n"), "")
}

fn with_password() -> Registry {
    let login = || Login::Password { user: "me".to_owned(), password: "secret".to_owned() };
    Registry::new(&BTreeSet::new(), move |_| Ok(login()))
}

#[tokio::test]
async fn nobody_to_whom_a_registry_sends_us_gets_the_login() {
    let other = Fake::start(|_, own| answer("401 Unauthorized", &challenge(own), ""));
    let place = format!("http://{}/elsewhere", other.address);
    let fake = Fake::start(move |_, _| elsewhere("307 Temporary Redirect", &place));
    let error = with_password().digest(&fake.reference("p:1")).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    let asked = other.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(!asked[0].head.to_ascii_lowercase().contains("authorization"), "{asked:?}");
}

#[tokio::test]
async fn a_request_for_a_token_is_sent_on_to_nobody() {
    let other = Fake::start(|_, _| answer("200 OK", "", r#"{"token":"t"}"#));
    let place = format!("http://{}/token", other.address);
    let fake = Fake::start(move |asked, own| match asked.head.contains("/token") {
        true => elsewhere("307 Temporary Redirect", &place),
        false => answer("401 Unauthorized", &challenge(own), ""),
    });
    let registry = Registry::new(&BTreeSet::new(), |_| Ok(Login::IdentityToken("refresh".to_owned())));
    let error = registry.digest(&fake.reference("p:1")).await.unwrap_err().to_string();
    assert!(error.contains("no token is given out: 307"), "{error}");
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn a_registry_without_tls_sends_us_to_no_other_host_without_it() {
    let token = Fake::start(|_, _| answer("401 Unauthorized", &challenge("192.0.2.1:81"), ""));
    let blob = Fake::start(|_, _| elsewhere("302 Found", "http://192.0.2.1:81/?key=signed"));
    for fake in [token, blob] {
        let error = with_password().digest(&fake.reference("p:1")).await.unwrap_err();
        assert!(matches!(&error, Error::NoTls { host, .. } if host == "192.0.2.1:81"), "{error}");
        assert!(error.to_string().contains(r#"[registries."192.0.2.1:81"]"#), "{error}");
    }
}

#[tokio::test]
async fn whoever_else_answers_without_tls_is_named_and_not_the_registry() {
    let other = Fake::start(|_, _| answer("200 OK", "", ""));
    let place = format!("https://{}/?key=signed", other.address);
    let fake = Fake::start(move |_, _| elsewhere("302 Found", &place));
    let error = with_password().digest(&fake.reference("p:1")).await.unwrap_err().to_string();
    let expected = format!("sends us to `{}`, which answers without TLS", other.address);
    assert!(error.ends_with(&expected), "{error}");
}

/// An index of these manifests; the last ones of `notes` are about others, as what buildx adds.
fn index(images: &[&str], notes: &[&str]) -> String {
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let entry = |text: &str, more: &str| {
        let (digest, size) = (sha256(text), text.len());
        format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":{size}{more}}}"#)
    };
    let about = r#","annotations":{"vnd.docker.reference.digest":"sha256:x","vnd.docker.reference.type":"attestation-manifest"}"#;
    let entries: Vec<_> = images.iter().map(|text| entry(text, "")).collect();
    let notes: Vec<_> = notes.iter().map(|text| entry(text, about)).collect();
    format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, [entries, notes].concat().join(","))
}

#[tokio::test]
async fn an_index_with_one_component_is_that_component_and_with_several_they_are_named() {
    let (one, other) = (image("application/wasm", "wasm"), image("application/wasm", "other"));
    let (native, note) =
        (image("application/vnd.oci.image.layer.v1.tar", "tar"), image("application/wasm", "note"));
    let single = index(&[&native, &one], &[&note]);
    let fake = holding(&["wasm", &one, &native, &note, &single]);
    let place = fake.reference("p:1");
    let pulled = anonymous().pull(&place, 10).await.unwrap();
    assert_eq!((pulled.wasm.as_slice(), pulled.manifest), (b"wasm".as_slice(), sha256(&single)));
    assert_eq!(anonymous().digest(&place).await.unwrap(), sha256(&single));

    let double = index(&[&one, &other], &[]);
    let fake = holding(&["wasm", "other", &one, &other, &double]);
    let error = anonymous().pull(&fake.reference("p:1"), 10).await.unwrap_err().to_string();
    assert!(error.ends_with(&format!("by its digest, {} or {}", sha256(&one), sha256(&other))), "{error}");

    for (text, found) in
        [(index(&[&native], &[&note]), "an index of 1 images without one"), (index(&[], &[]), "0 images")]
    {
        let fake = holding(&[&native, &note, &text]);
        let error = anonymous().pull(&fake.reference("p:1"), 10).await.unwrap_err().to_string();
        assert!(error.contains("holds no component") && error.contains(found), "{error}");
    }
    let outside = r#"{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"../../x","size":1}]}"#;
    let error = anonymous().pull(&holding(&[outside]).reference("p:1"), 10).await.unwrap_err().to_string();
    assert!(error.contains("an entry of its index has no digest"), "{error}");
}

#[tokio::test]
async fn what_has_other_bytes_than_its_digest_says_is_not_handed_out() {
    let manifest = image("application/wasm", "wasm");
    let text = manifest.clone();
    let fake = Fake::start(move |asked, _| match asked.head.contains("/blobs/") {
        true => answer("200 OK", "", "wasn"),
        false => answer("200 OK", "", &text),
    });
    let error = anonymous().pull(&fake.reference("p:1"), 10).await.unwrap_err();
    assert!(matches!(error, Error::WrongDigest { .. }), "{error}");
    let other = fake.reference(&format!("p@{}", sha256("another")));
    let error = anonymous().pull(&other, 10).await.unwrap_err();
    assert!(matches!(error, Error::WrongDigest { .. }), "{error}");
    // A tag says nothing, and a registry need not either.
    assert_eq!(anonymous().digest(&fake.reference("p:1")).await.unwrap(), sha256(&manifest));
}

#[tokio::test]
async fn a_program_that_never_tells_a_login_holds_a_few_threads_and_no_more() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (hold, held) = channel::<()>();
    let (counter, held) = (Arc::clone(&asked), Mutex::new(held));
    let registry = Registry::new(&BTreeSet::new(), move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        Err(format!("the test has ended: {:?}", held.lock().unwrap().recv()))
    });
    let reference: Reference = "localhost:1/x:1".parse().unwrap();
    let wait = Duration::from_millis(300);
    let looks = (0..3 * super::ASKING).map(|_| tokio::time::timeout(wait, registry.digest(&reference)));
    assert!(futures::future::join_all(looks).await.iter().all(Result::is_err), "none is answered");
    assert_eq!(asked.load(Ordering::SeqCst), super::ASKING);
    drop(hold);
}
