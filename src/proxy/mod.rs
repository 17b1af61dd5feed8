//! What happens to a request: the walk and the rooms it passes through.
//!
//! Engines call [`serve::serve`] with an [`exchange::Exchange`]; everything else
//! here is what the walk needs on its way. Nothing in this room moves bytes.

pub mod admission;
pub mod exchange;
pub mod in_flight;
pub mod line;
pub mod reply;
pub mod serve;

use crate::config::AccessLog;
use admission::Gate;

/// The shared, immutable rooms that every request passes through.
#[derive(Debug)]
pub struct Proxy {
    /// Who may go on to a worker.
    pub gate: Gate,
    /// Whether and how requests are reported.
    pub access_log: AccessLog,
    /// Whether workers are told `x-warmfront-start`.
    pub tell_start: bool,
}
