//! What a project's component is called: as heddle.toml says, in every language. A folder may be renamed.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::{Language, OUTPUT};

/// The file of an application.
const APPLICATION: &str = "heddle.toml";

/// The name of a project's component: that which a heddle.toml in its folder or above names, else that of the language's
/// own file, else that of the folder.
pub(super) fn of(folder: &Path, language: Language) -> Option<String> {
    let of_folder = || folder.file_name().map(|name| name.to_string_lossy().into_owned());
    named(folder).or_else(|| own(folder, language)).or_else(of_folder)
}

/// The name that the tools of a language give to what they make, where they choose one.
pub(super) fn own(folder: &Path, language: Language) -> Option<String> {
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).ok();
    match language {
        Language::TypeScript | Language::JavaScript => {
            let package: serde_json::Value = serde_json::from_str(&read("package.json")?).ok()?;
            // Without the scope, as in `@shop/loyalty`.
            Some(package.get("name")?.as_str()?.rsplit('/').next()?.to_owned())
        }
        Language::Python => {
            let project: toml::Table = read("pyproject.toml")?.parse().ok()?;
            Some(project.get("project")?.get("name")?.as_str()?.to_owned())
        }
        Language::Rust | Language::Go | Language::C => None,
    }
}

/// The one component in the folder's `dist` that the nearest heddle.toml names which names any.
fn named(folder: &Path) -> Option<String> {
    let output = folder.join(OUTPUT);
    for above in folder.ancestors() {
        let Ok(text) = std::fs::read_to_string(above.join(APPLICATION)) else { continue };
        // Whatever else is wrong with it, `heddle check` says.
        let Ok(application) = text.parse::<toml::Table>() else { continue };
        let handlers = application.get("handlers").and_then(toml::Value::as_table);
        let plugins = handlers.into_iter().flat_map(toml::Table::values);
        let plugins = plugins.filter_map(|handler| handler.get("plugin")?.as_str());
        let names: BTreeSet<String> =
            plugins.filter_map(|plugin| name_in(&output, &plain(&above.join(plugin)))).collect();
        match names.len() {
            0 => {}
            1 => return names.into_iter().next(),
            // Several handlers of one folder: the file does not say which one is built.
            _ => return None,
        }
    }
    None
}

/// The name of a component that lies in a folder.
fn name_in(output: &Path, plugin: &Path) -> Option<String> {
    let file = plugin.strip_prefix(output).ok()?.to_str()?;
    // What follows an `@` is a digest.
    let file = file.split('@').next().unwrap_or(file);
    Some(file.strip_suffix(".wasm")?.to_owned()).filter(|name| !name.contains('/') && !name.is_empty())
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => _ = plain.pop(),
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::create;

    #[test]
    fn a_project_whose_folder_was_renamed_keeps_the_name_that_heddle_toml_has() {
        let root = tempfile::tempdir().unwrap();
        for language in Language::ALL {
            let before = root.path().join(format!("a-{}", language.template()));
            let after = root.path().join(format!("b-{}", language.template()));
            create(&before, "loyalty", language).unwrap();
            std::fs::rename(&before, &after).unwrap();
            assert_eq!(of(&after, language).as_deref(), Some("loyalty"), "{language}");
        }
    }

    #[test]
    fn an_application_above_names_the_components_of_its_projects() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("b");
        std::fs::create_dir_all(&folder).unwrap();
        let name = |text: &str| {
            std::fs::write(root.path().join(APPLICATION), text).unwrap();
            of(&folder, Language::Go).unwrap()
        };
        assert_eq!(
            name("[handlers.x]\nplugin = \"./b/dist/a.wasm\"\n[handlers.y]\nplugin = \"c/dist/c.wasm\""),
            "a"
        );
        assert_eq!(name("[handlers.x]\nplugin = \"b/dist/a.wasm@sha256:00\""), "a");
        assert_eq!(
            name("[handlers.x]\nplugin = \"b/dist/a.wasm\"\n[handlers.y]\nplugin = \"b/dist/c.wasm\""),
            "b"
        );
        assert_eq!(name("[handlers.x]\nplugin = \"oci:r/a:1\""), "b");
        assert_eq!(name("not TOML"), "b");
    }

    #[test]
    fn without_an_application_the_language_s_own_file_counts() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("package.json"), "{\"name\": \"@shop/loyalty\"}").unwrap();
        std::fs::write(root.path().join("pyproject.toml"), "[project]\nname = \"gift\"\n").unwrap();
        assert_eq!(of(root.path(), Language::JavaScript).as_deref(), Some("loyalty"));
        assert_eq!(of(root.path(), Language::Python).as_deref(), Some("gift"));
    }
}
