//! One io_uring: operations in, completions out. The door of `io-uring`, and beside `sys` the only `unsafe`.
//!
//! What the kernel reads or writes while an operation runs belongs to the ring:
//! the bytes of a send are copied in, a receive lands in a provided buffer. So
//! whoever started it may go away at any time, and nothing outside this file can
//! give the kernel memory that is gone. Sockets are named by number until the
//! kernel has looked; who drops one with an operation under way hands it to
//! [`Ring::release`], or its number would mean another file.
#![allow(unsafe_code)]

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::op::{Arrival, Key, Op, Sending, State};
use io_uring::types::{BufRingEntry, Fd};
use io_uring::{IoUring, cqueue, opcode, squeue};

/// Operations that are handed over together; more make one more system call.
const SUBMISSIONS: u32 = 256;
/// Completions that wait for us without a list in the kernel.
const COMPLETIONS: u32 = 2048;

/// Bytes of one provided buffer: most messages with their heads. What fills it has more behind it.
pub(super) const RECEIVED_MAX: usize = 8 << 10;
/// Provided buffers, a power of two. Each is held from its completion until its task runs. They are used in
/// turn, so many of them would mean cold memory; where they run out, the socket is read directly.
const BUFFERS: u16 = 64;
/// The only group of buffers.
const GROUP: u16 = 0;

/// Longest message that is copied to be sent.
pub(super) const SENT_MAX: usize = 16 << 10;
/// Memory of sends that is kept for others.
const KEPT: usize = 64;
/// `IORING_RECVSEND_POLL_FIRST`: do not try before something has arrived.
const POLL_FIRST: u16 = 1;

/// How long what was written to a socket that was dropped since may wait for room.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A completion nobody waits for.
const NOBODY: u64 = u64::MAX;

/// Distinguishes rings, so that a key of one is never taken for another's.
static RINGS: AtomicU32 = AtomicU32::new(0);

/// A message in a provided buffer.
#[derive(Debug)]
pub(super) struct Received {
    ring: u32,
    buffer: u16,
    at: usize,
    end: usize,
}

impl Received {
    /// Bytes of the whole message. [`RECEIVED_MAX`]: more may be behind it.
    pub(super) fn len(&self) -> usize {
        self.end
    }

    /// Whether everything was taken.
    pub(super) fn is_empty(&self) -> bool {
        self.at == self.end
    }
}

/// The ring of one thread.
pub(super) struct Ring {
    uring: IoUring,
    provided: Provided,
    id: u32,
    ops: Vec<Op>,
    free: Vec<u32>,
    /// Memory of sends that are over.
    spare: Vec<Vec<u8>>,
    /// Sends of sockets that were dropped, and when they are given up.
    last_words: Vec<(Instant, Key)>,
    in_flight: usize,
}

impl Ring {
    /// A ring for the calling thread, which alone may use it.
    ///
    /// # Errors
    /// What the kernel says: `EPERM` where io_uring is forbidden, `ENOSYS` or `EINVAL` where it is too old.
    pub(super) fn new() -> io::Result<Self> {
        // COOP_TASKRUN: completions are made when this thread enters or leaves the kernel anyway, never by
        // interrupting it. DEFER_TASKRUN would make them only in calls that ask for them, at most 20 each, and
        // tell of the rest in a flag that can stay behind: a sleep in epoll then misses some.
        let uring = IoUring::builder()
            .dontfork()
            .setup_clamp()
            .setup_cqsize(COMPLETIONS)
            .setup_single_issuer()
            .setup_coop_taskrun()
            .build(SUBMISSIONS)?;
        if !uring.params().is_feature_nodrop() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let provided = Provided::new(&uring)?;
        Ok(Self {
            uring,
            provided,
            id: RINGS.fetch_add(1, Ordering::Relaxed),
            ops: Vec::new(),
            free: Vec::new(),
            spare: Vec::new(),
            last_words: Vec::new(),
            in_flight: 0,
        })
    }

