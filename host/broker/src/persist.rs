//! What is asked until the server answers: that it cannot be reached is nobody's fault and passes.

use std::time::Duration;

use super::Error;
use heddle_values::policy::Backoff;

/// The waits between tries.
const PAUSES: Backoff = Backoff::doubling(Duration::from_millis(50), Duration::from_secs(2));

/// Asks the server until it answers. Each failure is logged, with what the error says was tried.
pub async fn persist<T, F: Future<Output = Result<T, Error>>>(mut ask: impl FnMut() -> F) -> T {
    let mut failures = 0;
    loop {
        let error = match ask().await {
            Ok(value) => return value,
            Err(error) => error,
        };
        failures += 1;
        let delay = PAUSES.bound(failures);
        tracing::warn!(?delay, "{error}; trying again");
        tokio::time::sleep(delay).await;
    }
}
