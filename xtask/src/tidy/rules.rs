//! The rules, over the text of one file.

use super::mask::mask;

/// A file is split before it has so many lines, its tests not counted.
const LONGEST_FILE: usize = 400;

/// A function is split before it has more lines.
const LONGEST_FUNCTION: usize = 60;

/// A reason stands within so many lines of its attribute.
const ATTRIBUTE_LINES: usize = 6;

/// Folders that are of one machine.
const MACHINE_FOLDERS: [&str; 3] = ["root", "home", "work"];

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Breach {
    pub(super) line: usize,
    pub(super) text: String,
}

impl Breach {
    fn new(line: usize, text: impl Into<String>) -> Self {
        Self { line, text: text.into() }
    }
}

/// Every breach in a file.
pub(super) fn breaches(text: &str, is_rust: bool) -> Vec<Breach> {
    let mut found = machine_paths(text);
    if is_rust {
        let code = mask(text);
        found.extend(module_doc(text));
        found.extend(file_length(&code));
        found.extend(forbidden(&code));
        found.extend(bare_allow(&code));
        found.extend(function_length(&code));
        found.sort_by_key(|breach| breach.line);
    }
    found
}

/// Paths that exist on one machine only.
fn machine_paths(text: &str) -> Vec<Breach> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for path in MACHINE_FOLDERS.map(|folder| format!("/{folder}/")) {
            // Inside of a longer path or an address it is no path of the machine.
            let absolute = |at: usize| {
                let before = line.get(..at).and_then(|start| start.chars().next_back());
                !before.is_some_and(|c| c.is_alphanumeric() || "./-_~}*".contains(c))
            };
            if line.match_indices(&path).any(|(at, _)| absolute(at)) {
                found.push(Breach::new(number + 1, format!("`{path}` exists on one machine only")));
            }
        }
    }
    found
}

/// The first thing in a file, but for blank lines and inner attributes, is its module doc.
fn module_doc(text: &str) -> Option<Breach> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("#!"));
    match lines.next() {
        Some(line) if line.starts_with("//!") => None,
        _ => Some(Breach::new(1, "the file begins without a module doc (`//!`)")),
    }
}

fn file_length(code: &str) -> Option<Breach> {
    let lines: Vec<_> = code.lines().map(str::trim).collect();
    let tests = lines.windows(2).position(|pair| match pair {
        [attribute, module] => {
            *attribute == "#[cfg(test)]" && module.contains("mod ") && module.ends_with('{')
        }
        _ => false,
    });
    let length = tests.unwrap_or(lines.len());
    let text = format!("{length} lines before the tests; split the file below {LONGEST_FILE}");
    (length >= LONGEST_FILE).then(|| Breach::new(length, text))
}

/// Things that must not be left in.
fn forbidden(code: &str) -> Vec<Breach> {
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let words = ["#[ignore", "todo!", "unimplemented!"];
        for word in words.into_iter().filter(|word| line.contains(word)) {
            found.push(Breach::new(number + 1, format!("`{word}` must not be left in")));
        }
    }
    found
}

/// A lint is silenced with `expect` and a reason; `allow`, where it must be, has a reason too.
fn bare_allow(code: &str) -> Vec<Breach> {
    let lines: Vec<_> = code.lines().collect();
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let attribute = line.contains("#[") || line.contains("#![");
        let Some((_, rest)) = line.split_once("allow(").filter(|_| attribute) else { continue };
        let following = lines.iter().skip(number + 1).take(ATTRIBUTE_LINES).copied();
        let mut whole = std::iter::once(rest)
            .chain(following)
            .map(|line| line.split_once(")]").map_or((line, false), |(l, _)| (l, true)));
        let mut reason = false;
        for (part, last) in whole.by_ref() {
            reason |= part.contains("reason");
            if last {
                break;
            }
        }
        if !reason {
            found.push(Breach::new(number + 1, "`allow` without a reason; better `expect`, with one"));
        }
    }
    found
}

/// Counts braces from each `fn`; good enough for formatted code.
fn function_length(code: &str) -> Vec<Breach> {
    let lines: Vec<_> = code.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let Some(length) = body_length(lines.get(start..).unwrap_or_default()) else { continue };
        if length > LONGEST_FUNCTION {
            let text = format!("`{name}` has {length} lines; split it at {LONGEST_FUNCTION}");
            found.push(Breach::new(start + 1, text));
        }
    }
    found
}

