//! A socket that waits and sends through the ring while that pays, and as any other socket while it does not.
//!
//! **Receiving.** Where a reader would wait on a busy thread, a receive goes to
//! the ring, without memory: the kernel picks a buffer when bytes are there. On a
//! quiet thread, and on a socket that moves large bodies, epoll reports readiness
//! and bytes are read straight to where they are wanted. Both ways are one state
//! ([`Inbox`]), so whoever changes its mind loses nothing.
//!
//! **Sending.** A small message on a busy thread is copied and counts as written
//! at once; the ring sends it at the end of the turn, before any receive that was
//! asked for later. Its failure shows in the next write, flush or shutdown. If
//! nothing of the first message to a worker was taken, the next read fails too
//! and [`Stream::was_refused`] says so: that is what a failed first write says
//! elsewhere. Anything larger is written directly.
//!
//! **Passing.** Bodies that pass through a pipe do so by readiness, as on the
//! other engine, behind what the ring has got or still has to send. A socket that
//! did so is one that moves large bodies.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use super::here::{is_busy, on_message, on_operation, with_ring};
use super::op::{Arrival, Key};
use super::plain::Socket;
use super::ring::{RECEIVED_MAX, Received, SENT_MAX};
use crate::clock;
use crate::engine::Stream;
use crate::engine::pipe::{self, Pipe};
use crate::{listener, sys};

/// So many small messages after a large one, a socket is no longer taken for one that moves large bodies.
const BULK: u8 = 16;

/// The same at the beginning: the first exchange may be the only one, and needs two receives less.
const NEWCOMER: u8 = if cfg!(debug_assertions) { 0 } else { 2 };

/// A socket on a data-plane thread that has a ring.
///
/// Behind a pointer: with each request it goes from its connection to a conversation and back.
#[derive(Debug)]
pub(in crate::engine) struct Ringed<S: Socket>(Box<Seat<S>>);

/// Where a socket is with the ring, and with epoll.
#[derive(Debug)]
pub(in crate::engine) struct Seat<S: Socket> {
    /// Its place in the runtime's epoll, while it has one. Declared first: it leaves before the socket closes.
    epoll: RefCell<Option<AsyncFd<Arc<S>>>>,
    inbox: RefCell<Inbox>,
    outbox: Cell<Option<Key>>,
    /// Bytes that certainly left since this socket was last found quiet.
    has_sent: Cell<bool>,
    /// The error of a send that the ring reported.
    broken: Cell<Option<i32>>,
    /// Small messages until it counts as one of small messages.
    bulk: Cell<u8>,
    /// A writer waits in epoll: that place must stay.
    write_waits: Cell<bool>,
    /// Whether its place in epoll is one to wait for both ways.
    is_wide: Cell<bool>,
    socket: Arc<S>,
}

/// What is known of the bytes to read.
#[derive(Debug)]
enum Inbox {
    /// Nothing: somebody has to wait.
    Unknown,
    /// There may be bytes in the socket.
    Look,
    /// The ring waits for them.
    Awaited(Key),
    /// The ring has got these.
    Bytes(Received),
    /// The ring has seen the end.
    End,
    /// The ring was told this.
    Failed(i32),
}

impl<S: Socket> Deref for Ringed<S> {
    type Target = Seat<S>;

    fn deref(&self) -> &Seat<S> {
        &self.0
    }
}

impl<S: Socket> Ringed<S> {
    /// `socket` must not block.
    pub(super) fn new(socket: S) -> Self {
        Self(Box::new(Seat {
            epoll: RefCell::new(None),
            inbox: RefCell::new(Inbox::Unknown),
            outbox: Cell::new(None),
            has_sent: Cell::new(false),
            broken: Cell::new(None),
            bulk: Cell::new(NEWCOMER),
            write_waits: Cell::new(false),
            is_wide: Cell::new(false),
            socket: Arc::new(socket),
        }))
    }

    /// Whether it can go to another thread: this one's ring has nothing of it.
    pub(super) fn is_free(&self) -> bool {
        self.settle();
        self.outbox.get().is_none() && matches!(*self.inbox.borrow(), Inbox::Unknown | Inbox::Look)
    }

    /// Leaves the epoll of the thread that it came from.
    pub(super) fn adopt(self) -> Self {
        self.leave();
        self
    }

    fn wants_ring(&self) -> bool {
        self.bulk.get() == 0 && is_busy()
    }

    fn note_size(&self, bytes: usize) {
        on_message();
        let bulk = self.bulk.get();
        self.bulk.set(if bytes >= RECEIVED_MAX { BULK } else { bulk.saturating_sub(1) });
    }

