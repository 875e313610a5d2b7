//! The flow: from cursor to commit. Knows the broker and the sandbox; nothing below knows it.
//!
//! Follow one event: [`reader`] takes it from a cursor, [`route`] finds its handlers, [`shard`] keeps its
//! lane in order, `jobs` run it, [`commit`] gathers what it did into a [`batch`], [`store`] stores that. [`engine`]
//! leads it through.

pub mod acquire;
pub mod activity;
pub mod batch;
pub mod circuit;
mod clock;
pub mod commit;
pub mod compact;
pub mod engine;
pub mod failpoint;
pub mod flow;
pub mod gates;
mod jobs;
pub mod leftovers;
pub mod loss;
pub mod pace;
mod plugin_log;
pub mod positions;
pub mod reader;
pub mod regulator;
mod replays;
pub mod route;
pub mod shard;
pub mod shards;
pub mod states;
pub mod store;
pub mod trial;
pub mod versions;
mod workers;
