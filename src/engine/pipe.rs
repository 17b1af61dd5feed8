//! Pipes through which large bodies pass without entering our memory: splice(2).
//!
//! A splice that cannot go on says `WouldBlock` whether the socket or the pipe is to blame. So a pipe is
//! filled only while it is empty and emptied only while it is not: then it is always the socket.
//! What a pipe holds are pages of the kernel; a cut exchange closes its pipe, so nobody else ever gets them.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;

#[cfg(all(target_os = "linux", feature = "uring"))]
use rustix::io::write;
use rustix::net::{SendFlags, send};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// Bytes one pipe takes: no socket hands over much more at once, and a user without privileges may have 64 MiB
/// of pipes (`fs.pipe-user-pages-soft`).
const PIPE_BYTES: usize = 256 << 10;
/// Pipes of one thread at a time, two descriptors each; more bodies at once are copied.
const PIPES_MAX: usize = 64;

/// The pipes of one thread.
#[derive(Debug, Default)]
pub(super) struct PipePool {
    free: RefCell<Vec<Ends>>,
    lent: Cell<usize>,
}

#[derive(Debug)]
struct Ends {
    out: OwnedFd,
    into: OwnedFd,
}

/// A pipe, and how many bytes are in it.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// `None` only while it is dropped.
    ends: Option<Ends>,
    held: usize,
    pool: Rc<PipePool>,
}

impl PipePool {
    /// An empty pipe; `None` while [`PIPES_MAX`] are in use.
    ///
    /// # Errors
    /// What the system says for want of descriptors or memory.
    pub(super) fn get(self: &Rc<Self>) -> io::Result<Option<Pipe>> {
        if self.lent.get() == PIPES_MAX {
            return Ok(None);
        }
        let reused = self.free.borrow_mut().pop();
        let ends = match reused {
            Some(ends) => ends,
            None => Ends::new()?,
        };
        self.lent.set(self.lent.get() + 1);
        Ok(Some(Pipe { ends: Some(ends), held: 0, pool: Rc::clone(self) }))
    }
}

impl Ends {
    fn new() -> io::Result<Self> {
        let (out, into) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        // Where the system does not allow it the pipe is smaller, and as good.
        let _ = fcntl_setpipe_size(&into, PIPE_BYTES);
        Ok(Self { out, into })
    }
}

impl Pipe {
    /// Whether bytes are in it.
    pub(super) fn holds_bytes(&self) -> bool {
        self.held > 0
    }

    /// Takes what was received on `socket`, of the `ahead` bytes that may pass; zero at the end of its bytes.
    /// Only while empty.
    ///
    /// # Errors
    /// `WouldBlock` while there is nothing, else what a read would say.
    pub(super) fn fill(&mut self, socket: BorrowedFd<'_>, ahead: u64) -> io::Result<usize> {
        debug_assert_eq!(self.held, 0, "invariant: see the head of this file");
        let Some(ends) = &self.ends else { return Ok(0) };
        let max = usize::try_from(ahead).map_or(PIPE_BYTES, |ahead| ahead.min(PIPE_BYTES));
        self.held = splice(socket, None, &ends.into, None, max, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)?;
        Ok(self.held)
    }

    /// Takes bytes that were received already, of the `ahead` that may pass, as many as fit. Only while empty.
    ///
    /// # Errors
    /// What write(2) says.
    #[cfg(all(target_os = "linux", feature = "uring"))]
    pub(super) fn put(&mut self, bytes: &[u8], ahead: u64) -> io::Result<usize> {
        debug_assert_eq!(self.held, 0, "invariant: see the head of this file");
        let Some(ends) = &self.ends else { return Ok(0) };
        let max = usize::try_from(ahead).map_or(bytes.len(), |ahead| ahead.min(bytes.len()));
        self.held = write(&ends.into, &bytes[..max])?;
        Ok(self.held)
    }

    /// Hands what it holds to `socket`, as much as that takes. Only while it holds something.
    ///
    /// # Errors
    /// `WouldBlock` while it takes nothing, else what a write would say.
    pub(super) fn drain(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        debug_assert_ne!(self.held, 0, "invariant: see the head of this file");
        let Some(ends) = &self.ends else { return Ok(0) };
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let count = splice(&ends.out, None, socket, None, self.held, flags)?;
        self.held -= count;
        Ok(count)
    }
}

/// Sends once, behind which a pipe is emptied at once: a packet that is not full waits for that.
///
/// # Errors
/// What a write would say.
pub(super) fn send_more(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(send(socket, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?)
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.pool.lent.set(self.pool.lent.get() - 1);
        // One that still holds bytes is closed, and they are gone.
        if let (Some(ends), 0) = (self.ends.take(), self.held) {
            self.pool.free.borrow_mut().push(ends);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn bytes_pass_whole_and_in_order_and_the_end_shows() {
        let pool = Rc::new(PipePool::default());
        let (mut source, from) = UnixStream::pair().unwrap();
        let (into, mut sink) = UnixStream::pair().unwrap();
        from.set_nonblocking(true).unwrap();
        let mut pipe = pool.get().unwrap().unwrap();
        assert_eq!(pipe.fill(from.as_fd(), 10).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        source.write_all(b"0123456789abc").unwrap();
        assert_eq!(pipe.fill(from.as_fd(), 10).unwrap(), 10, "not more than asked for");
        assert_eq!(pipe.drain(into.as_fd()).unwrap(), 10);
        assert_eq!(pipe.fill(from.as_fd(), 10).unwrap(), 3);
        assert_eq!(pipe.drain(into.as_fd()).unwrap(), 3);
        let mut bytes = [0; 13];
        sink.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"0123456789abc");
        drop(source);
        assert_eq!(pipe.fill(from.as_fd(), 10).unwrap(), 0);
    }

    #[test]
    fn a_pipe_that_holds_somebodys_bytes_is_never_lent_again() {
        let pool = Rc::new(PipePool::default());
        let (mut source, from) = UnixStream::pair().unwrap();
        source.write_all(b"secret").unwrap();
        let mut pipe = pool.get().unwrap().unwrap();
        pipe.fill(from.as_fd(), 6).unwrap();
        drop(pipe);
        assert!(pool.free.borrow().is_empty());
        drop(pool.get().unwrap());
        assert_eq!(pool.free.borrow().len(), 1);
    }

    #[test]
    fn pipes_are_bounded() {
        let pool = Rc::new(PipePool::default());
        let lent: Vec<Pipe> = (0..PIPES_MAX).map(|_| pool.get().unwrap().unwrap()).collect();
        assert!(pool.get().unwrap().is_none());
        drop(lent);
        assert!(pool.get().unwrap().is_some());
    }
}
