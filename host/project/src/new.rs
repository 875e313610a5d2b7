//! New projects.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{Error, Language, copy, files, recipes};

/// The longest name of a project.
const MAX_NAME: usize = 64;

/// Names that tools would take for something else.
const TAKEN: [&str; 8] = ["heddle", "heddle-sdk", "test", "tests", "src", "dist", "plugin", "main"];

/// A project that was made.
#[derive(Debug)]
pub struct Created {
    /// Every file, below the project's folder.
    pub files: Vec<PathBuf>,
    /// What is run once before the first build.
    pub install: &'static str,
    /// When that may be left out.
    pub unless: Option<&'static str>,
    /// The lines for the file of an application that is there already, in the folder above.
    pub handler: String,
}

/// Makes a project: a folder with a handler, its tests, and the SDK of its language, so that nothing else is needed.
///
/// # Errors
/// The name will not do, the folder is there already, or cannot be written.
pub fn create(folder: &Path, name: &str, language: Language) -> anyhow::Result<Created> {
    check_name(name)?;
    if folder.exists() {
        return Err(Error::Exists(folder.to_owned()).into());
    }
    let own = handler(name, language, None);
    let values = [("name", name), ("sdk", files::SDK), ("handler", &own)];
    let mut created = Vec::new();
    let mut write = |path: &str, content: &[u8]| -> anyhow::Result<()> {
        let file = folder.join(path);
        let parent = file.parent().context("a file lies in a folder")?;
        std::fs::create_dir_all(parent)
            .with_context(|| format!("failed to create `{}`", parent.display()))?;
        std::fs::write(&file, content).with_context(|| format!("failed to write `{}`", file.display()))?;
        created.push(path.into());
        Ok(())
    };
    for (path, content) in files::template(language, &values)? {
        write(&path, content.as_bytes())?;
    }
    for (path, content) in copy::contents(language)? {
        write(&format!("{}/{path}", files::SDK), &content)?;
    }
    created.sort();
    Ok(Created {
        files: created,
        install: recipes::install(language),
        unless: recipes::unless(language),
        handler: handler(name, language, Some(name)),
    })
}

/// A name that every tool takes: lower-case letters, digits and dashes.
fn check_name(name: &str) -> Result<(), Error> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(legal)
        && !name.ends_with('-')
        && name.len() <= MAX_NAME;
    if !fits {
        return Err(Error::Name(name.to_owned()));
    }
    if TAKEN.contains(&name) { Err(Error::Taken(name.to_owned())) } else { Ok(()) }
}

/// The lines of `heddle.toml` for the handler, for a file in its folder or in the one above.
fn handler(name: &str, language: Language, folder: Option<&str>) -> String {
    let below = folder.map_or(String::new(), |folder| format!("{folder}/"));
    let argument = folder.map_or(String::new(), |folder| format!(", \"{folder}\""));
    let instances = if language.is_compiled_small() {
        ""
    } else {
        "# An instance of this language takes long to create, so one serves many events.\ninstances = { reuse = 1000 }\n"
    };
    let watch: Vec<String> =
        recipes::watch(language).iter().map(|path| format!("\"{below}{path}\"")).collect();
    let watch = watch.join(", ");
    format!(
        "[handlers.{name}]\nplugin = \"{below}dist/{name}.wasm\"\nsubscribe = [\"order.placed.*\"]\nkey = \"{{subject.2}}\"\n\
         publishes = [\"gift.earned.*\"]\n{instances}\n# `heddle dev` builds it when it changes.\n\
         [handlers.{name}.build]\ncommand = [\"heddle\", \"build\"{argument}]\nwatch = [{watch}]"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_has_a_handler_its_tests_and_the_sdk() {
        let root = tempfile::tempdir().unwrap();
        for language in Language::ALL {
            let folder = root.path().join(language.template());
            let created = create(&folder, "loyalty", language).unwrap();
            for file in [
                "heddle.toml",
                "tests/gift.toml",
                ".gitignore",
                "heddle-sdk/wit/heddle.wit",
                "heddle-sdk/manifest.json",
            ] {
                assert!(
                    created.files.contains(&PathBuf::from(file)),
                    "{language}: {file}: {:?}",
                    created.files
                );
            }
            assert_eq!(super::super::Project::open(&folder).unwrap().language, language);
        }
        let error = create(root.path(), "loyalty", Language::C).unwrap_err().to_string();
        assert!(error.contains("is there already"), "{error}");
    }

    #[test]
    fn a_name_that_a_tool_would_not_take_is_refused() {
        for name in ["", "Loyalty", "9lives", "a_b", "a b", "../x", "heddle", "x-", &"x".repeat(65)] {
            assert!(check_name(name).is_err(), "{name}");
        }
        for name in ["loyalty", "order-2", "x"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
    }
}
