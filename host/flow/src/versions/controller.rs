//! The controller of one handler's versions: a task that takes what the source offers, hears how trials end, and carries out
//! commands, one after the other. Whatever it decides is in the rollout record before the engine hears of it.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use super::offer::Etag;
use super::prepare::{Poll, Prepared};
use super::record::{Fenced, RolloutRecord, answer};
use super::remembered::remembered;
use super::trust::Vouched;
use super::{Error, Refusal, Tools};
use crate::clock::now;
use crate::engine::{Change, Judged, Versions};
use crate::failpoint;
use crate::trial::Judgement;
use heddle_sandbox::Plugin;
use heddle_values::command::{Answer, OperatorCommand};
use heddle_values::handlers::HandlerIx;
use heddle_values::plugin::{PluginPlace, short};
use heddle_values::rollout::{Found, Hope, Rollout, Stage, Welcome};
use heddle_values::settings::HandlerSettings;

/// The interval at which a registry is asked what a reference names: it notifies nobody.
const POLL: Duration = Duration::from_secs(30);

/// Something for a controller to do.
#[derive(Debug)]
pub(super) enum Input {
    /// Its source may offer something else.
    Poll,
    OperatorCommand {
        sequence: u64,
        command: OperatorCommand,
    },
}

/// Decides about the versions of one handler.
pub(super) struct Controller {
    pub(super) handler: HandlerIx,
    pub(super) settings: Arc<HandlerSettings>,
    pub(super) record: RolloutRecord,
    pub(super) etag: Etag,
    pub(super) versions: Versions,
    pub(super) judged: mpsc::Receiver<Judged>,
    /// When the source is polled again by itself, in milliseconds since 1970.
    pub(super) again: Option<u64>,
    /// The last reason why no version was accepted: it is reported once.
    pub(super) reported: String,
}

impl Controller {
    /// Decides until nobody listens any more.
    ///
    /// # Errors
    /// Another host decides now: then this one has lost the application.
    pub(super) async fn run(
        mut self,
        tools: Arc<Tools>,
        mut inputs: mpsc::Receiver<Input>,
        changes: mpsc::Sender<Change>,
    ) -> Result<(), Error> {
        self.follow(&tools, &mut inputs, &changes).await.map_err(|Fenced| Error::Fenced)
    }

    async fn follow(
        &mut self,
        tools: &Arc<Tools>,
        inputs: &mut mpsc::Receiver<Input>,
        changes: &mpsc::Sender<Change>,
    ) -> Result<(), Fenced> {
        let mut preparing: Option<BoxFuture<'static, (Etag, Prepared)>> = None;
        // The source may have changed since the first poll.
        let mut stale = true;
        loop {
            // What changes while something is prepared is polled afterwards.
            if preparing.is_none() && std::mem::take(&mut stale) {
                preparing = Some(self.poll(tools).boxed());
            }
            let idle = preparing.is_none();
            let rest = self.rest();
            // Every arm is cancel-safe: a channel gives its value only when it is chosen, and what is prepared is kept.
            tokio::select! {
                input = inputs.recv() => match input {
                    None => return Ok(()),
                    Some(Input::Poll) => stale = true,
                    Some(Input::OperatorCommand { sequence, command }) => {
                        stale |= self.command(tools, changes, sequence, command).await?;
                    }
                },
                Some(judged) = self.judged.recv() => self.end_trial(tools, changes, judged).await?,
                (etag, prepared) = async { preparing.as_mut().expect("it is asked for below").await }, if !idle => {
                    preparing = None;
                    self.etag = etag;
                    self.take(tools, changes, prepared).await?;
                }
                () = tokio::time::sleep(rest), if idle => {
                    self.keep(tools).await;
                    self.again = None;
                    stale = true;
                }
            }
        }
    }

    fn poll(&self, tools: &Arc<Tools>) -> impl Future<Output = (Etag, Prepared)> + use<> {
        // A version that rests is the same offer as before.
        let etag = if self.reported.is_empty() { self.etag.clone() } else { Etag::default() };
        let poll = Poll {
            tools: Arc::clone(tools),
            handler: self.handler,
            etag,
            rollout: self.record.rollout.clone(),
            live: Some(Arc::clone(&self.versions.live)),
        };
        poll.prepare()
    }

    /// The versions that may run stay on this machine, though they were loaded long ago.
    async fn keep(&self, tools: &Tools) {
        let canary = self.versions.canary.as_ref().map(|(plugin, _)| plugin);
        let digests = [Some(&self.versions.live), canary].into_iter().flatten().map(|plugin| plugin.digest());
        tools.sandbox.keep(digests.collect()).await;
    }

