//! The reference: a relay that copies bytes and understands none of them.
//!
//! What a proxy costs beyond this is what it costs to be a proxy; figures from
//! different days and machines are comparable in this unit. It connects to a
//! worker per client connection, so it is no floor for connection-per-request,
//! nor for bodies (a proxy may read in larger pieces).

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use clap::Args;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio::task::JoinSet;

use crate::scratch::with_scratch;
use crate::splice::splice_both;

/// Connections that may wait to be accepted: what the peers are given.
const BACKLOG: u32 = 4096;

/// Flags of `relay`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RelayArgs {
    /// Loopback addresses to accept connections on.
    #[arg(long, value_name = "ADDRESS:PORT", required = true, value_delimiter = ',')]
    pub(crate) listen: Vec<SocketAddr>,
    /// Worker sockets, used in turn.
    #[arg(long, value_name = "PATH", required = true, num_args = 1..)]
    pub(crate) unix: Vec<PathBuf>,
    /// Let the kernel move the bytes through a pipe instead of copying them.
    #[arg(long)]
    pub(crate) splice: bool,
}

/// Relays until the process is ended.
///
/// # Errors
/// An address is not loopback or cannot be bound.
pub(crate) async fn run(args: &RelayArgs) -> io::Result<()> {
    let mut listeners = JoinSet::new();
    for address in &args.listen {
        if !address.ip().is_loopback() {
            let why = format!("{address} is not loopback; the relay is for measurements on one machine");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(*address)?;
        let listener = socket.listen(BACKLOG)?;
        listeners.spawn(accept_all(listener, args.unix.clone(), args.splice));
    }
    listeners.join_all().await;
    Ok(())
}

async fn accept_all(listener: TcpListener, sockets: Vec<PathBuf>, splices: bool) {
    for path in sockets.iter().cycle() {
        match listener.accept().await {
            Ok((client, _)) => {
                let path = path.clone();
                // A connection that breaks ends both of its sides; there is nobody to tell.
                tokio::spawn(async move { relay(client, &path, splices).await.ok() });
            }
            // Out of descriptors, or the peer gave up: others may still be served.
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

async fn relay(mut client: TcpStream, path: &PathBuf, splices: bool) -> io::Result<()> {
    client.set_nodelay(true)?;
    if splices {
        client.readable().await?;
        let worker = UnixStream::connect(path).await?;
        return splice_both(client, worker).await;
    }
    let (mut up, mut down) = (Way::default(), Way::default());
    // A client that has not asked anything yet costs one descriptor, not two, nor does one that leaves without
    // asking: ten thousand must fit.
    up.held = first_bytes(&client).await?;
    if up.held.is_empty() {
        return Ok(());
    }
    let mut worker = UnixStream::connect(path).await?;
    poll_fn(|cx| {
        let up = up.poll_copy(cx, &mut client, &mut worker)?;
        let down = down.poll_copy(cx, &mut worker, &mut client)?;
        if up.is_ready() && down.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

/// What a client begins with; nothing if it left.
async fn first_bytes(client: &TcpStream) -> io::Result<Vec<u8>> {
    loop {
        client.readable().await?;
        let read = with_scratch(|scratch| client.try_read(scratch).map(|count| scratch[..count].to_vec()));
        match read {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

/// One direction of a connection.
#[derive(Default)]
struct Way {
    /// Read but not written yet, from `written` on; empty unless the reader is slow.
    held: Vec<u8>,
    written: usize,
    is_over: bool,
}

impl Way {
    /// Copies until one side would block; ready once the end was passed on.
    fn poll_copy<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        while !self.is_over {
            while self.written < self.held.len() {
                self.written += ready!(Pin::new(&mut *to).poll_write(cx, &self.held[self.written..]))?;
            }
            self.held.clear();
            self.written = 0;
            let held = &mut self.held;
            let n = ready!(with_scratch(|scratch| {
                let mut into = ReadBuf::new(scratch);
                ready!(Pin::new(&mut *from).poll_read(cx, &mut into))?;
                let bytes = into.filled();
                if !bytes.is_empty() {
                    let n = match Pin::new(&mut *to).poll_write(cx, bytes) {
                        Poll::Ready(written) => written?,
                        Poll::Pending => 0,
                    };
                    held.extend_from_slice(&bytes[n..]);
                }
                Poll::Ready(Ok::<_, io::Error>(bytes.len()))
            }))?;
            if n == 0 {
                ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                self.is_over = true;
            }
        }
        Poll::Ready(Ok(()))
    }
}
