//! Where keepers begin: with what is remembered of their handlers, and what the sources offer now.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::mpsc;

use super::keeper::{Keeper, begin_trial, refuse};
use super::ledger::{Fenced, Ledger};
use super::prepare::{Look, Prepared};
use super::remembered::remembered;
use super::supply::Stamp;
use super::trust::Vouched;
use super::{Error, Refusal, Tools};
use crate::clock::now;
use crate::engine::{Judged, Versions};
use crate::shards::HandlerIx;
use heddle_sandbox::Plugin;
use heddle_values::rollout::Stage;
use heddle_values::settings::HandlerSettings;

/// How long a handler that has a live version waits for what its source offers, before events flow.
const PATIENCE: Duration = Duration::from_secs(10);

/// Handlers that are opened at once.
const OPENING: usize = 16;

type Opened = (Keeper, Versions, mpsc::Sender<Judged>);

impl Keeper {
    /// The keepers of all handlers, or every reason why some cannot begin.
    pub(super) async fn open_all(tools: &Arc<Tools>) -> Result<Vec<Opened>, Error> {
        let ledgers = Ledger::claim_all(tools).await?;
        let open = |(handler, ledger)| Keeper::open(tools, handler, ledger);
        let opened = futures::stream::iter(ledgers.into_iter().enumerate()).map(open).buffered(OPENING);
        let opened: Vec<Result<Opened, Failed>> = opened.collect().await;
        let (mut keepers, mut faults) = (Vec::new(), Vec::new());
        for opened in opened {
            match opened {
                Ok(keeper) => keepers.push(keeper),
                Err(Failed::Plugin(handler, refusal)) => faults.push((handler, refusal)),
                Err(Failed::Other(error)) => return Err(error),
            }
        }
        if faults.is_empty() { Ok(keepers) } else { Err(Error::Plugins(faults)) }
    }

    async fn open(tools: &Arc<Tools>, handler: HandlerIx, mut ledger: Ledger) -> Result<Opened, Failed> {
        let settings = tools.settings.handlers.get(handler).expect("every handler has settings");
        let live = remembered(tools, handler, &ledger.rollout, ledger.rollout.live.as_deref()).await;
        let canary = remembered(tools, handler, &ledger.rollout, ledger.rollout.canary.as_deref()).await;
        for known in [&live, &canary].into_iter().flatten() {
            let Some(Vouched { by, release }) = &known.vouched else { continue };
            let digest = known.plugin.digest().to_string();
            ledger.change(tools, |rollout| rollout.vouch(&digest, by, release)).await?;
        }
        let [live, canary] = [live, canary].map(|known| known.map(|known| known.plugin));
        let settings = Arc::clone(settings);
        let mut opening = Opening { tools, handler, settings, ledger, again: None };
        let (stamp, versions) = opening.choose(live, canary).await?;
        let (judges, judged) = mpsc::channel(1);
        let Opening { settings, ledger, again, .. } = opening;
        let keeper = Keeper {
            handler,
            settings,
            ledger,
            stamp,
            versions: versions.clone(),
            judged,
            again,
            told: String::new(),
        };
        Ok((keeper, versions, judges))
    }
}

/// Why a handler cannot begin.
enum Failed {
    Plugin(String, Refusal),
    Other(Error),
}

impl From<Fenced> for Failed {
    fn from(Fenced: Fenced) -> Self {
        Failed::Other(Error::Fenced)
    }
}

/// A handler that begins.
struct Opening<'a> {
    tools: &'a Arc<Tools>,
    handler: HandlerIx,
    settings: Arc<HandlerSettings>,
    ledger: Ledger,
    again: Option<u64>,
}

impl Opening<'_> {
    /// The versions to begin with: those that are remembered, and what the source offers now.
    async fn choose(
        &mut self,
        live: Option<Arc<Plugin>>,
        canary: Option<Arc<Plugin>>,
    ) -> Result<(Stamp, Versions), Failed> {
        if live.is_none() && self.ledger.rollout.live.is_some() {
            tracing::warn!(
                handler = &*self.settings.name,
                "the version that was live is no longer at hand, or no longer allowed: what the source offers goes live at once"
            );
        }
        if live.is_none() || (canary.is_none() && self.ledger.rollout.canary.is_some()) {
            self.forget_what_is_gone(live.is_none()).await?;
        }
        let policy = self.settings.canary;
        let on_trial = canary.map(|plugin| (plugin, policy));
        // A proof takes its time, and the live version can do without it.
        if let Some(live) = live.clone().filter(|_| on_trial.is_some() || self.settings.proof.is_some()) {
            return Ok((Stamp::default(), Versions { live, canary: on_trial }));
        }
        let Some((stamp, prepared)) = self.look(live.as_ref()).await else {
            // It is prepared while events flow.
            let live = live.expect("only a handler with a live version does not wait");
            return Ok((Stamp::default(), Versions { live, canary: None }));
        };
        match (prepared, live) {
            (Prepared::Ready(found, plugin, proved), Some(live)) => {
                self.ledger.change(self.tools, |rollout| begin_trial(rollout, &found, proved)).await?;
                Ok((stamp, Versions { live, canary: Some((plugin, policy)) }))
            }
            (Prepared::Ready(found, plugin, _), None) => {
                self.ledger
                    .change(self.tools, |rollout| rollout.enter(&found, Stage::Live, None, now()))
                    .await?;
                Ok((stamp, Versions { live: plugin, canary: None }))
            }
            (Prepared::Refused(found, refusal), Some(live)) => {
                let mut told = String::new();
                self.again = refuse(self.tools, &mut self.ledger, found, &refusal, &mut told).await?;
                Ok((stamp, Versions { live, canary: None }))
            }
            (Prepared::Refused(_, refusal), None) => {
                Err(Failed::Plugin(self.settings.name.to_string(), refusal))
            }
            (Prepared::Nothing, Some(live)) => Ok((stamp, Versions { live, canary: None })),
            // The keeper looks again, and says why it is not taken.
            (Prepared::Unwelcome(..), Some(live)) => Ok((Stamp::default(), Versions { live, canary: None })),
            (Prepared::Nothing | Prepared::Unwelcome(..), None) => {
                unreachable!("with nothing remembered as live, everything is welcome")
            }
        }
    }

    /// What the source offers now. None: there is a live version, which need not wait for one that is dear.
    async fn look(&self, live: Option<&Arc<Plugin>>) -> Option<(Stamp, Prepared)> {
        let look = Look {
            tools: Arc::clone(self.tools),
            handler: self.handler,
            stamp: Stamp::default(),
            rollout: self.ledger.rollout.clone(),
            live: live.cloned(),
        };
        match live {
            None => Some(look.prepare().await),
            Some(_) => tokio::time::timeout(PATIENCE, look.prepare()).await.ok(),
        }
    }

    /// With nothing to run, whatever the source offers is to be taken.
    async fn forget_what_is_gone(&mut self, live: bool) -> Result<(), Fenced> {
        self.ledger
            .change(self.tools, |rollout| {
                rollout.canary = None;
                if live {
                    rollout.begin_anew();
                }
            })
            .await
    }
}
