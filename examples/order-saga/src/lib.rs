//! Drives and checks the order saga.
//!
//! The crate places orders, waits until each has ended, then reads the whole stream and verifies what Heddle
//! promises of it. It shares no code with the host or the plugins: it knows subjects, payloads and two
//! headers, as any other client would.
//!
//! | module | holds |
//! |---|---|
//! | [`orders`] | the orders that are placed, from a seed |
//! | [`event`] | the messages of the saga, typed |
//! | [`check`] | the checker: a pure function over the stream's messages |
//! | [`summary`] | counts, throughput and latency |
//! | [`progress`] | how far each order has come, while waiting |
//! | [`broker`] | NATS; the only module that names its client |
//! | [`cli`] | the commands |

pub mod orders;

pub mod event;

pub mod check;

pub mod summary;

pub mod progress;

pub mod broker;

pub mod cli;

mod meter;
