//! Where controllers begin: with what is remembered of their handlers, and what the sources offer now.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::mpsc;

use super::controller::{Controller, begin_trial, refuse};
use super::offer::Etag;
use super::prepare::{Poll, Prepared};
use super::record::{Fenced, RolloutRecord};
use super::remembered::remembered;
use super::trust::Vouched;
use super::{Error, Refusal, Tools};
use crate::clock::now;
use crate::engine::{Judged, Versions};
use heddle_sandbox::Plugin;
use heddle_values::handlers::HandlerIx;
use heddle_values::rollout::Stage;
use heddle_values::settings::HandlerSettings;

/// How long a handler that has a live version waits for what its source offers, before events flow.
const PATIENCE: Duration = Duration::from_secs(10);

/// Handlers that are opened at once.
const OPENING: usize = 16;

type Opened = (Controller, Versions, mpsc::Sender<Judged>);

impl Controller {
    /// The controllers of all handlers, or every reason why some cannot begin.
    pub(super) async fn open_all(tools: &Arc<Tools>) -> Result<Vec<Opened>, Error> {
        let records = RolloutRecord::claim_all(tools).await?;
        let open = |(handler, record)| Controller::open(tools, handler, record);
        let opened =
            futures::stream::iter(tools.settings.handlers.indices().zip(records)).map(open).buffered(OPENING);
        let opened: Vec<Result<Opened, Failed>> = opened.collect().await;
        let (mut controllers, mut faults) = (Vec::new(), Vec::new());
        for opened in opened {
            match opened {
                Ok(controller) => controllers.push(controller),
                Err(Failed::Plugin(handler, refusal)) => faults.push((handler, refusal)),
                Err(Failed::Other(error)) => return Err(error),
            }
        }
        if faults.is_empty() { Ok(controllers) } else { Err(Error::Plugins(faults)) }
    }

    async fn open(
        tools: &Arc<Tools>,
        handler: HandlerIx,
        mut record: RolloutRecord,
    ) -> Result<Opened, Failed> {
        let settings = &tools.settings.handlers[handler];
        let live = remembered(tools, handler, &record.rollout, record.rollout.live.as_deref()).await;
        let canary = remembered(tools, handler, &record.rollout, record.rollout.canary.as_deref()).await;
        for known in [&live, &canary].into_iter().flatten() {
            let Some(Vouched { by, release }) = &known.vouched else { continue };
            let digest = known.plugin.digest().to_string();
            record.change(tools, |rollout| rollout.vouch(&digest, by, release)).await?;
        }
        let [live, canary] = [live, canary].map(|known| known.map(|known| known.plugin));
        let settings = Arc::clone(settings);
        let mut opening = Opening { tools, handler, settings, record, again: None };
        let (etag, versions) = opening.choose(live, canary).await?;
        let (judges, judged) = mpsc::channel(1);
        let Opening { settings, record, again, .. } = opening;
        let controller = Controller {
            handler,
            settings,
            record,
            etag,
            versions: versions.clone(),
            judged,
            again,
            reported: String::new(),
        };
        Ok((controller, versions, judges))
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
    record: RolloutRecord,
    again: Option<u64>,
}

impl Opening<'_> {
    /// The versions to begin with: those that are remembered, and what the source offers now.
    async fn choose(
        &mut self,
        live: Option<Arc<Plugin>>,
        canary: Option<Arc<Plugin>>,
    ) -> Result<(Etag, Versions), Failed> {
        if live.is_none() && self.record.rollout.live.is_some() {
            tracing::warn!(
                handler = &*self.settings.name,
                "the version that was live is no longer available, or no longer allowed: what the source offers goes live at once"
            );
        }
        if live.is_none() || (canary.is_none() && self.record.rollout.canary.is_some()) {
            self.forget_what_is_gone(live.is_none()).await?;
        }
        let policy = self.settings.canary;
        let on_trial = canary.map(|plugin| (plugin, policy));
        // A shadow run takes its time, and the live version can do without it.
        if let Some(live) = live.clone().filter(|_| on_trial.is_some() || self.settings.shadow.is_some()) {
            return Ok((Etag::default(), Versions { live, canary: on_trial }));
        }
        let Some((etag, prepared)) = self.poll(live.as_ref()).await else {
            // It is prepared while events flow.
            let live = live.expect("only a handler with a live version does not wait");
            return Ok((Etag::default(), Versions { live, canary: None }));
        };
        match (prepared, live) {
            (Prepared::Ready(found, plugin, shadowed), Some(live)) => {
                self.record.change(self.tools, |rollout| begin_trial(rollout, &found, shadowed)).await?;
                Ok((etag, Versions { live, canary: Some((plugin, policy)) }))
            }
            (Prepared::Ready(found, plugin, _), None) => {
                self.record
                    .change(self.tools, |rollout| rollout.enter(&found, Stage::Live, None, now()))
                    .await?;
                Ok((etag, Versions { live: plugin, canary: None }))
            }
            (Prepared::Refused(found, refusal), Some(live)) => {
                let mut reported = String::new();
                self.again = refuse(self.tools, &mut self.record, found, &refusal, &mut reported).await?;
                Ok((etag, Versions { live, canary: None }))
            }
            (Prepared::Refused(_, refusal), None) => {
                Err(Failed::Plugin(self.settings.name.to_string(), refusal))
            }
            (Prepared::Nothing, Some(live)) => Ok((etag, Versions { live, canary: None })),
            // The controller polls again, and says why it is not accepted.
            (Prepared::Unwelcome(..), Some(live)) => Ok((Etag::default(), Versions { live, canary: None })),
            (Prepared::Nothing | Prepared::Unwelcome(..), None) => {
                unreachable!("with nothing remembered as live, everything is welcome")
            }
        }
    }

    /// What the source offers now. None: there is a live version, which need not wait for one that is dear.
    async fn poll(&self, live: Option<&Arc<Plugin>>) -> Option<(Etag, Prepared)> {
        let poll = Poll {
            tools: Arc::clone(self.tools),
            handler: self.handler,
            etag: Etag::default(),
            rollout: self.record.rollout.clone(),
            live: live.cloned(),
        };
        match live {
            None => Some(poll.prepare().await),
            Some(_) => tokio::time::timeout(PATIENCE, poll.prepare()).await.ok(),
        }
    }

    /// With nothing to run, whatever the source offers is to be taken.
    async fn forget_what_is_gone(&mut self, live: bool) -> Result<(), Fenced> {
        self.record
            .change(self.tools, |rollout| {
                rollout.canary = None;
                if live {
                    rollout.begin_anew();
                }
            })
            .await
    }
}
