//! The ring of the calling thread, and when its turn is.
//!
//! The runtime calls [`before_park`] when it has run all tasks that can run: what
//! they asked of the kernel meanwhile is handed over by one system call, and what
//! that completes wakes tasks, so that the runtime does not sleep. If it does
//! sleep, the ring's descriptor is in its epoll, and [`after_park`] looks again.
//!
//! Where tasks that can run never run out, neither is called. So whoever uses a
//! socket counts ([`on_operation`]), and a turn comes in the middle.
//!
//! A ring pays by its batches. Where a turn finds little to do, readiness is
//! cheaper, so each thread measures its turns and says which way to
//! wait ([`is_busy`]).

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Waker;

use super::ring::Ring;
use crate::clock;
use crate::telemetry::say;

/// Messages per turn from which on a thread is busy, in units of [`UNIT`]. In a debug build it always is: no
/// test would meet the ring otherwise.
const BUSY: u32 = 6 * UNIT;
/// And below which it no longer is.
const IDLE: u32 = 3 * UNIT;
/// A turn counts for one part in so many of the mean.
const UNIT: u32 = 64;

/// Operations on sockets, some four for a poll of a task, after which a turn is due: a few milliseconds of work.
const OVERDUE: u32 = 1 << 10;

thread_local! {
    static HERE: Here = const { Here::new() };
}

struct Here {
    ring: RefCell<Option<Ring>>,
    wakers: RefCell<Vec<Waker>>,
    /// Messages read since the last turn.
    messages: Cell<u32>,
    /// Their mean per turn, times [`UNIT`].
    mean: Cell<u32>,
    busy: Cell<bool>,
    /// Operations on sockets since the last turn.
    operations: Cell<u32>,
}

impl Here {
    const fn new() -> Self {
        Self {
            ring: RefCell::new(None),
            wakers: RefCell::new(Vec::new()),
            messages: Cell::new(0),
            mean: Cell::new(0),
            busy: Cell::new(false),
            operations: Cell::new(0),
        }
    }

    fn turn(&self) {
        self.operations.set(0);
        let mut wakers = self.wakers.take();
        if let Some(ring) = &mut *self.ring.borrow_mut() {
            if ring.has_last_words() {
                ring.expire(clock::now());
            }
            if let Err(error) = ring.turn(&mut wakers) {
                say::error(format_args!("io_uring_enter: {error}"));
            }
        }
        // Behind the borrow: whoever is woken may look here.
        wakers.drain(..).for_each(Waker::wake);
        self.wakers.replace(wakers);
    }
}

/// The runtime is about to sleep.
pub(super) fn before_park() {
    HERE.with(|here| {
        let mean = here.mean.get();
        let mean = mean - mean / UNIT + here.messages.take();
        here.mean.set(mean);
        let is_busy = cfg!(debug_assertions) || mean >= if here.busy.get() { IDLE } else { BUSY };
        here.busy.set(is_busy && here.ring.borrow().is_some());
        here.turn();
    });
}

/// The runtime has slept, or has looked for events.
pub(super) fn after_park() {
    HERE.with(Here::turn);
}

/// A message was read.
pub(super) fn on_message() {
    HERE.with(|here| here.messages.set(here.messages.get() + 1));
}

/// A socket is about to be used. Not while the ring is.
pub(super) fn on_operation() {
    HERE.with(|here| {
        let operations = here.operations.get() + 1;
        here.operations.set(operations);
        if operations == OVERDUE {
            here.turn();
        }
    });
}

/// Whether this thread has so much to do at a time that a ring pays.
pub(super) fn is_busy() -> bool {
    HERE.with(|here| here.busy.get())
}

/// `do_it` with the ring of this thread; `None` if it has none (it ends).
pub(super) fn with_ring<T>(do_it: impl FnOnce(&mut Ring) -> T) -> Option<T> {
    // A thread that ends drops its tasks while its locals go.
    HERE.try_with(|here| here.ring.borrow_mut().as_mut().map(do_it)).ok().flatten()
}

/// Gives this thread a ring, and returns the descriptor that becomes readable when it has news.
///
/// # Errors
/// The kernel allows no ring.
pub(super) fn install() -> io::Result<Arc<OwnedFd>> {
    let ring = Ring::new()?;
    let descriptor = Arc::new(ring.descriptor()?);
    HERE.with(|here| {
        here.ring.replace(Some(ring));
        here.busy.set(cfg!(debug_assertions));
    });
    Ok(descriptor)
}

/// Takes the ring away again; sockets that were handed to it are closed.
pub(super) fn uninstall() {
    // Out of its place before it goes: what it closes may look there.
    let ring = HERE.with(|here| here.ring.take());
    drop(ring);
}
