//! Plugins in an OCI registry.

use std::collections::BTreeSet;
use std::path::Path;

use heddle_source::oci::{Error, Login, Pulled, Reference, Registry};
use heddle_tests::{OciRegistry, plugin};
use oci_client::Reference as Image;
use oci_client::client::{Client, ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::manifest::{OciImageIndex, OciImageManifest, OciManifest};
use oci_client::secrets::RegistryAuth;

const WASM: &str = "application/wasm";
const OLD_WASM: &str = "application/vnd.wasm.content.layer.v1+wasm";
const MINISIG: &str = "application/vnd.heddle.minisig";
const SIGNATURE: &str = "untrusted comment: signature from minisign\nRUQ=\ntrusted comment: x\nAAAA\n";

/// `me` with the password `secret`, as `htpasswd` writes it.
const USER: &str = "me:$2b$04$Bi1.pqqVJTQCMzUYyaQJK.7f0Kz2EozbDr7BOCA2IZuOTGLlbGTvG\n";

type Layers<'a> = &'a [(&'a str, &'a [u8])];

fn anonymous() -> Registry {
    Registry::new(&BTreeSet::new(), |_| Ok(Login::Anonymous))
}

fn logged_in(password: &'static str) -> Registry {
    let login = move || Login::Password { user: "me".to_owned(), password: password.to_owned() };
    Registry::new(&BTreeSet::new(), move |_| Ok(login()))
}

fn reference(text: &str) -> Reference {
    text.parse().expect("a reference")
}

/// The client that pushes: it shares nothing with the one that is tested but the library.
fn client() -> Client {
    // The library needs one, and each test may be the first.
    rustls::crypto::ring::default_provider().install_default().ok();
    Client::try_from(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() })
        .expect("a client")
}

/// Pushes an artifact of some layers; the digest of its manifest.
async fn push(place: &str, layers: Layers<'_>, notes: &[(&str, &str)], auth: &RegistryAuth) -> String {
    let (client, image) = (client(), place.parse::<Image>().expect("a reference"));
    let layer = |&(kind, bytes): &(&str, &[u8])| ImageLayer::new(bytes.to_vec(), kind.to_owned(), None);
    let layers: Vec<ImageLayer> = layers.iter().map(layer).collect();
    let config = Config::new(b"{}".to_vec(), "application/vnd.wasm.config.v0+json".to_owned(), None);
    let mut manifest = OciImageManifest::build(&layers, &config, None);
    client.push(&image, &layers, config, auth, Some(manifest.clone())).await.expect("the artifact is pushed");
    if !notes.is_empty() {
        manifest.annotations = Some(notes.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect());
        // By itself the library writes line breaks into JSON as they are.
        let json = serde_json::to_vec(&manifest).expect("a manifest is JSON");
        let kind = "application/vnd.oci.image.manifest.v1+json".parse().expect("a header");
        client.push_manifest_raw(&image, json, kind).await.expect("the manifest is pushed");
    }
    client.fetch_manifest_digest(&image, auth).await.expect("the manifest is there")
}

async fn pushed(place: &str, layers: Layers<'_>) -> String {
    push(place, layers, &[], &RegistryAuth::Anonymous).await
}

fn sha256(file: &Path) -> String {
    let output = std::process::Command::new("sha256sum").arg(file).output().expect("sha256sum runs");
    let text = String::from_utf8(output.stdout).expect("a digest is text");
    format!("sha256:{}", text.split_whitespace().next().expect("a digest"))
}

