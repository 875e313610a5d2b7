//! Components that are older than what they are built from.
//!
//! Says which there are, by the times of the files. Builds nothing.

use std::path::{Path, PathBuf};

use heddle_source::watch::newer_than;
use heddle_values::settings::Settings;

/// A component that was built before one of its sources was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stale {
    /// Seen from the folder of the application's file, as is the source.
    plugin: PathBuf,
    source: PathBuf,
    command: String,
}

impl Stale {
    /// Every stale component of an application, once. Only handlers with a `build` say what theirs is made of.
    pub(super) fn all(settings: &Settings) -> Vec<Self> {
        let plugins: Vec<PathBuf> = settings
            .handlers
            .iter()
            .filter_map(|handler| handler.plugin.path())
            .map(Path::to_owned)
            .collect();
        let mut found: Vec<Stale> = Vec::new();
        for handler in &settings.handlers {
            let (Some(plugin), Some(build)) = (handler.plugin.path(), &handler.build) else { continue };
            if let Some(source) = newer_than(plugin, &build.watch, &plugins) {
                let short = |path: &Path| path.strip_prefix(&settings.folder).unwrap_or(path).to_owned();
                let command = build.command.to_string();
                let stale = Stale { plugin: short(plugin), source: short(&source), command };
                if !found.contains(&stale) {
                    found.push(stale);
                }
            }
        }
        found
    }

    /// What is wrong, and what to do.
    pub(super) fn note(&self) -> String {
        let Stale { plugin, source, command } = self;
        format!("`{}` is older than `{}`: `{command}` builds it again", plugin.display(), source.display())
    }
}
