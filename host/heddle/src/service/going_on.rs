//! Going on: after the engine has paused, another one takes its place, whatever the server does meanwhile.
//!
//! Promises that a host ends here only if it must not go on (see [`verdict`]): what passes is waited for, and with the
//! settings that ran a moment ago everything else is waited for as well.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{Cause, Ready, Service, Shift, changes};
use heddle_broker::{self as broker, CommitError};
use heddle_flow::acquire::{self, Fresh};
use heddle_flow::versions;
use heddle_sandbox::Sandbox;
use heddle_values::errors::chain;
use heddle_values::names::Names;
use heddle_values::policy::Backoff;
use heddle_values::settings::Settings;

/// The waits between two tries.
const PAUSES: Backoff = Backoff::doubling(Duration::from_millis(100), Duration::from_secs(5));

/// How long the announcement may take to be withdrawn.
const FAREWELL: Duration = Duration::from_secs(2);

/// What an engine begins with.
pub(super) struct Next<'a> {
    pub(super) settings: Arc<Settings>,
    pub(super) sandbox: Arc<Sandbox>,
    /// Handlers that begin again, or are forgotten.
    pub(super) fresh: Fresh<'a>,
    pub(super) stream: OwnStream,
}

/// What is done about the application's stream before an engine begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnStream {
    /// It is created if it is missing, and must be what the application needs.
    Provide,
    /// It must be there, and what the application needs.
    Check,
    /// It must be there. If it is not what the application needs, that is logged as an ERROR.
    Tell,
}

/// What follows from a beginning that failed.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The host must not go on: somebody else has the application, or its sequences may mean other events.
    Ends,
    /// It passes by itself.
    Passes,
    /// It stays until an operator changes something.
    Stays,
}

fn verdict(error: &anyhow::Error, own_stream: &str) -> Verdict {
    let of_broker = |error: &broker::Error| match error {
        broker::Error::NoStream(name) if name == own_stream => Verdict::Ends,
        broker::Error::Request { .. } => Verdict::Passes,
        error if error.may_pass() => Verdict::Passes,
        _ => Verdict::Stays,
    };
    let of_commit = |error: &CommitError| match error {
        // Room is made, by whoever the host does not know.
        CommitError::Full(_) => Verdict::Passes,
        error if error.may_pass() => Verdict::Passes,
        _ => Verdict::Stays,
    };
    if let Some(error) = error.downcast_ref::<broker::Error>() {
        return of_broker(error);
    }
    if let Some(error) = error.downcast_ref::<acquire::Error>() {
        return match error {
            acquire::Error::Taken { .. }
            | acquire::Error::Recreated { .. }
            | acquire::Error::Truncated { .. }
            | acquire::Error::Checkpoint { .. }
            | acquire::Error::Incomplete { .. } => Verdict::Ends,
            acquire::Error::Commit(error) => of_commit(error),
            acquire::Error::Broker(error) => of_broker(error),
            _ => Verdict::Stays,
        };
    }
    match error.downcast_ref::<versions::Error>() {
        Some(versions::Error::Fenced) => Verdict::Ends,
        Some(versions::Error::Broker(error)) => of_broker(error),
        Some(versions::Error::Claim { cause, .. }) => of_commit(cause),
        _ => Verdict::Stays,
    }
}

/// How a beginning ended.
pub(super) enum Begun {
    Shift(Box<Shift>),
    /// The host was asked to stop meanwhile.
    Stopped,
}

impl Service {
    /// Another engine goes on, with the old settings if it cannot with the new ones. Whether the host was asked to stop
    /// meanwhile.
    pub(super) async fn go_on(
        &mut self,
        cause: Cause,
        ready: Ready,
        began: Instant,
        stop: &mut watch::Receiver<bool>,
    ) -> anyhow::Result<bool> {
        // The controllers must have ended before others begin.
        self.now.tasks.shutdown().await;
        let (settings, sandbox) = (Arc::clone(&self.now.settings), Arc::clone(&self.now.sandbox));
        let changes = changes(&settings, &ready);
        let Ready { settings: new, sandbox: new_sandbox, forget, restart, .. } = &ready;
        let fresh = Fresh { forgotten: forget, restarted: restart };
        let (new, new_sandbox) = (Arc::clone(new), Arc::clone(new_sandbox));
        let next = Next { settings: new, sandbox: new_sandbox, fresh, stream: OwnStream::Check };
        let error = match Box::pin(self.begin_in_time(next, stop)).await {
            Ok(Begun::Stopped) => return Ok(true),
            Ok(Begun::Shift(shift)) => {
                self.now = *shift;
                let milliseconds = began.elapsed().as_millis() as u64;
                tracing::info!(because = cause.what, changes, milliseconds, "reload complete");
                self.notify(&cause, true, changes).await;
                return Ok(false);
            }
            Err(error) => error,
        };
        if verdict(&error, &settings.stream.name) == Verdict::Ends {
            return Err(error);
        }
        self.refused(&cause, &error).await;
        self.generation += 1;
        let next = Next { settings, sandbox, fresh: Fresh::default(), stream: OwnStream::Tell };
        match Box::pin(self.begin_in_time(next, stop)).await? {
            Begun::Stopped => Ok(true),
            Begun::Shift(shift) => {
                self.now = *shift;
                Ok(false)
            }
        }
    }

