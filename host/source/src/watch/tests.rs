//! What a watch promises, on real files.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::SystemTime;

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;

/// How long a promise may take to be kept on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Waits until every one of these was reported, and nothing else was.
async fn reports(watch: &mut Watch, expected: &[&Path]) {
    let expected: BTreeSet<PathBuf> = expected.iter().map(|path| path.to_path_buf()).collect();
    let mut reported = BTreeSet::new();
    while reported != expected {
        let next = timeout(PATIENCE, watch.changed()).await;
        let next = next.unwrap_or_else(|_| panic!("{reported:?} instead of {expected:?}"));
        assert!(!next.is_empty());
        reported.extend(next);
        assert!(reported.is_subset(&expected), "{reported:?} instead of {expected:?}");
    }
}

/// Waits until a file was reported while it had this content. Earlier reports are of what it was before.
async fn settles(watch: &mut Watch, file: &Path, content: &str) {
    let settled = async {
        loop {
            let reported = watch.changed().await;
            assert_eq!(reported, [file]);
            if fs::read_to_string(file).is_ok_and(|text| text == content) {
                return;
            }
        }
    };
    timeout(PATIENCE, settled).await.unwrap_or_else(|_| panic!("`{content}` was not reported"));
}

/// As most build tools write: beside it, then in its place.
fn replace(file: &Path, content: &str) {
    let beside = file.with_extension("new");
    fs::write(&beside, content).unwrap();
    fs::rename(beside, file).unwrap();
}

/// Writes a file that is `age` seconds old.
fn aged(file: &Path, age: u64) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let written = fs::File::create(file).unwrap();
    written.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
}

#[test]
fn the_newest_source_is_named_if_it_is_newer_than_what_was_made_of_it() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let (trees, made) = ([at("src"), at("Cargo.toml")], [at("src/a.wasm"), at("src/b.wasm")]);
    let newer = || newer_than(&at("src/a.wasm"), &trees, &made);
    aged(&at("src/deep/lib.rs"), 200);
    assert_eq!(newer(), None, "what is not there is not old");
    aged(&at("src/a.wasm"), 100);
    assert_eq!(newer(), None);
    for (name, is_source) in [
        ("src/b.wasm", false),
        ("src/target/x", false),
        ("src/node_modules/x", false),
        ("src/lib.rs~", false),
        ("elsewhere/x", false),
        ("src/main.rs", true),
        ("Cargo.toml", true),
    ] {
        aged(&at(name), 10);
        assert_eq!(newer(), is_source.then(|| at(name)), "{name}");
        fs::remove_file(at(name)).unwrap();
    }
}

#[tokio::test]
async fn a_replaced_file_is_reported_each_time() {
    let folder = folder();
    let file = folder.path().join("a.wasm");
    fs::write(&file, "0").unwrap();
    let mut watch = Watch::files([file.clone()]).unwrap();
    for content in ["1", "2", "3"] {
        replace(&file, content);
        settles(&mut watch, &file, content).await;
    }
}

#[tokio::test]
async fn what_an_editor_leaves_behind_is_not_reported() {
    let folder = folder();
    let file = folder.path().join("a.rs");
    fs::write(&file, "one").unwrap();
    let mut watch = Watch::trees([folder.path().to_owned()]).unwrap();
    fs::write(folder.path().join(".a.rs.swp"), "swap").unwrap();
    fs::write(folder.path().join("#a.rs#"), "saved").unwrap();
    symlink("nobody@nowhere", folder.path().join(".#a.rs")).unwrap();
    // As Vim does it: the old file becomes the backup, and the new one takes its name.
    fs::rename(&file, folder.path().join("a.rs~")).unwrap();
    fs::write(&file, "two").unwrap();
    reports(&mut watch, &[&file]).await;
}

