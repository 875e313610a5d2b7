//! Where a microsecond goes.

use serde::Serialize;

/// What one part of an event's journey takes.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    pub name: &'static str,
    pub nanos: f64,
}

/// What a round of the guest's work takes, in nanoseconds.
pub fn nanos_per_round() -> f64 {
    1.0
}
