//! The data plane in memory, under virtual time.
//!
//! Sockets and processes are replaced and nothing else: gate, walk, relay and connection,
//! and what decides about lives of workers and publishes them, are the ones that serve production. Hours pass in milliseconds, every failure of a peer
//! can be had on demand, and a seed repeats a run step by step.

mod client;
mod ledger;
mod network;
#[cfg(warmfront_shuttle)]
mod schedules;
mod seeds;
mod stream;
mod supervision;
mod tests;
mod wire;
mod worker;
mod world;
