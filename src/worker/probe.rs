//! Ready means: the kernel accepts a connection for it. No byte is sent.
//!
//! A stray `GET /` would run the application before anybody asked it to. A
//! connect is enough: the backlog exists from the moment the worker listens.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};

use crate::clock;
use crate::upstream::pool::Address;

/// The first pause between two tries: a warm start should not lose more.
pub const FIRST: Duration = Duration::from_millis(1);
/// The longest pause for a worker that we started: 50 tries a second cost about 0.05 % of a CPU.
pub const LONGEST_SPAWNED: Duration = Duration::from_millis(20);
/// The longest pause for a socket that somebody else serves, which may be away for hours.
pub const LONGEST_EXTERNAL: Duration = Duration::from_millis(200);
/// A loopback connect answers at once, unless the backlog is full.
const CONNECT: Duration = Duration::from_secs(1);

/// Connects once and hangs up.
///
/// # Errors
/// Nothing listens there, or its backlog is full.
pub async fn accepts(address: &Address) -> io::Result<()> {
    match address {
        Address::Unix(path) => UnixStream::connect(path).await.map(drop),
        Address::Tcp(address) => {
            let connected = clock::timeout(CONNECT, TcpStream::connect(address)).await;
            let stream = connected.ok_or(io::ErrorKind::TimedOut)??;
            refuse_self(stream.local_addr()?, stream.peer_addr()?)
        }
    }
}

/// A connect to a free port of the ephemeral range sometimes gets that very port
/// as its own and then talks to itself.
fn refuse_self(ours: SocketAddr, theirs: SocketAddr) -> io::Result<()> {
    if ours == theirs { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(()) }
}

/// Tries until a connect succeeds, with pauses that grow to `longest`.
///
/// # Cancel safety
/// May be dropped at any time; at most one connection without bytes is hung up.
pub async fn until_accepting(address: &Address, longest: Duration) {
    let mut pause = FIRST;
    while accepts(address).await.is_err() {
        clock::sleep(pause).await;
        pause = pause.mul_f32(1.5).min(longest);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::{TcpSocket, UnixListener};

    use super::*;

    #[tokio::test]
    async fn a_socket_is_ready_as_soon_as_somebody_listens_and_gets_no_byte() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.sock");
        let address = Address::Unix(path.clone());
        assert!(accepts(&address).await.is_err());
        let waiting = tokio::spawn({
            let address = address.clone();
            async move { until_accepting(&address, LONGEST_SPAWNED).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        let listener = UnixListener::bind(&path).unwrap();
        waiting.await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        stream.readable().await.unwrap();
        assert_eq!(stream.try_read(&mut [0; 8]).unwrap(), 0, "hung up without a byte");
    }

    #[tokio::test]
    async fn a_file_that_nobody_listens_on_is_not_ready() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert_eq!(accepts(&Address::Unix(path)).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_connection_to_itself_is_nobody() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let own = socket.local_addr().unwrap();
        let stream = socket.connect(own).await.unwrap();
        assert!(refuse_self(stream.local_addr().unwrap(), stream.peer_addr().unwrap()).is_err());
    }
}