#[tokio::test]
async fn a_swapped_link_is_reported_wherever_it_is_on_the_way() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    for version in ["v1", "v2", "v3"] {
        fs::create_dir_all(at(version)).unwrap();
        fs::write(at(version).join("a.wasm"), version).unwrap();
    }
    // As Kubernetes mounts a ConfigMap: a.wasm → ..data/a.wasm, ..data → v1.
    fs::create_dir(at("mount")).unwrap();
    symlink("../v1", at("mount/..data")).unwrap();
    symlink("..data/a.wasm", at("mount/a.wasm")).unwrap();
    symlink("mount", at("outer")).unwrap();
    let file = at("outer/a.wasm");
    let mut watch = Watch::files([file.clone()]).unwrap();
    symlink("../v2", at("mount/..new")).unwrap();
    fs::rename(at("mount/..new"), at("mount/..data")).unwrap();
    settles(&mut watch, &file, "v2").await;
    symlink("v3", at("new")).unwrap();
    fs::rename(at("new"), at("outer")).unwrap();
    settles(&mut watch, &file, "v3").await;
}

#[test]
fn the_way_to_a_file_has_every_folder_in_which_a_link_may_be_swapped() {
    let folder = folder();
    let root = folder.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("real/deep")).unwrap();
    symlink(root.join("real"), root.join("link")).unwrap();
    symlink("round", root.join("round")).unwrap();
    fs::write(root.join("real/deep/a"), "").unwrap();
    assert_eq!(way(&root.join("link/deep/a")), [root.clone(), root.join("real/deep")]);
    assert_eq!(way(&root.join("real/../real/deep/a")), [root.join("real/deep")]);
    assert_eq!(way(&root.join("real/none/such/a")), [root.join("real")]);
    // A link to itself leads nowhere, and that is found out.
    assert_eq!(way(&root.join("round/a")).len(), MAX_LINKS + 1);
}

