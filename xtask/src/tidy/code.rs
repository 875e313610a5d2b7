//! Blocks of code in documents: each says what it is, and what can be read here is read.
//!
//! The language is the first word behind the fence. A block of TOML says in the next word which file it shows, so that the
//! host's own reader can be asked about it (`host/heddle/src/cli/documents.rs`). `from=PATH` says that the block is an
//! excerpt of a file of the repository, which is compiled or run elsewhere. JSON is whole; an ellipsis stands inside of a
//! text only. Whether code of other languages holds is not known here.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::markdown::{Block, blocks};
use super::rules::Breach;

/// What a block can be. `sh` are commands alone, `console` are commands behind `$` with what they print, `text` is the rest.
const LANGUAGES: [&str; 13] =
    ["c", "console", "go", "js", "json", "mermaid", "python", "rust", "sh", "text", "toml", "ts", "yaml"];

/// What a block of TOML can be: a whole file, some of its tables, keys of a handler, or a test for `heddle test`.
const FILES: [&str; 5] = ["heddle.toml", "tables", "handler", "test", "Cargo.toml"];

/// Names the file that a block is taken from, from the root of the repository.
const FROM: &str = "from=";

/// Every block of a document that does not say what it is, or is something else.
pub(super) fn breaches(root: &Path, text: &str) -> Vec<Breach> {
    let fault = |block: &Block<'_>| fault(root, block).map(|text| Breach { line: block.line, text });
    blocks(text).iter().filter_map(fault).collect()
}

fn fault(root: &Path, block: &Block<'_>) -> Option<String> {
    let language = block.language();
    if language.is_empty() {
        return Some(format!("the block has no language; known are {}", LANGUAGES.join(", ")));
    }
    if !LANGUAGES.contains(&language) {
        return Some(format!("`{language}` is no language of a block; known are {}", LANGUAGES.join(", ")));
    }
    let source = block.notes().find_map(|note| note.strip_prefix(FROM));
    match language {
        "toml" if !block.notes().skip(1).any(|note| FILES.contains(&note)) => {
            return Some(format!(
                "the block does not say which file it shows; known are {}",
                FILES.join(", ")
            ));
        }
        "json" => {
            if let Err(error) = json(block.text) {
                return Some(format!("the block is not JSON: {error}"));
            }
        }
        "console" if !block.text.lines().any(|line| line.starts_with("$ ")) => {
            return Some(
                "the block has no command behind `$`; `sh` is for commands alone, `text` for output".into(),
            );
        }
        "sh" if block.text.lines().any(|line| line.starts_with("$ ")) => {
            return Some(
                "a command stands behind `$`; `console` is for commands with what they print".into(),
            );
        }
        _ => {}
    }
    source.and_then(|source| not_from(root, source, block.text))
}

/// Fails unless a text is JSON: one value, or one after the other.
fn json(text: &str) -> serde_json::Result<()> {
    serde_json::Deserializer::from_str(text).into_iter::<Value>().try_for_each(|value| value.map(drop))
}

/// Why a text is no excerpt of a file.
fn not_from(root: &Path, source: &str, text: &str) -> Option<String> {
    let Ok(whole) = fs::read_to_string(root.join(source)) else {
        return Some(format!("the block is from `{source}`, which cannot be read"));
    };
    let starts = whole.match_indices(text).map(|(at, _)| at);
    let is_excerpt =
        starts.into_iter().any(|at| at == 0 || whole.get(..at).is_some_and(|before| before.ends_with('\n')));
    (!is_excerpt).then(|| format!("the block is not what stands in `{source}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_says_what_it_is_and_is_that() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("a.rs"), "//! A.\nfn a() {}\nfn b() {}\n").unwrap();
        for (block, part) in [
            ("```\na\n```", "no language"),
            ("```perl\na\n```", "`perl` is no language"),
            ("```toml\na = 1\n```", "which file it shows"),
            ("```json\n{\"a\": …}\n```", "not JSON"),
            ("```console\nheddle run\n```", "no command"),
            ("```sh\n$ heddle run\n```", "behind `$`"),
            ("```rust from=a.rs\nfn c() {}\n```", "not what stands in `a.rs`"),
            ("```rust from=a.rs\nn a() {}\n```", "not what stands in `a.rs`"),
            ("```rust from=b.rs\nfn a() {}\n```", "cannot be read"),
        ] {
            let found = breaches(root.path(), block);
            assert!(
                found.len() == 1 && found[0].text.contains(part) && found[0].line == 1,
                "{block}: {found:?}"
            );
        }
        let sound = "```text\na\n```\n```toml handler\na = 1\n```\n```json\n{\"a\": \"b…\"}\n[1]\n```\n\
                     ```console\n$ heddle run\nINFO\n```\n```sh\nheddle run\n```\n\
                     ```rust from=a.rs\nfn a() {}\nfn b() {}\n```\n```rust from=a.rs\n//! A.\n```\n";
        assert_eq!(breaches(root.path(), sound), []);
    }
}
