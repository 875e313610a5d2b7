//! Torture: long campaigns against a running host, over a real server, judged from outside.
//!
//! A campaign draws everything at random from a seed and ends with one page of figures, the seed among them. Its small
//! size is a test, its full size a chore: `cargo xtask torture`.

pub mod cli;

pub mod mix;

pub mod swap;
