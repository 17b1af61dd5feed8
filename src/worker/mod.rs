//! Keeping workers alive: start, watch, explain, restart, stop.
//!
//! Two sources of workers share one shape, `run(stop, reports)`: [`supervisor`]
//! owns processes, [`external`] watches sockets that somebody else serves. Both
//! publish the ready ones into [`crate::upstream`] and print nothing themselves;
//! what a person should know goes out as a [`report::Report`].
//!
//! What judges is pure ([`state`], [`respawn`], `lines`, `records`); what touches the
//! system is small ([`spawn`], [`probe`], [`output`], [`sink`]); [`diagnose`] only reads
//! and explains.

pub mod census;
pub mod diagnose;
mod entrance;
mod executable;
pub mod external;
pub mod flush;
mod group;
pub mod ladder;
mod lines;
mod native;
pub mod output;
pub mod php_fpm;
pub mod planes;
pub mod probe;
pub mod processes;
pub mod program;
mod records;
pub mod recycle;
pub mod remap;
pub mod report;
pub mod respawn;
pub mod restart;
mod seat;
pub mod shim;
pub mod sink;
mod socket_dir;
pub mod spawn;
mod stamp;
mod start;
pub mod state;
pub mod supervisor;
pub mod usage;
mod words;

/// What the application wants of the workers. It only ever moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mandate {
    /// Keep all of them alive.
    Run,
    /// Keep those that live; one that exits stays away: the instance is about to end.
    Rest,
    /// End them.
    Stop,
}
