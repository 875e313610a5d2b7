//! `heddle run`.

use clap::Args;

use super::{CacheArgs, FileArgs, run_until_signal, shared};
use crate::assembly::config::Needs;
use crate::assembly::host;

/// Run an application against a server that is there.
///
/// Creates the application's stream, or checks that the one that is there will do. Stops on SIGTERM or SIGINT: reading
/// ends, what runs is finished and committed.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    file: FileArgs,
    /// The server, instead of `nats.url` of the file.
    #[arg(long, value_name = "URL", env = "HEDDLE_NATS_URL")]
    url: Option<String>,
    #[command(flatten)]
    cache: CacheArgs,
}

impl Command {
    pub(super) async fn run(self, threads: tokio::runtime::Handle) -> anyhow::Result<()> {
        let mut settings = self.file.load(Needs::Everything)?;
        if let Some(url) = self.url {
            settings.nats.url = url;
        }
        let engine = host::start(shared(settings), &self.cache.workshop()?, threads).await?;
        tracing::info!("running");
        run_until_signal(engine).await?;
        tracing::info!("stopped");
        Ok(())
    }
}
