//! The walls between the crates below `host/`, and those within them that no compiler keeps.
//!
//! Cargo lets a crate name what its manifest names; here stands what a manifest may name. Values, and what decides in the
//! flow, have no I/O, no clock and no randomness: that is read from the code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use heddle_tests::workspace;

/// Which of our crates a crate may depend on.
const BELOW: [(&str, &[&str]); 9] = [
    ("values", &[]),
    ("broker", &["values"]),
    ("cluster", &[]),
    ("sandbox", &["values"]),
    ("source", &[]),
    ("project", &[]),
    ("config", &["source", "values"]),
    ("flow", &["broker", "sandbox", "source", "values"]),
    ("heddle", &["broker", "config", "flow", "project", "sandbox", "source", "values"]),
];

/// What only these crates may depend on, besides their own.
const OWNED: [(&str, &[&str]); 9] = [
    ("async-nats", &["broker"]),
    ("wasmtime", &["sandbox"]),
    ("wasmtime-wasi", &["sandbox"]),
    ("reqwest", &["source"]),
    ("notify", &["source"]),
    ("wit-component", &["project"]),
    ("toml", &["config", "heddle", "project"]),
    ("clap", &["heddle", "project"]),
    ("tokio", &["broker", "flow", "heddle", "sandbox", "source"]),
];

/// What has no I/O, no clock and no randomness.
const IMPURE: [&str; 11] = [
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "SystemTime::now",
    "Instant::now",
    "clock::now",
    "rand",
    "tokio",
    "futures",
];

/// Where that holds, below `host/`.
const PURE: [&str; 22] = [
    "values/src",
    "cluster/src",
    "flow/src/activity.rs",
    "flow/src/batch.rs",
    "flow/src/circuit.rs",
    "flow/src/commit.rs",
    "flow/src/loss.rs",
    "flow/src/pace.rs",
    "flow/src/positions.rs",
    "flow/src/regulator.rs",
    "flow/src/route.rs",
    "flow/src/shard",
    "flow/src/shard.rs",
    "flow/src/flow",
    "flow/src/flow.rs",
    "flow/src/shards",
    "flow/src/shards.rs",
    "flow/src/states.rs",
    "flow/src/store/trouble.rs",
    "flow/src/trial.rs",
    "broker/src/listing/count.rs",
    "broker/src/suitability.rs",
];

/// Which code must not read the environment: all but the command line, the configuration, and what builds projects.
const NO_ENVIRONMENT: [&str; 5] = ["broker/src", "flow/src", "sandbox/src", "source/src", "values/src"];

/// What nobody may name.
const NOBODY: [&str; 2] = ["tokio::spawn", "unbounded_channel"];

/// The lines of code that name something forbidden, as `line: name`.
fn breaches(code: &str, forbidden: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = (1..).zip(code.lines());
    while let Some((number, line)) = lines.next() {
        // Tests may use what they like.
        if let Some(rest) = line.strip_prefix("#[cfg(test)]") {
            skip_item(rest, &mut lines);
            continue;
        }
        let code = without_comment(line);
        let grouped = code.contains("use std::{").then_some("std::{");
        for name in forbidden.iter().filter(|name| names(code, name)).chain(&grouped) {
            found.push(format!("{number}: {name}"));
        }
    }
    found
}

fn without_comment(line: &str) -> &str {
    line.split("//").next().unwrap_or_default().trim_end()
}

/// Goes to the end of an item that begins in the first column, behind its attribute. As rustfmt writes it, what has a body
/// ends with a `}` in the first column, and everything else with a `;`.
fn skip_item<'a>(behind: &'a str, lines: &mut impl Iterator<Item = (usize, &'a str)>) {
    let mut has_body = false;
    for line in std::iter::once(behind).chain(lines.map(|(_, line)| line)) {
        let code = without_comment(line);
        if code.trim_start().starts_with("#[") {
            continue;
        }
        has_body |= code.ends_with('{');
        let ends = match has_body {
            true => matches!(code, "}" | "};"),
            false => code.ends_with(';') || code.ends_with('}'),
        };
        if ends {
            return;
        }
    }
}

/// Whether `code` has `name` as the beginning of a path, or as the end of one where it has a `::` itself.
fn names(code: &str, name: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name).any(|(at, _)| {
        let before = code.get(..at).and_then(|text| text.chars().next_back());
        let after = code.get(at + name.len()..).unwrap_or_default();
        let begins = !before.is_some_and(|c| word(c) || (c == ':' && !name.contains("::")));
        let ends = !after.chars().next().is_some_and(word);
        let is_path = name.contains("::") || after.starts_with("::");
        begins && ends && is_path
    })
}

