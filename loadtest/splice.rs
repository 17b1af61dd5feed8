//! The reference for large bodies: a relay whose bytes never enter the process (splice(2)).
//!
//! Socket to pipe to socket. For small messages it does worse than copying, so it
//! is measured with bodies only.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::{AsyncWrite, Interest};
use tokio::net::{TcpStream, UnixStream};

/// What is moved at a time: as much as a Unix socket queues by default, and no less.
const PIPE_BYTES: usize = 256 << 10;

/// A socket that says when it can be read and written.
trait Socket: AsFd + AsyncWrite + Unpin {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn attempt(&self, interest: Interest, io: impl FnOnce() -> io::Result<usize>) -> io::Result<usize>;
}

macro_rules! socket {
    ($stream:ty) => {
        impl Socket for $stream {
            fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_read_ready(cx)
            }

            fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_write_ready(cx)
            }

            fn attempt(
                &self,
                interest: Interest,
                io: impl FnOnce() -> io::Result<usize>,
            ) -> io::Result<usize> {
                self.try_io(interest, io)
            }
        }
    };
}

socket!(TcpStream);
socket!(UnixStream);

/// Relays between the two until both have ended.
///
/// # Errors
/// No pipe, or a connection broke.
pub(crate) async fn splice_both(mut client: TcpStream, mut worker: UnixStream) -> io::Result<()> {
    let (mut up, mut down) = (Way::new()?, Way::new()?);
    poll_fn(|cx| {
        let up = up.poll_move(cx, &client, &mut worker)?;
        let down = down.poll_move(cx, &worker, &mut client)?;
        if up.is_ready() && down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

/// One direction of a connection.
struct Way {
    out: OwnedFd,
    into: OwnedFd,
    capacity: usize,
    /// Bytes in the pipe.
    held: usize,
    is_over: bool,
}

impl Way {
    fn new() -> io::Result<Self> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Where a user may not have larger pipes, the usual 64 KiB do.
        let capacity = fcntl_setpipe_size(&into, PIPE_BYTES).unwrap_or(64 << 10);
        Ok(Self { out, into, capacity, held: 0, is_over: false })
    }

    /// Moves until one side would block; ready once the end was passed on.
    fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        from: &impl Socket,
        to: &mut impl Socket,
    ) -> Poll<io::Result<()>> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        while !self.is_over {
            if self.held > 0 {
                ready!(to.poll_writable(cx))?;
                let moved = to.attempt(Interest::WRITABLE, || {
                    Ok(splice(&self.out, None, to.as_fd(), None, self.held, flags)?)
                });
                match moved {
                    Ok(count) => self.held -= count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
                continue;
            }
            ready!(from.poll_readable(cx))?;
            let moved = from.attempt(Interest::READABLE, || {
                Ok(splice(from.as_fd(), None, &self.into, None, self.capacity, flags)?)
            });
            match moved {
                Ok(0) => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.is_over = true;
                }
                Ok(count) => self.held = count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}
