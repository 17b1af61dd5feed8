//! Connections to workers on a thread with a ring: Unix sockets may use it, all others are as with epoll.

use std::io::{self, IoSlice};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::Ringed;
use crate::config::{Limits, Protocol};
use crate::engine::pipe::Pipe;
use crate::engine::sockets::{Sockets, WorkerStream};
use crate::engine::{Dial, Stream, unix};
use crate::proxy::Proxy;
use crate::upstream::pool::{Address, Worker};

/// Opens sockets to workers.
pub(in crate::engine) struct RingSockets {
    others: Sockets,
}

/// A connection to a worker.
#[derive(Debug)]
pub(in crate::engine) enum RingStream {
    /// Over a Unix socket.
    Unix(Ringed<UnixStream>),
    /// Over anything else.
    Other(WorkerStream),
}

impl RingSockets {
    /// To workers that speak `protocol`, or to the data planes of `proxy`.
    pub(super) fn new(protocol: Protocol, limits: Limits, proxy: &Proxy) -> Self {
        Self { others: Sockets::new(protocol, limits, proxy) }
    }
}

impl Dial for RingSockets {
    type Stream = RingStream;

    async fn dial(&self, worker: &Arc<Worker>) -> io::Result<RingStream> {
        match &worker.address {
            Address::Unix(path) if self.others.are_plain(worker) => {
                unix::connect(path).map(|stream| RingStream::Unix(Ringed::new(stream)))
            }
            _ => self.others.dial(worker).await.map(RingStream::Other),
        }
    }

    fn learn_http2(&self, worker: &Worker) -> bool {
        self.others.learn_http2(worker)
    }

    fn adopt(&self, stream: RingStream) -> io::Result<RingStream> {
        Ok(match stream {
            RingStream::Unix(stream) => RingStream::Unix(stream.adopt()),
            RingStream::Other(stream) => RingStream::Other(self.others.adopt(stream)?),
        })
    }
}

/// Both kinds of streams, asked the same.
macro_rules! either {
    ($of:expr, $stream:ident => $ask:expr) => {
        match $of {
            RingStream::Unix($stream) => $ask,
            RingStream::Other($stream) => $ask,
        }
    };
}

impl Stream for RingStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_readable(cx))
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        either!(self, stream => Stream::poll_peek(stream, cx))
    }

    fn has_ended(&self) -> bool {
        either!(self, stream => stream.has_ended())
    }

    fn has_left(&self) -> bool {
        either!(self, stream => stream.has_left())
    }

    fn pending_error(&self) -> Option<io::Error> {
        either!(self, stream => stream.pending_error())
    }

    fn untaken(&self) -> u64 {
        either!(self, stream => stream.untaken())
    }

    fn reset_on_close(&self) {
        either!(self, stream => stream.reset_on_close());
    }

    fn knows_delivery(&self) -> bool {
        either!(self, stream => stream.knows_delivery())
    }

    fn was_refused(&self) -> bool {
        either!(self, stream => stream.was_refused())
    }

    fn rest(&mut self) -> bool {
        either!(self, stream => Stream::rest(stream))
    }

    fn has_pipes(&self) -> bool {
        either!(self, stream => stream.has_pipes())
    }

    fn is_paced(&self) -> bool {
        either!(self, stream => stream.is_paced())
    }

    fn poll_write_more(&mut self, cx: &mut Context<'_>, bytes: &[u8], more: bool) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write_more(cx, bytes, more))
    }

    fn forget_readable(&self) {
        either!(self, stream => stream.forget_readable());
    }

    fn poll_fill_pipe(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
        ahead: u64,
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Stream::poll_fill_pipe(stream, cx, pipe, ahead))
    }

    fn poll_drain_pipe(&mut self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        either!(self, stream => Stream::poll_drain_pipe(stream, cx, pipe))
    }

    fn is_quiet(&mut self) -> bool {
        either!(self, stream => stream.is_quiet())
    }
}

impl AsyncRead for RingStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => AsyncRead::poll_read(Pin::new(stream), cx, buf))
    }
}

impl AsyncWrite for RingStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => AsyncWrite::poll_write(Pin::new(stream), cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        either!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }
}
