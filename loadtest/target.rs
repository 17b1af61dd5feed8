//! Where load may be sent: this machine, nothing else.
//!
//! A load generator that reaches other hosts is a weapon by typo; loopback and
//! Unix sockets are all that a sidecar's measurement needs.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// A loopback address or a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `127.0.0.1:9000`, `[::1]:9000`, `localhost:9000`.
    Tcp(SocketAddr),
    /// `unix:/path/to/socket`.
    Unix(PathBuf),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err("`unix:` needs a path".into())
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
        let address: SocketAddr = numeric
            .as_deref()
            .unwrap_or(text)
            .parse()
            .map_err(|_| format!("`{text}` is neither ADDRESS:PORT nor unix:PATH; try 127.0.0.1:9000"))?;
        if !address.ip().is_loopback() {
            return Err(format!(
                "{address} is not this machine. Load is sent to loopback addresses and Unix sockets only; \
                 run this program on the machine to be measured"
            ));
        }
        Ok(Self::Tcp(address))
    }
}

impl Target {
    /// Opens one connection; no deadline of its own.
    pub(crate) async fn connect(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Self::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
        }
    }
}

/// An open connection to a [`Target`].
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, into),
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

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
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
    use super::Target;

    #[test]
    fn only_this_machine_can_be_a_target() {
        assert_eq!("127.0.0.1:9000".parse(), Ok(Target::Tcp(([127, 0, 0, 1], 9000).into())));
        assert_eq!("localhost:9000".parse(), Ok(Target::Tcp(([127, 0, 0, 1], 9000).into())));
        assert_eq!("unix:/run/a".parse(), Ok(Target::Unix("/run/a".into())));
        assert!("[::1]:80".parse::<Target>().is_ok());
        for elsewhere in ["10.0.0.1:80", "0.0.0.0:80", "[2001:db8::1]:80"] {
            let refusal = elsewhere.parse::<Target>().unwrap_err();
            assert!(refusal.contains("not this machine"), "{refusal}");
        }
        assert!("example.org:80".parse::<Target>().is_err());
        assert!("unix:".parse::<Target>().is_err());
    }
}
