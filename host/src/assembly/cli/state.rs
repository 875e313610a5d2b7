//! `heddle state`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};

use super::TargetArgs;
use crate::broker::Stored;
use crate::values::key::Key;
use crate::values::names::Names;

/// Look at the state of a handler's key.
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the state of a key as it is; ends with 1 if the key has none.
    Get {
        /// The handler's name.
        handler: String,
        /// The key.
        key: String,
        #[command(flatten)]
        target: TargetArgs,
    },
}

impl Command {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let Action::Get { handler, key, target } = self.action;
        let (settings, broker) = target.connect().await?;
        if !settings.handlers.iter().any(|known| *known.name == *handler) {
            let known: Vec<&str> = settings.handlers.iter().map(|handler| &*handler.name).collect();
            bail!("no handler `{handler}`; known are {}", known.join(", "));
        }
        let of = Key::new(&key);
        let subject = Names::new(&settings.app).state(of.shard(settings.shards.get()), &handler, &of);
        let stored = broker.last(&settings.stream.name, &subject).await?;
        match stored.and_then(Stored::into_state) {
            Some(state) => {
                let mut output = std::io::stdout();
                output.write_all(&state)?;
                output.write_all(b"\n")?;
                Ok(ExitCode::SUCCESS)
            }
            None => {
                eprintln!("key `{key}` of handler `{handler}` has no state");
                Ok(ExitCode::FAILURE)
            }
        }
    }
}
