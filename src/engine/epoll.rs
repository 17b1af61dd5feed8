//! The engine that is always there: readiness, by tokio's epoll, and plain reads and writes.

use std::io;
use std::net::{SocketAddr, TcpListener};

use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};

use super::data_plane::Engine;
use super::sockets::Sockets;
use crate::config::{Limits, Protocol};
use crate::proxy::Proxy;
use crate::telemetry::stdout;

/// Tokio's own sockets.
pub(super) struct Epoll;

impl Engine for Epoll {
    type Dial = Sockets;
    type Client = TcpStream;
    type Listener = tokio::net::TcpListener;

    fn run<F: Future<Output = io::Result<()>>>(serve: impl FnOnce() -> F) -> io::Result<()> {
        // Lines wait for what else came at once, not for what comes next.
        let runtime = Builder::new_current_thread()
            .enable_all()
            .on_thread_park(stdout::flush)
            .build_local(LocalOptions::default())?;
        runtime.block_on(async { serve().await })
    }

    fn dial(protocol: Protocol, limits: Limits, proxy: &Proxy) -> Sockets {
        Sockets::new(protocol, limits, proxy)
    }

    fn listen(listener: TcpListener) -> io::Result<Self::Listener> {
        tokio::net::TcpListener::from_std(listener)
    }

    async fn accept(listener: &Self::Listener) -> io::Result<(TcpStream, SocketAddr)> {
        listener.accept().await
    }
}
