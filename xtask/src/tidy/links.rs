//! Links and paths in documents: what they name must be there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::markdown::prose;
use super::rules::Breach;

/// Every link of a document that leads nowhere: to a file or to a heading that is not there.
pub(super) fn breaches(file: &Path, text: &str) -> Vec<Breach> {
    let folder = file.parent().unwrap_or(file);
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        for target in targets(line) {
            if let Some(fault) = fault(file, folder, target) {
                found.push(Breach { line: number, text: format!("link `{target}` {fault}") });
            }
        }
    }
    found
}

/// Every file of code that a document names in backticks and that is not there. `flow/store.rs` is short for
/// `host/flow/src/store.rs`.
pub(super) fn missing_code(root: &Path, text: &str) -> Vec<Breach> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let quoted = line.split('`').skip(1).step_by(2);
        for path in
            quoted.filter(|quoted| quoted.ends_with(".rs") && quoted.contains('/') && !quoted.contains('{'))
        {
            let (first, rest) = path.split_once('/').unwrap_or((path, ""));
            let short = root.join("host").join(first).join("src").join(rest);
            let is_ours = root.join(first).is_dir() || root.join("host").join(first).is_dir();
            if is_ours && !root.join(path).exists() && !short.exists() {
                found.push(Breach { line: number, text: format!("`{path}` is not there") });
            }
        }
    }
    found
}

/// What the links of a line lead to, without those that leave the tree.
pub(super) fn targets(line: &str) -> impl Iterator<Item = &str> {
    let links = line.match_indices("](").filter_map(|(at, opening)| {
        let rest = line.get(at + opening.len()..)?;
        rest.split([')', ' ']).next()
    });
    let is_local =
        |target: &&str| !target.contains("://") && !target.starts_with("mailto:") && !target.is_empty();
    links.chain(definition(line)).filter(is_local)
}

/// What the definition of a link leads to, as in `[name]: target`.
fn definition(line: &str) -> Option<&str> {
    let (_, target) = line.strip_prefix('[')?.split_once("]: ")?;
    target.split_whitespace().next()
}

/// Why a link leads nowhere.
fn fault(file: &Path, folder: &Path, target: &str) -> Option<&'static str> {
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let place = if path.is_empty() { file.to_owned() } else { folder.join(path) };
    if !place.exists() {
        return Some("leads to no file");
    }
    let is_heading = || headings(&place).contains(heading);
    (!heading.is_empty() && !is_heading()).then_some("leads to no heading")
}

/// The headings of a document, as links name them: the second of two equal ones ends with `-1`.
fn headings(file: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let titles = prose(&text).filter_map(|(_, line)| line.strip_prefix('#'));
    let mut found = BTreeSet::new();
    for title in titles {
        let slug = slug(title.trim_start_matches('#').trim());
        let equal = (1..).map(|number| format!("{slug}-{number}"));
        let free = std::iter::once(slug.clone()).chain(equal).find(|slug| !found.contains(slug));
        found.extend(free);
    }
    found
}

fn slug(title: &str) -> String {
    let kept = |c: char| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c.to_ascii_lowercase()),
        _ => None,
    };
    title.chars().filter_map(kept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_that_is_named_and_not_there_is_found() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("host/flow/src")).unwrap();
        fs::write(root.path().join("host/flow/src/store.rs"), "").unwrap();
        let text = "`flow/store.rs` `host/flow/src/store.rs` `other/x.rs` `flow/gone.rs`\n`a.rs`\n";
        let found: Vec<String> =
            missing_code(root.path(), text).into_iter().map(|breach| breach.text).collect();
        assert_eq!(found, ["`flow/gone.rs` is not there"]);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found_and_no_other() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("other.md"), "# Other\n\n## `dl` and friends, too\n## Other\n").unwrap();
        let text = "# A title\n[a](other.md) [b](other.md#dl-and-friends-too) [c](#a-title) [d](https://x.y/z)\n\
                    ```\n[no](link.md)\n```\n[e](gone.md) [f](other.md#gone) [g](#gone) [h](other.md#other-1)\n\
                    [i]: other.md#other-1\n[j]: other.md#other-2 \"title\"\n";
        let file = root.path().join("one.md");
        fs::write(&file, text).unwrap();
        let found: Vec<(usize, String)> =
            breaches(&file, text).into_iter().map(|breach| (breach.line, breach.text)).collect();
        let expected = [
            (6, "link `gone.md` leads to no file"),
            (6, "link `other.md#gone` leads to no heading"),
            (6, "link `#gone` leads to no heading"),
            (8, "link `other.md#other-2` leads to no heading"),
        ];
        assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
    }
}