    /// What becomes readable when something is complete.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.uring.as_fd().try_clone_to_owned()
    }

    /// Waits for bytes on `socket`, holding no memory meanwhile.
    ///
    /// # Errors
    /// The kernel takes no more operations.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<Key> {
        let key = self.reserve(State::Receiving);
        let entry = opcode::Recv::new(Fd(socket.as_raw_fd()), std::ptr::null_mut(), 0)
            .buf_group(GROUP)
            .ioprio(POLL_FIRST)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT)
            .user_data(u64::from(key.index));
        self.start(key, &entry)
    }

    /// Sends a copy of `parts`, one behind the other, at most [`SENT_MAX`] bytes.
    ///
    /// # Errors
    /// The kernel takes no more operations; nothing was sent.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> io::Result<Key> {
        let mut copy = self.spare.pop().unwrap_or_default();
        copy.clear();
        parts.iter().for_each(|part| copy.extend_from_slice(part));
        let sending = Sending { socket: socket.as_raw_fd(), bytes: copy, sent: 0 };
        let key = self.reserve(State::Free);
        let entry = sending.entry(key);
        self.ops[key.index as usize].state = State::Sending(sending);
        self.start(key, &entry)
    }

    fn start(&mut self, key: Key, entry: &squeue::Entry) -> io::Result<Key> {
        match self.push(entry) {
            Ok(()) => {
                self.in_flight += 1;
                Ok(key)
            }
            Err(error) => {
                self.give_back(key);
                Err(error)
            }
        }
    }

    /// What arrived, once it has; `key` means nothing afterwards.
    pub(super) fn poll_received(&mut self, key: Key, cx: Option<&mut Context<'_>>) -> Poll<Arrival> {
        let Some(op) = self.op(key) else { return Poll::Ready(Arrival::End) };
        match std::mem::take(&mut op.state) {
            State::Received(arrival) => {
                self.give_back(key);
                Poll::Ready(arrival)
            }
            state => {
                op.wait(state, cx);
                Poll::Pending
            }
        }
    }

    /// How it went, once it is over; with an error the number of bytes before it. `key` means nothing afterwards.
    pub(super) fn poll_sent(
        &mut self,
        key: Key,
        cx: Option<&mut Context<'_>>,
    ) -> Poll<Result<(), (i32, usize)>> {
        let Some(op) = self.op(key) else { return Poll::Ready(Ok(())) };
        match std::mem::take(&mut op.state) {
            State::Sent(result) => {
                self.give_back(key);
                Poll::Ready(result)
            }
            state => {
                op.wait(state, cx);
                Poll::Pending
            }
        }
    }

    /// Bytes of the send `key` that no kernel has yet.
    pub(super) fn unsent(&self, key: Key) -> usize {
        match self.ops.get(key.index as usize).map(|op| &op.state) {
            Some(State::Sending(sending)) if key.ring == self.id => sending.bytes.len() - sending.sent,
            _ => 0,
        }
    }

    /// Takes bytes out of a message.
    pub(super) fn take(&mut self, received: &mut Received, into: &mut [u8]) -> usize {
        let taken = self.pass(received, |bytes| {
            let count = bytes.len().min(into.len());
            into[..count].copy_from_slice(&bytes[..count]);
            Ok(count)
        });
        taken.unwrap_or(0)
    }

    /// Shows the bytes of a message to `taker`, who says how many it took.
    ///
    /// # Errors
    /// The taker's; it took nothing then.
    pub(super) fn pass(
        &mut self,
        received: &mut Received,
        taker: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        debug_assert_eq!(received.ring, self.id, "invariant: a message stays on its thread");
        let count = taker(self.provided.bytes(received))?;
        received.at += count;
        Ok(count)
    }

    /// Gives the buffer of a message back to the kernel.
    pub(super) fn recycle(&mut self, received: Received) {
        if received.ring == self.id {
            self.provided.give(received.buffer);
        }
    }

    /// Keeps `socket`, whose owner goes, until the operation `key` on it is over: a receive ends now, a send
    /// when its bytes have left or have waited long enough.
    pub(super) fn release(&mut self, key: Key, socket: Arc<dyn AsFd>, now: Instant) {
        let Some(op) = self.op(key) else { return };
        match std::mem::take(&mut op.state) {
            State::Received(Arrival::Bytes(received)) => {
                self.recycle(received);
                self.give_back(key);
            }
            state @ (State::Receiving | State::Sending(_)) => {
                let is_send = matches!(state, State::Sending(_));
                op.state = state;
                op.waker = None;
                op.orphan = Some(socket);
                if is_send {
                    self.last_words.push((now + LAST_WORDS, key));
                } else {
                    self.cancel(key);
                }
            }
            State::Free | State::Received(_) | State::Sent(_) => self.give_back(key),
        }
    }

    /// Whether [`Ring::turn`] would look at the clock.
    pub(super) fn has_last_words(&self) -> bool {
        !self.last_words.is_empty()
    }

    /// Gives up what sockets that were dropped by then still had to say.
    pub(super) fn expire(&mut self, now: Instant) {
        let (over, rest) = std::mem::take(&mut self.last_words).into_iter().partition(|(at, _)| *at <= now);
        self.last_words = rest;
        let over: Vec<(Instant, Key)> = over;
        over.into_iter().for_each(|(_, key)| self.cancel(key));
    }

    fn cancel(&mut self, key: Key) {
        let entry = opcode::AsyncCancel::new(u64::from(key.index)).build().user_data(NOBODY);
        // Should the kernel take no more, the operation ends with its socket's peer, or with the ring.
        let _ = self.push(&entry);
    }

    /// Hands everything over, and collects in `wakers` whom completions wake.
    ///
    /// # Errors
    /// What io_uring_enter(2) says; operations stay queued then.
    pub(super) fn turn(&mut self, wakers: &mut Vec<Waker>) -> io::Result<()> {
        self.submit()?;
        self.reap(wakers);
        Ok(())
    }

    fn submit(&mut self) -> io::Result<()> {
        let (is_empty, overflows) = {
            let queue = self.uring.submission();
            (queue.is_empty(), queue.cq_overflow())
        };
        if is_empty && !overflows { Ok(()) } else { self.enter(0) }
    }

    fn enter(&mut self, wait_for: usize) -> io::Result<()> {
        match self.uring.submit_and_wait(wait_for) {
            Ok(_) => Ok(()),
            // Busy: completions have to be collected first. Interrupted: the next turn goes on.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EINTR | libc::EAGAIN)) => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn reap(&mut self, wakers: &mut Vec<Waker>) {
        // One at a time: what a completion means may queue an operation.
        while let Some(entry) = { self.uring.completion().next() } {
            self.on_completion(&entry, wakers);
        }
    }

    fn on_completion(&mut self, entry: &cqueue::Entry, wakers: &mut Vec<Waker>) {
        let buffer = cqueue::buffer_select(entry.flags());
        let index = entry.user_data();
        let Some(op) = usize::try_from(index).ok().and_then(|index| self.ops.get_mut(index)) else { return };
        let (key, result) = (Key { ring: self.id, index: index as u32 }, entry.result());
        op.state = match (std::mem::take(&mut op.state), buffer) {
            (State::Sending(mut sending), _) => match usize::try_from(result) {
                Ok(count) if count > 0 && sending.sent + count < sending.bytes.len() => {
                    sending.sent += count;
                    let entry = sending.entry(key);
                    op.state = State::Sending(sending);
                    if let Err(error) = self.push(&entry) {
                        self.on_sent(key, Err((error.raw_os_error().unwrap_or(libc::EBUSY), 1)), wakers);
                    }
                    return;
                }
                Ok(_) => {
                    op.state = State::Sending(sending);
                    return self.on_sent(key, Ok(()), wakers);
                }
                Err(_) => {
                    let before = sending.sent;
                    op.state = State::Sending(sending);
                    return self.on_sent(key, Err((-result, before)), wakers);
                }
            },
            (State::Receiving, Some(buffer)) => {
                let end = usize::try_from(result).unwrap_or(0);
                let received = Received { ring: self.id, buffer, at: 0, end };
                if end == 0 || op.orphan.is_some() {
                    self.provided.give(buffer);
                    State::Received(Arrival::End)
                } else {
                    State::Received(Arrival::Bytes(received))
                }
            }
            (State::Receiving, None) => State::Received(match result {
                0 => Arrival::End,
                error if error == -libc::ENOBUFS || error == -libc::EAGAIN || error == -libc::EINTR => {
                    Arrival::NoBuffer
                }
                error => Arrival::Failed(-error),
            }),
            (other, _) => other,
        };
        self.on_over(key, wakers);
    }

    fn on_sent(&mut self, key: Key, result: Result<(), (i32, usize)>, wakers: &mut Vec<Waker>) {
        let op = &mut self.ops[key.index as usize];
        if let State::Sending(sending) = std::mem::replace(&mut op.state, State::Sent(result))
            && self.spare.len() < KEPT
        {
            self.spare.push(sending.bytes);
        }
        self.on_over(key, wakers);
    }

    fn on_over(&mut self, key: Key, wakers: &mut Vec<Waker>) {
        self.in_flight -= 1;
        let op = &mut self.ops[key.index as usize];
        if op.orphan.is_some() {
            self.last_words.retain(|(_, other)| *other != key);
            self.give_back(key);
        } else {
            wakers.extend(op.waker.take());
        }
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        for _ in 0..2 {
            // WHY: the kernel will read or write what the entry points to, which the type does not show.
            // SAFETY: entries are made in this file. A send points into the bytes of its `Sending`, whose heap
            // memory neither moves nor is written or freed before the completion; a receive and a cancellation
            // point nowhere. The ring is not dropped before all are over.
            if unsafe { self.uring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            self.enter(0)?;
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn op(&mut self, key: Key) -> Option<&mut Op> {
        (key.ring == self.id).then(|| self.ops.get_mut(key.index as usize)).flatten()
    }

    fn reserve(&mut self, state: State) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.ops.push(Op::default());
            self.ops.len() as u32 - 1
        });
        self.ops[index as usize].state = state;
        Key { ring: self.id, index }
    }

    fn give_back(&mut self, key: Key) {
        self.ops[key.index as usize] = Op::default();
        self.free.push(key.index);
    }
}

