//! How many connections wait to be accepted: the kernel's own count, asked by netlink (sock_diag(7)).
//!
//! A program shows that it accepts by nothing else before it answers. For a listening
//! socket the length of the receive queue is the number of connections that nobody has
//! taken. `/proc/net/tcp` says the same, but takes milliseconds where many connections
//! have been closed lately, in which the program that is watched waits for us.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, sendto, socket};

/// `SOCK_DIAG_BY_FAMILY`, `NLM_F_REQUEST | NLM_F_DUMP`, `NLMSG_ERROR`, `NLMSG_DONE`.
const BY_FAMILY: u16 = 20;
const DUMP: u16 = 0x301;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// `IPPROTO_TCP`, and the bit of the state `TCP_LISTEN`.
const TCP: u8 = 6;
const LISTENING: u32 = 1 << 10;
const FAMILIES: [AddressFamily; 2] = [AddressFamily::INET, AddressFamily::INET6];
/// Of a message's head, and where the port and the queue stand behind it (`struct inet_diag_msg`).
const HEAD_BYTES: usize = 16;
const PORT_AT: usize = 4;
const QUEUE_AT: usize = 56;

/// An open door to the kernel's tables of sockets.
#[derive(Debug)]
pub(crate) struct Queues(OwnedFd);

impl Queues {
    /// Opens it.
    ///
    /// # Errors
    /// This system has none.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self(socket(AddressFamily::NETLINK, SocketType::DGRAM, Some(SOCK_DIAG))?))
    }

    /// Connections that wait at `port`; `None` if nobody listens there.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub(crate) fn waiting(&self, port: u16) -> io::Result<Option<u32>> {
        let mut all = None;
        for family in FAMILIES {
            sendto(&self.0, &request(family), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
            let mut buffer = [0; 32 << 10];
            loop {
                let (count, _) = recv(&self.0, &mut buffer[..], RecvFlags::empty())?;
                let page = read(&buffer[..count], port).ok_or(io::ErrorKind::InvalidData)?;
                all = all.into_iter().chain(page.waiting).reduce(|sum: u32, more| sum.saturating_add(more));
                if page.is_last {
                    break;
                }
            }
        }
        Ok(all)
    }
}

/// All listening sockets of a family.
fn request(family: AddressFamily) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(72);
    bytes.extend(72_u32.to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(DUMP.to_ne_bytes());
    // Number and sender; then family, protocol, no extensions.
    bytes.extend([0; 8]);
    bytes.extend([family.as_raw().to_le_bytes()[0], TCP, 0, 0]);
    bytes.extend(LISTENING.to_ne_bytes());
    // Which socket: any.
    bytes.resize(72, 0);
    bytes
}

#[derive(Debug, PartialEq, Eq)]
struct Page {
    waiting: Option<u32>,
    is_last: bool,
}

/// `None` if it is not understood.
fn read(mut bytes: &[u8], port: u16) -> Option<Page> {
    let mut page = Page { waiting: None, is_last: false };
    while !bytes.is_empty() {
        let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
        let body = bytes.get(HEAD_BYTES..length)?;
        match kind {
            DONE => page.is_last = true,
            ERROR => return None,
            _ => {
                let at = u16::from_be_bytes(body.get(PORT_AT..PORT_AT + 2)?.try_into().ok()?);
                let queue = u32::from_ne_bytes(body.get(QUEUE_AT..QUEUE_AT + 4)?.try_into().ok()?);
                if at == port {
                    page.waiting = Some(page.waiting.unwrap_or(0).saturating_add(queue));
                }
            }
        }
        // Messages begin at multiples of four.
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(page)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_kernel_counts_what_nobody_has_accepted() {
        let queues = Queues::open().unwrap();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let address = listener.local_addr().unwrap();
            let waiting = || queues.waiting(address.port()).unwrap();
            assert_eq!(waiting(), Some(0));
            let _clients = [TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap()];
            assert_eq!(waiting(), Some(2));
            let _accepted = listener.accept().unwrap();
            assert_eq!(waiting(), Some(1));
            drop(listener);
            assert_eq!(waiting(), None);
        }
    }

    #[test]
    fn what_is_no_message_is_not_understood() {
        assert_eq!(read(b"abc", 1), None);
        let mut cut = request(AddressFamily::INET);
        cut.truncate(40);
        assert_eq!(read(&cut, 1), None);
    }
}
