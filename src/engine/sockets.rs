//! Sockets as the engine sees them: clients on TCP, workers on Unix sockets, loopback TCP, or a
//! stream of a shared HTTP/2 connection.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::fastcgi::FastCgi;
use super::fastcgi::site::Site;
use super::h2::back::VirtualWorker;
use super::h2::links::Links;
use super::noslate::Calls;
use super::noslate::call::Call;
use super::pipe::{self, Pipe};
use super::unix::UnixSocket;
use super::{Dial, Stream};
use crate::config::{Limits, Noslate, Protocol};
use crate::proxy::Proxy;
use crate::telemetry::say;
use crate::upstream::pool::{Address, Worker};
use crate::{listener, sys};

/// Opens sockets, and streams on shared sockets, to workers.
pub(super) struct Sockets {
    protocol: Protocol,
    limits: Limits,
    links: Links,
    /// What makes calls of streams, where data planes answer.
    calls: Option<Calls>,
    /// What is served, where php-fpm answers.
    site: Option<Arc<Site>>,
}

/// A connection to a worker.
#[derive(Debug)]
pub(super) enum WorkerStream {
    /// Over a Unix socket.
    Unix(UnixSocket),
    /// Over loopback TCP.
    Tcp(TcpStream),
    /// One stream of an HTTP/2 connection; boxed, since most workers need none.
    Http2(Box<VirtualWorker>),
    /// One call of a data plane.
    Call(Box<Call>),
    /// FastCGI over one of the first two.
    Php(Box<FastCgi<WorkerStream>>),
}

impl Sockets {
    /// To workers that speak `protocol`, or to the data planes of `proxy`.
    pub(super) fn new(protocol: Protocol, limits: Limits, proxy: &Proxy) -> Self {
        let calls = proxy.noslate.as_ref().map(|noslate| {
            let functions = proxy.functions.clone().unwrap_or_default();
            Calls::new(Arc::clone(noslate), functions, limits)
        });
        let site = proxy.php.clone().map(|php| Arc::new(Site::new(php, &limits)));
        Self { protocol, limits, links: Links::new(limits), calls, site }
    }

    /// Whether a connection to `worker` is a socket and nothing more.
    #[cfg(all(target_os = "linux", feature = "uring"))]
    pub(super) fn are_plain(&self, worker: &Worker) -> bool {
        self.site.is_none() && !self.shares_connections(worker)
    }

    /// Whether `worker` has one connection for all its requests.
    fn shares_connections(&self, worker: &Worker) -> bool {
        matches!(self.protocol, Protocol::Http2 | Protocol::Noslate) || worker.speaks_http2()
    }
}

impl Dial for Sockets {
    type Stream = WorkerStream;

    async fn dial(&self, worker: &Arc<Worker>) -> io::Result<WorkerStream> {
        let connect = async || match &worker.address {
            Address::Unix(path) => UnixSocket::connect(path).map(WorkerStream::Unix),
            Address::Tcp(address) => dial_tcp(*address).await,
        };
        if let Some(site) = &self.site {
            let php = FastCgi::new(connect().await?, Arc::clone(site), Arc::clone(worker));
            return Ok(WorkerStream::Php(Box::new(php)));
        }
        if !self.shares_connections(worker) {
            return connect().await;
        }
        if self.calls.is_some() && worker.in_flight() + worker.abandoned() > Noslate::CALLS_MAX {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let connect_twice = async || {
            let stream = connect().await?;
            let handle = stream.handle()?;
            Ok((stream, handle))
        };
        let lent = self.links.lend(worker, connect_twice).await?;
        Ok(match &self.calls {
            Some(calls) => WorkerStream::Call(Box::new(calls.call(worker, lent))),
            None => WorkerStream::Http2(Box::new(VirtualWorker::new(lent, &self.limits))),
        })
    }

    fn learn_http2(&self, worker: &Worker) -> bool {
        let may_learn = self.protocol == Protocol::Auto;
        if may_learn && worker.learn_http2() {
            say::info(format_args!(
                "worker {} speaks HTTP/2, and is told so from now on; `protocol = \"h2\"` below [workers] spares it \
                 the question",
                worker.id
            ));
        }
        may_learn
    }

    fn adopt(&self, stream: WorkerStream) -> io::Result<WorkerStream> {
        Ok(match stream {
            WorkerStream::Unix(stream) => WorkerStream::Unix(UnixSocket::new(stream.into_std()?)?),
            WorkerStream::Tcp(stream) => WorkerStream::Tcp(TcpStream::from_std(stream.into_std()?)?),
            WorkerStream::Php(stream) => {
                WorkerStream::Php(Box::new(stream.convert(|stream| self.adopt(stream))?))
            }
            // It belongs to a connection of its thread; it is never parked, so this is never asked.
            WorkerStream::Http2(_) | WorkerStream::Call(_) => return Err(io::ErrorKind::Unsupported.into()),
        })
    }
}

async fn dial_tcp(address: SocketAddr) -> io::Result<WorkerStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(WorkerStream::Tcp(stream))
}

