//! The front listener: socket2's one door.
//!
//! With several data-plane threads each gets its own listening socket on the same
//! port (`SO_REUSEPORT`): the kernel spreads connections and no thread waits for
//! another to accept.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Listen;
use crate::error::Problem;

/// Binds and listens, once per thread, on the same address. Non-blocking.
///
/// # Errors
/// A [`Problem`] that names the address and who may hold it.
pub fn bind(listen: &Listen, threads: NonZeroUsize) -> Result<Vec<TcpListener>, Problem> {
    let mut address = SocketAddr::new(listen.address, listen.port);
    let shared = threads.get() > 1;
    let mut listeners = Vec::with_capacity(threads.get());
    for _ in 0..threads.get() {
        let listener = open(address, listen, shared).map_err(|error| explain(address, &error))?;
        // Port 0 lets the system choose; the others follow the first.
        address = listener.local_addr().map_err(|error| explain(address, &error))?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn open(address: SocketAddr, listen: &Listen, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    // Accepted sockets inherit it: small answers must not wait for an acknowledgement (Nagle).
    socket.set_tcp_nodelay(true)?;
    if let Some(bytes) = listen.send_buffer {
        // Likewise inherited. The kernel doubles what it is told, for its own bookkeeping.
        socket.set_send_buffer_size(bytes)?;
    }
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(listen.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

fn explain(address: SocketAddr, error: &io::Error) -> Problem {
    let what = format!("Cannot listen on {address}: {error}.");
    match error.kind() {
        io::ErrorKind::AddrInUse => Problem::new(
            what,
            "Another process holds the port; often an app that was started beside warmfront instead of behind it.",
            "Stop that process, or give another port with --port (and the same one to the platform).",
        ),
        io::ErrorKind::PermissionDenied => Problem::new(
            what,
            "Ports below 1024 need a capability that this process does not have.",
            "Use a port from 1024 upwards with --port.",
        ),
        io::ErrorKind::AddrNotAvailable => Problem::new(
            what,
            "No interface of this machine has that address.",
            "Use 0.0.0.0 (the platform dials the instance address) or an address of this machine.",
        ),
        _ => Problem::new(
            what,
            "The system refused the listener.",
            "Check limits (ulimit -n) and permissions.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(port: u16) -> Listen {
        Listen { address: [127, 0, 0, 1].into(), port, backlog: 16, send_buffer: None }
    }

    #[test]
    fn several_threads_share_one_port() {
        let listeners = bind(&listen(0), NonZeroUsize::new(3).unwrap()).unwrap();
        let ports: Vec<_> = listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
        assert!(ports.iter().all(|&port| port == ports[0] && port != 0), "{ports:?}");
    }

    #[test]
    fn accepted_sockets_do_not_wait_to_send_little() {
        let listener = open(([127, 0, 0, 1], 0).into(), &listen(0), false).unwrap();
        listener.set_nonblocking(false).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(listener.accept().unwrap().0.nodelay().unwrap());
    }

    #[test]
    fn a_busy_port_is_explained() {
        let held = bind(&listen(0), NonZeroUsize::MIN).unwrap();
        let port = held[0].local_addr().unwrap().port();
        let problem = bind(&listen(port), NonZeroUsize::MIN).unwrap_err();
        assert!(problem.to_string().contains(&format!("127.0.0.1:{port}")), "{problem}");
        assert!(problem.fix.contains("--port"), "{problem}");
    }
}
