//! What the program carries for new projects: the SDKs, the contract and the templates.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use rust_embed::Embed;
use toml::{Table, Value};

use super::Language;

/// The folder of a project that holds its copy of an SDK and of the contract.
pub(super) const SDK: &str = "heddle-sdk";

/// What is cut off the names of template files that would mislead tools in the repository.
const TEMPLATE: &str = ".tmpl";

#[derive(Embed)]
#[folder = "../../sdk"]
#[exclude = "*/tests/*"]
#[exclude = "*/node_modules/*"]
#[exclude = "*/__pycache__/*"]
#[exclude = "*.egg-info/*"]
#[exclude = "*/build/lib/*"]
#[exclude = "*/target/*"]
struct Sdks;

#[derive(Embed)]
#[folder = "../../wit"]
struct Contract;

#[derive(Embed)]
#[folder = "templates"]
struct Templates;

/// What the manifests of the repository have in common.
const WORKSPACE: &str = include_str!("../../../Cargo.toml");

/// The contract, as text.
pub(super) const WIT: &str = include_str!("../../../wit/heddle.wit");

/// Paths, and what is in the files.
pub(super) type Contents = BTreeMap<String, Cow<'static, [u8]>>;

/// Some SDKs and the contract, by their paths below a project's copy.
pub(super) fn sdks(folders: &BTreeSet<&str>) -> anyhow::Result<Contents> {
    let mut files = Contents::new();
    let is_asked = |path: &str| path.split_once('/').is_some_and(|(folder, _)| folders.contains(folder));
    for path in Sdks::iter().filter(|path| is_asked(path)) {
        let mut content = Sdks::get(&path).with_context(|| format!("`{path}` is not there"))?.data;
        if path == "rust/Cargo.toml" {
            content = Cow::Owned(standalone(std::str::from_utf8(&content)?, WORKSPACE)?.into_bytes());
        }
        files.insert(format!("sdk/{path}"), content);
    }
    for path in Contract::iter() {
        let content = Contract::get(&path).with_context(|| format!("`{path}` is not there"))?.data;
        files.insert(format!("wit/{path}"), content);
    }
    Ok(files)
}

/// The files of a template, and those that all templates have in common, with `values` in the place of their names.
pub(super) fn template(language: Language, values: &[(&str, &str)]) -> anyhow::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for folder in ["common/", &format!("{}/", language.template())] {
        for path in Templates::iter() {
            let Some(name) = path.strip_prefix(folder) else { continue };
            let content = Templates::get(&path).with_context(|| format!("`{path}` is not there"))?.data;
            let name = name.strip_suffix(TEMPLATE).unwrap_or(name);
            files.push((fill(name, values), fill(std::str::from_utf8(&content)?, values)));
        }
    }
    Ok(files)
}

/// A text with values in the place of `{{name}}`.
pub(super) fn fill(text: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), value))
}

/// A manifest that needs no workspace: what it takes from there stands in it.
fn standalone(manifest: &str, workspace: &str) -> anyhow::Result<String> {
    let mut manifest: Table = toml::from_str(manifest)?;
    let workspace: Table = toml::from_str(workspace)?;
    let shared = |table: &str, name: &str| {
        let found = workspace.get("workspace").and_then(|all| all.get(table)).and_then(|of| of.get(name));
        found.cloned().with_context(|| format!("the workspace has no `{table}.{name}`"))
    };
    manifest.remove("lints");
    let settle = |section: &mut Value, table: &str| -> anyhow::Result<()> {
        let Some(section) = section.as_table_mut() else { return Ok(()) };
        for (name, value) in section.iter_mut() {
            if value.get("workspace").and_then(Value::as_bool) == Some(true) {
                *value = shared(table, name)?;
            }
        }
        Ok(())
    };
    for (name, section) in manifest.iter_mut() {
        match name.as_str() {
            "package" => settle(section, "package")?,
            "dependencies" | "dev-dependencies" => settle(section, "dependencies")?,
            "target" => {
                for target in section.as_table_mut().into_iter().flat_map(|table| table.iter_mut()) {
                    if let Some(dependencies) = target.1.get_mut("dependencies") {
                        settle(dependencies, "dependencies")?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(toml::to_string(&manifest)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sdk(language: Language) -> Contents {
        sdks(&BTreeSet::from([language.sdk()])).unwrap()
    }

    #[test]
    fn the_sdk_of_rust_stands_alone() {
        let files = sdk(Language::Rust);
        assert!(files.contains_key("wit/heddle.wit"));
        let manifest = std::str::from_utf8(&files["sdk/rust/Cargo.toml"]).unwrap();
        assert!(!manifest.contains("workspace"), "{manifest}");
        assert!(manifest.contains("wit-bindgen"), "{manifest}");
    }

    #[test]
    fn only_the_sdk_of_the_language_is_written_and_none_of_its_tests() {
        for language in Language::ALL {
            let folder = format!("sdk/{}/", language.sdk());
            let files = sdk(language);
            assert!(files.len() > 2, "{language}");
            for path in files.keys() {
                assert!(path.starts_with(&folder) || path.starts_with("wit/"), "{path}");
                assert!(!path.contains("/tests/") && !path.contains("node_modules"), "{path}");
            }
        }
    }

    #[test]
    fn every_sdk_carries_its_licence_and_what_bindings_are_made_of() {
        for language in Language::ALL {
            let licence = format!("sdk/{}/LICENSE", language.sdk());
            assert!(
                String::from_utf8_lossy(&sdk(language)[&licence]).contains("Apache License"),
                "{licence}"
            );
        }
        for (language, path) in [
            (Language::Rust, "sdk/rust/wit/heddle.wit"),
            (Language::JavaScript, "sdk/js/wit/heddle.wit"),
            (Language::Python, "sdk/python/heddle/wit/heddle.wit"),
        ] {
            assert_eq!(&*sdk(language)[path], WIT.as_bytes(), "{path}");
        }
    }

    #[test]
    fn values_take_the_place_of_their_names() {
        assert_eq!(
            fill("a {{name}} and {{name}} in {{sdk}}", &[("name", "x"), ("sdk", "y")]),
            "a x and x in y"
        );
    }

    #[test]
    fn no_template_leaves_a_name_unfilled() {
        let values = [("name", "n"), ("sdk", "s"), ("handler", "h")];
        for language in Language::ALL {
            for (path, text) in template(language, &values).unwrap() {
                assert!(!text.contains("{{") && !path.ends_with(TEMPLATE), "{path}");
            }
        }
    }
}
