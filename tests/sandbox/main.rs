//! The sandbox by itself: every item of the contract exercised by a guest, determinism, limits, grants, instances and
//! admission; handlers written for other worlds. No server.

mod bench;
mod contract;
mod golden;
mod grants;
mod instances;
mod limits;
mod wasi_messaging;
mod wasmcloud;
mod worlds;
