//! `heddle dead-letters release`.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::held::{closed, request_release};
use super::progress;
use super::wait::Outcomes;
use crate::cli::audit::audit;
use crate::cli::consent::Consent;
use crate::cli::fault::Code;
use crate::cli::{TargetArgs, check_host};
use crate::print::{self, say, visible};
use heddle_values::key::Key;
use heddle_values::names::Names;

/// Release a key that a dead letter holds back.
///
/// The events that were held back run, in order. The dead letter stays: replay or discard it later. Of use where the dead
/// dead letter is no longer there.
#[derive(Debug, Args)]
pub(super) struct Command {
    /// The handler.
    handler: String,
    /// The key, as `heddle status` shows it.
    key: String,
    /// Do not wait for the host.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    target: TargetArgs,
}

impl Command {
    pub(super) async fn run(self, json: bool) -> anyhow::Result<ExitCode> {
        let (settings, broker) = self.target.connect().await?;
        let names = Names::new(&settings.app);
        let key = Key::new(&self.key);
        let gates = closed(&broker, &settings, &names).await?;
        if !gates.contains_key(&(self.handler.clone(), key.clone())) {
            let message = format!("key `{}` of handler `{}` is not held", visible(&self.key), self.handler);
            return Err(Code::NotFound.fault(message).into());
        }
        if !self.no_wait {
            check_host(&broker, &settings, &names).await?;
        }
        if self.consent.dry_run {
            return self.say("would be released", json);
        }
        let details = json!({ "handler": self.handler, "key": self.key });
        audit(&broker, &settings, "release", details).await?;
        let mut outcomes = Outcomes::listen(&broker, &settings).await?;
        let subject = names.replay(&self.handler, &format!("key-{}", key.token()));
        if let Some(request) = request_release(&broker, &settings, &subject, Some(&key)).await? {
            outcomes.expect(request, subject);
        }
        if !self.no_wait {
            outcomes.wait(&progress("releasing", 1)).await?;
        }
        self.say("is released", json)
    }

    fn say(&self, what: &str, json: bool) -> anyhow::Result<ExitCode> {
        let Command { handler, key, consent, .. } = self;
        if json {
            print::json(&json!({ "handler": handler, "key": key, "dry_run": consent.dry_run }))?;
        } else {
            say!("key `{}` of handler `{handler}` {what}", visible(key))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
