//! Grants: what is not granted is not there.

use heddle_sandbox::Error;
use heddle_tests::{assemble, heddle, workspace};
use heddle_values::secret::Secret;
use heddle_values::settings::{FileGrant, Grants};
use serde_json::json;

use crate::bench::{Bench, only_message, policy, sandbox_with};

#[tokio::test(flavor = "multi_thread")]
async fn granted_environment_and_folders_are_seen_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut policy = policy();
    policy.grants = Grants {
        env: vec![("COLOUR".to_owned(), Secret::new("green"))],
        files: vec![FileGrant { host: folder.path().to_owned(), guest: "/".to_owned(), write: false }],
        ..Grants::default()
    };
    let bench = Bench::new(policy).await;
    let seen = only_message(&bench.effects(json!([{"context": {"subject": "out.a"}}])).await);
    assert_eq!(seen["env"], json!([["COLOUR", "green"]]));
    assert_eq!(seen["read_dir"], true);
    assert_eq!(seen["tcp"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_cannot_be_given_is_named_at_admission() {
    let mut policy = policy();
    let gone = std::path::PathBuf::from("no-such-folder");
    policy.grants.files = vec![FileGrant { host: gone, guest: "/".to_owned(), write: true }];
    let refused = Bench::admit(policy).await.err();
    assert!(
        matches!(&refused, Some(Error::Grant { what, .. }) if what.contains("no-such-folder")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_is_checked_under_the_grants_of_the_handlers_that_use_it() {
    use heddle::admission::{Place, Users};
    use heddle_config::{Needs, load};
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("heddle.toml");
    let guest = heddle_tests::guest_text("caller");
    let sandbox = sandbox_with(workspace().join("target/test-artifacts"), heddle());
    let code = sandbox.load(assemble(&guest).unwrap()).await.unwrap();
    for (plugin, grants, fits, missing) in [
        ("dist/caller.wasm", "", false, false),
        (
            "dist/caller.wasm",
            "grants = { http = [\"localhost\"], files = [{ host = \"gone\", guest = \"x\" }] }",
            true,
            false,
        ),
        ("dist/other.wasm", "", true, true),
    ] {
        let text = format!(
            "app = \"t\"\n[stream]\nname = \"T\"\nsubjects = [\"in.>\"]\n[handlers.h]\nplugin = {plugin:?}\nsubscribe = [\"in.*\"]\n{grants}\n"
        );
        std::fs::write(&file, text).unwrap();
        let settings = load(&file, Needs::File).unwrap();
        let users = Users::of(Some(&settings), &[Place::File(&folder.path().join("dist/caller.wasm"))]);
        let checked = users.check(&sandbox, &code).await;
        assert_eq!(checked.is_ok(), fits, "{plugin}, {grants}: {checked:?}");
        assert_eq!(users.missing(&code).is_some(), missing, "{plugin}");
    }
    let nobodys = Users::of(None, &[]);
    nobodys.check(&sandbox, &code).await.unwrap();
    assert!(nobodys.missing(&code).unwrap().contains("wasi:http/outgoing-handler"));
}