#[tokio::test]
async fn a_file_written_in_pieces_is_reported_whole() {
    let folder = folder();
    let file = folder.path().join("a.wasm");
    let mut watch = Watch::files([file.clone()]).unwrap();
    let whole = "piece".repeat(30);
    let write = async {
        use std::io::Write;
        let mut writer = fs::File::create(&file).unwrap();
        for _ in 0..30 {
            writer.write_all(b"piece").unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::join!(write, settles(&mut watch, &file, &whole));
}

#[test]
fn a_file_is_at_rest_once_it_has_stood_still() {
    let path = PathBuf::from("a");
    let look = |size| {
        let print = Fingerprint { device: 1, inode: 1, size, seconds: 0, nanoseconds: 0 };
        Fingerprints::from([(path.clone(), print)])
    };
    let began = Instant::now();
    let mut changes = Changes { known: look(0), restless: BTreeMap::new(), counts_gone: false };
    let mut at = |ms: u64, seen: &Fingerprints| changes.take(seen, began + Duration::from_millis(ms));
    let none = Vec::<PathBuf>::new();
    assert_eq!(at(0, &look(0)), none);
    assert_eq!(at(10, &look(1)), none);
    assert_eq!(at(100, &look(2)), none);
    assert_eq!(at(190, &look(2)), none, "it was another one 100 ms ago");
    assert_eq!(at(200, &look(2)), std::slice::from_ref(&path));
    assert_eq!(at(500, &look(2)), none, "once is enough");
    assert_eq!(at(510, &look(3)), none);
    assert_eq!(at(520, &Fingerprints::new()), none, "a file that is gone is waited for");
    assert_eq!(at(620, &look(3)), none, "it is new again");
    assert_eq!(at(700, &look(2)), none, "it is what was reported last");
    assert_eq!(at(900, &look(2)), none);
}

#[tokio::test]
async fn a_file_that_is_deleted_is_reported_when_it_is_back() {
    let folder = folder();
    let file = folder.path().join("a.wasm");
    fs::write(&file, "one").unwrap();
    let mut watch = Watch::files([file.clone()]).unwrap();
    fs::remove_file(&file).unwrap();
    // Longer than a file needs to come to rest.
    assert!(timeout(REST * 3, watch.changed()).await.is_err());
    fs::write(&file, "two").unwrap();
    settles(&mut watch, &file, "two").await;
}

#[tokio::test]
async fn folders_may_be_missing_and_may_be_made_anew() {
    let folder = folder();
    let file = folder.path().join("build/out/a.wasm");
    let mut watch = Watch::files([file.clone()]).unwrap();
    for content in ["one", "two", "three"] {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        settles(&mut watch, &file, content).await;
        fs::remove_dir_all(folder.path().join("build")).unwrap();
    }
}

#[tokio::test]
async fn a_touch_and_a_rewrite_of_the_same_size_are_reported() {
    let folder = folder();
    let file = folder.path().join("a.wasm");
    fs::write(&file, "same").unwrap();
    let mut watch = Watch::files([file.clone()]).unwrap();
    let writer = fs::File::options().write(true).open(&file).unwrap();
    writer.set_modified(SystemTime::now() + Duration::from_secs(60)).unwrap();
    reports(&mut watch, &[&file]).await;
    fs::write(&file, "else").unwrap();
    settles(&mut watch, &file, "else").await;
}

#[tokio::test]
async fn what_nobody_notifies_of_is_found_all_the_same() {
    let folder = folder();
    let file = folder.path().join("a.wasm");
    let scope = Scope { paths: vec![file.clone()], deep: false };
    let mut watch = Watch::start(scope, false).unwrap();
    for content in ["one", "two"] {
        replace(&file, content);
        settles(&mut watch, &file, content).await;
    }
}

#[tokio::test]
async fn many_files_are_all_reported() {
    let folder = folder();
    let files: Vec<PathBuf> = (0..500).map(|n| folder.path().join(format!("{n}.wasm"))).collect();
    let mut watch = Watch::files(files.iter().skip(1).cloned()).unwrap();
    for file in &files {
        fs::write(file, "new").unwrap();
    }
    let watched: Vec<&Path> = files.iter().skip(1).map(PathBuf::as_path).collect();
    reports(&mut watch, &watched).await;
}

#[tokio::test]
async fn a_tree_is_watched_with_everything_below_but_what_is_made() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    for name in ["src/deep", "src/target", "src/node_modules", "src/.git"] {
        fs::create_dir_all(at(name)).unwrap();
    }
    fs::write(at("src/deep/old.rs"), "old").unwrap();
    symlink("..", at("src/deep/round")).unwrap();
    let mut watch = Watch::trees([at("src"), at("Cargo.toml")]).unwrap();
    for name in ["src/target/a", "src/node_modules/a", "src/.git/a", "beside"] {
        fs::write(at(name), "made").unwrap();
    }
    fs::write(at("src/deep/a.rs"), "new").unwrap();
    fs::write(at("Cargo.toml"), "new").unwrap();
    fs::remove_file(at("src/deep/old.rs")).unwrap();
    reports(&mut watch, &[&at("src/deep/a.rs"), &at("Cargo.toml"), &at("src/deep/old.rs")]).await;
    fs::create_dir_all(at("src/more/of")).unwrap();
    fs::write(at("src/more/of/b.rs"), "new").unwrap();
    reports(&mut watch, &[&at("src/more/of/b.rs")]).await;
    fs::remove_dir_all(at("src/more")).unwrap();
    reports(&mut watch, &[&at("src/more/of/b.rs")]).await;
}

#[tokio::test]
async fn a_file_below_two_watched_folders_is_reported_for_both() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("real")).unwrap();
    symlink("real", at("link")).unwrap();
    let mut watch = Watch::trees([at("real"), at("link")]).unwrap();
    fs::write(at("real/a.rs"), "new").unwrap();
    reports(&mut watch, &[&at("real/a.rs"), &at("link/a.rs")]).await;
}

#[tokio::test]
async fn a_report_that_is_not_awaited_to_its_end_is_not_lost() {
    let folder = folder();
    let file = folder.path().join("a.wasm");
    let mut watch = Watch::files([file.clone()]).unwrap();
    fs::write(&file, "one").unwrap();
    let mut tries = 0;
    while timeout(Duration::from_millis(1), watch.changed()).await.is_err() {
        tries += 1;
        assert!(tries < 30_000, "it was lost");
    }
}

#[test]
fn the_thread_ends_with_the_watch() {
    let folder = folder();
    let (wake, woken) = sync_channel(1);
    let (sender, reports) = mpsc::channel(1);
    let scope = Scope { paths: vec![folder.path().join("a")], deep: false };
    let mut looker = Looker::new(scope, Some(wake.clone()));
    let thread = std::thread::spawn(move || looker.run(&woken, &sender));
    drop(Watch { reports, alive: wake });
    thread.join().unwrap();
}
