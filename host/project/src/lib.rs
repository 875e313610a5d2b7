//! Projects: folders in which a handler is written, in one of the languages that have an SDK.

mod component;
mod copy;
mod error;
mod files;
mod name;
mod new;
mod recipes;
mod tools;
mod wasi_clock;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Context;

pub use copy::{Age, Change, Kind, Plan, SdkCopy, VERSION, notes};
pub use error::Error;
pub use new::{Created, create};
pub use recipes::{look_for_tools, make};

/// Where components are put, below a project's folder.
const OUTPUT: &str = "dist";

/// A language that handlers can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    /// A project with Cargo.toml; built with cargo, for the target `wasm32-wasip2`.
    Rust,
    /// A project with package.json and tsconfig.json; built with Node.js 20 or newer.
    #[value(name = "ts", alias = "typescript")]
    TypeScript,
    /// A project with package.json and no tsconfig.json; built with Node.js 20 or newer.
    #[value(name = "js", alias = "javascript")]
    JavaScript,
    /// A project with requirements.txt or pyproject.toml; built with Python 3.10 or newer.
    Python,
    /// A project with go.mod; built with Go 1.27 or newer.
    Go,
    /// A project with C files in its folder `src`; built with Zig 0.17.
    C,
}

impl Language {
    /// All of them.
    pub const ALL: [Language; 6] = [
        Language::Rust,
        Language::TypeScript,
        Language::JavaScript,
        Language::Python,
        Language::Go,
        Language::C,
    ];

    /// The folder of its template.
    fn template(self) -> &'static str {
        match self {
            Language::Rust => "rust",
            Language::TypeScript => "ts",
            Language::JavaScript => "js",
            Language::Python => "python",
            Language::Go => "go",
            Language::C => "c",
        }
    }

    /// The folder of its SDK.
    fn sdk(self) -> &'static str {
        match self {
            Language::TypeScript | Language::JavaScript => "js",
            other => other.template(),
        }
    }

    /// Whether a new instance is cheap enough for every event to have one.
    fn is_compiled_small(self) -> bool {
        matches!(self, Language::Rust | Language::C)
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Language::Rust => "Rust",
            Language::TypeScript => "TypeScript",
            Language::JavaScript => "JavaScript",
            Language::Python => "Python",
            Language::Go => "Go",
            Language::C => "C",
        })
    }
}

/// A folder with a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// The absolute path of the folder, without links.
    pub folder: PathBuf,
    /// The language, which decides about the tools that build it.
    pub language: Language,
    /// The name of the component.
    pub name: String,
}

impl Project {
    /// The project in a folder, by the files of its language.
    ///
    /// # Errors
    /// The folder holds no project that is known.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let folder =
            folder.canonicalize().map_err(|cause| Error::Unreadable { folder: folder.to_owned(), cause })?;
        let has = |file: &str| folder.join(file).is_file();
        let language = if has("Cargo.toml") {
            Language::Rust
        } else if has("package.json") {
            if has("tsconfig.json") { Language::TypeScript } else { Language::JavaScript }
        } else if has("go.mod") {
            Language::Go
        } else if !recipes::c_sources(&folder)?.is_empty() {
            Language::C
        } else if has("requirements.txt") || has("pyproject.toml") {
            Language::Python
        } else {
            return Err(Error::NoProject(folder).into());
        };
        let name = name::of(&folder, language).context("the folder has no name")?;
        Ok(Project { folder, language, name })
    }

    /// Where the component is put.
    pub fn output(&self) -> PathBuf {
        self.folder.join(OUTPUT).join(format!("{}.wasm", self.name))
    }

    /// Where the tools of a language put it that have a name of their own for it.
    fn made(&self) -> PathBuf {
        let own = name::own(&self.folder, self.language);
        let of_folder = || self.folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = own.or_else(of_folder).unwrap_or_default();
        self.folder.join(OUTPUT).join(format!("{name}.wasm"))
    }

    /// Where what is made on the way is put.
    fn workshop(&self) -> PathBuf {
        self.folder.join(".heddle").join("build")
    }

    /// The folder that holds the SDK (`sdk`) and the contract (`wit`) of this project: its copy, or the checkout of
    /// Heddle that it lies in.
    ///
    /// # Errors
    /// There is none.
    fn sdk_root(&self) -> anyhow::Result<PathBuf> {
        let is_root = |folder: &Path| {
            folder.join("wit/heddle.wit").is_file() && folder.join("sdk").join(self.language.sdk()).is_dir()
        };
        let candidates =
            self.folder.ancestors().flat_map(|folder| [folder.join(files::SDK), folder.to_owned()]);
        candidates.into_iter().find(|folder| is_root(folder)).with_context(|| {
            format!(
                "no `{}` with the SDK for {} in `{}` or above it: `heddle new` writes one into the projects it makes",
                files::SDK,
                self.language,
                self.folder.display()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_known_by_the_files_of_its_language() {
        let root = tempfile::tempdir().unwrap();
        for (file, language) in [
            ("Cargo.toml", Language::Rust),
            ("package.json", Language::JavaScript),
            ("go.mod", Language::Go),
            ("requirements.txt", Language::Python),
            ("src/handler.c", Language::C),
        ] {
            let folder = root.path().join(format!("of-{language:?}"));
            std::fs::create_dir_all(folder.join("src")).unwrap();
            std::fs::write(folder.join(file), "").unwrap();
            let project = Project::open(&folder).unwrap();
            assert_eq!((project.language, project.name), (language, format!("of-{language:?}")));
        }
        std::fs::write(root.path().join("of-JavaScript/tsconfig.json"), "").unwrap();
        let project = Project::open(&root.path().join("of-JavaScript")).unwrap();
        assert_eq!(project.language, Language::TypeScript);
        let error = Project::open(root.path()).unwrap_err().to_string();
        assert!(error.contains("holds no handler"), "{error}");
    }
}
