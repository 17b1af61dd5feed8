//! A Unix socket to a worker that wakes nobody when the worker has read.
//!
//! The kernel reports a Unix socket as writable each time its peer has taken something, and whoever is
//! registered for that is woken: once per request, for nothing. (TCP says so only to whom it has turned away.)
//! So this one is registered for reading, and for writing from the first write that finds it full until it rests.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

use super::sockets::poll_io;
use crate::sys;

/// A stream to the socket at `path` that does not block, registered nowhere.
///
/// # Errors
/// What the kernel says; `WouldBlock` while the backlog is full.
pub(super) fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(OwnedFd::from(socket).into())
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct UnixSocket {
    /// Away only behind a registration that has failed.
    io: Option<AsyncFd<UnixStream>>,
    /// Whether it is registered for writing too.
    is_wide: bool,
}

impl UnixSocket {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// What the kernel says; `WouldBlock` while the backlog is full.
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        connect(path).and_then(Self::new)
    }

    /// Of a stream that does not block.
    ///
    /// # Errors
    /// If it cannot be registered.
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        Ok(Self { io: Some(sys::register(stream, Interest::READABLE)?), is_wide: false })
    }

    /// The stream, registered nowhere.
    pub(super) fn into_std(mut self) -> io::Result<UnixStream> {
        self.io.take().map(AsyncFd::into_inner).ok_or_else(lost)
    }

    fn io(&self) -> io::Result<&AsyncFd<UnixStream>> {
        self.io.as_ref().ok_or_else(lost)
    }

    /// The socket itself.
    pub(super) fn fd(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.io()?.get_ref().as_fd())
    }

    pub(super) fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.io()?.get_ref().take_error()
    }

    fn register(&mut self, interest: Interest) -> io::Result<()> {
        let stream = self.io.take().ok_or_else(lost)?.into_inner();
        self.io = Some(sys::register(stream, interest)?);
        Ok(())
    }

    /// Nothing is to be written for a while.
    pub(super) fn rest(&mut self) {
        if std::mem::take(&mut self.is_wide) {
            // One that is lost says so when it is looked at next.
            let _ = self.register(Interest::READABLE);
        }
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(ready!(self.io()?.poll_read_ready(cx)).map(drop))
    }

    /// Says that nothing more is expected until the kernel reports it.
    pub(super) fn forget_readable(&self) {
        if let Some(io) = &self.io {
            // It answers what is said here.
            let _ = io.try_io(Interest::READABLE, |_| Err::<(), _>(io::ErrorKind::WouldBlock.into()));
        }
    }

    /// Reads, in whichever way, as soon as there is something to read.
    pub(super) fn poll_read_with<T>(
        &self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let io = self.io()?;
        poll_io(
            || Poll::Ready(ready!(io.poll_read_ready(cx)).map(drop)),
            || io.try_io(Interest::READABLE, |stream| attempt(stream.as_fd())),
        )
    }

    /// Writes, in whichever way, as soon as there is room.
    pub(super) fn poll_write_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(&UnixStream) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        if !self.is_wide {
            match attempt(self.io()?.get_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
            self.register(Interest::READABLE | Interest::WRITABLE)?;
            self.is_wide = true;
            // Who waited for something to read did so at the registration that is gone.
            cx.waker().wake_by_ref();
        }
        let io = self.io()?;
        poll_io(
            || Poll::Ready(ready!(io.poll_write_ready(cx)).map(drop)),
            || io.try_io(Interest::WRITABLE, &mut attempt),
        )
    }
}

fn lost() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "its registration failed")
}

impl AsyncRead for UnixSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let io = self.io()?;
        loop {
            let mut guard = ready!(io.poll_read_ready(cx))?;
            let room = buf.initialize_unfilled();
            let most = room.len();
            let Ok(read) = guard.try_io(|io| io.get_ref().read(room)) else { continue };
            let count = read?;
            // A read that leaves room has found the end of what is there; the next byte is reported.
            if (1..most).contains(&count) {
                guard.clear_ready();
            }
            buf.advance(count);
            return Poll::Ready(Ok(()));
        }
    }
}

impl AsyncWrite for UnixSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_with(cx, |mut stream| stream.write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_with(cx, |mut stream| stream.write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.io()?.get_ref().shutdown(std::net::Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn pair() -> (UnixSocket, UnixSocket) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        for stream in [&ours, &theirs] {
            stream.set_nonblocking(true).unwrap();
        }
        (UnixSocket::new(ours).unwrap(), UnixSocket::new(theirs).unwrap())
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn who_waits_for_an_answer_is_not_woken_because_the_question_was_read() {
        let (mut ours, mut theirs) = pair();
        ours.write_all(b"question").await.unwrap();
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        assert!(ours.poll_read_ready(&mut Context::from_waker(&waker)).is_pending());
        theirs.read_exact(&mut [0; 8]).await.unwrap();
        tokio::task::yield_now().await;
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        theirs.write_all(b"answer").await.unwrap();
        ours.read_exact(&mut [0; 6]).await.unwrap();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0, "another waker has taken its place");
    }

    #[tokio::test]
    async fn a_full_socket_is_written_to_the_end_while_answers_are_read() {
        let (mut ours, theirs) = pair();
        let (out, mut into) = (vec![b'q'; 4 << 20], vec![0; 4 << 20]);
        let (mut their_reads, mut their_writes) = tokio::io::split(theirs);
        let echo = async { tokio::io::copy(&mut their_reads, &mut their_writes).await };
        let talk = async {
            let (mut written, mut read) = (0, 0);
            // Both ways in one turn, as in the relay: reading first, so that its waker is registered when the
            // write finds the socket full.
            poll_fn(|cx| {
                loop {
                    let mut buffer = ReadBuf::new(&mut into[read..]);
                    let reading = if read < out.len() {
                        Pin::new(&mut ours).poll_read(cx, &mut buffer)
                    } else {
                        return Poll::Ready(());
                    };
                    let count = buffer.filled().len();
                    read += count;
                    let writing = if written < out.len() {
                        Pin::new(&mut ours).poll_write(cx, &out[written..])
                    } else {
                        Poll::Pending
                    };
                    if let Poll::Ready(count) = &writing {
                        written += count.as_ref().unwrap();
                    }
                    if reading.is_pending() && writing.is_pending() {
                        return Poll::Pending;
                    }
                }
            })
            .await;
            assert!(ours.is_wide, "the test has not filled it");
            ours.rest();
            assert!(!ours.is_wide);
            drop(ours);
        };
        let (echoed, ()) = tokio::join!(echo, talk);
        assert_eq!(echoed.unwrap(), 4 << 20);
        assert_eq!(into, out);
    }
}
