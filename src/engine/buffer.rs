//! Relay buffers, pooled per thread: an idle connection holds none.

use std::cell::RefCell;
use std::rc::Rc;

use crate::http1::rewrite::HEADROOM;

/// Bytes behind the data for the end of a chunk and the last chunk: `\r\n0\r\n\r\n`.
pub(super) const TAILROOM: usize = 8;
/// Buffers kept for reuse per thread; more than this many exchanges at once pay an allocation.
const KEPT: usize = 64;

/// The free buffers of one thread.
#[derive(Debug)]
pub(super) struct BufferPool {
    size: usize,
    free: RefCell<Vec<Box<[u8]>>>,
}

/// Bytes received and not yet passed on: `bytes[start..end]`, with free room in
/// front (for lines added to a head) and behind (for the end of a chunk).
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    /// First byte not yet passed on.
    pub(super) start: usize,
    /// One past the last byte received.
    pub(super) end: usize,
    pool: Rc<BufferPool>,
}

impl BufferPool {
    /// Buffers that hold `size` bytes each.
    pub(super) fn new(size: usize) -> Rc<Self> {
        Rc::new(Self { size: HEADROOM + size + TAILROOM, free: RefCell::default() })
    }

    /// An empty buffer.
    pub(super) fn get(self: &Rc<Self>) -> Buffer {
        let reused = self.free.borrow_mut().pop();
        let bytes = reused.unwrap_or_else(|| vec![0; self.size].into_boxed_slice());
        Buffer { bytes, start: HEADROOM, end: HEADROOM, pool: Rc::clone(self) }
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.free.borrow().len()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = self.pool.free.borrow_mut();
        if free.len() < KEPT {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

impl Buffer {
    /// What was received and not yet passed on.
    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Any range of the buffer.
    pub(super) fn range(&self, start: usize, end: usize) -> &[u8] {
        &self.bytes[start..end]
    }

    /// The whole buffer, for edits in place.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Where the next bytes go. Empty when full.
    pub(super) fn space(&mut self) -> &mut [u8] {
        let limit = self.bytes.len() - TAILROOM;
        &mut self.bytes[self.end..limit]
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.start = HEADROOM;
        self.end = HEADROOM;
    }

    /// Moves what is left to the front so that `space` is as large as it can be.
    pub(super) fn compact(&mut self) {
        if self.start != HEADROOM {
            self.bytes.copy_within(self.start..self.end, HEADROOM);
            self.end -= self.start - HEADROOM;
            self.start = HEADROOM;
        }
    }

    /// Takes back, into an empty buffer, what was [`Buffer::filled`] in another one. A head that has
    /// been edited since may have grown into the headroom, and keeps that place.
    pub(super) fn restore(&mut self, bytes: &[u8]) {
        let limit = self.bytes.len() - TAILROOM;
        self.start = HEADROOM.min(limit - bytes.len());
        self.end = self.start + bytes.len();
        self.bytes[self.start..self.end].copy_from_slice(bytes);
    }

    /// Appends `bytes`, which must fit.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.space()[..bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_reused_empty() {
        let pool = BufferPool::new(1024);
        let mut buffer = pool.get();
        buffer.append(b"abc");
        drop(buffer);
        assert_eq!(pool.free(), 1);
        let buffer = pool.get();
        assert!(buffer.filled().is_empty());
        assert_eq!(pool.free(), 0);
    }

    #[test]
    fn a_full_buffer_whose_head_has_grown_can_be_set_aside_and_taken_back() {
        let mut buffer = BufferPool::new(16).get();
        for len in [0, 16, 16 + HEADROOM] {
            let bytes = vec![b'x'; len];
            buffer.restore(&bytes);
            assert_eq!(buffer.filled(), bytes);
        }
    }

    #[test]
    fn compacting_keeps_the_bytes_and_wins_the_room() {
        let pool = BufferPool::new(16);
        let mut buffer = pool.get();
        buffer.append(b"0123456789");
        buffer.start += 8;
        buffer.compact();
        assert_eq!(buffer.filled(), b"89");
        assert_eq!(buffer.space().len(), 14);
    }
}
