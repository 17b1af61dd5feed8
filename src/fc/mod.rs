//! What Function Compute means by a request, and what it expects in return. Pure.
//!
//! Knowledge of the platform's contract and nothing else: names, paths, words and
//! verdicts. Who waits for workers, moves the phase or writes a line is decided
//! above.

pub mod caller;
pub mod event;
pub mod kind;
pub mod marker;
pub mod policy;
pub mod verdict;
