//! What happens to a request: the walk and the rooms it passes through.
//!
//! Engines call [`serve::serve`] with an [`exchange::Exchange`]; everything else
//! here is what the walk needs on its way. Nothing in this room moves bytes.

pub mod admission;
pub mod budget;
pub mod exchange;
pub mod hooks;
pub mod in_flight;
pub mod line;
pub mod outbox;
pub mod replay;
pub mod reply;
pub mod serve;
pub mod trail;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::config::platform::{Events, Markers};
use crate::config::{AccessLog, HeaderPolicy, Noslate, Php, Replay, Reported};
use crate::upstream::affinity::Affinity;
use crate::upstream::functions::Functions;
use admission::Gate;
use hooks::Desk;
use outbox::Outbox;
use replay::Replays;

/// The shared rooms that every request passes through.
#[derive(Debug)]
pub struct Proxy {
    /// Who may go on to a worker.
    pub gate: Gate,
    /// Whether and how requests are reported.
    pub access_log: AccessLog,
    /// Which requests are.
    pub reported: Reported,
    /// Whether requests are counted and timed, and can be seen in flight.
    pub is_observed: bool,
    /// Whether answers of workers tell how long their steps took.
    pub server_timing: bool,
    /// Where requests go that are to become spans, if any are.
    pub outbox: Option<Arc<Outbox>>,
    /// Whether the platform's markers are written.
    pub markers: Markers,
    /// Whether workers are told `x-warmfront-start`.
    pub tell_start: bool,
    /// What of a request workers do not get.
    pub headers: HeaderPolicy,
    /// Largest body of a request, in bytes.
    pub body_bytes: Option<u64>,
    /// Which requests return to the same worker, if any do.
    pub affinity: Option<Affinity>,
    /// The planes whose functions answer, if it is not workers that speak HTTP.
    pub noslate: Option<Arc<Noslate>>,
    /// What is served, if it is PHP behind FastCGI.
    pub php: Option<Php>,
    /// What is known of those functions.
    pub functions: Option<Arc<Functions>>,
    /// Where events go, and when they count as failed.
    pub events: Events,
    /// Where the platform's hooks and health checks are answered.
    pub desk: Desk,
    /// Which requests are sent again.
    pub replays: Replays,
    /// Freezes that a request has met already.
    pub thaws_met: AtomicU64,
}

impl Proxy {
    /// Behind `gate`, with everything else as it is by default and nothing written.
    pub fn silent(gate: Gate) -> Self {
        Self {
            gate,
            access_log: AccessLog::Off,
            reported: Reported::ALL,
            is_observed: false,
            server_timing: false,
            outbox: None,
            markers: Markers::Off,
            tell_start: false,
            headers: HeaderPolicy::default(),
            body_bytes: None,
            affinity: None,
            noslate: None,
            php: None,
            functions: None,
            events: Events::default(),
            desk: Desk::closed(),
            replays: Replays::new(Replay::default()),
            thaws_met: AtomicU64::new(0),
        }
    }
}
