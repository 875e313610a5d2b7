//! Handlers for Heddle in Rust.
//!
//! A handler is a function that takes an event and answers with a verdict. What it publishes and the state it
//! sets are held back by the host and take effect together if it answers `Ok(())`. Otherwise they are
//! forgotten. So a handler never has to undo anything.
//!
//! ```
//! use heddle_sdk::{Event, Verdict, publish, state};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! struct Created { order: String, amount: u64 }
//!
//! #[derive(Serialize)]
//! struct Reserved { order: String, total: u64 }
//!
//! fn credit(event: &Event) -> Verdict {
//!     let Created { order, amount } = event.json()?;
//!     let total = state::update(|total: &mut u64| { *total += amount; *total })?;
//!     publish(format!("credit.reserved.{}", event.key()), &Reserved { order, total })?;
//!     Ok(())
//! }
//!
//! heddle_sdk::handler!(credit);
//! ```
//!
//! The crate that holds it has `crate-type = ["cdylib"]`. `cargo build --target wasm32-wasip2` makes the
//! plugin, and the ordinary `cargo test` tests it, for on every other target [`testing`] stands in for the
//! host.
//!
//! # What `?` does
//!
//! | on | the event is |
//! |---|---|
//! | [`DecodeError`]: the payload or the state cannot be read | rejected: it would fail again |
//! | [`EffectError`]: the host refused an effect | rejected: it would be refused again |
//! | [`config::Error`]: a setting cannot be read | tried again: the event is not to blame |
//!
//! Other errors do not convert by themselves: say which it is with [`OrFail::or_retry`] or
//! [`OrFail::or_reject`].
#![warn(missing_docs)]

pub mod config;
pub mod context;
mod decode;
mod effects;
mod event;
mod handler;
pub mod log;
pub mod state;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod verdict;
#[cfg(target_arch = "wasm32")]
mod wasm;

pub use decode::DecodeError;
pub use effects::{EffectError, Message, Refusal, Reply, publish, reply};
pub use event::Event;
pub use handler::Handler;
pub use verdict::{Failure, OrFail, Verdict};

/// Where the calls of a handler go: to the real host in a plugin, to its double everywhere else.
#[cfg(not(target_arch = "wasm32"))]
use testing::double as host;
#[cfg(target_arch = "wasm32")]
use wasm as host;

/// What [`handler!`] expands to. Not part of the interface.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod __private {
    pub use crate::handler::instance;
    pub use crate::wasm::{answer, bindings};
}

/// The code of the README, which is compiled with the examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
