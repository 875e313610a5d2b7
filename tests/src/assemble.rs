//! From the text of a guest to the bytes of a component.
//!
//! A guest is one of these:
//! - a whole `(component …)` or `(module …)`, which is taken as it is;
//! - otherwise the fields of a core module, as few as make it hostile. What it names and does not define comes from
//!   `library.wat`, and a component of the world in `wasi.wit` is made of it.
//!
//! Three abbreviations keep guests short: `(@text "…")` is the place and the length of a text that is put into the
//! memory, `(@repeat N …)` is its content N times, with `@this` and `@next` for numbers that count from 0 and 1, and `(@nest N "open" "close" …)` is N times `open`, the
//! content, and as many times `close`.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Where texts begin in a guest's memory.
const TEXTS: usize = 1024;

/// Makes a component, or whatever else the text says.
pub fn assemble(text: &str) -> Result<Vec<u8>> {
    let text = expand(text)?;
    let guest = fields(&text)?;
    if let [whole] = guest.as_slice()
        && (whole.starts_with("(component") || whole.starts_with("(module"))
    {
        return Ok(wat::parse_str(whole)?);
    }
    let mut core = wat::parse_str(link(&guest)?).context("the guest is no module")?;
    let mut wit = Resolve::default();
    wit.push_source("heddle.wit", include_str!("../../wit/heddle.wit"))?;
    let package = wit.push_source("wasi.wit", include_str!("../hostile/wasi.wit"))?;
    let world = wit.select_world(&[package], Some("guest"))?;
    // Names as the contract writes them, not in their canonical form.
    embed_component_metadata(&mut core, &wit, world, StringEncoding::UTF8, false)?;
    // What is wrong with a guest is for the host to find.
    ComponentEncoder::default().validate(false).module(&core)?.encode()
}

/// The module of a guest's fields and of what they need of the library.
fn link(guest: &[&str]) -> Result<String> {
    let library = fields(include_str!("../hostile/library.wat"))?;
    let defined: BTreeSet<&str> = guest.iter().filter_map(|field| name(field)).collect();
    let (exports, library): (Vec<&str>, Vec<&str>) =
        library.into_iter().partition(|field| field.starts_with("(export"));
    let mut chosen: Vec<&str> = guest.iter().copied().chain(exports).collect();
    let mut seen = 0;
    while let Some(field) = chosen.get(seen) {
        seen += 1;
        for mention in mentions(field) {
            let wanted = |known: &&&str| name(known) == Some(mention) && !chosen.contains(known);
            if !defined.contains(mention)
                && let Some(found) = library.iter().find(wanted)
            {
                chosen.push(found);
            }
        }
    }
    let (imports, rest): (Vec<&str>, Vec<&str>) =
        chosen.into_iter().partition(|field| field.starts_with("(import"));
    Ok(format!("(module\n{}\n{}\n)", imports.join("\n"), place_texts(&rest.join("\n"))?))
}

/// The parts of a text that stand in parentheses of their own.
fn fields(text: &str) -> Result<Vec<&str>> {
    let (mut fields, mut at) = (Vec::new(), 0);
    while let Some(start) = next_open(text, at) {
        let end = closing(text, start)?;
        fields.push(text.get(start..end).context("a field begins and ends at parentheses")?);
        at = end;
    }
    Ok(fields)
}

/// Where the next parenthesis opens, comments passed over.
fn next_open(text: &str, from: usize) -> Option<usize> {
    let mut tokens = Tokens { text, at: from };
    tokens.find_map(|(at, c)| (c == '(').then_some(at))
}

/// Behind the parenthesis that closes the one at `start`.
fn closing(text: &str, start: usize) -> Result<usize> {
    let mut depth = 0_usize;
    for (at, c) in (Tokens { text, at: start }) {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return Ok(at + 1),
            ')' => depth -= 1,
            _ => {}
        }
    }
    bail!(
        "a parenthesis is never closed: {:?}",
        text.get(start..).map(|rest| rest.chars().take(60).collect::<String>())
    )
}

/// The parentheses of a text that stand neither in a string nor in a comment.
struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl Iterator for Tokens<'_> {
    type Item = (usize, char);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.text.as_bytes();
        loop {
            let at = self.at;
            match bytes.get(at)? {
                b';' if bytes.get(at + 1) == Some(&b';') => {
                    self.at += self.text.get(at..)?.find('\n')?;
                }
                b'"' => self.at = string_end(self.text, at)?,
                b'(' => {
                    self.at += 1;
                    return Some((at, '('));
                }
                b')' => {
                    self.at += 1;
                    return Some((at, ')'));
                }
                _ => self.at += 1,
            }
        }
    }
}