#[tokio::test]
async fn a_pushed_component_is_pulled_bit_equal_with_its_signature() {
    let Some(registry) = OciRegistry::start(None).await else { return };
    let wasm = std::fs::read(plugin("contrary")).unwrap();
    let at = |name: &str| format!("{}/{name}", registry.address());
    let noted = [("dev.heddle.signature", SIGNATURE)];
    let wasm_layer = (WASM, wasm.as_slice());
    let signature_layer = (MINISIG, SIGNATURE.as_bytes());
    for (name, layers, notes, signature) in [
        ("team/plain:1.0", &[wasm_layer][..], &[][..], None),
        ("old:1", &[(OLD_WASM, wasm.as_slice())], &[], None),
        ("noted:1", &[wasm_layer], &noted, Some(SIGNATURE)),
        ("layered:1", &[("text/plain", b"read me"), signature_layer, wasm_layer], &[], Some(SIGNATURE)),
    ] {
        let manifest = push(&at(name), layers, notes, &RegistryAuth::Anonymous).await;
        let place = reference(&at(name));
        assert_eq!(anonymous().digest(&place).await.unwrap(), manifest, "{name}");
        let expected = Pulled {
            wasm: wasm.clone(),
            signature: signature.map(str::to_owned),
            manifest: manifest.clone(),
        };
        let size = wasm.len() as u64;
        assert!(anonymous().pull(&place, size).await.unwrap() == expected, "{name} came otherwise");
        let pinned = reference(&format!("{}@{manifest}", at(name)));
        assert!(anonymous().pull(&pinned, size).await.unwrap() == expected, "{name} came otherwise");
    }
}

#[tokio::test]
async fn a_tag_that_moves_has_a_new_digest_and_what_is_pinned_stays() {
    let Some(registry) = OciRegistry::start(None).await else { return };
    let place = format!("{}/p:latest", registry.address());
    let old = pushed(&place, &[(WASM, b"old")]).await;
    let new = pushed(&place, &[(WASM, b"new")]).await;
    let moving = reference(&format!("{}/p", registry.address()));
    let pinned = reference(&format!("{place}@{old}"));
    assert_eq!(anonymous().digest(&moving).await.unwrap(), new);
    assert_eq!(anonymous().pull(&moving, 3).await.unwrap().wasm, b"new");
    assert_eq!(anonymous().digest(&pinned).await.unwrap(), old);
    assert_eq!(anonymous().pull(&pinned, 3).await.unwrap().wasm, b"old");
}

#[tokio::test]
async fn what_is_no_component_of_that_size_is_refused_each_with_its_reason() {
    let Some(registry) = OciRegistry::start(None).await else { return };
    let at = |name: &str| format!("{}/{name}", registry.address());
    let wasm = (WASM, [7; 1000].as_slice());
    pushed(&at("p:1"), &[wasm]).await;
    pushed(&at("text:1"), &[("text/plain", b"x"), ("image/png", b"y")]).await;
    pushed(&at("two:1"), &[wasm, (OLD_WASM, b"y")]).await;
    pushed(&at("signed:1"), &[wasm, (MINISIG, &[b'x'; 5000])]).await;
    let index = OciImageIndex {
        schema_version: 2,
        media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
        manifests: Vec::new(),
        artifact_type: None,
        annotations: None,
    };
    let image = at("index:1").parse().unwrap();
    let pushing = client();
    pushing.store_auth_if_needed(&registry.address(), &RegistryAuth::Anonymous).await;
    pushing.push_manifest(&image, &OciManifest::ImageIndex(index)).await.unwrap();
    let other = format!("p:1@sha256:{}", "0".repeat(64));
    for (name, max, reason) in [
        ("p:1", 999, "component of `PLACE` has 1000 bytes or more, and 999 are allowed"),
        ("p:2", 1000, "`PLACE` does not exist in its registry"),
        ("q:1", 1000, "`PLACE` does not exist in its registry"),
        (&other, 1000, "`PLACE` does not exist in its registry"),
        (
            "text:1",
            1000,
            "`PLACE` holds no component: a layer of type `application/wasm` is needed, and it has `text/plain`, `image/png`",
        ),
        ("two:1", 1000, "`PLACE` holds 2 components"),
        ("signed:1", 1000, "signature of `PLACE` has 5000 bytes or more, and 4096 are allowed"),
        (
            "index:1",
            1000,
            "`PLACE` holds no component: a layer of type `application/wasm` is needed, and it has an index of 0 images without one",
        ),
    ] {
        let place = reference(&at(name));
        let error = anonymous().pull(&place, max).await.unwrap_err().to_string();
        let reason = reason.replace("PLACE", &place.to_string());
        assert!(error.contains(&reason), "{name}: {error}");
    }
    let missing = anonymous().digest(&reference(&at("p:2"))).await;
    assert!(matches!(missing, Err(Error::Missing(_))), "{missing:?}");
}