impl WorkerStream {
    /// A second handle of the socket.
    fn handle(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Unix(stream) => stream.fd()?.try_clone_to_owned(),
            Self::Tcp(stream) => stream.as_fd().try_clone_to_owned(),
            Self::Http2(_) | Self::Call(_) | Self::Php(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl Stream for TcpStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut byte = [0];
        TcpStream::poll_peek(self, cx, &mut ReadBuf::new(&mut byte))
    }

    fn has_ended(&self) -> bool {
        sys::has_ended(self.as_fd())
    }

    fn has_left(&self) -> bool {
        sys::has_left(self.as_fd())
    }

    fn pending_error(&self) -> Option<io::Error> {
        self.take_error().unwrap_or_else(Some)
    }

    fn untaken(&self) -> u64 {
        sys::untaken(self.as_fd())
    }

    fn reset_on_close(&self) {
        // Without it the client sees a clean end where there was none; nothing more can be done then.
        let _ = self.set_zero_linger();
    }

    fn knows_delivery(&self) -> bool {
        false
    }

    fn is_quiet(&mut self) -> bool {
        // A write into a closing TCP connection succeeds and is lost: ask the kernel before each use.
        matches!(sys::peek(self.as_fd()), Ok(sys::Peek::Quiet))
    }

    fn has_pipes(&self) -> bool {
        true
    }

    fn is_paced(&self) -> bool {
        listener::is_paced(self.as_fd())
    }

    fn poll_write_more(&mut self, cx: &mut Context<'_>, bytes: &[u8], more: bool) -> Poll<io::Result<usize>> {
        if !more {
            return Pin::new(self).poll_write(cx, bytes);
        }
        let stream = &*self;
        poll_io(
            || stream.poll_write_ready(cx),
            || stream.try_io(Interest::WRITABLE, || pipe::send_more(stream.as_fd(), bytes)),
        )
    }

    fn poll_fill_pipe(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
        ahead: u64,
    ) -> Poll<io::Result<usize>> {
        let stream = &*self;
        poll_io(
            || stream.poll_read_ready(cx),
            || stream.try_io(Interest::READABLE, || pipe.fill(stream.as_fd(), ahead)),
        )
    }

    fn poll_drain_pipe(&mut self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        let stream = &*self;
        poll_io(
            || stream.poll_write_ready(cx),
            || stream.try_io(Interest::WRITABLE, || pipe.drain(stream.as_fd())),
        )
    }
}

/// Tries as soon as `ready` says so, until a try did not find that it was wrong.
pub(super) fn poll_io<T>(
    mut ready: impl FnMut() -> Poll<io::Result<()>>,
    mut attempt: impl FnMut() -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        std::task::ready!(ready())?;
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return Poll::Ready(done),
        }
    }
}

