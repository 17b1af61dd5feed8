//! The system's own sockets, as the ring's streams use them beside it.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use tokio::io::Interest;

use crate::listener;
use crate::sys::OneDescriptor;

/// What a socket can do that is not the same for all.
pub(in crate::engine) trait Socket:
    AsFd + OneDescriptor + fmt::Debug + Send + Sync + 'static
{
    /// Whether its kernel knows what the other end has got.
    const KNOWS_DELIVERY: bool;

    /// What epoll is asked for while nobody waits to write; see [`crate::engine::unix`].
    const INTEREST: Interest;

    fn read(&self, into: &mut [u8]) -> io::Result<usize>;
    fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize>;
    fn end_writing(&self) -> io::Result<()>;

    /// What its kernel reports, once.
    fn error(&self) -> Option<io::Error>;

    /// Makes the next close a reset.
    fn reset_on_close(&self);
}

/// `TcpStream` and `UnixStream` differ in nothing else.
macro_rules! socket {
    ($socket:ty, $knows_delivery:literal, $interest:expr, $reset:expr) => {
        impl Socket for $socket {
            const KNOWS_DELIVERY: bool = $knows_delivery;
            const INTEREST: Interest = $interest;

            fn read(&self, into: &mut [u8]) -> io::Result<usize> {
                Read::read(&mut &*self, into)
            }

            fn write(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
                match parts {
                    [part] => Write::write(&mut &*self, part),
                    parts => Write::write_vectored(&mut &*self, parts),
                }
            }

            fn end_writing(&self) -> io::Result<()> {
                self.shutdown(Shutdown::Write)
            }

            fn error(&self) -> Option<io::Error> {
                self.take_error().unwrap_or_else(Some)
            }

            fn reset_on_close(&self) {
                $reset(self);
            }
        }
    };
}

const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

// Without it the client sees a clean end where there was none; nothing more can be done then.
socket!(TcpStream, false, BOTH, |socket: &TcpStream| drop(listener::reset_on_close(socket.as_fd())));
// A Unix socket has no such close.
socket!(UnixStream, true, Interest::READABLE, |_: &UnixStream| ());