impl Sending {
    fn entry(&self, key: Key) -> squeue::Entry {
        let rest = &self.bytes[self.sent..];
        opcode::Send::new(Fd(self.socket), rest.as_ptr(), rest.len() as u32)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build()
            .user_data(u64::from(key.index))
    }
}

impl Drop for Ring {
    /// Waits until the kernel has let go of all memory: everything is cancelled, so that is soon.
    fn drop(&mut self) {
        let mut wakers = Vec::new();
        for index in 0..self.ops.len() as u32 {
            if matches!(self.ops[index as usize].state, State::Receiving | State::Sending(_)) {
                self.cancel(Key { ring: self.id, index });
            }
        }
        while self.in_flight > 0 {
            if let Err(error) = self.enter(1)
                && error.kind() != io::ErrorKind::Interrupted
            {
                // The kernel does not say when it is done with it, so the memory is never reused.
                std::mem::forget(std::mem::take(&mut self.ops));
                self.provided.leak();
                return;
            }
            self.reap(&mut wakers);
        }
    }
}

/// The buffers that the kernel fills, and the ring that tells it which are free.
struct Provided {
    /// `BUFFERS` entries; the kernel takes from them.
    entries: Pages,
    /// `BUFFERS` times `RECEIVED_MAX` bytes.
    memory: Pages,
    /// How many have been given so far.
    tail: u16,
}

