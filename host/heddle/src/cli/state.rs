//! `heddle state`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::fault::Code;
use super::{TargetArgs, fixture};
use crate::print::{self, visible};
use heddle_broker::{Broker, Stored};
use heddle_values::key::Key;
use heddle_values::names::Names;
use heddle_values::settings::Settings;

/// Show the state of a handler's key.
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
    pub(super) async fn run(self, json: bool) -> anyhow::Result<()> {
        let Action::Get { handler, key, target } = self.action;
        target.read(async |settings, broker| get(settings, broker, &handler, &key, json).await).await
    }
}

async fn get(
    settings: &Settings,
    broker: &Broker,
    handler: &str,
    key: &str,
    json: bool,
) -> anyhow::Result<()> {
    if settings.handler(handler).is_none() {
        let known: Vec<&str> = settings.handlers.iter().map(|handler| &*handler.name).collect();
        let message = format!("no handler `{handler}`; known are {}", known.join(", "));
        return Err(Code::NotFound.fault(message).into());
    }
    let of = Key::new(key);
    let subject = Names::new(&settings.app).state(of.shard(settings.shards.get()), handler, &of);
    let stored = broker.last(&settings.stream.name, &subject).await?;
    let sequence = stored.as_ref().map(|stored| stored.sequence);
    let Some(state) = stored.and_then(Stored::into_state) else {
        let message = format!("key `{}` of handler `{handler}` has no state", visible(key));
        return Err(Code::NotFound.fault(message).into());
    };
    if !json {
        return Ok(print::bytes(&state)?);
    }
    let (text, base64) = fixture::encode(&state);
    print::json(&json!({
        "handler": handler,
        "key": key,
        "sequence": sequence,
        "state": text,
        "state_base64": base64,
    }))
}
