//! Where the admin is entered, and by whom.
//!
//! A Unix socket is made for this user alone (0600), and the kernel tells who connected. An address is loopback
//! unless the configuration says otherwise. A browser on this machine can reach a loopback address as well, with
//! a page of anybody in it: so only hosts are answered that no such page can claim. Whoever makes a name point to
//! 127.0.0.1 (DNS rebinding) has that name in the `Host` field; an IP literal and `localhost` cannot be taken over.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::config::AdminPlace;
use crate::error::Problem;

/// A bound listener that no runtime knows yet.
#[derive(Debug)]
pub(super) enum Bound {
    Tcp(std::net::TcpListener),
    Unix(StdUnixListener, SocketFile),
}

/// The file of a socket that is ours; removed on drop.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Whose it is: ours.
    uid: u32,
    inode: u64,
}

impl Bound {
    /// Binds `place`.
    ///
    /// # Errors
    /// The address is taken or refused; something else is at the path.
    pub(super) fn new(place: &AdminPlace) -> Result<Self, Problem> {
        let refused = |error: io::Error| {
            Problem::new(
                format!("The admin cannot listen on {place}: {error}."),
                "`admin.listen` asks for it.",
                "Choose another place, end what is there, or leave `admin.listen` out.",
            )
        };
        match place {
            AdminPlace::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address).map_err(refused)?;
                listener.set_nonblocking(true).map_err(refused)?;
                Ok(Self::Tcp(listener))
            }
            AdminPlace::Unix(path) => {
                let listener = bind_unix(path).map_err(refused)?;
                let file = SocketFile::of(path).map_err(refused)?;
                listener.set_nonblocking(true).map_err(refused)?;
                Ok(Self::Unix(listener, file))
            }
        }
    }

    /// As the log names it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Tcp(listener) => listener.local_addr().map_or_else(|_| "?".to_owned(), |it| it.to_string()),
            Self::Unix(_, file) => format!("unix:{}", file.path.display()),
        }
    }
}

/// Binds a socket that only this user may connect to. One that nobody listens at any more is replaced.
fn bind_unix(path: &Path) -> io::Result<StdUnixListener> {
    let bound = match StdUnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_over(path) => {
            fs::remove_file(path)?;
            StdUnixListener::bind(path)
        }
        otherwise => otherwise,
    }?;
    // Whoever was quicker is still told apart by who it is.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(bound)
}

fn is_left_over(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|facts| facts.file_type().is_socket());
    is_socket
        && StdUnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        let facts = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), uid: facts.uid(), inode: facts.ino() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Unless somebody else has put another one there.
        if fs::symlink_metadata(&self.path).is_ok_and(|facts| facts.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The listener in its runtime.
pub(super) enum Door {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

impl Door {
    /// Must be called inside the runtime that will serve it.
    pub(super) fn open(bound: Bound) -> io::Result<Self> {
        Ok(match bound {
            Bound::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)?),
            Bound::Unix(listener, file) => Self::Unix(UnixListener::from_std(listener)?, file),
        })
    }

    /// # Cancel safety
    /// No connection is lost.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Caller)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Answers are small.
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), Caller::over_tcp(peer)))
            }
            Self::Unix(listener, file) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                Ok((Stream::Unix(stream), Caller::Neighbour { is_owner: uid == file.uid || uid == 0 }))
            }
        }
    }
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Through the Unix socket.
    Neighbour {
        /// The user whose socket it is, or root.
        is_owner: bool,
    },
    /// Over loopback.
    SameMachine,
    /// From elsewhere.
    Remote,
}

impl Caller {
    fn over_tcp(peer: SocketAddr) -> Self {
        if peer.ip().to_canonical().is_loopback() { Self::SameMachine } else { Self::Remote }
    }

    /// Whether a request of this caller may name `host`; `None` names none.
    pub(super) fn may_name(self, host: Option<&str>) -> bool {
        match (self, host) {
            // No browser speaks to a Unix socket.
            (Self::Neighbour { .. }, _) => true,
            (_, None) => false,
            (_, Some(host)) => is_literal(host),
        }
    }
}

/// Whether `host`, with or without a port, is an IP literal or `localhost`.
fn is_literal(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((name, rest))) => (name, rest),
        Some(None) => return false,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    is_port && (name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok())
}

/// A connection through either door.
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_nobody_can_take_over_are_answered() {
        for host in
            ["localhost", "LocalHost:9901", "127.0.0.1", "127.0.0.1:1", "[::1]:80", "[::1]", "10.1.2.3"]
        {
            assert!(Caller::SameMachine.may_name(Some(host)), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil",
            "[::1",
            "[::1]x",
            "localhost:x",
            "::1",
        ] {
            assert!(
                !Caller::SameMachine.may_name(Some(host)) && !Caller::Remote.may_name(Some(host)),
                "{host}"
            );
        }
        assert!(!Caller::SameMachine.may_name(None));
        assert!(Caller::Neighbour { is_owner: false }.may_name(Some("anything")));
    }

    #[test]
    fn a_left_over_socket_is_replaced_and_anything_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| AdminPlace::Unix(dir.path().join(name));
        drop(StdUnixListener::bind(dir.path().join("old")).unwrap());
        let bound = Bound::new(&place("old")).unwrap();
        let mode = fs::metadata(dir.path().join("old")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let taken = Bound::new(&place("old")).unwrap_err();
        assert!(taken.what.contains("in use"), "{taken}");
        fs::write(dir.path().join("file"), "mine").unwrap();
        assert!(Bound::new(&place("file")).is_err());
        assert_eq!(fs::read_to_string(dir.path().join("file")).unwrap(), "mine");
        drop(bound);
        assert!(!dir.path().join("old").exists());
    }
}
