//! A client of the FC port that says exactly the bytes it is given.

use std::net::{Shutdown, TcpStream};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use super::wire::Wire;
use super::{GUARD, Response};

/// One connection to the sidecar.
pub(crate) struct Client(Wire<TcpStream>);

impl Client {
    pub(crate) fn connect(port: u16) -> Self {
        Self::try_connect(port).expect("the port accepts")
    }

    /// `None` if nobody listens there.
    pub(crate) fn try_connect(port: u16) -> Option<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(GUARD)).expect("a timeout");
        stream.set_write_timeout(Some(GUARD)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        Some(Self(Wire::new(stream)))
    }

    /// The same, for an app that takes its time while others run beside it.
    pub(crate) fn patient(self, patience: Duration) -> Self {
        self.stream.set_read_timeout(Some(patience)).expect("a timeout");
        self
    }

    /// Sends a request and reads its answer.
    pub(crate) fn ask(&mut self, request: impl AsRef<[u8]>) -> Response {
        self.send(request);
        self.response()
    }

    /// Says that no more bytes will come, and still reads.
    pub(crate) fn finish_speaking(&self) {
        self.stream.shutdown(Shutdown::Write).expect("open until now");
    }
}

impl Deref for Client {
    type Target = Wire<TcpStream>;

    fn deref(&self) -> &Wire<TcpStream> {
        &self.0
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Wire<TcpStream> {
        &mut self.0
    }
}
