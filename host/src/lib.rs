//! Heddle: an event processor for NATS JetStream.
//!
//! The map, from the bottom up; nothing knows what stands below it in this list:
//!
//! - [`values`]: events, keys, verdicts, checkpoints, settings. No I/O, no async, no clock.
//! - [`broker`]: NATS JetStream. [`sandbox`]: WebAssembly. [`source`]: where components come from. Three worlds that do
//!   not know each other.
//! - [`flow`]: carries an event from the reader to the commit.
//! - [`assembly`]: the file, the command line, the host put together.
//!
//! To follow one event, begin with [`flow::engine`]. To test handlers from Rust, begin with [`testing::TestHost`].

// Everything that is printed goes through `assembly::print`: a reader who has gone must not be a panic.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod values;

pub mod broker;
pub mod sandbox;
pub mod source;

pub mod flow;

pub mod assembly;

pub use assembly::testing;
