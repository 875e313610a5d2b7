//! What is asked until the server answers: that it cannot be reached is nobody's fault and passes.

use std::time::Duration;

use super::Error;

/// The wait after the first failure; it doubles with each.
const MIN_DELAY: Duration = Duration::from_millis(50);

/// The longest wait between two tries.
const MAX_DELAY: Duration = Duration::from_secs(2);

/// Asks the server until it answers; `what` is said in the log of each failure.
pub async fn persist<T, F: Future<Output = Result<T, Error>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let mut delay = MIN_DELAY;
    loop {
        match ask().await {
            Ok(value) => return value,
            Err(error) => tracing::warn!(%error, ?delay, "{what} could not be read; trying again"),
        }
        tokio::time::sleep(delay).await;
        delay = delay.saturating_mul(2).min(MAX_DELAY);
    }
}
