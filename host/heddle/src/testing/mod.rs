//! Tests of handlers and of whole applications, in this process and without a server.
//!
//! A [`TestHost`] is an application in memory: real plugins in the real sandbox, virtual time. A [`Suite`] runs the tests
//! of files on it, as `heddle test` does.

pub mod case;
mod expect;
mod given;
mod host;
pub mod junit;
mod record;
mod server;
mod story;
mod suite;

pub use host::{BEGINNING, TestHost};
pub use record::{Publication, Ran};
pub use server::Stage;
pub use suite::{Modes, Options, Outcome, Suite};
