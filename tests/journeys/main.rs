//! Journeys: what Heddle promises, shown over a real server with real components and real processes.

mod cluster;
mod commands;
mod containment;
mod dead_letters;
mod dev_build;
mod effects;
mod exactly_once;
mod failure;
mod holding;
mod killed;
mod login;
mod oci;
mod order;
mod outage;
mod push;
mod reading;
mod refusals;
mod reload;
mod sources;
mod stream;
mod testing;
mod versions;
mod versions_killed;
mod worlds;