impl Provided {
    fn new(uring: &IoUring) -> io::Result<Self> {
        let many = usize::from(BUFFERS);
        let entries = Pages::new(many * size_of::<BufRingEntry>())?;
        let mut provided = Self { entries, memory: Pages::new(many * RECEIVED_MAX)?, tail: 0 };
        // WHY: the kernel reads the entries and writes where they point.
        // SAFETY: both blocks are as long as said here, begin with a page, and are unmapped only behind the ring
        // (`Ring` drops `uring` first; see its `Drop`).
        unsafe {
            let entries = provided.entries().as_ptr() as u64;
            uring.submitter().register_buf_ring_with_flags(entries, BUFFERS, GROUP, 0)
        }?;
        (0..BUFFERS).for_each(|buffer| provided.give(buffer));
        Ok(provided)
    }

    fn entries(&self) -> NonNull<BufRingEntry> {
        self.entries.start.cast()
    }

    /// Lets the kernel fill `buffer`, which nobody reads any more.
    fn give(&mut self, buffer: u16) {
        let slot = usize::from(self.tail % BUFFERS);
        let at = usize::from(buffer) * RECEIVED_MAX;
        // WHY: the entries are shared with the kernel, so no reference to all of them may exist.
        // SAFETY: `slot` is below `BUFFERS`, and so is every `buffer` the kernel names. The kernel does not look
        // at an entry behind the tail; each buffer is given once and taken before it is given again, so never
        // more than `BUFFERS` are given. The tail lies in the first entry, in bytes that the setters leave alone.
        unsafe {
            let entry = &mut *self.entries().as_ptr().add(slot);
            entry.set_addr(self.memory.start.as_ptr().add(at) as u64);
            entry.set_len(RECEIVED_MAX as u32);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(self.entries().as_ptr()).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }

    /// What is left of a message.
    fn bytes(&self, received: &Received) -> &[u8] {
        let start = usize::from(received.buffer) * RECEIVED_MAX;
        // WHY: the kernel wrote it.
        // SAFETY: the block began as zeroes, so every byte has a value; `end` is at most `RECEIVED_MAX`; and the kernel
        // writes to this buffer only after `give`, which takes the `Received` away.
        unsafe {
            let from = self.memory.start.as_ptr().add(start + received.at);
            std::slice::from_raw_parts(from, received.end.min(RECEIVED_MAX) - received.at)
        }
    }

    /// Leaves the memory to the kernel for ever.
    fn leak(&mut self) {
        (self.entries.bytes, self.memory.bytes) = (0, 0);
    }
}

/// Zeroed memory of its own, from the start of a page. The allocator would touch all of it, and keep it.
struct Pages {
    start: NonNull<u8>,
    bytes: usize,
}

impl Pages {
    fn new(bytes: usize) -> io::Result<Self> {
        // WHY: std has no memory that begins with a page and is not there before it is used.
        // SAFETY: no address is asked for, so nothing that exists is replaced; no file stands behind it.
        let start = unsafe {
            let (protection, flags) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0)
        };
        match NonNull::new(start.cast()).filter(|_| start != libc::MAP_FAILED) {
            Some(start) => Ok(Self { start, bytes }),
            None => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if self.bytes > 0 {
            // WHY: nobody else unmaps it.
            // SAFETY: exactly this was mapped by `new`. The ring that knew it is closed, and no receive was left:
            // nobody writes there any more.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
        }
    }
}
