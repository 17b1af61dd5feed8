//! HTTP/2 connections to workers: one for each life of a worker, per thread.
//!
//! Opened when the first request needs it, shared by all, replaced when it dies or
//! its worker says GOAWAY. It is not one of the connections that `upstream::idle`
//! keeps: it has no request of its own, its streams do.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd as _, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OnceCell;
use tokio::task::{JoinSet, yield_now};

use super::resets::Resets;
use super::{STREAM_WINDOW, header_list_max};
use crate::clock;
use crate::config::Limits;
use crate::sys::{self, Peek};
use crate::upstream::pool::Worker;

/// Most bytes a window may have (RFC 9113 §6.9.1).
const WINDOW_MAX: u32 = (1 << 31) - 1;

/// Streams that were reset and whose late frames are still to be ignored, for a second.
const RESETS_KEPT: usize = 1024;

/// The connections of one thread.
pub(in crate::engine) struct Links {
    limits: Limits,
    /// By worker id; that of an earlier life is replaced.
    entries: RefCell<Vec<Option<Entry>>>,
    /// What moves their frames. Ends with the connection, at the latest with the thread.
    drivers: RefCell<JoinSet<()>>,
}

struct Entry {
    worker: Arc<Worker>,
    /// Empty while somebody connects: others wait for the same connection.
    link: Rc<OnceCell<Link>>,
}

struct Link {
    sender: SendRequest<Bytes>,
    shared: Arc<Shared>,
    /// Tells whether the connection has ended in a moment when nobody has looked yet.
    socket: OwnedFd,
    /// Freezes of the process before it was opened.
    freezes: u64,
}

/// What a connection and its streams know of each other.
#[derive(Debug)]
pub(in crate::engine) struct Shared {
    speaks_http1: AtomicBool,
    reads_no_more: AtomicBool,
    /// What its streams may still cost it.
    pub(in crate::engine) resets: Resets,
    /// Streams that somebody needs.
    pub(in crate::engine) needed: AtomicU32,
}

/// A connection on which a stream may be opened.
pub(in crate::engine) struct Lent {
    pub(in crate::engine) sender: SendRequest<Bytes>,
    pub(in crate::engine) shared: Arc<Shared>,
}

impl Shared {
    fn new() -> Self {
        Self {
            speaks_http1: AtomicBool::new(false),
            reads_no_more: AtomicBool::new(false),
            resets: Resets::new(clock::now()),
            needed: AtomicU32::new(0),
        }
    }

    /// Whether the worker has answered in HTTP/1.
    pub(super) fn speaks_http1(&self) -> bool {
        self.speaks_http1.load(Ordering::Relaxed)
    }
}

impl Links {
    pub(in crate::engine) fn new(limits: Limits) -> Self {
        Self { limits, entries: RefCell::default(), drivers: RefCell::default() }
    }