    /// Notes what the ring has finished, without waiting for the rest.
    fn settle(&self) {
        let _ = self.poll_outbox(None);
        let _ = self.poll_awaited(None);
    }

    /// Ready when no receive is under way.
    fn poll_awaited(&self, cx: Option<&mut Context<'_>>) -> Poll<()> {
        let mut inbox = self.inbox.borrow_mut();
        let Inbox::Awaited(key) = *inbox else { return Poll::Ready(()) };
        let arrival = with_ring(|ring| ring.poll_received(key, cx)).unwrap_or(Poll::Ready(Arrival::End));
        *inbox = match ready!(arrival) {
            Arrival::Bytes(received) => Inbox::Bytes(received),
            Arrival::NoBuffer => Inbox::Look,
            Arrival::End => Inbox::End,
            Arrival::Failed(error) => Inbox::Failed(error),
        };
        Poll::Ready(())
    }

    /// Ready when no send is under way.
    fn poll_outbox(&self, cx: Option<&mut Context<'_>>) -> Poll<io::Result<()>> {
        if let Some(key) = self.outbox.get() {
            let sent = with_ring(|ring| ring.poll_sent(key, cx)).unwrap_or(Poll::Ready(Ok(())));
            let sent = ready!(sent);
            self.outbox.set(None);
            match sent {
                Ok(()) => self.has_sent.set(true),
                Err((error, before)) => {
                    self.has_sent.set(self.has_sent.get() || before > 0);
                    self.broken.set(Some(error));
                }
            }
        }
        Poll::Ready(match self.broken.get() {
            Some(error) => Err(io::Error::from_raw_os_error(error)),
            None => Ok(()),
        })
    }

