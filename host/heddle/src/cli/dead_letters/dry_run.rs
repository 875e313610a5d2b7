//! Running dead letters in a plugin, without effects.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use indicatif::ProgressBar;
use serde_json::json;

use super::select::{Picked, dead_letter};
use super::{dead_letters, progress, state_of, whole_event};
use crate::cli::CacheArgs;
use crate::host;
use crate::print::{self, say};
use heddle_broker::Broker;
use heddle_sandbox::{Call, Plugin};
use heddle_values::dead_letter::DeadLetter;
use heddle_values::refusal::refusal;
use heddle_values::settings::{HandlerSettings, Settings};
use heddle_values::text::header_text;
use heddle_values::verdict::{Failure, Verdict};

/// The longest message that is shown, in bytes.
const MAX_MESSAGE: usize = 100;

/// The plugin under the policy of each handler that has a dead letter.
type Plugins<'a> = BTreeMap<&'a str, (Plugin, &'a HandlerSettings)>;

/// Runs each on the state that its key has now, under its handler's policy, and says how they end.
pub(super) async fn run(
    plugin: &Path,
    picked: &[Picked],
    (settings, broker): (&Settings, &Broker),
    cache: &CacheArgs,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let plugins = admit(plugin, picked, (settings, broker), cache).await?;
    let bar = progress("running", picked.len());
    let (mut done, mut failed, mut gone) = (0, 0, 0);
    // One after the other: what a dead letter holds is in memory only while it runs.
    for Picked { sequence, handler, .. } in picked {
        let Some((plugin, handler)) = plugins.get(&**handler) else { continue };
        let Some(dead_letter) = dead_letter(broker, settings, *sequence).await? else {
            gone += 1;
            continue;
        };
        let outcome = run_one(&dead_letter, plugin, handler, settings, broker).await;
        bar.inc(1);
        match outcome {
            Ok(None) => done += 1,
            Ok(Some(failure)) => {
                failed += 1;
                print_failure(&bar, *sequence, &failure, json)?;
            }
            Err(error) => {
                failed += 1;
                print_failure(&bar, *sequence, &format!("{error:#}"), json)?;
            }
        }
    }
    bar.finish_and_clear();
    if json {
        print::json_line(&json!({ "dry_run": true, "done": done, "failed": failed, "gone": gone }))?;
    } else {
        let run = dead_letters(picked.len());
        let gone = if gone > 0 { format!(", {gone} gone before") } else { String::new() };
        say!("{run} run, nothing stored: {done} done, {failed} failed{gone}")?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn admit<'a>(
    plugin: &Path,
    picked: &'a [Picked],
    (settings, broker): (&'a Settings, &Broker),
    cache: &CacheArgs,
) -> anyhow::Result<Plugins<'a>> {
    let sandbox = host::sandbox(settings, &cache.workshop()?)?;
    let mut plugins = Plugins::new();
    for Picked { handler: name, .. } in picked {
        if plugins.contains_key(&**name) {
            continue;
        }
        let handler = settings.handler(name);
        let handler = handler.with_context(|| format!("the file has no handler `{name}`"))?;
        let policy = host::policy(settings, handler, broker.max_payload());
        plugins.insert(name, (sandbox.admit(plugin, Arc::new(policy)).await?, handler));
    }
    Ok(plugins)
}

fn print_failure(bar: &ProgressBar, sequence: u64, failure: &str, json: bool) -> anyhow::Result<()> {
    bar.suspend(|| {
        if json {
            print::json_line(&json!({ "sequence": sequence, "failure": failure }))
        } else {
            Ok(say!("{sequence:>8}  {}", print::visible(failure))?)
        }
    })
}

/// How it failed, if it did.
async fn run_one(
    dead_letter: &DeadLetter,
    plugin: &Plugin,
    handler: &HandlerSettings,
    settings: &Settings,
    broker: &Broker,
) -> anyhow::Result<Option<String>> {
    let event = whole_event(broker, dead_letter).await?;
    if let Some(failure) = refusal(&event) {
        return Ok(Some(described(&failure)));
    }
    let key = handler.key.key(&event)?;
    let state = state_of(broker, settings, &handler.name, &key).await?;
    let run = plugin.run(Call { event: Arc::new(event), key, attempt: 1, state }).await;
    Ok(match run.verdict {
        Verdict::Done(_) => None,
        Verdict::Failed(failure) => Some(described(&failure)),
    })
}

fn described(failure: &Failure) -> String {
    format!("{}  {}", failure.kind(), header_text(&failure.message, MAX_MESSAGE))
}
