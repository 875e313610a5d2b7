//! Watching the application's file and the files of its secrets.

use std::path::Path;

use super::{Load, Service};
use heddle_source::watch::Watch;
use heddle_values::settings::Settings;

/// The file, read while it and the files of its secrets are watched already: nothing that happens to them is missed.
pub(super) fn watched(file: &Path, load: &Load) -> anyhow::Result<(Watch, Settings)> {
    let mut settings = load()?;
    loop {
        let watch = watch(file, &settings)?;
        let again = load()?;
        if again.secret_files == settings.secret_files {
            return Ok((watch, again));
        }
        settings = again;
    }
}

fn watch(file: &Path, settings: &Settings) -> anyhow::Result<Watch> {
    let secrets = settings.secret_files.iter().cloned();
    Ok(Watch::files(std::iter::once(file.to_owned()).chain(secrets))?)
}

impl Service {
    /// Another watch, if the settings name other files than those `before`.
    pub(super) fn watch_again(&self, before: &Settings) -> Option<Watch> {
        let settings = &*self.now.settings;
        if settings.secret_files == before.secret_files {
            return None;
        }
        match watch(&self.path, settings) {
            Ok(watch) => Some(watch),
            // Events flow: that changes are not noticed is no reason to end.
            Err(error) => {
                tracing::error!(%error, "files of secrets cannot be watched: send SIGHUP after they have changed");
                None
            }
        }
    }
}
