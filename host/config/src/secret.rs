//! Texts that must not be shown: written in the file, or found elsewhere.
//!
//! Promises that a fault of the file shows its line without them.

use std::path::Path;

use serde_spanned::Spanned;
use toml::de::DeValue;

use super::section::{Placed, Section};
use heddle_values::secret::{Given, Secret};

/// Keys whose texts are hidden where a line is shown.
const HIDDEN: [&str; 2] = ["password", "token"];

/// A text, `{ env = "NAME" }` or `{ file = "path" }`.
pub(super) fn given(section: &mut Section<'_>, key: &'static str, folder: &Path) -> Option<Given> {
    let value = section.value(key)?;
    match value.get_ref() {
        DeValue::String(text) => Some(Given::Text(Secret::new(&**text))),
        DeValue::Table(_) => elsewhere(section, key, value, folder),
        _ => {
            section.wrong_type(key, value, "a text, { env = \"NAME\" } or { file = \"path\" }");
            None
        }
    }
}

/// `{ env = "NAME" }` or `{ file = "path" }`.
pub(super) fn elsewhere<'a>(
    section: &Section<'a>,
    key: &str,
    value: &'a Spanned<DeValue<'a>>,
    folder: &Path,
) -> Option<Given> {
    let mut table = section.as_section(key, value)?;
    let (env, file) = (table.text("env"), table.text("file"));
    let given = match (env, file) {
        (Some(env), None) => {
            let value = env_value(&table, &env);
            Some(Given::Env { name: env.value.to_owned(), value })
        }
        (None, Some(file)) => Some(Given::File(folder.join(file.value))),
        _ => {
            let wanted = format!("`{key}` should be {{ env = \"NAME\" }} or {{ file = \"path\" }}");
            table.fault(value.span(), wanted);
            None
        }
    };
    table.finish();
    given
}

#[expect(clippy::disallowed_methods, reason = "configuration is where the environment is read")]
pub(super) fn env_value(section: &Section<'_>, name: &Placed<&str>) -> Option<Secret> {
    use std::env::VarError;
    let why = match std::env::var(name.value) {
        Ok(value) => return Some(Secret::new(value)),
        // The library's own words would quote the value.
        Err(VarError::NotUnicode(_)) => "is not UTF-8",
        Err(VarError::NotPresent) => "is not set",
    };
    section.missing(name.span.clone(), format!("environment variable `{}` {why}", name.value));
    None
}

/// A line of the file as it may be shown: without logins in URLs, and without the texts of keys that hold secrets.
pub(super) fn hide(line: &str) -> String {
    let mut shown = line.to_owned();
    if let Some((begin, end)) = login(&shown) {
        shown.replace_range(begin..end, "***");
    }
    let first = HIDDEN.iter().filter_map(|key| first_text(&shown, key)).min();
    if let Some(text) = first {
        shown.truncate(text);
        shown.push_str(" ***");
    }
    shown
}

/// Where the first text of a key begins, behind the `=`.
fn first_text(line: &str, key: &str) -> Option<usize> {
    line.match_indices(key).find_map(|(at, _)| {
        let rest = line.get(at + key.len()..)?;
        let value = rest.trim_start_matches(['"', '\'', ' ', '\t']).strip_prefix('=')?;
        // Where it stands elsewhere the line says only where.
        (!value.trim_start().starts_with('{')).then_some(line.len() - value.len())
    })
}

/// Where the logins of a line are: from the first scheme, or else the first quote, to the last `@`.
fn login(line: &str) -> Option<(usize, usize)> {
    let end = line.rfind('@')?;
    let before = line.get(..end)?;
    if !before.contains("url") && !before.contains("://") {
        return None;
    }
    let begin = before.find("://").map(|at| at + 3).or_else(|| before.find(['"', '\'']).map(|at| at + 1))?;
    Some((begin, end))
}

#[cfg(test)]
mod tests {
    use super::hide;

    #[test]
    fn a_line_of_the_file_is_shown_without_secrets() {
        for (line, shown) in [
            (r#"url = "nats://app:s3cret@a,nats://app:s3cret@b""#, r#"url = "nats://***@b""#),
            (r#"url = "s3cret@a""#, r#"url = "***@a""#),
            (r#"nats = { user = "app", password = "s3cret" }"#, r#"nats = { user = "app", password = ***"#),
            (r#""token"="s3cret""#, r#""token"= ***"#),
            (r#"token = { env = "NAME" }"#, r#"token = { env = "NAME" }"#),
            (
                r#"nats = { user = "password", password = "s3cret" }"#,
                r#"nats = { user = "password", password = ***"#,
            ),
            (r#"{ tokens = 1, token = "s3cret" }"#, r#"{ tokens = 1, token = ***"#),
            (
                r#"{ token = { env = "A" }, password = "s3cret" }"#,
                r#"{ token = { env = "A" }, password = ***"#,
            ),
            (r#"{ token = "s3cret", password = { env = "A" } }"#, r#"{ token = ***"#),
            (r#"key = "{payload./token}""#, r#"key = "{payload./token}""#),
            (r#"plugin = "oci:a/b@sha256:00""#, r#"plugin = "oci:a/b@sha256:00""#),
        ] {
            assert_eq!(hide(line), shown);
        }
    }
}
