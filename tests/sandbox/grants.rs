//! Grants: what is not granted is not there.

use heddle::sandbox::Error;
use heddle::values::secret::Secret;
use heddle::values::settings::{FileGrant, Grants};
use serde_json::json;

use crate::bench::{Bench, only_message, policy};

#[tokio::test(flavor = "multi_thread")]
async fn granted_environment_and_folders_are_seen_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut policy = policy();
    policy.grants = Grants {
        env: vec![("COLOUR".to_owned(), Secret::new("green"))],
        files: vec![FileGrant { host: folder.path().to_owned(), guest: "/".to_owned(), write: false }],
        http: Vec::new(),
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
