//! Runs a handler without a host, under the same contract.
//!
//! Everywhere but in a plugin, [`publish`](crate::publish), [`state`](crate::state) and the others reach a
//! double of the host. It judges effects by the rules of the contract, and forgets them if the handler fails.
//!
//! ```
//! use heddle_sdk::{Event, Verdict, config, publish, testing};
//!
//! fn discount(event: &Event) -> Verdict {
//!     let price: u64 = event.json()?;
//!     let off: u64 = config::parse("off")?.unwrap_or_default();
//!     publish(format!("price.offered.{}", event.key()), &(price - off))?;
//!     Ok(())
//! }
//!
//! let mut handler = testing::handler(discount)
//!     .key("{subject.2}")
//!     .publishes(["price.offered.*"])
//!     .config("off", "5");
//! let run = handler.run(testing::event("price.asked.c1").json(&100));
//! run.done();
//! assert_eq!(run.message("price.offered.c1").json::<u64>(), 95);
//! ```
//!
//! Everything here panics where a test should fail: that is what it is for.

pub(crate) mod double;
mod event;
mod handler;
mod key;
mod rules;
mod run;

pub use event::{TestEvent, event};
pub use handler::{Limits, TestHandler, fresh, handler, run};
pub use run::{LogLine, Published, Run};