    /// Ready when a look into the inbox or the socket is worth while.
    fn poll_arrival(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_operation();
        if self.outbox.get().is_some() {
            let _ = self.poll_outbox(None);
        }
        if self.was_refused() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_awaited(Some(cx)));
        if !matches!(*self.inbox.borrow(), Inbox::Unknown) {
            return Poll::Ready(Ok(()));
        }
        if self.wants_ring() && !self.write_waits.get() {
            self.leave();
            let started = with_ring(|ring| ring.receive(self.socket.as_fd()));
            if let Some(Ok(key)) = started {
                *self.inbox.borrow_mut() = Inbox::Awaited(key);
                return self.poll_awaited(Some(cx)).map(Ok);
            }
        }
        if self.epoll.borrow().is_none() {
            self.enter(S::INTEREST)?;
        }
        match &*self.epoll.borrow() {
            Some(epoll) => epoll.poll_read_ready(cx).map_ok(drop),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Takes a place in the runtime's epoll.
    fn enter(&self, interest: Interest) -> io::Result<()> {
        self.leave();
        self.epoll.replace(Some(sys::register(Arc::clone(&self.socket), interest)?));
        self.is_wide.set(interest.is_writable());
        Ok(())
    }

    /// Leaves that place.
    fn leave(&self) {
        drop(self.epoll.take());
        self.is_wide.set(false);
    }

    /// The socket holds nothing more: wait before the next look.
    fn on_emptied(&self) {
        *self.inbox.borrow_mut() = Inbox::Unknown;
        if let Some(epoll) = &*self.epoll.borrow()
            && let Poll::Ready(Ok(mut ready)) = epoll.poll_read_ready(&mut Context::from_waker(Waker::noop()))
        {
            ready.clear_ready();
        }
    }

    fn poll_peek(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_arrival(cx))?;
            match &*self.inbox.borrow() {
                Inbox::Bytes(_) => return Poll::Ready(Ok(1)),
                Inbox::End => return Poll::Ready(Ok(0)),
                Inbox::Failed(error) => return Poll::Ready(Err(io::Error::from_raw_os_error(*error))),
                Inbox::Unknown | Inbox::Look | Inbox::Awaited(_) => {}
            }
            match sys::peek(self.socket.as_fd())? {
                sys::Peek::Data => return Poll::Ready(Ok(1)),
                sys::Peek::Eof => return Poll::Ready(Ok(0)),
                sys::Peek::Quiet => self.on_emptied(),
            }
        }
    }

    fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_arrival(cx))?;
            if self.was_refused() {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let into = buf.initialize_unfilled();
            let mut inbox = self.inbox.borrow_mut();
            match std::mem::replace(&mut *inbox, Inbox::Look) {
                Inbox::Bytes(mut received) => {
                    let count = with_ring(|ring| ring.take(&mut received, into)).unwrap_or(0);
                    buf.advance(count);
                    *inbox = self.behind(received);
                    // At once, so that a message is no more pieces than without a ring.
                    if matches!(*inbox, Inbox::Look) {
                        drop(inbox);
                        self.read_on(buf);
                    }
                    return Poll::Ready(Ok(()));
                }
                Inbox::End => return Poll::Ready(Ok(())),
                Inbox::Failed(error) => return Poll::Ready(Err(io::Error::from_raw_os_error(error))),
                Inbox::Unknown | Inbox::Look | Inbox::Awaited(_) => drop(inbox),
            }
            let room = into.len();
            match self.socket.read(into) {
                Ok(count) => {
                    buf.advance(count);
                    if count > 0 {
                        self.note_size(count);
                        // Less than there was room for: the rest is not here yet.
                        if count < room {
                            self.on_emptied();
                        }
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.on_emptied(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// What is known after bytes of a message were taken.
    fn behind(&self, received: Received) -> Inbox {
        if !received.is_empty() {
            return Inbox::Bytes(received);
        }
        let may_be_more = received.len() == RECEIVED_MAX;
        self.note_size(received.len());
        let _ = with_ring(|ring| ring.recycle(received));
        if may_be_more { Inbox::Look } else { Inbox::Unknown }
    }

    /// Adds to `buf` what else is there. An error shows in the next read.
    fn read_on(&self, buf: &mut ReadBuf<'_>) {
        let into = buf.initialize_unfilled();
        let room = into.len();
        match self.socket.read(into) {
            Ok(count) if count > 0 => {
                buf.advance(count);
                if count < room {
                    self.on_emptied();
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.on_emptied(),
            // Told once, so it has to be kept.
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                let error = error.raw_os_error().unwrap_or(sys::EPIPE);
                *self.inbox.borrow_mut() = Inbox::Failed(error);
            }
            // The end stays.
            Ok(_) | Err(_) => {}
        }
    }

    fn poll_write(&self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        ready!(self.poll_outbox(Some(cx)))?;
        let bytes = parts.iter().map(|part| part.len()).sum();
        if bytes <= SENT_MAX && self.wants_ring() && !self.write_waits.get() {
            let started = with_ring(|ring| ring.send(self.socket.as_fd(), parts));
            if let Some(Ok(key)) = started {
                self.outbox.set(Some(key));
                return Poll::Ready(Ok(bytes));
            }
        }
        if bytes > SENT_MAX {
            self.bulk.set(BULK);
        }
        let count = ready!(self.poll_directly(cx, || self.socket.write(parts)))?;
        if count < bytes {
            self.on_filled(cx)?;
        }
        Poll::Ready(Ok(count))
    }

    /// Writes without the ring, which has nothing left to send.
    fn poll_directly(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        on_operation();
        loop {
            if self.write_waits.get()
                && let Some(epoll) = &*self.epoll.borrow()
            {
                drop(ready!(epoll.poll_write_ready(cx))?);
            }
            match write() {
                Ok(count) => {
                    self.write_waits.set(false);
                    self.has_sent.set(self.has_sent.get() || count > 0);
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.on_filled(cx)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// The socket takes nothing more: wait before the next write.
    fn on_filled(&self, cx: &mut Context<'_>) -> io::Result<()> {
        if !self.is_wide.get() {
            // Who waits to read does so at the place that is given up.
            cx.waker().wake_by_ref();
            self.enter(Interest::READABLE | Interest::WRITABLE)?;
        }
        self.write_waits.set(true);
        if let Some(epoll) = &*self.epoll.borrow()
            && let Poll::Ready(ready) = epoll.poll_write_ready(&mut Context::from_waker(Waker::noop()))
        {
            ready?.clear_ready();
        }
        Ok(())
    }

    /// As the kernel has it: what the ring has got goes first.
    fn poll_fill_pipe(&self, cx: &mut Context<'_>, pipe: &mut Pipe, ahead: u64) -> Poll<io::Result<usize>> {
        self.bulk.set(BULK);
        loop {
            ready!(self.poll_arrival(cx))?;
            if self.was_refused() {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let mut inbox = self.inbox.borrow_mut();
            match std::mem::replace(&mut *inbox, Inbox::Look) {
                Inbox::Bytes(mut received) => {
                    let put = with_ring(|ring| ring.pass(&mut received, |bytes| pipe.put(bytes, ahead)));
                    *inbox = self.behind(received);
                    return Poll::Ready(put.unwrap_or(Ok(0)));
                }
                Inbox::End => return Poll::Ready(Ok(0)),
                Inbox::Failed(error) => return Poll::Ready(Err(io::Error::from_raw_os_error(error))),
                Inbox::Unknown | Inbox::Look | Inbox::Awaited(_) => drop(inbox),
            }
            match pipe.fill(self.as_fd(), ahead) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.on_emptied(),
                done => return Poll::Ready(done),
            }
        }
    }
}

impl<S: Socket> Stream for Ringed<S> {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_arrival(cx)
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        Ringed::poll_peek(self, cx)
    }

    fn has_ended(&self) -> bool {
        sys::has_ended(self.socket.as_fd())
    }

    fn has_left(&self) -> bool {
        sys::has_left(self.socket.as_fd())
    }

    fn pending_error(&self) -> Option<io::Error> {
        self.settle();
        let seen = match &*self.inbox.borrow() {
            Inbox::Failed(error) => Some(*error),
            _ => self.broken.get(),
        };
        // Whoever reports an error of a socket takes it away: the ring may have done so.
        seen.map(io::Error::from_raw_os_error).or_else(|| self.socket.error())
    }

    fn untaken(&self) -> u64 {
        let unsent = self.outbox.get().and_then(|key| with_ring(|ring| ring.unsent(key))).unwrap_or(0);
        sys::untaken(self.socket.as_fd()) + unsent as u64
    }

    fn reset_on_close(&self) {
        self.socket.reset_on_close();
    }

    fn knows_delivery(&self) -> bool {
        S::KNOWS_DELIVERY
    }

    fn was_refused(&self) -> bool {
        S::KNOWS_DELIVERY && !self.has_sent.get() && self.broken.get() == Some(sys::EPIPE)
    }

    fn rest(&mut self) -> bool {
        if self.is_wide.get() && !S::INTEREST.is_writable() {
            self.leave();
        }
        self.is_free()
    }

    fn has_pipes(&self) -> bool {
        true
    }

    fn is_paced(&self) -> bool {
        listener::is_paced(self.as_fd())
    }

    fn poll_write_more(&mut self, cx: &mut Context<'_>, bytes: &[u8], more: bool) -> Poll<io::Result<usize>> {
        if !more {
            return Ringed::poll_write(self, cx, &[IoSlice::new(bytes)]);
        }
        ready!(self.poll_outbox(Some(cx)))?;
        self.poll_directly(cx, || pipe::send_more(self.as_fd(), bytes))
    }

    fn forget_readable(&self) {
        if matches!(*self.inbox.borrow(), Inbox::Unknown | Inbox::Look) {
            self.on_emptied();
        }
    }

    fn poll_fill_pipe(
        &mut self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
        ahead: u64,
    ) -> Poll<io::Result<usize>> {
        Ringed::poll_fill_pipe(self, cx, pipe, ahead)
    }

    fn poll_drain_pipe(&mut self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        self.bulk.set(BULK);
        ready!(self.poll_outbox(Some(cx)))?;
        self.poll_directly(cx, || pipe.drain(self.as_fd()))
    }

    fn is_quiet(&mut self) -> bool {
        if !self.is_free() || self.broken.get().is_some() {
            return false;
        }
        // What was sent before belongs to others.
        self.has_sent.set(false);
        let is_quiet = matches!(sys::peek(self.socket.as_fd()), Ok(sys::Peek::Quiet));
        if is_quiet {
            *self.inbox.borrow_mut() = Inbox::Unknown;
        }
        is_quiet
    }
}

impl<S: Socket> AsFd for Ringed<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<S: Socket> AsyncRead for Ringed<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Ringed::poll_read(&self, cx, buf)
    }
}

impl<S: Socket> AsyncWrite for Ringed<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Ringed::poll_write(&self, cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Ringed::poll_write(&self, cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_outbox(Some(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_outbox(Some(cx)))?;
        Poll::Ready(self.socket.end_writing())
    }
}

impl<S: Socket> Drop for Ringed<S> {
    fn drop(&mut self) {
        let inbox = self.inbox.replace(Inbox::End);
        let awaited = if let Inbox::Awaited(key) = inbox { Some(key) } else { None };
        if let Inbox::Bytes(received) = inbox {
            let _ = with_ring(|ring| ring.recycle(received));
        }
        for key in self.outbox.take().into_iter().chain(awaited) {
            let socket = Arc::clone(&self.socket);
            let _ = with_ring(|ring| ring.release(key, socket, clock::now()));
        }
    }
}
