//! The benchmark: Heddle, native code and the server's own limit at the same job, interleaved in one session.
//!
//! The job: read an event, publish one of equal size, keep a durable counter for each key. Each variant is a
//! process of its own; every run begins with an empty output and ends with a check of what was written.

pub mod cli;

pub mod plan;

pub mod variant;

pub mod native;

pub mod languages;

pub mod latency;

pub mod failure;

pub mod rig;

pub mod process;

pub mod workload;

pub mod report;

pub mod plot;

pub mod parts;
