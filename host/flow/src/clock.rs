//! The host's clock.
//!
//! Begins with the wall clock's time and goes on by itself: whatever waits is not held up when the wall clock is set
//! back, and not given up when it is set ahead. So it may differ from a wall clock that was set, until the host starts
//! again.

use std::sync::LazyLock;
use std::time::{Instant, SystemTime};

/// When the clock began: on the wall clock, in milliseconds since 1970, and on one that only goes forward.
static BEGINNING: LazyLock<(u64, Instant)> = LazyLock::new(|| {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (u64::try_from(since.as_millis()).unwrap_or(u64::MAX), Instant::now())
});

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let (wall, began) = &*BEGINNING;
    wall.saturating_add(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX))
}
