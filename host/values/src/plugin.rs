//! Plugins as the flow names them: where a handler's comes from, and which one ran.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::object::{Object, SCHEME};

/// Where a handler's plugin comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginSource {
    /// Where the bytes are read, and new versions of them looked for.
    pub place: PluginPlace,
    /// The digest that it must have, `sha256:` and 64 hexadecimal digits. None: any.
    pub digest: Option<Arc<str>>,
}

/// Where plugins are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginPlace {
    /// A component's file.
    File(PathBuf),
    /// An object of a JetStream object store.
    Object(Object),
    /// An artifact of an OCI registry.
    Oci(Arc<str>),
}

impl PluginSource {
    /// The file, if it is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            PluginPlace::File(path) => Some(path),
            PluginPlace::Object(_) | PluginPlace::Oci(_) => None,
        }
    }

    /// Whether it can only be the one component that was meant when it was written.
    pub fn is_pinned(&self) -> bool {
        self.digest.is_some() || matches!(&self.place, PluginPlace::Oci(reference) if reference.contains('@'))
    }

    /// A file, whatever its digest.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        PluginSource { place: PluginPlace::File(path.into()), digest: None }
    }
}

impl fmt::Display for PluginSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            PluginPlace::File(path) => write!(f, "{}", path.display())?,
            PluginPlace::Object(object) => write!(f, "{SCHEME}{object}")?,
            PluginPlace::Oci(reference) => write!(f, "oci:{reference}")?,
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// Which plugin ran an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginId {
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: Arc<str>,
    /// What the plugin says of its version.
    pub version: Option<Arc<str>>,
}

/// The first twelve hexadecimal digits of a digest, for people.
pub fn short(digest: &str) -> &str {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    hex.get(..12).unwrap_or(hex)
}
