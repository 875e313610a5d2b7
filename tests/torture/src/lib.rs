//! Torture: long campaigns against a running host, over a real server, judged from outside.
//!
//! A campaign draws everything at random from a seed and ends with one page of figures, the seed among them. Its small
//! size is a test, its full size a chore: `cargo xtask torture`.

pub mod cli;

mod judge;

mod load;

pub mod mix;

pub mod soak;

mod streams;

pub mod swap;
