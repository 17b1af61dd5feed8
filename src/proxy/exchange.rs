//! What an engine must offer the walk: one request on one client connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::in_flight::{Context, InFlight};
use super::reply::LocalReply;
use crate::config::Noslate;
use crate::config::units::size_text;
use crate::fastcgi::fault::PhpFault;
use crate::fc::caller::Parent;
use crate::noslate::fault::PlaneFault;
use crate::noslate::target::Chosen;
use crate::upstream::affinity::{Affinity, Session};
use crate::upstream::pool::Worker;

/// First pause before a data plane or a php-fpm is asked again that could not take a request; it doubles from there.
const PLANE_PAUSE: Duration = Duration::from_millis(25);

/// One request, its head read and judged, its body not.
///
/// Futures need not be `Send`: a connection stays on its thread.
#[allow(async_fn_in_trait, reason = "engines are chosen at compile time; nothing is boxed or sent")]
pub trait Exchange {
    /// What the head says that the walk needs.
    fn head(&self) -> Head<'_>;

    /// Who asks, as far as traces go.
    fn caller(&self) -> Caller;

    /// The session that the head names, by the rules of `affinity`.
    fn session<'a>(&self, affinity: &'a Affinity) -> Option<Session<'a>>;

    /// What the head is for, by the rules of `noslate`.
    fn function(&self, noslate: &Noslate) -> Option<Chosen>;

    /// Waits until as much of the body is here as must be before a slot is taken; nothing by default.
    async fn collect(&mut self) -> Collected;

    /// Bytes held for this request while it waits.
    fn held_bytes(&self) -> usize;

    /// Gives relay buffers back before a wait; keeps exactly the bytes received.
    fn park(&mut self);

    /// Resolves when the client has left.
    ///
    /// # Cancel safety
    /// Consumes nothing.
    async fn abandoned(&mut self);

    /// Moves both bodies between the client and the worker of `in_flight`, and
    /// keeps the slot no longer than the worker is needed.
    ///
    /// # Errors
    /// [`Failed`] only while no byte of an answer has left; everything later is
    /// settled here (the client sees the answer cut off).
    async fn relay(&mut self, in_flight: &mut InFlight<'_>) -> Result<(), Failed>;

    /// Answers from the proxy itself, and ends the request of `context` with it. The connection
    /// stays usable where the reply allows it.
    async fn reply(&mut self, context: Context, reply: LocalReply);

    /// The request without its body, whole, as a worker may be sent it beside the requests of slots.
    fn errand(&self, context: &Context) -> Vec<u8>;

    /// Sends `message`, a whole HTTP/1.1 request, to `worker` on a connection of its own that takes no
    /// slot, and returns the status of the answer.
    ///
    /// # Errors
    /// The connection, or an answer that is none.
    async fn run_errand(&self, worker: &Arc<Worker>, message: &[u8]) -> io::Result<u16>;

    /// Closes idle connections to workers: one that serves a single connection at a time would not
    /// accept an errand's.
    fn forget_idle(&self);
}

/// How [`Exchange::collect`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collected {
    /// The request may take a slot.
    Ready,
    /// The client's chunks are malformed.
    BadBody(crate::http1::chunked::ChunkFault),
    /// The client sent too little within this time.
    TooSlow(Duration),
    /// The client has left.
    Gone,
}

/// Who asks, as far as traces go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The span of which the request says that it is a child.
    pub parent: Option<Parent>,
    /// The version of HTTP that the client speaks, as OpenTelemetry writes it: `1.1`.
    pub version: &'static str,
}

/// The head as the walk sees it.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Method, raw.
    pub method: &'a [u8],
    /// Target, raw.
    pub target: &'a [u8],
    /// Value of `x-fc-request-id`, raw.
    pub request_id: Option<&'a [u8]>,
    /// Value of `x-fc-control-path`, raw.
    pub control_path: Option<&'a [u8]>,
    /// Whether the platform names a service, as only its second version does.
    pub names_service: bool,
    /// The head, whole, if its `Max-Forwards` lets it go no further (RFC 9110 §7.6.2).
    pub last_hop: Option<&'a [u8]>,
    /// How long the body is, or will be at least.
    pub body_bytes: u64,
    /// Bytes of the request received so far, the head and what came with it.
    pub received: usize,
}

/// A relay that ended before any byte of an answer left.
#[derive(Debug)]
pub struct Failed {
    /// What happened, for the person who reads the answer.
    pub cause: Cause,
    /// What the worker may have got.
    pub delivery: Delivery,
    /// Whether the request can be sent again: its bytes are still held whole.
    pub is_held: bool,
    /// What the request says about being executed twice.
    pub promise: Promise,
}

impl Failed {
    /// How long the request waits before try `attempt` is followed by another: a plane that had no room will not have
    /// any at once.
    pub fn pause(&self, attempt: u32) -> Option<Duration> {
        matches!(self.cause, Cause::Plane(_) | Cause::Php(_))
            .then(|| PLANE_PAUSE * (1 << attempt.saturating_sub(1).min(4)))
    }
}

/// What a request says about being executed twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promise {
    /// Its method reads only (RFC 9110 §9.2.1): GET, HEAD, OPTIONS, TRACE.
    pub safe: bool,
    /// Twice is as good as once (RFC 9110 §9.2.2): PUT, DELETE.
    pub idempotent: bool,
    /// It bears a key by which its worker knows it again.
    pub keyed: bool,
}

/// Why a relay failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// No connection came about.
    #[error("the worker did not accept a connection: {0}")]
    Connect(std::io::Error),
    /// The worker closed or reset the connection without an answer.
    #[error("the worker closed the connection before it answered")]
    Closed,
    /// The worker speaks another HTTP than it was spoken to, or cannot be told this request in its own.
    #[error("{0}")]
    Protocol(std::io::Error),
    /// The worker's answer is not HTTP that may be passed on.
    #[error("{0}")]
    BadResponse(#[from] crate::http1::response::BadResponse),
    /// A data plane has not had the function answer, or with what is no HTTP.
    #[error("{0}")]
    Plane(#[from] PlaneFault),
    /// FastCGI has given no answer, or one that may not be passed on.
    #[error("{0}")]
    Php(#[from] PhpFault),
    /// The client's chunks are malformed.
    #[error("{0}")]
    BadBody(#[from] crate::http1::chunked::ChunkFault),
    /// The client's body is larger than this many bytes.
    #[error("the request body is larger than limits.body_bytes={}", size_text(*.0))]
    LargeBody(u64),
    /// The client sent too little of its body within this time.
    #[error("the request body came too slowly")]
    SlowBody(Duration),
}

/// What the worker may have got of a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Provably nothing: no connection, the first write to a Unix socket failed, or the worker said so
    /// (an HTTP/2 stream it refused).
    Nothing,
    /// Not all of it, says the kernel: it was reset with bytes unread, perhaps before anybody accepted it.
    Unread {
        /// Whether it was a single small write: who reads in blocks has then read nothing of it.
        in_one_write: bool,
    },
    /// Something, on a connection that had served before: it may have been closing already.
    ReusedConnection,
    /// Something, on a fresh connection.
    Something,
}
