//! Socket addresses as bytes: what a program binds, and what it is told of a socket that is ours.

/// `AF_UNIX` of Linux.
pub const UNIX: u16 = 1;
/// `AF_INET` of Linux.
pub const INET: u16 = 2;
/// `AF_INET6` of Linux.
pub const INET6: u16 = 10;

/// Bytes of a `sockaddr_in`.
const INET_BYTES: usize = 16;
/// Bytes of a `sockaddr_in6`; the kernel takes it without its last field, the scope, too.
const INET6_BYTES: usize = 28;
const INET6_BYTES_MIN: usize = 24;

/// `::ffff:127.0.0.1`.
const MAPPED_LOOPBACK: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1];
/// `::1`.
const LOOPBACK6: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// How a program bound its listener, which is what it is told again. The numbers are those of the table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// IPv4, `0.0.0.0` or an address of this machine.
    V4 = 0,
    /// IPv4, `127.0.0.1`.
    V4Loopback = 1,
    /// IPv6, `::` or an address of this machine.
    V6 = 2,
    /// IPv6, `::1`.
    V6Loopback = 3,
}

impl Kind {
    /// The kind that has this number.
    pub fn from_number(number: u8) -> Self {
        match number {
            1 => Self::V4Loopback,
            2 => Self::V6,
            3 => Self::V6Loopback,
            _ => Self::V4,
        }
    }

    /// The family in which the program thinks.
    pub fn family(self) -> u16 {
        match self {
            Self::V4 | Self::V4Loopback => INET,
            Self::V6 | Self::V6Loopback => INET6,
        }
    }
}

/// What a program wants to bind or connect to.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// Family and place.
    pub kind: Kind,
    /// The port, never 0.
    pub port: u16,
    /// Whether it names this machine from the inside: loopback, or the wildcard, which Linux connects to it.
    pub is_here: bool,
}

/// The family of a socket address; `None` if there is none.
pub fn family(address: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(address.get(..2)?.try_into().ok()?))
}

/// Reads an IPv4 or IPv6 address with a port; `None` for everything else.
pub fn wanted(address: &[u8]) -> Option<Wanted> {
    let port = u16::from_be_bytes(address.get(2..4)?.try_into().ok()?);
    if port == 0 {
        return None;
    }
    match family(address)? {
        INET if address.len() >= INET_BYTES => {
            let host: [u8; 4] = address.get(4..8)?.try_into().ok()?;
            let is_loopback = host.first() == Some(&127);
            let kind = if is_loopback { Kind::V4Loopback } else { Kind::V4 };
            Some(Wanted { kind, port, is_here: is_loopback || host == [0; 4] })
        }
        INET6 if address.len() >= INET6_BYTES_MIN => {
            let host: [u8; 16] = address.get(8..24)?.try_into().ok()?;
            let is_mapped = host.starts_with(&MAPPED_LOOPBACK[..13]);
            let kind = if host == LOOPBACK6 { Kind::V6Loopback } else { Kind::V6 };
            Some(Wanted { kind, port, is_here: is_mapped || host == LOOPBACK6 || host == [0; 16] })
        }
        _ => None,
    }
}

/// A socket address of IPv4 or IPv6 as the kernel would write it.
pub struct Told {
    bytes: [u8; INET6_BYTES],
    len: usize,
}

impl Told {
    /// The address of a listener that was bound as `kind`.
    pub fn listener(kind: Kind, port: u16) -> Self {
        let host = match kind {
            Kind::V4 | Kind::V6 => [0; 16],
            Kind::V4Loopback => MAPPED_LOOPBACK,
            Kind::V6Loopback => LOOPBACK6,
        };
        Self::new(kind, host, port)
    }

    /// An end of a connection to or from such a listener: always loopback.
    pub fn connection(kind: Kind, port: u16) -> Self {
        Self::new(kind, if kind == Kind::V6Loopback { LOOPBACK6 } else { MAPPED_LOOPBACK }, port)
    }

    /// An IPv4 host is the last four bytes of `host`.
    fn new(kind: Kind, host: [u8; 16], port: u16) -> Self {
        let mut bytes = [0; INET6_BYTES];
        let (family, port) = (kind.family().to_ne_bytes(), port.to_be_bytes());
        let host_at = if kind.family() == INET { 4 } else { 8 };
        let host = if kind.family() == INET { host.get(12..).unwrap_or_default() } else { &host };
        let parts: [(usize, &[u8]); 3] = [(0, &family), (2, &port), (host_at, host)];
        for (at, part) in parts {
            for (to, from) in bytes.iter_mut().skip(at).zip(part) {
                *to = *from;
            }
        }
        Self { bytes, len: if kind.family() == INET { INET_BYTES } else { INET6_BYTES } }
    }

    /// Its bytes, in full.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The port of a peer that has none: in the usual range of clients, from a number that is its own.
pub fn pseudo_port(number: u64) -> u16 {
    const FIRST: u16 = 32768;
    const COUNT: u64 = 28232;
    // The remainder is below COUNT, and FIRST + COUNT is 61000.
    FIRST + (number % COUNT) as u16
}

/// The path of a Unix socket's address of `len` bytes in all: empty for an unnamed one.
pub fn unix_path(address: &[u8]) -> &[u8] {
    let path = address.get(2..).unwrap_or_default();
    // The kernel counts a NUL at the end of a path.
    path.strip_suffix(&[0]).unwrap_or(path)
}