/// The name of the function that begins in a line.
fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let begins = before.is_empty() || before.ends_with(' ');
    let end = after.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    after.get(..end).filter(|name| begins && !name.is_empty())
}

/// The number of lines from the first to the one in which the first opened brace closes; none without a body.
fn body_length(lines: &[&str]) -> Option<usize> {
    let mut depth = 0_usize;
    for (number, line) in lines.iter().enumerate() {
        for c in line.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth <= 1 => return (depth == 1).then_some(number + 1),
                '}' => depth -= 1,
                ';' if depth == 0 && line.trim_end().ends_with(';') => return None,
                _ => {}
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a Rust file that break a rule.
    fn lines(text: &str) -> Vec<usize> {
        breaches(text, true).into_iter().map(|breach| breach.line).collect()
    }

    fn function(lines: usize) -> String {
        format!("//! Doc.\nfn long() {{\n{}}}\n", "    f();\n".repeat(lines - 2))
    }

    #[test]
    fn a_file_begins_with_its_doc() {
        assert_eq!(lines("\n#![forbid(unsafe_code)]\n//! Doc.\nfn f() {}\n"), [0; 0]);
        assert_eq!(lines("// Comment.\n//! Doc.\n"), [1]);
        assert_eq!(lines(""), [1]);
    }

    #[test]
    fn a_file_has_fewer_than_400_lines_before_its_tests() {
        let code = |lines: usize| format!("//! Doc.\n{}", "\n".repeat(lines - 1));
        assert_eq!(lines(&code(399)), [0; 0]);
        assert_eq!(lines(&code(400)), [400]);
        assert_eq!(
            lines(&format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", code(399), "\n".repeat(500))),
            [0; 0]
        );
        assert_eq!(lines(&format!("//! Doc.\n#[cfg(test)]\nmod tests;\n{}", "\n".repeat(500))), [503]);
    }

    #[test]
    fn a_function_has_at_most_60_lines() {
        assert_eq!(lines(&function(60)), [0; 0]);
        assert_eq!(lines(&function(61)), [2]);
        assert_eq!(
            lines(&format!("//! Doc.\ntrait T {{\n    fn none(a: [u8; 2]);\n{}}}\n", "\n".repeat(90))),
            [0; 0]
        );
    }

    #[test]
    fn braces_in_strings_and_comments_do_not_count() {
        let text = function(60).replacen("f();", "f(\"{\", '{', r#\"\"{\"#); // {", 1);
        assert_eq!(lines(&text), [0; 0]);
    }

    #[test]
    fn nothing_forbidden_is_left_in() {
        let ignore = ["#[", "ignore]"].concat();
        assert_eq!(lines(&format!("//! Doc.\n{ignore}\nfn f() {{\n    todo!()\n}}\n")), [2, 4]);
        assert_eq!(lines("//! Doc.\n// todo!\nconst A: &str = \"todo!\";\n"), [0; 0]);
    }

    #[test]
    fn an_allow_has_a_reason() {
        assert_eq!(lines("//! Doc.\n#[allow(dead_code)]\nfn reason() {}\n"), [2]);
        assert_eq!(lines("//! Doc.\n#[allow(dead_code, reason = \"why\")]\nfn f() {}\n"), [0; 0]);
        assert_eq!(
            lines("//! Doc.\n#![allow(\n    dead_code,\n    reason = \"why\"\n)]\nfn f() {}\n"),
            [0; 0]
        );
        assert_eq!(lines("//! Doc.\nfn f() {\n    allow(1);\n}\n"), [0; 0]);
    }

    #[test]
    fn no_path_is_of_one_machine() {
        for folder in MACHINE_FOLDERS {
            let path = format!("/{folder}/me");
            assert_eq!(breaches(&format!("a\nsee `{path}`\n"), false).len(), 1);
            assert_eq!(breaches(&format!("{path}\n"), false).len(), 1);
            assert_eq!(breaches(&format!("https://example.org{path} and ./a{path}\n"), false), []);
        }
    }
}