    /// A connection to `worker`; `connect` makes it if there is none, and gives with it a second handle of its
    /// socket.
    ///
    /// # Errors
    /// Those of `connect`.
    pub(in crate::engine) async fn lend<S: AsyncRead + AsyncWrite + Unpin + 'static>(
        &self,
        worker: &Arc<Worker>,
        connect: impl AsyncFn() -> io::Result<(S, OwnedFd)>,
    ) -> io::Result<Lent> {
        loop {
            let cell = self.cell(worker);
            let is_new = !cell.initialized();
            let link = cell
                .get_or_try_init(|| async {
                    let (stream, socket) = connect().await?;
                    self.open(worker, stream, socket).await
                })
                .await?;
            // A new one may have ended already: its stream will say why. One from before a freeze may be about to:
            // its worker's timers have expired.
            let is_fit = async || {
                link.freezes == clock::look()
                    && !link.shared.resets.is_worn(clock::now())
                    && link.is_alive().await
            };
            if is_new || is_fit().await {
                return Ok(Lent { sender: link.sender.clone(), shared: Arc::clone(&link.shared) });
            }
            self.forget(worker, &cell);
        }
    }

    fn cell(&self, worker: &Arc<Worker>) -> Rc<OnceCell<Link>> {
        let mut entries = self.entries.borrow_mut();
        let index = worker.id.0 as usize;
        if entries.len() <= index {
            entries.resize_with(index + 1, || None);
        }
        match &entries[index] {
            Some(entry) if Arc::ptr_eq(&entry.worker, worker) => Rc::clone(&entry.link),
            _ => {
                let link = Rc::default();
                entries[index] = Some(Entry { worker: Arc::clone(worker), link: Rc::clone(&link) });
                link
            }
        }
    }

    /// Its streams go on; new ones go elsewhere.
    fn forget(&self, worker: &Arc<Worker>, link: &Rc<OnceCell<Link>>) {
        let mut entries = self.entries.borrow_mut();
        if let Some(slot) = entries.get_mut(worker.id.0 as usize)
            && slot.as_ref().is_some_and(|entry| Rc::ptr_eq(&entry.link, link))
        {
            *slot = None;
        }
    }

    async fn open<S: AsyncRead + AsyncWrite + Unpin + 'static>(
        &self,
        worker: &Worker,
        stream: S,
        socket: OwnedFd,
    ) -> io::Result<Link> {
        let shared = Arc::new(Shared::new());
        let stream = Socket { stream, has_spoken: false, shared: Arc::clone(&shared) };
        let (sender, connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            // As large as all its streams together: a client that reads slowly slows itself only.
            .initial_connection_window_size(STREAM_WINDOW.saturating_mul(worker.slots).min(WINDOW_MAX))
            .initial_max_send_streams(worker.slots as usize)
            // The next three guard against strangers. A worker is none: clients may cancel as many of
            // its streams as they like, and its messages may be as small as they are.
            .max_concurrent_reset_streams(RESETS_KEPT)
            .max_local_error_reset_streams(None)
            .data_frame_budget(usize::MAX)
            .max_header_list_size(header_list_max(&self.limits))
            .max_send_buffer_size(self.limits.buffer_bytes)
            .handshake(stream)
            .await
            .map_err(|error| error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionAborted.into()))?;
        let mut drivers = self.drivers.borrow_mut();
        while drivers.try_join_next().is_some() {}
        drivers.spawn_local(async move {
            // How it ended is seen by the streams it carried.
            let _ = connection.await;
        });
        Ok(Link { sender, shared, socket, freezes: clock::freeze_count() })
    }
}

impl Link {
    /// Whether a new stream can be opened.
    async fn is_alive(&self) -> bool {
        // The end of an idle connection may be there without anybody having looked: after a freeze it
        // comes together with the request. Who waits for it once can send the request elsewhere; who
        // does not has sent it into the void, and cannot know.
        if self.shared.reads_no_more.load(Ordering::Relaxed) {
            return false;
        }
        if Arc::strong_count(&self.shared) == Self::OWN_HANDLES {
            match sys::peek(self.socket.as_fd()) {
                Ok(Peek::Quiet) => {}
                Ok(Peek::Data) => yield_now().await,
                Ok(Peek::Eof) | Err(_) => return false,
            }
        }
        let look = self.sender.clone().poll_ready(&mut Context::from_waker(Waker::noop()));
        matches!(look, Poll::Ready(Ok(())))
    }

    /// Handles of `shared` that are no streams: this one and the socket's.
    const OWN_HANDLES: usize = 2;
}

/// A worker's socket, as long as there is something to be learned from it.
struct Socket<S> {
    stream: S,
    has_spoken: bool,
    shared: Arc<Shared>,
}

impl<S> Socket<S> {
    /// Whoever reads no more may have said why: a GOAWAY that waits to be read proves which requests
    /// were not touched. So a failed write of `all` bytes is no failure; the end will be read too.
    fn written(&self, written: io::Result<usize>, all: usize) -> io::Result<usize> {
        written.or_else(|error| {
            self.shared.reads_no_more.store(true, Ordering::Relaxed);
            if error.kind() == io::ErrorKind::BrokenPipe { Ok(all) } else { Err(error) }
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let news = &buf.filled()[before..];
        if !news.is_empty() && !std::mem::replace(&mut self.has_spoken, true) {
            self.shared.speaks_http1.store(news.starts_with(b"HTTP/1"), Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        Poll::Ready(self.written(written, buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs));
        Poll::Ready(self.written(written, bufs.iter().map(|buf| buf.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
