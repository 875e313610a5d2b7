//! The walls between the layers: reads the code of the host and fails when one is broken.
//!
//! values ← broker, sandbox, source ← flow ← assembly. A layer names those to its left only, and the three worlds do not
//! name each other.

use std::path::{Path, PathBuf};

use heddle_tests::workspace;

/// What a layer may not name. A name matches where it begins a path: `use wasmtime::…`, `wasmtime::…`.
const WALLS: [(&str, &[&str]); 6] = [
    (
        "values",
        &[
            "crate::broker",
            "crate::sandbox",
            "crate::source",
            "crate::flow",
            "crate::assembly",
            "async_nats",
            "wasmtime",
            "wasmtime_wasi",
            "reqwest",
            "tokio",
            "futures",
            "std::fs",
            "std::net",
            "std::env",
            "std::process",
            "std::thread",
            "SystemTime::now",
            "Instant::now",
            "rand",
        ],
    ),
    (
        "broker",
        &[
            "crate::sandbox",
            "crate::source",
            "crate::flow",
            "crate::assembly",
            "wasmtime",
            "wasmtime_wasi",
            "reqwest",
        ],
    ),
    (
        "sandbox",
        &["crate::broker", "crate::source", "crate::flow", "crate::assembly", "async_nats", "reqwest"],
    ),
    (
        "source",
        &[
            "crate::broker",
            "crate::sandbox",
            "crate::flow",
            "crate::assembly",
            "async_nats",
            "wasmtime",
            "wasmtime_wasi",
            "std::env",
        ],
    ),
    ("flow", &["crate::assembly", "async_nats", "wasmtime", "wasmtime_wasi", "reqwest", "std::env"]),
    ("assembly", &["async_nats", "wasmtime", "wasmtime_wasi", "reqwest"]),
];

/// What nobody may name.
const NOBODY: [&str; 2] = ["tokio::spawn", "unbounded_channel"];

/// The lines of code that name something forbidden, as `line: name`.
fn breaches(code: &str, forbidden: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate() {
        // Tests at the end of a file may use what they like.
        if line.starts_with("#[cfg(test)]") {
            break;
        }
        let code = line.split("//").next().unwrap_or_default();
        for name in forbidden.iter().filter(|name| names(code, name)) {
            found.push(format!("{}: {name}", number + 1));
        }
    }
    found
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

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder of the code").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn no_layer_names_what_lies_behind_its_wall() {
    let source = workspace().join("host/src");
    let mut broken = Vec::new();
    for (layer, forbidden) in WALLS {
        let layer_files = files_below(&source.join(layer));
        assert!(layer_files.len() > 1, "layer `{layer}` has moved");
        for file in layer_files {
            let code = std::fs::read_to_string(&file).expect("a file of the code");
            let all: Vec<&str> = forbidden.iter().chain(&NOBODY).copied().collect();
            let rows = breaches(&code, &all);
            broken.extend(rows.into_iter().map(|row| format!("{}:{row}", file.display())));
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn a_broken_wall_is_found() {
    for code in [
        "use wasmtime::Engine;",
        "fn f() -> wasmtime::Result<()> {",
        "use std::fs::File;",
        "    let now = std::time::SystemTime::now();",
        "use crate::flow::engine;",
    ] {
        assert_eq!(breaches(code, WALLS[0].1).len(), 1, "{code}");
    }
    for code in [
        "// use wasmtime::Engine;",
        "use crate::values::event;",
        "let wasmtime = 1;",
        "use crate::sandbox_like::x;",
        "fn f() {}\n#[cfg(test)]\nmod tests { use std::fs; }",
    ] {
        assert_eq!(breaches(code, WALLS[0].1), Vec::<String>::new(), "{code}");
    }
}
