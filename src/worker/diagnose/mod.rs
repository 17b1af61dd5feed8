//! Explaining what went wrong with a worker, the way a good colleague would.
//!
//! Reads files and `/proc`, changes nothing, decides nothing. Three questions:
//! why it could not be started ([`exec`]), why it is not ready ([`silence`]),
//! how it ended ([`exit`]).

pub mod exec;
pub mod exit;
pub mod silence;
