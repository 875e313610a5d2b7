//! What is asked until the server answers: that it cannot be reached is nobody's fault and passes.

use std::time::Duration;

use super::Error;
use heddle_values::policy::Backoff;

/// The waits between tries.
const PAUSES: Backoff = Backoff::doubling(Duration::from_millis(50), Duration::from_secs(2));

/// Asks the server until it answers; `what` is said in the log of each failure.
pub async fn persist<T, F: Future<Output = Result<T, Error>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    for failures in 1_u32.. {
        let delay = PAUSES.bound(failures);
        match ask().await {
            Ok(value) => return value,
            Err(error) => tracing::warn!(%error, ?delay, "{what} could not be read; trying again"),
        }
        tokio::time::sleep(delay).await;
    }
    unreachable!("the tries have no end")
}
