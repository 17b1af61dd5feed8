//! The engine behind the feature `uring`: an io_uring beside tokio's epoll, on each data-plane thread.
//!
//! What it spares is system calls: a busy thread hands over all that its tasks
//! want to send and to wait for at once. Timers, channels, large bodies and quiet
//! threads stay with the runtime. [`ring`] knows the kernel, [`here`] when its
//! turn is, [`stream`] what goes which way, [`plain`] the sockets beneath.

mod here;
mod op;
mod plain;
mod ring;
mod sockets;
mod stream;

use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::task::Poll;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Builder, LocalOptions};

use self::op::Arrival;
use self::ring::Ring;
use self::sockets::RingSockets;
use self::stream::Ringed;
use super::data_plane::Engine;
use crate::config::{Limits, Protocol};
use crate::proxy::Proxy;
use crate::sys;
use crate::telemetry::say;
use crate::telemetry::stdout;

/// A message to ourselves is there at once; a turn more may be needed to say so.
const PROBE_TURNS: usize = 4;

/// Sockets of a thread with a ring.
pub(super) struct Uring;

impl Engine for Uring {
    type Dial = RingSockets;
    type Client = Ringed<TcpStream>;
    type Listener = AsyncFd<Arc<TcpListener>>;

    fn run<F: Future<Output = io::Result<()>>>(serve: impl FnOnce() -> F) -> io::Result<()> {
        let ring = here::install();
        if let Err(error) = &ring {
            // Its sockets then never choose the ring.
            say::warn(format_args!("no io_uring for a data-plane thread ({error}); it serves with epoll"));
        }
        let runtime = Builder::new_current_thread()
            .enable_all()
            .on_thread_park(|| {
                // Before what waits in the ring leaves: lines first, answers then.
                stdout::flush();
                here::before_park();
            })
            .on_thread_unpark(here::after_park)
            .build_local(LocalOptions::default())?;
        let served = runtime.block_on(async {
            // Nobody waits for it: that it becomes readable ends the runtime's sleep, and `after_park` looks.
            let _watched = match &ring {
                Ok(ring) => Some(sys::register(Arc::clone(ring), Interest::READABLE)?),
                Err(_) => None,
            };
            serve().await
        });
        // Its tasks hand their sockets to the ring as they go.
        drop(runtime);
        here::uninstall();
        served
    }

    fn dial(protocol: Protocol, limits: Limits, proxy: &Proxy) -> RingSockets {
        RingSockets::new(protocol, limits, proxy)
    }

    fn listen(listener: TcpListener) -> io::Result<Self::Listener> {
        sys::register(Arc::new(listener), Interest::READABLE)
    }

    async fn accept(listener: &Self::Listener) -> io::Result<(Self::Client, SocketAddr)> {
        loop {
            let mut ready = listener.readable().await?;
            if let Ok(accepted) = ready.try_io(|listener| listener.get_ref().accept()) {
                let (client, peer) = accepted?;
                client.set_nonblocking(true)?;
                return Ok((Ringed::new(client), peer));
            }
        }
    }
}

/// Whether this process gets a ring that can do what the engine asks of it: a message is sent through one.
///
/// # Errors
/// What the kernel says, or `Unsupported` if the message does not arrive.
pub(super) fn probe() -> io::Result<()> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut ring = Ring::new()?;
    let message = *b"?";
    ring.send(ours.as_fd(), &[IoSlice::new(&message)])?;
    let key = ring.receive(theirs.as_fd())?;
    let mut wakers = Vec::new();
    for _ in 0..PROBE_TURNS {
        ring.turn(&mut wakers)?;
        match ring.poll_received(key, None) {
            Poll::Pending => {}
            Poll::Ready(Arrival::Bytes(mut received)) => {
                let mut bytes = [0];
                ring.take(&mut received, &mut bytes);
                ring.recycle(received);
                if bytes == message {
                    return Ok(());
                }
                break;
            }
            Poll::Ready(Arrival::Failed(error)) => return Err(io::Error::from_raw_os_error(error)),
            Poll::Ready(_) => break,
        }
    }
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests;
