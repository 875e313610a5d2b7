//! Preparing a version: verified, compiled, checked and compared, beside the flow of events.

use std::sync::Arc;

use tokio::sync::SemaphorePermit;

use super::offer::{Etag, Offer, Sources};
use super::shadow;
use super::trust::{self, Demand, Vouched};
use super::{Refusal, Tools};
use crate::clock;
use heddle_sandbox::{self as sandbox, Digest, Plugin, Policy, Sandbox, off_thread};
use heddle_values::claims::Release;
use heddle_values::handlers::HandlerIx;
use heddle_values::rollout::{Found, Rollout, Welcome};
use heddle_values::settings::{HandlerSettings, Trust};

/// The result of polling a source.
pub(super) enum Prepared {
    /// It offers what it offered before, or what runs already.
    Nothing,
    /// It offers a version that is not accepted now.
    Unwelcome(Found, Welcome),
    /// A version that can run; what its shadow run showed.
    Ready(Found, Arc<Plugin>, Option<String>),
    Refused(Option<Found>, Refusal),
}

/// One poll of a handler's source.
pub(super) struct Poll {
    pub(super) tools: Arc<Tools>,
    pub(super) handler: HandlerIx,
    pub(super) etag: Etag,
    pub(super) rollout: Rollout,
    /// The version that a new one is compared with.
    pub(super) live: Option<Arc<Plugin>>,
}

impl Poll {
    /// Prepares what the source offers. The etag is that of the offer.
    pub(super) async fn prepare(self) -> (Etag, Prepared) {
        let (settings, policy) = self.parts();
        let sources = Sources::from(&*self.tools);
        let permit = self.tools.preparing.acquire().await.expect("the permits are never closed");
        let (offer, etag) = match sources.offer(&settings.plugin, &self.etag).await {
            Ok(Some(offered)) => offered,
            Ok(None) => return (self.etag, Prepared::Nothing),
            Err(error) => return (Etag::default(), Prepared::Refused(None, error.into())),
        };
        let (offer, digest) = match hashed(offer).await {
            Ok(hashed) => hashed,
            Err(error) => return (Etag::default(), Prepared::Refused(None, error.into())),
        };
        let source = settings.plugin.to_string();
        let mut found = Found { digest: digest.to_string(), source, ..Found::default() };
        match self.rollout.welcome(&found.digest, clock::now()) {
            Welcome::Take => {}
            Welcome::Known => return (etag, Prepared::Nothing),
            unwelcome => return (etag, Prepared::Unwelcome(found, unwelcome)),
        }
        let demand = Demand::of(&settings, &self.tools.settings.trust);
        let accepted = self.rollout.newest().clone();
        let offer = match verified(demand, (offer, digest), accepted).await {
            Ok((offer, vouched)) => {
                // Not before: what is refused does not take the place of a signature that holds.
                trust::note(&mut found, offer.signature(), vouched);
                offer
            }
            Err(refusal) => return (etag, Prepared::Refused(Some(found), refusal)),
        };
        tracing::info!(handler = &*settings.name, plugin = super::short(&found.digest), "found a version");
        match self.admit((offer.wasm, digest, permit), &mut found, policy).await {
            Ok((plugin, shadowed)) => (etag, Prepared::Ready(found, plugin, shadowed)),
            Err(refusal) => (etag, Prepared::Refused(Some(found), refusal)),
        }
    }

    fn parts(&self) -> (Arc<HandlerSettings>, Arc<Policy>) {
        let Tools { settings, policies, .. } = &*self.tools;
        (Arc::clone(&settings.handlers[self.handler]), Arc::clone(&policies[self.handler]))
    }

    async fn admit(
        &self,
        (wasm, digest, permit): (Vec<u8>, Digest, SemaphorePermit<'_>),
        found: &mut Found,
        policy: Arc<Policy>,
    ) -> Result<(Arc<Plugin>, Option<String>), Refusal> {
        let code = self.tools.sandbox.load_known(wasm, digest).await?;
        drop(permit);
        found.version = code.id().version.as_deref().map(str::to_owned);
        let plugin = Arc::new(self.tools.sandbox.plugin(Arc::clone(&code), Arc::clone(&policy)).await?);
        plugin.warm(self.tools.threads.metrics().num_workers()).await;
        let wanted = self.tools.settings.handlers[self.handler].shadow;
        let Some((wanted, live)) = wanted.zip(self.live.clone()) else { return Ok((plugin, None)) };
        let shadow = shadow::run(&self.tools, self.handler, (live.code(), &code), wanted).await?;
        match wanted.must_match && !shadow.differences.is_empty() {
            true => Err(Refusal::ShadowRun(shadow.to_string())),
            false => Ok((plugin, Some(shadow.to_string()))),
        }
    }
}

/// An offer and its digest. A large one takes a while.
async fn hashed(offer: Offer) -> Result<(Offer, Digest), sandbox::Error> {
    off_thread(move || (Digest::of(&offer.wasm), offer)).await.map(|(digest, offer)| (offer, digest))
}

/// An offer that is what the handler demands.
async fn verified(
    demand: Demand,
    (offer, digest): (Offer, Digest),
    accepted: Release,
) -> Result<(Offer, Option<Vouched>), Refusal> {
    off_thread(move || {
        let vouched = demand.verify(&offer, &digest.to_string(), &accepted)?;
        Ok((offer, vouched))
    })
    .await?
}

/// What a handler's source offers now, verified and ready to run under a policy. For commands that inspect one
/// version, without a host.
pub async fn prepare_first(
    sources: Sources<'_>,
    sandbox: &Sandbox,
    (handler, trust): (&HandlerSettings, &Trust),
    policy: Arc<Policy>,
) -> Result<Arc<Plugin>, Refusal> {
    let offered = sources.offer(&handler.plugin, &Etag::default()).await?;
    let (offer, _) = offered.expect("there was no offer before");
    let (offer, digest) = hashed(offer).await?;
    let (offer, _) = verified(Demand::of(handler, trust), (offer, digest), Release::default()).await?;
    let code = sandbox.load_known(offer.wasm, digest).await?;
    Ok(Arc::new(sandbox.plugin(code, policy).await?))
}