/// Behind the string that begins at `start`.
fn string_end(text: &str, start: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = start + 1;
    loop {
        match bytes.get(at)? {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
}

/// What a field defines, if it has a name.
fn name(field: &str) -> Option<&str> {
    let named = field.starts_with("(import") || field.split_whitespace().nth(1)?.starts_with('$');
    mentions(field).next().filter(|_| named)
}

/// The names in a field.
fn mentions(field: &str) -> impl Iterator<Item = &str> {
    field.split('$').skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        rest.get(..end).filter(|name| !name.is_empty())
    })
}

/// Carries out `@repeat` and `@nest`.
fn expand(text: &str) -> Result<String> {
    let Some((start, kind)) =
        ["(@repeat ", "(@nest "].iter().find_map(|kind| Some((text.find(kind)?, *kind)))
    else {
        return Ok(text.to_owned());
    };
    let end = closing(text, start)?;
    let inner = text.get(start + kind.len()..end - 1).context("an abbreviation has content")?;
    let (times, inner) = inner.split_once(' ').context("a number of times")?;
    let times: usize = times.parse()?;
    let expanded = if kind.starts_with("(@repeat") {
        repeat(&expand(inner)?, times)
    } else {
        let middle = string_end(inner, 0).context("what opens")?;
        let (open, rest) = inner.split_at(middle);
        let rest = rest.trim_start();
        let (close, content) = rest.split_at(string_end(rest, 0).context("what closes")?);
        let open = open.trim_matches('"').repeat(times);
        format!("{open}{}{}", expand(content)?, close.trim_matches('"').repeat(times))
    };
    let (before, after) = (text.get(..start).unwrap_or_default(), text.get(end..).unwrap_or_default());
    expand(&format!("{before}{expanded}{after}"))
}

/// A text N times, `@this` and `@next` being the number of the time.
fn repeat(text: &str, times: usize) -> String {
    if !text.contains("@this") {
        return text.repeat(times);
    }
    let write = |n: usize| text.replace("@this", &n.to_string()).replace("@next", &(n + 1).to_string());
    (0..times).map(write).collect()
}

/// Puts every `@text` into the memory.
fn place_texts(text: &str) -> Result<String> {
    const MARK: &str = "(@text ";
    let (mut placed, mut data, mut place) = (String::new(), String::new(), TEXTS);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(MARK) {
        let end = string_end(after, 0).context("a text is a string")?;
        let (string, behind) = after.split_at(end);
        let length = length(string);
        ensure!(place + length < 16_384, "the texts of a guest are too long");
        placed.push_str(&format!("{before}(i32.const {place}) (i32.const {length})"));
        data.push_str(&format!("(data (i32.const {place}) {string})\n"));
        place += length;
        rest = behind.strip_prefix(')').context("a text is one string")?;
    }
    Ok(format!("{placed}{rest}\n{data}"))
}

/// How many bytes a quoted string of the text format has.
fn length(string: &str) -> usize {
    let inner = string.trim_matches('"').as_bytes();
    let (mut at, mut length) = (0, 0);
    while let Some(byte) = inner.get(at) {
        let hex = inner.get(at + 1).is_some_and(u8::is_ascii_hexdigit);
        at += match byte {
            b'\\' if hex => 3,
            b'\\' => 2,
            _ => 1,
        };
        length += 1;
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abbreviations_are_written_out() {
        assert_eq!(expand("a (@repeat 3 (b)) c").unwrap(), "a (b)(b)(b) c");
        assert_eq!(expand("(@repeat 2 @this-@next )").unwrap(), "0-1 1-2 ");
        assert_eq!(expand("(@nest 2 \"(x \" \")\" y)").unwrap(), "(x (x  y))");
        let placed = place_texts("(f (@text \"a\\0d\\n\")) (@text \"b\")").unwrap();
        assert!(
            placed.starts_with("(f (i32.const 1024) (i32.const 3)) (i32.const 1027) (i32.const 1)"),
            "{placed}"
        );
    }

    #[test]
    fn fields_are_found_beside_comments_and_strings() {
        let found = fields(";; ( no\n(a \")\" (b)) ;; )\n(c)").unwrap();
        assert_eq!(found, ["(a \")\" (b))", "(c)"]);
        assert!(fields("(a").is_err());
    }

    #[test]
    fn a_guest_gets_what_it_names_and_keeps_what_it_defines() {
        let guest = ["(memory $memory 9)", "(func $handle (type $event) (call $retry (@text \"x\")))"];
        let module = link(&guest).unwrap();
        assert!(module.contains("(memory $memory 9)") && !module.contains("(memory $memory 2)"));
        assert!(module.contains("(func $fail"), "what a helper needs comes too");
        assert!(!module.contains("$publish"), "nothing comes that nobody names");
    }
}
