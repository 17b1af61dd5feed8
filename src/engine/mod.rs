//! How bytes move: drivers around `http1` and the walk.
//!
//! Two engines bring sockets to it: `epoll`, which is always there, and `uring`
//! behind the feature of that name. `relay`, `exchange` and `connection` are
//! written against the two small traits below, so that both engines share them
//! and `sim` can run the same code in memory under virtual time.

mod buffer;
mod connection;
mod conversation;
pub mod data_plane;
mod departure;
mod epoll;
mod errand;
mod exchange;
mod fastcgi;
mod h2;
mod noslate;
mod pace;
mod passage;
mod pipe;
mod plane;
mod relay;
mod response;
// Fuzzing plays in it as well; `fuzz/` brings tokio's virtual time along.
#[cfg(any(test, fuzzing))]
pub mod sim;
mod sockets;
mod tunnel;
mod unix;
#[cfg(all(target_os = "linux", feature = "uring"))]
mod uring;
mod workspace;

use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use self::data_plane::{DataPlane, Manners};
use self::epoll::Epoll;
use self::pipe::Pipe;
use crate::config::EngineChoice;
use crate::proxy::Proxy;
use crate::telemetry::say;
use crate::upstream::pool::Worker;

/// Starts the data plane with the engine that was chosen, or with epoll where that cannot be had, and says so.
/// One thread per listener; they hold at most `connections_max` client connections together.
///
/// # Errors
/// If a thread or its runtime cannot be made.
pub fn start(
    choice: EngineChoice,
    listeners: Vec<TcpListener>,
    proxy: &Arc<Proxy>,
    manners: Manners,
) -> io::Result<DataPlane> {
    let why_not = match choice {
        EngineChoice::Epoll => return DataPlane::start::<Epoll>(listeners, proxy, manners),
        #[cfg(all(target_os = "linux", feature = "uring"))]
        EngineChoice::Uring | EngineChoice::Auto => match uring::probe() {
            Ok(()) => {
                say::info(
                    "engine uring: small messages of busy threads go through an io_uring, the rest by epoll",
                );
                return DataPlane::start::<uring::Uring>(listeners, proxy, manners);
            }
            Err(error) => format!("this kernel, or what contains us, refuses io_uring: {error}"),
        },
        #[cfg(not(all(target_os = "linux", feature = "uring")))]
        EngineChoice::Uring | EngineChoice::Auto => "this build is without the feature `uring`".to_owned(),
    };
    match choice {
        EngineChoice::Uring => say::warn(format_args!("engine = \"uring\", but epoll serves: {why_not}")),
        _ => say::info(format_args!("engine epoll: {why_not}")),
    }
    DataPlane::start::<Epoll>(listeners, proxy, manners)
}

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

    /// The version of HTTP that its peer speaks, if that is another than the bytes say.
    fn version(&self) -> Option<&'static str> {
        None
    }

    /// Whether an idle stream can carry a request: no end, no error, no bytes nobody asked for.
    fn is_quiet(&mut self) -> bool;

    /// Gives back what only an exchange needs: there is none for a while. False if something is under way that
    /// binds it to this thread.
    fn rest(&mut self) -> bool {
        true
    }

    /// Whether bytes can pass between it and a [`Pipe`]: it is a socket of the kernel, and nothing else.
    fn has_pipes(&self) -> bool {
        false
    }

    /// Whether its kernel spaces out what is sent (BBR), which makes passing through pipes dearer than copying.
    fn is_paced(&self) -> bool {
        false
    }

    /// Writes once; `more`: other bytes follow at once, so that a packet may wait for them.
    fn poll_write_more(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        _more: bool,
    ) -> Poll<io::Result<usize>> {
        Pin::new(self).poll_write(cx, bytes)
    }

    /// Says that nothing more is expected until the kernel reports it: what was taken into a pipe was all. Bytes
    /// that are here nevertheless are found by [`Stream::is_quiet`].
    fn forget_readable(&self) {}

    /// Takes some of the `ahead` bytes that may pass into `pipe`, which is empty; zero at the end of its bytes.
    fn poll_fill_pipe(
        &mut self,
        _cx: &mut Context<'_>,
        _pipe: &mut Pipe,
        _ahead: u64,
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    /// Sends what `pipe`, which is not empty, holds.
    fn poll_drain_pipe(&mut self, _cx: &mut Context<'_>, _pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }
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
