//! Templates: texts with `{{name}}` where a value goes.
//!
//! Fails for a name without a value, so that none is ever left in a package. Values are not looked into.

use anyhow::{Context as _, Result};

/// A template with its values.
pub(super) fn fill(text: &str, values: &[(&str, &str)]) -> Result<String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, behind) = after.split_once("}}").context("a `{{` is never closed")?;
        let value = values.iter().find(|(known, _)| *known == name);
        let (_, value) = value.with_context(|| format!("`{{{{{name}}}}}` has no value"))?;
        filled.push_str(before);
        filled.push_str(value);
        rest = behind;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_gets_its_value_and_values_are_left_alone() {
        assert_eq!(fill("{{a}} and {{a}}{{b}}", &[("a", "1"), ("b", "{{c}}")]).unwrap(), "1 and 1{{c}}");
    }

    #[test]
    fn a_name_without_a_value_is_a_fault() {
        assert_eq!(fill("{{a}}", &[]).unwrap_err().to_string(), "`{{a}}` has no value");
        assert!(fill("{{a", &[("a", "1")]).is_err());
    }
}
