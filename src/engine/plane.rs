//! What all connections of one data-plane thread share.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::buffer::BufferPool;
use super::pipe::{Pipe, PipePool};
use super::{Dial, Stream as _};
use crate::clock;
use crate::config::Limits;
use crate::proxy::Proxy;
use crate::proxy::in_flight::InFlight;
use crate::sync::yield_now;
use crate::telemetry::say::Seldom;
use crate::telemetry::tally::{Count, Timed, count, time};
use crate::upstream::idle::{Connection, Idle, Opening};
use crate::upstream::pool::Worker;

/// Pauses while a worker's backlog is full: its kernel refuses at once instead of queueing.
const BACKLOG_PAUSE: Duration = Duration::from_millis(1);

/// Between two warnings of answers with large heads.
const LARGE_HEAD_PAUSE: Duration = Duration::from_secs(1);

/// Between two warnings that there is no pipe.
const NO_PIPE_PAUSE: Duration = Duration::from_secs(60);

/// One data-plane thread.
pub(super) struct Plane<D: Dial> {
    pub(super) proxy: Arc<Proxy>,
    pub(super) idle: Arc<Idle<D::Stream>>,
    pub(super) thread: usize,
    pub(super) dial: D,
    pub(super) buffers: Rc<BufferPool>,
    pipes: Rc<PipePool>,
    pub(super) limits: Limits,
    pub(super) connect_timeout: Duration,
    draining: Cell<bool>,
    large_heads: RefCell<Seldom>,
    missing_pipes: RefCell<Seldom>,
    resting: RefCell<Resters>,
}

/// Connections that wait for their next request, to be woken when the thread drains.
#[derive(Default)]
struct Resters {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl<D: Dial> Plane<D> {
    pub(super) fn new(
        proxy: Arc<Proxy>,
        idle: Arc<Idle<D::Stream>>,
        thread: usize,
        dial: D,
        limits: Limits,
        connect_timeout: Duration,
    ) -> Rc<Self> {
        let buffers = BufferPool::new(limits.buffer_bytes);
        Rc::new(Self {
            proxy,
            idle,
            thread,
            dial,
            buffers,
            pipes: Rc::default(),
            limits,
            connect_timeout,
            draining: Cell::new(false),
            large_heads: RefCell::new(Seldom::every(LARGE_HEAD_PAUSE)),
            missing_pipes: RefCell::new(Seldom::every(NO_PIPE_PAUSE)),
            resting: RefCell::default(),
        })
    }

