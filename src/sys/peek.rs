//! What waits on a connected socket, seen without taking it.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What waits in a socket's receive queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peek {
    /// Nothing: the peer is there and silent.
    Quiet,
    /// At least one byte.
    Data,
    /// The peer closed its sending side.
    Eof,
}

/// Looks whether bytes or the end wait on a connected stream socket; takes nothing, never waits.
///
/// # Errors
/// What recv(2) says, ECONNRESET above all; "nothing there" is no error.
pub fn peek(socket: BorrowedFd<'_>) -> io::Result<Peek> {
    let mut byte = 0_u8;
    loop {
        // WHY: std's peek waits on a blocking socket and does not exist for Unix sockets.
        // SAFETY: `byte` is a valid place for the one byte asked for; the fd is open while borrowed.
        let got = unsafe {
            libc::recv(socket.as_raw_fd(), (&raw mut byte).cast(), 1, libc::MSG_PEEK | libc::MSG_DONTWAIT)
        };
        match got {
            0 => return Ok(Peek::Eof),
            1.. => return Ok(Peek::Data),
            _ => {}
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock => return Ok(Peek::Quiet),
            io::ErrorKind::Interrupted => {}
            _ => return Err(error),
        }
    }
}

/// Whether the peer of a connected stream socket has finished sending, bytes that are still unread aside.
pub fn has_ended(socket: BorrowedFd<'_>) -> bool {
    let mut asked = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
    // WHY: an end behind unread bytes shows in no read; std has no poll.
    // SAFETY: one valid pollfd is passed with the count 1; a zero timeout never waits.
    let count = unsafe { libc::poll(&raw mut asked, 1, 0) };
    count == 1 && asked.revents != 0
}

/// Whether the peer of a connected stream socket is gone in both directions. A Unix socket knows as soon
/// as the peer has closed; TCP learns it only from an answer to what it sends.
pub fn has_left(socket: BorrowedFd<'_>) -> bool {
    let mut asked = libc::pollfd { fd: socket.as_raw_fd(), events: 0, revents: 0 };
    // WHY: no read tells a closed peer from one that has only finished sending; std has no poll.
    // SAFETY: one valid pollfd is passed with the count 1; a zero timeout never waits.
    let count = unsafe { libc::poll(&raw mut asked, 1, 0) };
    count == 1 && asked.revents & (libc::POLLHUP | libc::POLLERR) != 0
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::sys::untaken;

    #[test]
    fn peeking_takes_nothing_and_knows_silence_data_and_the_end() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        assert_eq!(peek(ours.as_fd()).unwrap(), Peek::Quiet);
        theirs.write_all(b"x").unwrap();
        assert_eq!(peek(ours.as_fd()).unwrap(), Peek::Data);
        assert_eq!(peek(ours.as_fd()).unwrap(), Peek::Data);
        drop(theirs);
        (&ours).read_exact(&mut [0]).unwrap();
        assert_eq!(peek(ours.as_fd()).unwrap(), Peek::Eof);
    }

    #[test]
    fn an_end_behind_unread_bytes_is_seen() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"x").unwrap();
        assert!(!has_ended(ours.as_fd()) && !has_left(ours.as_fd()));
        assert_eq!(untaken(ours.as_fd()), 0);
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(has_ended(ours.as_fd()) && !has_left(ours.as_fd()));
        drop(theirs);
        assert!(has_left(ours.as_fd()));
    }
}
