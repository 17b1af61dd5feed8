//! Another port than the program asked for: what answers when a worker binds.
//!
//! For programs that no preloaded library reaches (Go, whatever is static). The kernel asks us before each bind(2)
//! of the worker and its children; one of a told port goes to a free port of the loopback instead, and every
//! other one passes. The socket stays TCP and nothing else is touched. A thread per worker answers, for as long
//! as one of its processes lives.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::Child;
use std::thread;

use crate::sys::{self, notify};

/// A worker's bind that went elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remapped {
    /// The port that the program asked for.
    pub asked: u16,
    /// Where it is bound; a program that binds two families has two of them.
    pub bound: SocketAddr,
}

/// Why it cannot be done here.
#[derive(Debug, thiserror::Error)]
#[error("this system lets no process answer for the system calls of another (seccomp, pidfd_getfd): {0}")]
pub struct NoRemap(#[from] io::Error);

/// Whether it can be done here; tries it on ourselves.
///
/// # Errors
/// A kernel before 5.9, or a sandbox that forbids one of the calls.
pub fn is_possible() -> Result<(), NoRemap> {
    Ok(notify::probe()?)
}

/// Starts `program` like [`sys::spawn`]; a bind of one of `ports` is answered as the head of this file says.
/// `report` hears of each before the program goes on, on a thread of the worker's own.
///
/// # Errors
/// As [`sys::spawn`], and what seccomp(2) says; a thread that cannot be had (the child is ended then).
pub fn start(
    program: &sys::Program,
    ports: Vec<u16>,
    report: impl FnMut(Remapped) + Send + 'static,
) -> io::Result<Child> {
    let (mut child, asks) = sys::spawn_asking(program)?;
    let name = format!("remap-{}", child.id());
    // Its deepest call reads a file of a few lines.
    let thread = thread::Builder::new().name(name).stack_size(256 * 1024);
    if let Err(error) = thread.spawn(move || answer(&asks, &ports, report)) {
        child.kill()?;
        child.wait()?;
        return Err(error);
    }
    Ok(child)
}

fn answer(asks: &OwnedFd, ports: &[u16], mut report: impl FnMut(Remapped)) {
    let asks = asks.as_fd();
    // An error of poll means that the descriptor is none, which no answer can change.
    while let Ok(Some(bind)) = notify::next(asks) {
        match remap(asks, &bind, ports) {
            Ok(Some(remapped)) => {
                report(remapped);
                notify::finish(asks, &bind, 0);
            }
            Ok(None) => notify::pass(asks, &bind),
            // What the kernel refused to us on this socket, the program hears.
            Err(error) => notify::finish(asks, &bind, error.raw_os_error().unwrap_or(notify::EINVAL)),
        }
    }
}

/// Binds the socket elsewhere, if it is one of TCP and `ports` has its port.
fn remap(asks: BorrowedFd<'_>, bind: &notify::Bind, ports: &[u16]) -> io::Result<Option<Remapped>> {
    let asked = notify::address(bind).ok().and_then(|address| port(&address));
    let Some(asked) = asked.filter(|asked| ports.contains(asked)) else { return Ok(None) };
    let Some(process) = process_of(bind.thread) else { return Ok(None) };
    let socket = notify::take(process, bind.fd)?;
    // Whatever was read belongs to this call only if the thread has not gone meanwhile.
    if !notify::is_tcp(socket.as_fd()) || !notify::still_waits(asks, bind) {
        return Ok(None);
    }
    Ok(Some(Remapped { asked, bound: notify::bind_to_loopback(socket)? }))
}

/// The port of an address of IPv4 or IPv6.
fn port(address: &[u8]) -> Option<u16> {
    let family = u16::from_ne_bytes(address.get(..2)?.try_into().ok()?);
    // AF_INET and AF_INET6 of Linux, and the least bytes that the kernel takes for each.
    let least = match family {
        2 => 16,
        10 => 24,
        _ => return None,
    };
    let port = u16::from_be_bytes(address.get(2..4)?.try_into().ok()?);
    (address.len() >= least && port != 0).then_some(port)
}

/// The process of a thread.
fn process_of(thread: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_of_tcp_has_a_port() {
        let address = |family: u16, port: u16, len: usize| {
            let mut bytes = vec![0; len];
            bytes[..2].copy_from_slice(&family.to_ne_bytes());
            bytes[2..4].copy_from_slice(&port.to_be_bytes());
            bytes
        };
        assert_eq!(port(&address(2, 9000, 16)), Some(9000));
        assert_eq!(port(&address(10, 9000, 28)), Some(9000));
        assert_eq!(port(&address(10, 9000, 24)), Some(9000), "without its scope");
        assert_eq!(port(&address(2, 0, 16)), None, "any free port");
        assert_eq!(port(&address(2, 9000, 8)), None, "cut off");
        assert_eq!(port(&address(1, 9000, 28)), None, "a path");
        assert_eq!(port(&[2]), None);
    }

    #[test]
    fn a_thread_belongs_to_its_process() {
        let ourselves = i32::try_from(std::process::id()).unwrap();
        assert_eq!(process_of(ourselves), Some(ourselves));
        assert_eq!(process_of(0), None);
    }
}