    /// Whether connections end after their current request.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Lets connections end after their current request, those without one now.
    pub(super) fn drain(&self) {
        self.draining.set(true);
        let wakers: Vec<Waker> =
            self.resting.borrow_mut().wakers.iter_mut().filter_map(Option::take).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether an idle connection can carry a request. One from before a freeze may look quiet and close at
    /// once: its worker's timers have expired meanwhile, and are about to be looked at.
    fn is_usable(&self, connection: &mut Connection<D::Stream>) -> bool {
        // Whoever had to wait has looked at the clocks again behind its wait.
        let is_fresh = connection.freezes == clock::freeze_count();
        if !is_fresh {
            count(Count::IdleGivenUp);
        }
        let is_usable = is_fresh && connection.stream.is_quiet();
        if is_usable && self.proxy.is_observed {
            count(Count::WorkerReused);
        }
        is_usable
    }

    /// Names a request whose answer the platform will not take. Not every one: each costs a write to stderr.
    pub(super) fn warn_of_large_head(&self, in_flight: &InFlight<'_>, bytes: usize) {
        count(Count::LargeHead);
        self.large_heads.borrow_mut().warn(format_args!(
            "{}: the answer's head is {bytes} bytes long; the platform allows 8 KiB and answers its client with \
             502. Send less of it (cookies?)",
            in_flight.context().id
        ));
    }

    /// A pipe for a large body; without one the body is copied, which costs more and does the same.
    pub(super) fn pipe(&self) -> Option<Pipe> {
        self.pipes.get().unwrap_or_else(|error| {
            self.missing_pipes.borrow_mut().warn(format_args!(
                "no pipe for a large body ({error}): it is copied. Raise `ulimit -n`, if it is for want of descriptors"
            ));
            None
        })
    }

    /// Keeps a connection for the next request. Before its slot goes back.
    pub(super) fn rest(&self, mut connection: Connection<D::Stream>) {
        if !connection.stream.rest() {
            return;
        }
        connection.uses += 1;
        connection.freezes = clock::freeze_count();
        self.idle.put(self.thread, connection);
    }

    /// A connection to `worker` that rested on this thread: the usual case, which needs no clock.
    pub(super) fn idle_connection(&self, worker: &Arc<Worker>) -> Option<Connection<D::Stream>> {
        std::iter::from_fn(|| self.idle.take(self.thread, worker))
            .find_map(|mut connection| self.is_usable(&mut connection).then_some(connection))
    }

    /// A connection to `worker`, idle or new, and whether it has served before.
    ///
    /// # Errors
    /// The last connect error, or `TimedOut` when the backlog stayed full for `connect_timeout`.
    pub(super) async fn connection(&self, worker: &Arc<Worker>) -> io::Result<Connection<D::Stream>> {
        let deadline = clock::now() + self.connect_timeout;
        let opening = loop {
            if let Some(connection) = self.idle_connection(worker) {
                return Ok(connection);
            }
            if let Some(opening) = Opening::reserve(worker) {
                break opening;
            }
            // Never more connections than slots: an idle one on another thread must give way.
            match self.idle.steal(self.thread, worker) {
                Some(mut connection) => {
                    if self.is_usable(&mut connection) {
                        return connection.convert(|stream| self.dial.adopt(stream));
                    }
                }
                None if clock::now() >= deadline => return Err(io::ErrorKind::TimedOut.into()),
                // We have a slot, so not every connection carries a request: one is between two shelves, or
                // about to be closed.
                None => yield_now().await,
            }
        };
        self.open(worker, deadline).await.map(|stream| Connection::new(stream, opening))
    }

    /// A new stream to `worker`, which a full backlog delays.
    ///
    /// # Errors
    /// The last connect error, or `TimedOut` when the backlog is still full at `deadline`.
    pub(super) async fn open(&self, worker: &Arc<Worker>, deadline: Instant) -> io::Result<D::Stream> {
        let began = clock::now();
        loop {
            match self.dial.dial(worker).await {
                Ok(stream) => {
                    count(Count::WorkerOpened);
                    time(Timed::Connect, clock::now().saturating_duration_since(began));
                    return Ok(stream);
                }
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) if clock::now() >= deadline => return Err(io::ErrorKind::TimedOut.into()),
                Err(_) => clock::sleep(BACKLOG_PAUSE).await,
            }
        }
    }
}

/// A connection's place among those that wait for their next request.
pub(super) struct Resting<D: Dial> {
    plane: Rc<Plane<D>>,
    index: usize,
}

impl<D: Dial> Resting<D> {
    pub(super) fn new(plane: &Rc<Plane<D>>) -> Self {
        let mut resters = plane.resting.borrow_mut();
        let index = resters.free.pop().unwrap_or(resters.wakers.len());
        if index == resters.wakers.len() {
            resters.wakers.push(None);
        }
        drop(resters);
        Self { plane: Rc::clone(plane), index }
    }

    /// Has `waker` woken when the thread drains.
    pub(super) fn register(&self, waker: &Waker) {
        match &mut self.plane.resting.borrow_mut().wakers[self.index] {
            Some(known) => known.clone_from(waker),
            empty => *empty = Some(waker.clone()),
        }
    }
}

impl<D: Dial> Drop for Resting<D> {
    fn drop(&mut self) {
        let mut resters = self.plane.resting.borrow_mut();
        resters.wakers[self.index] = None;
        resters.free.push(self.index);
    }
}
