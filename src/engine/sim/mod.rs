//! The data plane in memory, under virtual time.
//!
//! Sockets and processes are replaced and nothing else: gate, walk, relay and connection,
//! and what decides about lives of workers and publishes them, are the ones that serve
//! production. Hours pass in milliseconds, every failure of a peer can be had on demand, and
//! a seed repeats a run step by step. Fuzzing plays its scripts here too ([`script`]).

#![allow(clippy::unwrap_used, reason = "a world for tests: what cannot be set up ends the run")]
#![cfg_attr(fuzzing, allow(dead_code, unused_imports, reason = "fuzzing plays scripts only"))]

mod client;
mod ledger;
mod network;
#[cfg(all(test, warmfront_shuttle))]
mod schedules;
pub mod script;
#[cfg(test)]
mod scripts;
#[cfg(test)]
mod seeds;
mod stream;
mod supervision;
#[cfg(test)]
mod tests;
mod wire;
mod worker;
mod world;
