//! Running dead letters in a plugin, without effects.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;

use super::{letters, progress, state_of, whole_event};
use crate::assembly::cli::CacheArgs;
use crate::assembly::host;
use crate::broker::Broker;
use crate::sandbox::{Call, Plugin};
use crate::values::dead_letter::header_text;
use crate::values::letter::Letter;
use crate::values::refusal::refusal;
use crate::values::settings::{HandlerSettings, Settings};
use crate::values::verdict::{Failure, Verdict};

/// The longest message that is shown, in bytes.
const MAX_MESSAGE: usize = 100;

/// Runs each on the state that its key has now, under its handler's policy, and says how they end.
pub(super) async fn run(
    plugin: &Path,
    selected: &[Letter],
    settings: &Settings,
    broker: &Broker,
    cache: &CacheArgs,
) -> anyhow::Result<ExitCode> {
    let sandbox = host::sandbox(settings, &cache.workshop()?)?;
    let mut plugins: BTreeMap<&str, (Plugin, &HandlerSettings)> = BTreeMap::new();
    for letter in selected {
        let name = letter.handler();
        if plugins.contains_key(name) {
            continue;
        }
        let handler = settings.handler(name);
        let handler = handler.with_context(|| format!("the file has no handler `{name}`"))?;
        let policy = host::policy(settings, handler, broker.max_payload());
        plugins.insert(name, (sandbox.admit(plugin, Arc::new(policy)).await?, handler));
    }
    let bar = progress("running", selected.len());
    let (mut done, mut failed) = (0, 0);
    for letter in selected {
        let Some((plugin, handler)) = plugins.get(letter.handler()) else { continue };
        let outcome = run_one(letter, plugin, handler, settings, broker).await;
        bar.inc(1);
        match outcome {
            Ok(None) => done += 1,
            Ok(Some(failure)) => {
                failed += 1;
                bar.suspend(|| println!("{:>8}  {failure}", letter.sequence));
            }
            Err(error) => {
                failed += 1;
                bar.suspend(|| println!("{:>8}  {error:#}", letter.sequence));
            }
        }
    }
    bar.finish_and_clear();
    println!("{} run, nothing stored: {done} done, {failed} failed", letters(selected.len()));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How it failed, if it did.
async fn run_one(
    letter: &Letter,
    plugin: &Plugin,
    handler: &HandlerSettings,
    settings: &Settings,
    broker: &Broker,
) -> anyhow::Result<Option<String>> {
    let event = whole_event(broker, letter).await?;
    if let Some(failure) = refusal(&event) {
        return Ok(Some(told(&failure)));
    }
    let key = handler.key.key(&event)?;
    let state = state_of(broker, settings, &handler.name, &key).await?;
    let run = plugin.run(Call { event: Arc::new(event), key, attempt: 1, state }).await;
    Ok(match run.verdict {
        Verdict::Done(_) => None,
        Verdict::Failed(failure) => Some(told(&failure)),
    })
}

fn told(failure: &Failure) -> String {
    format!("{}  {}", failure.kind(), header_text(&failure.message, MAX_MESSAGE))
}
