//! Source: where components come from, and when they have changed.
//!
//! Knows files. Refuses to know NATS, WebAssembly and what a component is for.

pub mod oci;
pub mod signature;
pub mod watch;
