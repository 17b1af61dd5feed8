//! How bytes move: drivers around `http1` and the walk.
//!
//! [`epoll`] is the engine: tokio's current-thread runtime, one per data-plane
//! thread. `relay`, `exchange` and `connection` are written against the two
//! small traits below, so that `sim` can run the same code in memory under
//! virtual time.

mod buffer;
mod connection;
mod departure;
pub mod epoll;
mod errand;
mod exchange;
mod h2;
mod pace;
mod plane;
mod relay;
mod response;
// Fuzzing plays in it as well; `fuzz/` brings tokio's virtual time along.
#[cfg(any(test, fuzzing))]
pub mod sim;
mod sockets;
mod tunnel;

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::upstream::pool::Worker;

/// A byte stream as the relay needs it.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// Ready when bytes or the end can be read. Holds no buffer, makes no system call.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// How many bytes could be read, zero at the end; consumes nothing.
    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>>;

    /// Whether the peer has finished sending, bytes that are still unread aside.
    fn has_ended(&self) -> bool;

    /// Whether the peer is gone in both directions, as far as its kernel tells.
    fn has_left(&self) -> bool;

    /// An error that the peer's kernel reported (a reset).
    fn pending_error(&self) -> Option<io::Error>;

    /// Bytes written that the peer has not taken yet, as far as the kernel tells.
    fn untaken(&self) -> u64;

    /// Makes the next close visible as a failure: the peer gets a reset instead of a clean end.
    fn reset_on_close(&self);

    /// Whether the kernel knows what the other end has got, as it does for Unix sockets: a first
    /// write that fails with `EPIPE` delivered nothing, and a reset means that something was not read.
    fn knows_delivery(&self) -> bool;

    /// Whether the other end has said that it did nothing with what was written to it: HTTP/2 refuses
    /// streams. A socket cannot say so.
    fn was_refused(&self) -> bool {
        false
    }

    /// Whether an idle stream can carry a request: no end, no error, no bytes nobody asked for.
    fn is_quiet(&mut self) -> bool;
}

/// Opens streams to workers.
pub(crate) trait Dial: 'static {
    /// What it opens.
    type Stream: Stream + 'static;

    /// Connects to `worker`. `WouldBlock` means that its backlog is full.
    async fn dial(&self, worker: &Arc<Worker>) -> io::Result<Self::Stream>;

    /// Notes that `worker` has answered in HTTP/2. False if it was not to be asked for it.
    fn learn_http2(&self, worker: &Worker) -> bool;

    /// Makes a stream opened on another thread usable on this one.
    fn adopt(&self, stream: Self::Stream) -> io::Result<Self::Stream>;
}
