//! Versions that are remembered, made ready to run once more: for a host that starts, and for whoever goes back to one.

use std::sync::Arc;

use super::trust::{Demand, Vouched};
use super::{Refusal, Tools};
use heddle_sandbox::{Code, Digest, Plugin, off_thread};
use heddle_values::handlers::HandlerIx;
use heddle_values::plugin::short;
use heddle_values::rollout::{Rollout, Version};
use heddle_values::settings::HandlerSettings;

/// A version that is ready to run.
pub(super) struct Remembered {
    pub(super) plugin: Arc<Plugin>,
    /// What its signature says. None: `trust` is not set.
    pub(super) vouched: Option<Vouched>,
}

/// A version that is remembered, ready to run. None: it is no longer available, or no longer allowed.
pub(super) async fn remembered(
    tools: &Tools,
    handler: HandlerIx,
    rollout: &Rollout,
    digest: Option<&str>,
) -> Option<Remembered> {
    let version = rollout.version(digest?)?;
    match ready(tools, handler, version).await {
        Ok(ready) => ready,
        Err(refusal) => {
            tracing::warn!(%refusal, plugin = short(&version.digest), "version cannot run");
            None
        }
    }
}

async fn ready(tools: &Tools, handler: HandlerIx, version: &Version) -> Result<Option<Remembered>, Refusal> {
    let (settings, policy) = (&tools.settings.handlers[handler], &tools.policies[handler]);
    let Some((code, vouched)) = stored(tools, settings, version).await? else { return Ok(None) };
    let plugin = tools.sandbox.plugin(code, Arc::clone(policy)).await?;
    plugin.warm(tools.threads.metrics().num_workers()).await;
    Ok(Some(Remembered { plugin: Arc::new(plugin), vouched }))
}

/// The code of a version, verified once more. None: it is no longer available.
async fn stored(
    tools: &Tools,
    settings: &HandlerSettings,
    version: &Version,
) -> Result<Option<(Arc<Code>, Option<Vouched>)>, Refusal> {
    let Some(digest) = Digest::parse(&version.digest) else { return Ok(None) };
    let trust = &tools.settings.trust;
    if trust.keys.is_empty() {
        return Ok(tools.sandbox.stored(digest).await?.map(|code| (code, None)));
    }
    let Some(wasm) = tools.sandbox.stored_component(digest).await? else { return Ok(None) };
    let (demand, version) = (Demand::of(settings, trust), version.clone());
    let verify = move || demand.verify_again(&wasm, &version).map(|vouched| (wasm, vouched));
    let (wasm, vouched) = off_thread(verify).await??;
    Ok(Some((tools.sandbox.load_known(wasm, digest).await?, vouched)))
}