impl Stream for WorkerStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Unix(stream) => stream.poll_read_ready(cx),
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Http2(stream) => stream.poll_readable(cx),
            Self::Call(stream) => stream.poll_readable(cx),
            Self::Php(stream) => stream.poll_readable(cx),
        }
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self {
            Self::Unix(stream) => {
                std::task::ready!(stream.poll_read_ready(cx))?;
                Poll::Ready(sys::peek(stream.fd()?).map(|peek| usize::from(peek != sys::Peek::Eof)))
            }
            Self::Tcp(stream) => Stream::poll_peek(stream, cx),
            Self::Http2(stream) => stream.poll_peek(cx),
            Self::Call(stream) => stream.poll_peek(cx),
            Self::Php(stream) => stream.poll_peek(cx),
        }
    }

    fn has_ended(&self) -> bool {
        match self {
            Self::Unix(stream) => stream.fd().map_or(true, sys::has_ended),
            Self::Tcp(stream) => stream.has_ended(),
            Self::Http2(stream) => stream.has_ended(),
            Self::Call(stream) => stream.has_ended(),
            Self::Php(stream) => stream.has_ended(),
        }
    }

    fn has_left(&self) -> bool {
        match self {
            Self::Unix(stream) => stream.fd().map_or(true, sys::has_left),
            Self::Tcp(stream) => stream.has_left(),
            Self::Http2(stream) => stream.has_left(),
            Self::Call(stream) => stream.has_left(),
            Self::Php(stream) => stream.has_left(),
        }
    }

    fn pending_error(&self) -> Option<io::Error> {
        match self {
            Self::Unix(stream) => stream.take_error().unwrap_or_else(Some),
            Self::Tcp(stream) => stream.pending_error(),
            Self::Http2(stream) => stream.pending_error(),
            Self::Call(stream) => stream.pending_error(),
            Self::Php(stream) => stream.pending_error(),
        }
    }

    fn untaken(&self) -> u64 {
        match self {
            Self::Unix(stream) => stream.fd().map_or(0, sys::untaken),
            Self::Tcp(stream) => stream.untaken(),
            Self::Http2(stream) => stream.untaken(),
            Self::Call(stream) => stream.untaken(),
            Self::Php(stream) => stream.untaken(),
        }
    }

    fn rest(&mut self) -> bool {
        match self {
            Self::Unix(stream) => stream.rest(),
            Self::Php(stream) => return stream.rest(),
            Self::Tcp(_) | Self::Http2(_) | Self::Call(_) => {}
        }
        true
    }

    fn has_pipes(&self) -> bool {
        matches!(self, Self::Unix(_) | Self::Tcp(_))
    }

    fn forget_readable(&self) {
        match self {
            Self::Unix(stream) => stream.forget_readable(),
            Self::Tcp(stream) => {
                // It answers what is said here.
                let _ = stream.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
            }
            Self::Http2(_) | Self::Call(_) | Self::Php(_) => {}
        }
    }

    fn poll_fill_pipe(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
        ahead: u64,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Unix(stream) => stream.poll_read_with(cx, |fd| pipe.fill(fd, ahead)),
            Self::Tcp(stream) => stream.poll_fill_pipe(cx, pipe, ahead),
            Self::Http2(_) | Self::Call(_) | Self::Php(_) => {
                Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
            }
        }
    }

    fn poll_drain_pipe(&mut self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        match self {
            Self::Unix(stream) => stream.poll_write_with(cx, |stream| pipe.drain(stream.as_fd())),
            Self::Tcp(stream) => stream.poll_drain_pipe(cx, pipe),
            Self::Http2(_) | Self::Call(_) | Self::Php(_) => {
                Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
            }
        }
    }

    fn reset_on_close(&self) {
        match self {
            Self::Tcp(stream) => stream.reset_on_close(),
            Self::Php(stream) => stream.reset_on_close(),
            Self::Unix(_) | Self::Http2(_) | Self::Call(_) => {}
        }
    }

    fn knows_delivery(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Php(stream) => stream.knows_delivery(),
            Self::Tcp(_) | Self::Http2(_) | Self::Call(_) => false,
        }
    }

    fn was_refused(&self) -> bool {
        match self {
            Self::Unix(_) | Self::Tcp(_) => false,
            Self::Http2(stream) => stream.was_refused(),
            Self::Call(stream) => stream.was_refused(),
            Self::Php(stream) => stream.was_refused(),
        }
    }

    fn is_quiet(&mut self) -> bool {
        match self {
            // The kernel is asked although nothing was reported: under load an event is milliseconds late,
            // and bytes that nobody asked for would be taken for the answer to the next request. An end
            // needs no such care: should it come, the first write fails with EPIPE, which proves that
            // nothing was delivered.
            Self::Unix(stream) => matches!(stream.fd().and_then(sys::peek), Ok(sys::Peek::Quiet)),
            Self::Tcp(stream) => stream.is_quiet(),
            Self::Http2(stream) => stream.is_quiet(),
            Self::Call(stream) => stream.is_quiet(),
            Self::Php(stream) => stream.is_quiet(),
        }
    }
}

impl AsyncRead for WorkerStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Http2(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Call(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Php(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for WorkerStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Http2(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Call(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Php(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Http2(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Call(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Php(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Unix(stream) => stream.is_write_vectored(),
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Http2(stream) => stream.is_write_vectored(),
            Self::Call(stream) => stream.is_write_vectored(),
            Self::Php(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Http2(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Call(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Php(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::task::Waker;

    #[tokio::test]
    async fn bytes_that_nobody_asked_for_are_seen_before_any_event_reports_them() {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut idle = WorkerStream::Unix(UnixSocket::new(ours).unwrap());
        let mut cx = Context::from_waker(Waker::noop());
        // Quiet, and the runtime knows it.
        assert!(idle.poll_readable(&mut cx).is_pending() || idle.is_quiet());
        tokio::task::yield_now().await;
        assert!(idle.poll_readable(&mut cx).is_pending());
        theirs.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen").unwrap();
        assert!(!idle.is_quiet(), "the next request would get them for its answer");
    }
}
