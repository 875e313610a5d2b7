//! The program `heddle`: the file, the command line, the host put together.
//!
//! The map of the crates below `host/`, from the bottom up; none knows what stands below it in this list:
//!
//! - `heddle-values`: events, keys, verdicts, checkpoints, settings. No I/O, no async, no clock.
//! - `heddle-broker`: NATS JetStream. `heddle-sandbox`: WebAssembly. `heddle-source`: where components come from.
//!   `heddle-project`: projects in which handlers are written. Four worlds that do not know each other.
//! - `heddle-config`: reads `heddle.toml`. `heddle-flow`: carries an event from the reader to the commit.
//! - `heddle`: everything put together.
//!
//! To follow one event, begin with `heddle_flow::engine`. To test handlers from Rust, begin with [`testing::TestHost`].

// Everything that is printed goes through `print`: a reader who has gone must not be a panic.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod admission;
mod build;
pub mod cli;
mod docker_login;
pub mod host;
mod patience;
mod permissions;
mod print;
mod server;
mod service;
mod systemd;
mod telemetry;
pub mod testing;
