//! What the sections of a file share: what the application's part says that its handlers are checked against.
//!
//! Refuses to know what a handler makes of it.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use heddle_values::subject::Pattern;

/// Where paths begin, and the stream that handlers read unless they name another one.
pub(super) struct Scope<'a> {
    /// The folder of the file.
    pub(super) folder: &'a Path,
    /// The files that secrets were read from.
    pub(super) secret_files: RefCell<Vec<PathBuf>>,
    /// The application's stream; empty if its section is faulty.
    pub(super) stream: Arc<str>,
    /// The subjects of that stream; none if its section is faulty.
    pub(super) subjects: Vec<Pattern>,
}
