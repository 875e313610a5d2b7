//! Values: what Heddle talks about, without I/O, async or a clock.
//!
//! Nothing in here knows that NATS or wasmtime exist. Time and randomness come in as arguments.

pub mod errors;
pub mod event;
pub mod handlers;
pub mod key;
pub mod names;
pub mod object;
pub mod permissions;
pub mod subject;
pub mod text;

pub mod claims;
pub mod effects;
pub mod fingerprint;
pub mod http;
pub mod limit;
pub mod plugin;
pub mod policy;
pub mod position;
pub mod rollout;
pub mod verdict;

pub mod attempt;
pub mod batch;
pub mod causality;
pub mod checkpoint;
pub mod command;
pub mod dead_letter;
pub mod derivation;
pub mod gate;
pub mod header_block;
pub mod mark;
pub mod member;
pub mod original;
pub mod pointer;
pub mod refusal;

pub mod choreography;
pub mod rights;
pub mod secret;
pub mod servers;
pub mod settings;
