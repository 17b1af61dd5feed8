//! Which worker: the published pool and the choice among its members.
//!
//! The control plane publishes immutable [`pool::Pool`] snapshots; the data
//! plane takes slots from their workers through atomics. Nothing here knows how
//! a worker came to be or how bytes reach it.

pub mod affinity;
pub mod balance;
pub mod functions;
pub mod idle;
pub mod lease;
pub mod pool;
pub mod roster;

mod session;
