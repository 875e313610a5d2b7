//! The sandbox by itself: every item of the contract exercised by a guest, determinism, limits, grants, instances and
//! admission. No server.

mod bench;
mod contract;
mod grants;
mod instances;
mod limits;
