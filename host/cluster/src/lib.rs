//! How several hosts share an application: which of them live, and which is to own which shard.
//!
//! Nothing here grants a shard to anybody: a claim in the stream does, which one host alone can store. What is concluded
//! here only decides who tries. Pure: times are milliseconds of this host's own monotonic clock, and come in as arguments;
//! times of two machines are never compared.

pub mod assign;
pub mod group;
pub mod propose;
pub mod watch;
