//! The worker's end of a connection, of whatever family: registered for bytes to read, and for room to write only while
//! there is none.
//!
//! A stream that is always registered for both, as tokio's is, has its owner woken whenever the
//! proxy reads, and the kernel charges that wake-up to the proxy: 11 % of its CPU for small
//! requests. Common app servers (libuv's, Python's) register as this one does.

use std::io::{self, Read as _, Write as _};
use std::task::{Context, Poll, ready};

use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// One accepted connection.
pub(crate) struct Peer(AsyncFd<Socket>);

impl Peer {
    /// Takes over what tokio has accepted.
    pub(crate) fn new(accepted: impl Into<Socket>) -> io::Result<Self> {
        registered(accepted.into(), Interest::READABLE).map(Self)
    }

    /// Reads once; zero at the end.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready_mut(cx))?;
            match ready.get_inner_mut().read(into) {
                Ok(count) => {
                    if count < into.len() {
                        ready.clear_ready();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Writes all of `bytes`.
    pub(crate) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.0.get_mut().write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let room = registered(self.0.get_ref().try_clone()?, Interest::WRITABLE)?;
                    let _ = room.writable().await?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends the sending side.
    pub(crate) fn finish(&self) -> io::Result<()> {
        self.0.get_ref().shutdown(std::net::Shutdown::Write)
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe for types that lie about their descriptor; std's does not"
)]
fn registered(stream: Socket, interest: Interest) -> io::Result<AsyncFd<Socket>> {
    AsyncFd::with_interest(stream, interest)
}