fn files_below(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).expect("a folder of the code").flatten() {
        let path = entry.path();
        // Tests may use what they like.
        let is_code = path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("tests.rs");
        if path.is_dir() || is_code {
            files.extend(files_below(&path));
        }
    }
    files
}

/// Where code below `host/` names something forbidden.
fn broken(places: &[&str], forbidden: &[&str]) -> Vec<String> {
    let host = workspace().join("host");
    let mut broken = Vec::new();
    for place in places {
        let files = files_below(&host.join(place));
        assert!(!files.is_empty(), "`{place}` has moved");
        for file in files {
            let code = std::fs::read_to_string(&file).expect("a file of the code");
            let rows = breaches(&code, forbidden);
            broken.extend(rows.into_iter().map(|row| format!("{}:{row}", file.display())));
        }
    }
    broken
}

/// The crates below `host/`.
fn crates() -> BTreeSet<String> {
    let folders = std::fs::read_dir(workspace().join("host")).expect("the host's folder").flatten();
    folders.map(|folder| folder.file_name().to_string_lossy().into_owned()).collect()
}

/// What a crate's manifest names, but for what only its tests use.
fn dependencies(name: &str) -> BTreeSet<String> {
    let manifest = workspace().join("host").join(name).join("Cargo.toml");
    let text = std::fs::read_to_string(manifest).expect("a crate has a manifest");
    let section = text.split("[dependencies]\n").nth(1).expect("a crate has dependencies");
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| Some(line.split(['.', ' ', '=']).next()?.to_owned())).collect()
}

#[test]
fn a_crate_depends_only_on_those_below_it() {
    let known: BTreeSet<String> = BELOW.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(crates(), known);
    for (name, below) in BELOW {
        let found = dependencies(name);
        let ours: Vec<&str> = found.iter().filter_map(|found| found.strip_prefix("heddle-")).collect();
        assert_eq!(ours, below, "`{name}`");
    }
}

#[test]
fn what_a_library_is_for_is_the_business_of_one_crate() {
    for (library, owners) in OWNED {
        let mut users = crates();
        users.retain(|name| dependencies(name).contains(library));
        let owners: BTreeSet<String> = owners.iter().map(|owner| (*owner).to_owned()).collect();
        assert_eq!(users, owners, "`{library}`");
    }
}

#[test]
fn what_decides_has_no_io_no_clock_and_no_randomness() {
    assert_eq!(broken(&PURE, &IMPURE), Vec::<String>::new());
}

#[test]
fn tasks_are_kept_channels_are_bounded_and_the_environment_is_read_at_the_top() {
    let all: Vec<String> = crates().into_iter().map(|name| name + "/src").collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    assert_eq!(broken(&all, &NOBODY), Vec::<String>::new());
    assert_eq!(broken(&NO_ENVIRONMENT, &["std::env"]), Vec::<String>::new());
}

#[test]
fn what_waits_follows_a_clock_that_nobody_sets() {
    let wall_clock = ["SystemTime::now", "OffsetDateTime::now_utc"];
    let read = broken(&["broker/src", "flow/src", "source/src"], &wall_clock);
    // Once, when the host starts: from there on it goes by the clock that only goes forward.
    assert!(read.len() == 1 && read[0].contains("flow/src/clock.rs"), "{read:?}");
}

#[test]
fn a_broken_wall_is_found() {
    for code in [
        "use rand::Rng;",
        "fn f() -> tokio::io::Result<()> {",
        "use std::fs::File;",
        "    let now = std::time::SystemTime::now();",
        "let now = clock::now();",
        "#[cfg(test)]\nmod tests;\nuse std::fs::File;",
        "#[cfg(test)] mod tests;\nuse std::fs::File;",
        "#[cfg(test)]\nfn f(\n    a: u8,\n) -> u8 {\n    rand::random()\n}\n\nuse std::fs::File;",
        "#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n\nuse std::fs::File;",
    ] {
        assert_eq!(breaches(code, &IMPURE).len(), 1, "{code}");
    }
    for code in [
        "// use rand::Rng;",
        "use heddle_values::event;",
        "let rand = 1;",
        "use randomness::x;",
        "fn f() {}\n#[cfg(test)]\nmod tests { use std::fs; }",
        "#[cfg(test)]\nmod tests {\n    use std::fs;\n\n    fn f() {\n        rand::random();\n    }\n}\n",
        "#[cfg(test)]\n#[path = \"fs.rs\"]\nmod tests;\nfn f() {}",
        "#[cfg(test)]\nuse std::{\n    fs,\n};\nfn f() {}",
        "#[cfg(test)]\nconst MADE: fn() -> u8 =\n    rand::random;\nfn f() {}",
    ] {
        assert_eq!(breaches(code, &IMPURE), Vec::<String>::new(), "{code}");
    }
    assert!(dependencies("broker").contains("async-nats"));
}