    /// Begins once that is possible. An error: it will not be, or with settings that have run, it must not be.
    async fn begin_in_time(
        &mut self,
        next: Next<'_>,
        stop: &mut watch::Receiver<bool>,
    ) -> anyhow::Result<Begun> {
        let mut failures = 0;
        loop {
            failures += 1;
            let delay = PAUSES.bound(failures);
            let tried = Instant::now();
            // Cancel-safe as far as it matters: whoever is asked to stop has nothing that runs, and what a host that
            // ends has begun is taken over as a whole or not at all.
            let begun = tokio::select! {
                begun = self.begin(&next) => begun,
                () = asked(stop) => return Ok(self.leave(&next.settings).await),
            };
            let error = match begun {
                Ok(shift) => return Ok(Begun::Shift(Box::new(shift))),
                Err(error) => self.with_grants(tried, error),
            };
            let has_run = next.stream == OwnStream::Tell;
            let text = chain(error.as_ref());
            match verdict(&error, &next.settings.stream.name) {
                Verdict::Ends => return Err(error),
                Verdict::Stays if !has_run => return Err(error),
                Verdict::Stays => {
                    tracing::error!(
                        ?delay,
                        "failed to resume with the previous configuration; retrying: {text}"
                    );
                }
                Verdict::Passes => tracing::warn!(?delay, "failed to resume; retrying: {text}"),
            }
            self.generation += 1;
            // Cancel-safe: nothing is begun.
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = asked(stop) => return Ok(self.leave(&next.settings).await),
            }
        }
    }

    /// Takes leave without an engine: nothing runs, and everything that was settled is committed or runs again.
    async fn leave(&self, settings: &Settings) -> Begun {
        let member = Names::new(&settings.app).member(&self.me.host);
        let purge = self.broker.purge(&settings.stream.name, &member);
        if !matches!(tokio::time::timeout(FAREWELL, purge).await, Ok(Ok(()))) {
            tracing::debug!("announcement stays until it expires");
        }
        Begun::Stopped
    }

    /// The application's stream, before an engine begins.
    pub(super) async fn look_at_stream(&self, settings: &Settings, stream: OwnStream) -> anyhow::Result<()> {
        if stream != OwnStream::Provide {
            // It is not created once more: what was in it is gone, and a host that begins with nothing would not notice.
            self.broker.stream_state(&settings.stream.name).await?;
        }
        let names = Names::new(&settings.app);
        let suits = match stream {
            OwnStream::Provide => self.broker.provision(settings, &names).await,
            OwnStream::Check | OwnStream::Tell => self.broker.suitable(settings, &names).await,
        };
        match suits {
            Err(error @ broker::Error::Unsuitable(_)) if stream == OwnStream::Tell => {
                tracing::error!(%error, "continuing with a stream that was changed");
                Ok(())
            }
            result => Ok(result?),
        }
    }

    /// An error, with what is to be granted if the server has denied something since a time.
    pub(super) fn with_grants(&self, since: Instant, error: anyhow::Error) -> anyhow::Error {
        let cause = chain(error.as_ref());
        let denied =
            [&self.broker, &self.reading].iter().find_map(|broker| broker.denied_since(since, &cause));
        match denied {
            Some(denied) => error.context(denied),
            None => error,
        }
    }
}

/// Ends once the host is asked to stop. A closed channel is a stop too: nobody is left who could ask for one.
pub(super) async fn asked(stop: &mut watch::Receiver<bool>) {
    stop.wait_for(|stop| *stop).await.ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> broker::Error {
        broker::Error::Request { what: "ask".to_owned(), cause: "timed out".to_owned() }
    }

    #[track_caller]
    fn check(error: impl Into<anyhow::Error>, expected: Verdict) {
        assert_eq!(verdict(&error.into(), "T"), expected);
    }

    #[test]
    fn only_what_endangers_events_ends_the_host() {
        check(broker::Error::NoStream("T".to_owned()), Verdict::Ends);
        check(acquire::Error::Recreated { stream: "T".to_owned() }, Verdict::Ends);
        check(versions::Error::Fenced, Verdict::Ends);
        let taken = acquire::Error::Taken {
            app: "t".to_owned(),
            host: "h".to_owned(),
            hostname: "n".to_owned(),
            pid: 1,
        };
        check(taken, Verdict::Ends);
    }

    #[test]
    fn what_the_server_is_at_the_moment_passes() {
        check(request(), Verdict::Passes);
        check(acquire::Error::Broker(request()), Verdict::Passes);
        check(versions::Error::Broker(request()), Verdict::Passes);
        for error in [
            CommitError::Unanswered("timed out".to_owned()),
            CommitError::Passing("no leader".to_owned()),
            CommitError::Full("disk".to_owned()),
        ] {
            let text = error.to_string();
            check(acquire::Error::Commit(error), Verdict::Passes);
            let (handlers, cause) = ("h".to_owned(), CommitError::Passing(text));
            check(versions::Error::Claim { handlers, cause }, Verdict::Passes);
        }
        let (what, cause) = ("list states".to_owned(), "it broke off".to_owned());
        check(broker::Error::NotWhole { what, cause }, Verdict::Passes);
    }

    #[test]
    fn what_somebody_must_change_stays() {
        check(broker::Error::NoStream("OTHER".to_owned()), Verdict::Stays);
        check(broker::Error::Unsuitable(Vec::new()), Verdict::Stays);
        check(acquire::Error::Commit(CommitError::Denied("_heddle.t.x".to_owned())), Verdict::Stays);
        check(versions::Error::Plugins(Vec::new()), Verdict::Stays);
        // Whatever it was, a denial is its reason.
        let denied = broker::Error::Denied { grants: Vec::new(), cause: String::new() };
        check(anyhow::Error::from(request()).context(denied), Verdict::Stays);
    }
}
