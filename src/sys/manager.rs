//! The service manager that started us, if it wants to know how we are: systemd's protocol, sd_notify(3).
//!
//! One datagram for each news, to the socket that a variable names. Other managers speak it, too.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Names the socket. It is ours: whoever inherited it could speak for us.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// Whoever wants to know.
#[derive(Debug)]
pub struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Manager {
    /// The one that the environment names; `None` if it names none.
    ///
    /// # Errors
    /// It names what is no socket, or the system has no descriptor for us.
    pub fn from_env() -> Option<io::Result<Self>> {
        let name: OsString = std::env::var_os(VARIABLE).filter(|name| !name.is_empty())?;
        Some(Self::at(&name))
    }

    fn at(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it begins with neither / nor @")),
        };
        let socket = UnixDatagram::unbound()?;
        // News are not worth a wait of the control plane.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address })
    }

    /// Tells it `news`: lines of NAME=VALUE.
    ///
    /// # Errors
    /// It has gone, or does not read.
    pub fn tell(&self, news: &str) -> io::Result<()> {
        self.socket.send_to_addr(news.as_bytes(), &self.address).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_arrive_at_a_path_and_at_an_abstract_name_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let abstract_name = format!("@warmfront-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&abstract_name.as_bytes()[1..]).unwrap();
        for (socket, name) in [
            (UnixDatagram::bind(&path).unwrap(), path.clone().into_os_string()),
            (UnixDatagram::bind_addr(&address).unwrap(), abstract_name.into()),
        ] {
            Manager::at(&name).unwrap().tell("READY=1\nSTATUS=well").unwrap();
            let mut news = [0; 64];
            let length = socket.recv(&mut news).unwrap();
            assert_eq!(&news[..length], b"READY=1\nSTATUS=well");
        }
    }

    #[test]
    fn what_is_no_socket_is_an_error() {
        assert!(Manager::at(OsStr::new("vsock:2:9999")).is_err());
        assert!(Manager::at(OsStr::new("/no/such/socket")).unwrap().tell("READY=1").is_err());
    }
}
