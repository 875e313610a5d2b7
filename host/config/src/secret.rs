//! Texts that must not be shown: written in the file, or found elsewhere.

use std::path::Path;

use serde_spanned::Spanned;
use toml::de::DeValue;

use super::section::{Placed, Section};
use heddle_values::secret::{Given, Secret};

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
    if !is_env_name(name.value) {
        // It may be the secret itself.
        section.fault(name.span.clone(), "`env` should be the name of an environment variable");
        return None;
    }
    let why = match std::env::var(name.value) {
        Ok(value) => return Some(Secret::new(value)),
        // The library's own words would quote the value.
        Err(VarError::NotUnicode(_)) => "is not UTF-8",
        Err(VarError::NotPresent) => "is not set",
    };
    section.missing(name.span.clone(), format!("environment variable `{}` {why}", name.value));
    None
}

/// As Kubernetes takes them.
fn is_env_name(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(legal)
}
