//! Source: where components come from, when they have changed, and who has signed them.
//!
//! Knows files and registries; the only module that names `reqwest`. Refuses to know NATS, WebAssembly and what a
//! component is for.

pub mod oci;
pub mod signature;
pub mod watch;
