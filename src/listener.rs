//! The front listener: socket2's one door.
//!
//! With several data-plane threads each gets its own listening socket on the same
//! port (`SO_REUSEPORT`): the kernel spreads connections and no thread waits for
//! another to accept.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::config::{Congestion, Listen};
use crate::error::Problem;

/// What a listener of [`Congestion::Auto`] gives to accepted sockets, if the system lets it: nothing is paced.
const UNPACED: [&[u8]; 2] = [b"cubic", b"reno"];
/// Longest name of a congestion control with its NUL (`TCP_CA_NAME_MAX`).
const NAME_BYTES: usize = 16;

/// What accepted sockets still need: the congestion control for clients that are far away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settling {
    /// `None` if all clients keep what they inherit from the listener.
    abroad: Option<[u8; NAME_BYTES]>,
}

impl Settling {
    /// Prepares the socket of a client at `peer`.
    pub fn settle(&self, client: &impl AsFd, peer: SocketAddr) {
        if let Some(name) = &self.abroad
            && !is_near(peer.ip())
        {
            // It keeps the other one then, which serves it as well, a little less so on long ways.
            let _ = SockRef::from(client).set_tcp_congestion(until_nul(name));
        }
    }
}

/// Whether the kernel spaces out in time what is sent to a peer.
pub fn is_paced(socket: BorrowedFd<'_>) -> bool {
    SockRef::from(&socket).tcp_congestion().is_ok_and(|name| name.starts_with(b"bbr"))
}

/// Makes the next close of a TCP socket a reset.
///
/// # Errors
/// What setsockopt(2) says.
pub fn reset_on_close(socket: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))
}

/// Whether nothing but machines of one owner can be between us: loopback, private and link-local networks, and
/// the one that providers share with their tenants (RFC 6598).
fn is_near(peer: IpAddr) -> bool {
    match peer.to_canonical() {
        IpAddr::V4(v4) => {
            let shared = u32::from(v4) >> 22 == u32::from(Ipv4Addr::new(100, 64, 0, 0)) >> 22;
            v4.is_loopback() || v4.is_private() || v4.is_link_local() || shared
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

fn until_nul(name: &[u8]) -> &[u8] {
    name.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Binds and listens, once per thread, on the same address. Non-blocking. The second part is for
/// the sockets that are accepted.
///
/// # Errors
/// A [`Problem`] that names the address and who may hold it, or the congestion control that is not there.
pub fn bind(listen: &Listen, threads: NonZeroUsize) -> Result<(Vec<TcpListener>, Settling), Problem> {
    let mut address = SocketAddr::new(listen.address, listen.port);
    let shared = threads.get() > 1;
    let mut listeners = Vec::with_capacity(threads.get());
    let mut settling = Settling::default();
    for _ in 0..threads.get() {
        let listener = open(address, listen, shared).map_err(|error| explain(address, &error))?;
        settling = control(&listener, listen.congestion)?;
        // Port 0 lets the system choose; the others follow the first.
        address = listener.local_addr().map_err(|error| explain(address, &error))?;
        listeners.push(listener);
    }
    Ok((listeners, settling))
}

/// Sets what accepted sockets inherit.
fn control(listener: &TcpListener, congestion: Congestion) -> Result<Settling, Problem> {
    let socket = SockRef::from(listener);
    match congestion {
        Congestion::System => {}
        Congestion::Named(name) => {
            socket.set_tcp_congestion(name.as_bytes()).map_err(|error| missing(name, &error))?;
        }
        Congestion::Auto => {
            let Ok(system) = socket.tcp_congestion() else { return Ok(Settling::default()) };
            let system = until_nul(&system);
            let changed = !UNPACED.contains(&system)
                && UNPACED.iter().any(|name| socket.set_tcp_congestion(name).is_ok());
            if changed && system.len() < NAME_BYTES {
                let mut name = [0; NAME_BYTES];
                name[..system.len()].copy_from_slice(system);
                return Ok(Settling { abroad: Some(name) });
            }
        }
    }
    Ok(Settling::default())
}

fn missing(name: &str, error: &io::Error) -> Problem {
    let known = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_allowed_congestion_control");
    let known = known.map_or("what the system has".to_owned(), |names| names.trim().replace(' ', ", "));
    Problem::new(
        format!("`listen.congestion = \"{name}\"` is refused: {error}."),
        "The kernel does not have this congestion control, or not for processes without privileges.",
        format!("Use one of {known}, or `auto`."),
    )
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
        let (address, congestion) = ([127, 0, 0, 1].into(), Congestion::Auto);
        Listen { address, port, backlog: 16, send_buffer: None, congestion }
    }

    fn accepted(congestion: Congestion, peer: SocketAddr) -> Vec<u8> {
        let listen = Listen { congestion, ..listen(0) };
        let (listeners, settling) = bind(&listen, NonZeroUsize::MIN).unwrap();
        let _client = std::net::TcpStream::connect(listeners[0].local_addr().unwrap()).unwrap();
        listeners[0].set_nonblocking(false).unwrap();
        let socket = listeners[0].accept().unwrap().0;
        settling.settle(&socket, peer);
        until_nul(&SockRef::from(&socket).tcp_congestion().unwrap()).to_vec()
    }

    #[test]
    fn nobody_near_is_paced_and_who_is_far_gets_what_the_system_has() {
        let system =
            std::fs::read("/proc/sys/net/ipv4/tcp_congestion_control").unwrap().trim_ascii().to_vec();
        for near in ["127.0.0.1", "10.1.2.3", "192.168.0.9", "100.100.2.136", "fd00::1", "::ffff:172.16.0.1"]
        {
            let got = accepted(Congestion::Auto, SocketAddr::new(near.parse().unwrap(), 1));
            assert!(UNPACED.contains(&&got[..]), "{near}: {}", got.escape_ascii());
        }
        for far in ["8.8.8.8", "100.128.0.1", "2001:db8::1"] {
            assert_eq!(accepted(Congestion::Auto, SocketAddr::new(far.parse().unwrap(), 1)), system, "{far}");
        }
        assert_eq!(accepted(Congestion::System, SocketAddr::new([127, 0, 0, 1].into(), 1)), system);
        assert_eq!(accepted(Congestion::Named("reno"), SocketAddr::new([8, 8, 8, 8].into(), 1)), b"reno");
    }

    #[test]
    fn a_congestion_control_that_is_not_there_is_explained() {
        let listen = Listen { congestion: Congestion::Named("none-such"), ..listen(0) };
        let problem = bind(&listen, NonZeroUsize::MIN).unwrap_err();
        assert!(problem.what.contains("none-such") && problem.fix.contains("reno"), "{problem}");
    }

    #[test]
    fn several_threads_share_one_port() {
        let (listeners, _) = bind(&listen(0), NonZeroUsize::new(3).unwrap()).unwrap();
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
        let (held, _) = bind(&listen(0), NonZeroUsize::MIN).unwrap();
        let port = held[0].local_addr().unwrap().port();
        let problem = bind(&listen(port), NonZeroUsize::MIN).unwrap_err();
        assert!(problem.to_string().contains(&format!("127.0.0.1:{port}")), "{problem}");
        assert!(problem.fix.contains("--port"), "{problem}");
    }
}
