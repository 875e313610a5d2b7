//! Waiting for a server that is not there yet, or not ready.
//!
//! Promises that it is said what is waited for, at once and then now and then, and that nothing is waited for that only
//! somebody could change.

use std::time::{Duration, Instant};

use heddle_broker::{self as broker, CommitError};
use heddle_flow::{acquire, versions};
use heddle_values::errors::chain;
use heddle_values::policy::Backoff;

/// The waits between tries.
const PAUSES: Backoff = Backoff::doubling(Duration::from_millis(250), Duration::from_secs(2));

/// The interval at which the log says what the host waits for.
const COMPLAIN: Duration = Duration::from_secs(10);

/// Tries until it succeeds, or fails for a reason that does not pass by itself.
pub(super) async fn until_there<T, F>(attempt: impl Fn() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let (mut failures, mut said) = (0, None::<Instant>);
    loop {
        failures += 1;
        let error = match Box::pin(attempt()).await {
            Err(error) if may_pass(&error) => error,
            result => return result,
        };
        if said.is_none_or(|at| at.elapsed() > COMPLAIN) {
            said = Some(Instant::now());
            tracing::warn!(
                "waiting for the server: {} (`heddle dev` brings a server of its own)",
                chain(error.as_ref())
            );
        }
        tokio::time::sleep(PAUSES.bound(failures)).await;
    }
}

fn may_pass(error: &anyhow::Error) -> bool {
    // What the server denies is an error of the broker around that which it led to, and does not pass.
    if let Some(error) = error.downcast_ref::<broker::Error>() {
        return error.may_pass();
    }
    match error.downcast_ref::<acquire::Error>() {
        // Others were faster too often: an operator should investigate.
        Some(acquire::Error::Commit(CommitError::Conflict(_))) => return false,
        Some(acquire::Error::Commit(error)) => return error.may_pass(),
        Some(acquire::Error::Broker(error)) => return error.may_pass(),
        _ => {}
    }
    match error.downcast_ref::<versions::Error>() {
        Some(versions::Error::Claim { cause, .. }) => cause.may_pass(),
        Some(versions::Error::Broker(error)) => error.may_pass(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_waited_for_and_nothing_else() {
        let refused = || broker::Error::Connect { url: "nats://a".to_owned(), cause: "refused".to_owned() };
        let tries = Cell::new(0);
        let attempt = || async {
            tries.set(tries.get() + 1);
            match tries.get() {
                1..4 => Err(anyhow::Error::from(refused()).context("while starting")),
                tries => Ok(tries),
            }
        };
        assert_eq!(until_there(attempt).await.unwrap(), 4);
        let none =
            || async { Err::<(), _>(broker::Error::NoJetStream { url: "nats://a".to_owned() }.into()) };
        assert!(until_there(none).await.is_err());
    }
}
