//! Copies of projects that `heddle new` makes, as somebody finds them after a while.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::create;

/// A new project, and its copy.
fn project(language: Language) -> (TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("loyalty");
    create(&folder, "loyalty", language).unwrap();
    let copy = folder.canonicalize().unwrap().join("heddle-sdk");
    (root, copy)
}

fn found(copy: &Path) -> SdkCopy {
    SdkCopy::find(copy.parent().unwrap()).unwrap()
}

/// As if another version had written the copy, with one file more, one less and one that was different.
fn age_to(copy: &Path, version: &str) {
    let mut record: Record = serde_json::from_str(&fs::read_to_string(copy.join(RECORD)).unwrap()).unwrap();
    record.heddle = version.to_owned();
    for (file, content) in [("sdk/rust/src/old.rs", "// Old.\n"), ("sdk/rust/src/lib.rs", "//! Old.\n")] {
        fs::write(copy.join(file), content).unwrap();
        record.files.insert(file.to_owned(), hash(content.as_bytes()));
    }
    fs::remove_file(copy.join("sdk/rust/src/state.rs")).unwrap();
    record.files.remove("sdk/rust/src/state.rs");
    fs::write(copy.join(RECORD), record.text().unwrap()).unwrap();
}

fn told(plan: &Plan) -> Vec<String> {
    let edited = |change: &Change| if change.edited { " edited" } else { "" };
    plan.changes
        .iter()
        .map(|change| format!("{} {}{}", change.kind.name(), change.file, edited(change)))
        .collect()
}

#[test]
fn a_new_copy_is_of_this_version_and_needs_nothing() {
    for language in Language::ALL {
        let (_root, copy) = project(language);
        let copy = found(&copy);
        assert_eq!((copy.version(), copy.age(), copy.note()), (Some(VERSION), Age::Same, None));
        let plan = copy.plan().unwrap();
        assert!(plan.is_current, "{language}: {:?}", plan.changes);
    }
}

#[test]
fn an_old_copy_becomes_what_a_new_one_is() {
    let (_root, folder) = project(Language::Rust);
    let fresh = fs::read(folder.join("sdk/rust/src/lib.rs")).unwrap();
    age_to(&folder, "0.0.1");
    let note = found(&folder).note().unwrap();
    let program = format!("this program is {VERSION}: run `heddle sdk update`");
    assert!(note.contains("is of heddle 0.0.1") && note.ends_with(&program), "{note}");
    let copy = found(&folder);
    let plan = copy.plan().unwrap();
    let changes = ["replace sdk/rust/src/lib.rs", "remove sdk/rust/src/old.rs", "add sdk/rust/src/state.rs"];
    assert_eq!(told(&plan), changes);
    copy.renew(&plan).unwrap();
    assert_eq!(fs::read(folder.join("sdk/rust/src/lib.rs")).unwrap(), fresh);
    assert!(!folder.join("sdk/rust/src/old.rs").exists());
    let copy = found(&folder);
    assert!(copy.plan().unwrap().is_current && copy.note().is_none());
}

#[test]
fn an_edit_is_named_before_it_is_lost() {
    let (_root, folder) = project(Language::Rust);
    fs::write(folder.join("sdk/rust/src/lib.rs"), "//! Mine.\n").unwrap();
    fs::write(folder.join("sdk/rust/notes.txt"), "mine").unwrap();
    let copy = found(&folder);
    let plan = copy.plan().unwrap();
    assert_eq!(told(&plan), ["replace sdk/rust/src/lib.rs edited"]);
    assert_eq!(plan.edited().count(), 1);
    copy.renew(&plan).unwrap();
    assert_eq!(fs::read(folder.join("sdk/rust/notes.txt")).unwrap(), b"mine");
}

#[test]
fn a_copy_without_a_record_is_compared_with_what_is_to_be_there() {
    let (_root, folder) = project(Language::Python);
    fs::remove_file(folder.join(RECORD)).unwrap();
    fs::write(folder.join("sdk/python/setup.py"), "# Of a version before there were records.\n").unwrap();
    fs::create_dir(folder.join("sdk/python/heddle/__pycache__")).unwrap();
    fs::write(folder.join("sdk/python/heddle/__pycache__/log.pyc"), "made").unwrap();
    let copy = found(&folder);
    assert!(copy.note().unwrap().contains("does not say of which heddle it is"));
    let plan = copy.plan().unwrap();
    assert_eq!(told(&plan), ["remove sdk/python/setup.py edited"]);
    copy.renew(&plan).unwrap();
    assert_eq!(found(&folder).age(), Age::Same);
}

#[test]
fn a_newer_copy_is_not_called_old() {
    let note = note(Path::new("x"), Some("0.3.0"), "0.2.0").unwrap();
    assert_eq!(
        note,
        "the SDK in `x` is of heddle 0.3.0; this program is older, 0.2.0: install heddle 0.3.0 or newer"
    );
}

#[test]
fn several_projects_share_the_copy_above_them_and_are_told_once() {
    let (root, folder) = project(Language::Rust);
    age_to(&folder, "0.0.1");
    let project = root.path().join("loyalty");
    let dist = ["a/dist", "b/dist"].map(|below| project.join(below));
    dist.iter().for_each(|folder| fs::create_dir_all(folder).unwrap());
    assert_eq!(notes(dist.clone()).len(), 1);
    assert_eq!(notes([root.path().join("nowhere"), root.path().to_owned()]), [""; 0]);
}

#[test]
fn a_checkout_and_a_link_are_left_alone() {
    let (root, folder) = project(Language::Rust);
    let checkout = root.path().join("loyalty/heddle");
    fs::create_dir_all(checkout.join("sdk/rust")).unwrap();
    fs::create_dir_all(checkout.join("wit")).unwrap();
    fs::write(checkout.join("wit/heddle.wit"), "").unwrap();
    assert!(SdkCopy::find(&checkout).is_none());
    let other = root.path().join("other");
    fs::create_dir(&other).unwrap();
    std::os::unix::fs::symlink(&folder, other.join("heddle-sdk")).unwrap();
    let error = SdkCopy::find(&other).unwrap().plan().unwrap_err().to_string();
    assert!(error.contains("is a link to"), "{error}");
}
