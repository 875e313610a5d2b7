//! About the run of this event.

use std::time::Duration;

use crate::host;

/// 1 on the first run, 2 on the first retry, and so on. Deferrals do not count.
#[must_use]
pub fn attempt() -> u32 {
    host::attempt()
}

/// The stream the event was read from.
#[must_use]
pub fn stream() -> String {
    host::stream()
}

/// The event's sequence in that stream.
#[must_use]
pub fn sequence() -> u64 {
    host::sequence()
}

/// The handler's name in `heddle.toml`.
#[must_use]
pub fn handler() -> String {
    host::handler()
}

/// The id of the event that began this chain of events.
#[must_use]
pub fn correlation() -> String {
    host::correlation()
}

/// What is left of `limits.time`, counted in run time, in steps of a millisecond.
#[must_use]
pub fn deadline() -> Duration {
    Duration::from_millis(u64::from(host::deadline_ms()))
}
