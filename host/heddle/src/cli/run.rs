//! `heddle run`.

use clap::Args;

use super::fault::{self, Code};
use super::{CacheArgs, FileArgs, asked_to_stop, run_until_signal};
use crate::service::Service;
use heddle_config::Needs;
use heddle_values::servers::Servers;

/// Run an application against a server that is there.
///
/// Creates the application's stream, or checks that the one that is there will do. Stops on SIGTERM or SIGINT: reading
/// ends, what runs is finished and committed.
///
/// The file is read again when it changes, and on SIGHUP: handlers are added, changed and removed after a short pause. A
/// file with a fault changes nothing. Plugins are swapped when their source has a new version; see `heddle plugins`.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    file: FileArgs,
    /// The server, instead of `nats.url` of the file.
    #[arg(long, value_name = "URL", env = "HEDDLE_NATS_URL", hide_env_values = true)]
    url: Option<String>,
    #[command(flatten)]
    cache: CacheArgs,
}

impl Command {
    pub(super) async fn run(self, threads: tokio::runtime::Handle) -> anyhow::Result<()> {
        let origin = self.file.origin(self.url.as_ref());
        let (file, url) = (self.file.config.clone(), self.url);
        let load = move || {
            let mut settings = self.file.load(Needs::Everything)?;
            settings.nats.url = url.clone().map_or(settings.nats.url, Servers::from);
            Ok(settings)
        };
        let start = Service::start(file, Box::new(load), self.cache.workshop()?, threads);
        // Cancel-safe: what is given up here runs nothing yet.
        let service = tokio::select! {
            service = Box::pin(start) => service.map_err(|error| match fault::code(&error) {
                Code::Connect | Code::Server => error.context(format!("the server is that of {origin}")),
                _ => error,
            })?,
            () = asked_to_stop() => {
                tracing::info!("stopped while starting");
                return Ok(());
            }
        };
        Box::pin(run_until_signal(service)).await?;
        tracing::info!("stopped");
        Ok(())
    }
}
