//! The platform that packages are for.

/// The only platform so far; programs of others are refused.
pub(super) const TRIPLE: &str = "x86_64-unknown-linux-gnu";
