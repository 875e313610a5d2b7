//! What a person can have got wrong about a project. Whatever else fails (tools, files) is an error without a type.

use std::io;
use std::path::PathBuf;

/// A project that cannot be created or opened as it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name does not fit the tools of every language.
    #[error(
        "`{0}` cannot name a project: it must begin with a lower-case letter and hold lower-case letters, digits and dashes only"
    )]
    Name(String),
    /// The name means something else to a tool.
    #[error("`{0}` cannot name a project: tools take it for something else")]
    Taken(String),
    /// There is something where the project would be.
    #[error("`{}` is there already", .0.display())]
    Exists(PathBuf),
    /// The folder cannot be opened.
    #[error("failed to open `{}`", .folder.display())]
    Unreadable {
        /// The folder, as it was named.
        folder: PathBuf,
        /// What the system says: most often that there is no such folder.
        #[source]
        cause: io::Error,
    },
    /// The folder holds no file by which a language is known.
    #[error(
        "`{}` holds no handler: there is no Cargo.toml, package.json, go.mod, src/*.c or requirements.txt in it. `heddle new` makes one",
        .0.display()
    )]
    NoProject(PathBuf),
}