    /// How long until the source is polled by itself.
    fn rest(&self) -> Duration {
        let asked = matches!(self.settings.plugin.place, PluginPlace::Oci(_)).then_some(POLL);
        let again = self.again.map(|again| Duration::from_millis(again.saturating_sub(now())));
        asked.into_iter().chain(again).min().unwrap_or(Duration::from_secs(3600))
    }

    /// Takes what was prepared, if it still is to be taken.
    async fn take(
        &mut self,
        tools: &Tools,
        changes: &mpsc::Sender<Change>,
        prepared: Prepared,
    ) -> Result<(), Fenced> {
        match prepared {
            Prepared::Nothing => {
                self.reported.clear();
                self.record.change(tools, |rollout| rollout.fault = None).await
            }
            Prepared::Unwelcome(_, Welcome::Back) => self.withdraw(tools, changes).await,
            Prepared::Unwelcome(found, welcome) => {
                self.unwelcome(&found, welcome);
                Ok(())
            }
            Prepared::Refused(found, refusal) => {
                self.again = refuse(tools, &mut self.record, found, &refusal, &mut self.reported).await?;
                Ok(())
            }
            Prepared::Ready(found, plugin, shadowed) => {
                self.reported.clear();
                match self.record.rollout.welcome(&found.digest, now()) {
                    Welcome::Take => self.try_out(tools, changes, &found, plugin, shadowed).await,
                    Welcome::Known => Ok(()),
                    Welcome::Back => self.withdraw(tools, changes).await,
                    // A command came meanwhile.
                    unwelcome => {
                        self.unwelcome(&found, unwelcome);
                        Ok(())
                    }
                }
            }
        }
    }

    fn unwelcome(&mut self, found: &Found, welcome: Welcome) {
        let why = match welcome {
            Welcome::Rest(again) => {
                self.again = Some(again);
                "it failed on trial and rests".to_owned()
            }
            Welcome::Pinned => "the live version is pinned".to_owned(),
            Welcome::Refused(reason) => reason,
            Welcome::Known | Welcome::Back | Welcome::Take => return,
        };
        let text = format!("{} {why}", found.digest);
        if text != self.reported {
            let plugin = short(&found.digest);
            tracing::warn!(handler = &*self.settings.name, plugin, why, "version is not accepted");
            self.reported = text;
        }
    }

    /// A version that can run goes on trial.
    async fn try_out(
        &mut self,
        tools: &Tools,
        changes: &mpsc::Sender<Change>,
        found: &Found,
        plugin: Arc<Plugin>,
        shadowed: Option<String>,
    ) -> Result<(), Fenced> {
        failpoint::hit(failpoint::BEFORE_TRIAL);
        self.record.change(tools, |rollout| begin_trial(rollout, found, shadowed)).await?;
        failpoint::hit(failpoint::TRIAL_STORED);
        let policy = self.settings.canary;
        let share = policy.share * 100.0;
        self.versions.canary = Some((plugin, policy));
        self.notify(changes).await;
        tracing::info!(
            handler = &*self.settings.name,
            plugin = short(&found.digest),
            share,
            events = policy.events,
            "version is on trial"
        );
        Ok(())
    }

    /// The source offers the live version again: whatever is on trial is not wanted any more.
    async fn withdraw(&mut self, tools: &Tools, changes: &mpsc::Sender<Change>) -> Result<(), Fenced> {
        let mut withdrawn = None;
        self.record.change(tools, |rollout| withdrawn = rollout.withdraw(now())).await?;
        self.versions.canary = None;
        self.notify(changes).await;
        let plugin = withdrawn.as_deref().map(short);
        let handler = &*self.settings.name;
        tracing::info!(handler, plugin, "trial is over: the source offers the live version again");
        Ok(())
    }

    /// The trial of a version has ended.
    async fn end_trial(
        &mut self,
        tools: &Tools,
        changes: &mpsc::Sender<Change>,
        judged: Judged,
    ) -> Result<(), Fenced> {
        let Some((plugin, _)) = self.versions.canary.take_if(|(plugin, _)| is(plugin, &judged.digest)) else {
            // It was taken off trial meanwhile.
            return Ok(());
        };
        let (handler, digest) = (&*self.settings.name, &*judged.digest);
        failpoint::hit(failpoint::TRIAL_ENDED);
        let failed = match judged.judgement {
            Judgement::Promote => {
                let known = self.record.rollout.version(digest);
                let shadowed = known.and_then(|version| version.reason.clone());
                self.record
                    .change(tools, |rollout| rollout.leave(digest, Stage::Live, shadowed, now()))
                    .await?;
                self.versions.live = plugin;
                None
            }
            Judgement::RollBack(reason) => {
                let why = reason.clone();
                self.record.change(tools, |rollout| rollout.set_back(digest, why, now())).await?;
                self.again = self.record.rollout.version(digest).and_then(|version| version.again);
                self.etag = Etag::default();
                Some(reason)
            }
        };
        failpoint::hit(failpoint::END_STORED);
        self.notify(changes).await;
        match failed {
            None => tracing::info!(handler, plugin = short(digest), "version is live"),
            Some(reason) => tracing::warn!(handler, plugin = short(digest), reason, "version is rolled back"),
        }
        Ok(())
    }