#[tokio::test]
async fn a_layer_that_was_tampered_with_is_not_handed_out() {
    let Some(registry) = OciRegistry::start(None).await else { return };
    let place = format!("{}/p:1", registry.address());
    let wasm = vec![7; 3 << 20];
    pushed(&place, &[(WASM, &wasm)]).await;
    let source = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(source.path(), &wasm).unwrap();
    let blob = registry.blob(&sha256(source.path()));
    assert!(std::fs::read(&blob).unwrap() == wasm);
    let place = reference(&place);
    let max = wasm.len() as u64;
    let mut other = wasm.clone();
    other[1 << 20] = 8;
    std::fs::write(&blob, &other).unwrap();
    let error = anonymous().pull(&place, max).await.unwrap_err();
    assert!(matches!(error, Error::WrongDigest { .. }), "{error}");
    // It is larger than its manifest says: no more than the bound is kept.
    std::fs::write(&blob, [wasm.as_slice(), &[7]].concat()).unwrap();
    let error = anonymous().pull(&place, max).await.unwrap_err();
    assert!(matches!(error, Error::TooBig { .. }), "{error}");
    std::fs::write(&blob, &wasm).unwrap();
    assert!(anonymous().pull(&place, max).await.unwrap().wasm == wasm);
}

#[tokio::test]
async fn a_manifest_that_was_tampered_with_is_not_believed() {
    let Some(registry) = OciRegistry::start(None).await else { return };
    let place = format!("{}/p", registry.address());
    let digest = pushed(&format!("{place}:1"), &[(WASM, b"wasm")]).await;
    let blob = registry.blob(&digest);
    let text = std::fs::read_to_string(&blob).unwrap();
    std::fs::write(&blob, text + "\n").unwrap();
    let pinned = reference(&format!("{place}@{digest}"));
    let error = anonymous().pull(&pinned, 10).await.unwrap_err();
    assert!(matches!(error, Error::WrongDigest { .. }), "{error}");
}

#[tokio::test]
async fn a_registry_with_users_is_asked_with_their_login() {
    let Some(registry) = OciRegistry::start(Some(USER)).await else { return };
    let place = format!("{}/p:1", registry.address());
    let auth = RegistryAuth::Basic("me".to_owned(), "secret".to_owned());
    let manifest = push(&place, &[(WASM, b"wasm")], &[], &auth).await;
    let place = reference(&place);
    assert_eq!(logged_in("secret").digest(&place).await.unwrap(), manifest);
    assert_eq!(logged_in("secret").pull(&place, 10).await.unwrap().wasm, b"wasm");
    for registry in [anonymous(), logged_in("guessed")] {
        let refused = [registry.digest(&place).await.err(), registry.pull(&place, 10).await.err()];
        for error in refused {
            assert!(matches!(error, Some(Error::Refused { .. })), "{error:?}");
        }
    }
    let locked = Registry::new(&BTreeSet::new(), |_| Err("the keyring is locked".to_owned()));
    let error = locked.digest(&place).await.unwrap_err().to_string();
    assert!(error.ends_with("the keyring is locked"), "{error}");
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_an_error_and_not_a_wait() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let place = reference(&format!("127.0.0.1:{port}/p:1"));
    let error = anonymous().digest(&place).await.unwrap_err();
    assert!(matches!(error, Error::Request { .. }), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_never_answers_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = reference(&format!("{}/p:1", silent.local_addr().unwrap()));
    for error in [anonymous().digest(&place).await.err(), anonymous().pull(&place, 1).await.err()] {
        assert!(matches!(error, Some(Error::Slow { .. } | Error::Request { .. })), "{error:?}");
    }
}
