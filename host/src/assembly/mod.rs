//! Assembly: from a file and a command line to a host that runs.
//!
//! The top of the program: it knows everything below, and nothing below knows it.

pub mod admission;
pub mod cli;
pub mod config;
pub mod host;
mod patience;
pub mod permissions;
pub mod print;
pub mod project;
pub mod registry;
pub mod server;
pub mod service;
pub mod telemetry;
pub mod testing;