    /// Tells the engine. What is logged afterwards holds for every event that is read from then on.
    async fn notify(&self, changes: &mpsc::Sender<Change>) {
        // An engine that has ended asks again when it begins.
        changes.send(Change { handler: self.handler, versions: self.versions.clone() }).await.ok();
    }

    /// Carries out a command and answers it. Whether the source is to be polled again.
    async fn command(
        &mut self,
        tools: &Tools,
        changes: &mpsc::Sender<Change>,
        sequence: u64,
        command: OperatorCommand,
    ) -> Result<bool, Fenced> {
        let stream = &tools.settings.stream.name;
        if sequence <= self.record.rollout.command {
            // It was carried out before the host started.
            tools.broker.delete(stream, sequence).await.ok();
            return Ok(false);
        }
        let (done, text) = match self.carry_out(tools, sequence, &command).await? {
            Ok(text) => (true, text),
            Err(text) => (false, text),
        };
        failpoint::hit(failpoint::COMMAND_STORED);
        self.notify(changes).await;
        tracing::info!(handler = &*self.settings.name, done, text, "command executed");
        answer(&tools.broker, &tools.names, stream, sequence, &Answer { done, text }).await;
        // What was not taken before may be now.
        (self.etag, self.reported) = Default::default();
        Ok(matches!(command, OperatorCommand::Unpin))
    }

    /// What was done, or why it could not be.
    async fn carry_out(
        &mut self,
        tools: &Tools,
        sequence: u64,
        command: &OperatorCommand,
    ) -> Result<Result<String, String>, Fenced> {
        let (mut next, text) = match self.record.rollout.commanded(command, now()) {
            Ok(next) => next,
            Err(why) => return Ok(Err(why)),
        };
        let mut live = Arc::clone(&self.versions.live);
        if let Some(digest) = next.live.as_deref().filter(|digest| !is(&live, digest)) {
            live = match remembered(tools, self.handler, &next, Some(digest)).await {
                Some(known) => {
                    if let Some(Vouched { by, release }) = &known.vouched {
                        let digest = known.plugin.digest().to_string();
                        next.vouch_for_return(&digest, by, release);
                    }
                    known.plugin
                }
                None => {
                    let version = short(digest);
                    return Ok(Err(format!(
                        "cannot run {version}: it is no longer available, or no longer allowed"
                    )));
                }
            };
        }
        next.command = sequence;
        let trial = next.canary.clone();
        self.record.change(tools, |rollout| *rollout = next).await?;
        self.versions.live = live;
        self.versions.canary.take_if(|(plugin, _)| trial.is_none_or(|trial| !is(plugin, &trial)));
        Ok(Ok(text))
    }
}

fn is(plugin: &Plugin, digest: &str) -> bool {
    *plugin.code().id().digest == *digest
}

pub(super) fn begin_trial(rollout: &mut Rollout, found: &Found, shadowed: Option<String>) {
    if let Some(before) = rollout.canary.take() {
        rollout.leave(
            &before,
            Stage::Retired,
            Some("a newer version came before its trial ended".to_owned()),
            now(),
        );
    }
    rollout.fault = None;
    rollout.enter(found, Stage::Canary, shadowed, now());
}

/// Notes that a version, or a source without one, is refused. When it may be tried again, in milliseconds since 1970.
pub(super) async fn refuse(
    tools: &Tools,
    record: &mut RolloutRecord,
    found: Option<Found>,
    refusal: &Refusal,
    reported: &mut String,
) -> Result<Option<u64>, Fenced> {
    let reason = refusal.to_string();
    let digest = found.as_ref().map(|found| found.digest.clone());
    let text = format!("{digest:?} {reason}");
    if *reported != text {
        let plugin = digest.as_deref().map(short);
        tracing::error!(handler = &*record.handler, plugin, reason, "version is refused; the live one stays");
        *reported = text;
    }
    let Some(found) = found else {
        record.change(tools, |rollout| rollout.fault = Some(reason)).await?;
        return Ok(Some(now() + AGAIN));
    };
    let hope = refusal.hope();
    record.change(tools, |rollout| rollout.refuse(&found, reason, hope, now())).await?;
    let again = record.rollout.version(&found.digest).and_then(|version| version.again);
    Ok(again.filter(|_| hope == Hope::Time))
}

/// The wait until a source that gave nothing is polled again, in milliseconds.
const AGAIN: u64 = 5_000;
