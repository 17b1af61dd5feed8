//! Connections to the instance, kept as the platform's client keeps them (FC contract §2.1, §3.5).
//!
//! HTTP/1.1, one request at a time on each, the one that rested last is used first, and none is ever closed for
//! resting. What the peer has closed is seen when it is seen: a request may meet a connection that is just going.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;

use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Any error of a body.
pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// What is sent to an instance.
pub(super) type Upload = UnsyncBoxBody<Bytes, BoxError>;

/// Fields of an answer. Far above what 8 KB can hold: the gateway judges by bytes.
const FIELDS_MAX: usize = 4096;

/// The connections to one instance.
#[derive(Debug)]
pub(super) struct Link {
    address: SocketAddr,
    idle: RefCell<Vec<Kept>>,
}

/// One connection. Closed when dropped.
#[derive(Debug)]
pub(super) struct Kept {
    sender: SendRequest<Upload>,
    /// Whether it has carried a request before.
    pub(super) was_used: bool,
    _driver: Driver,
}

/// The task that moves a connection's bytes.
#[derive(Debug)]
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why there is no answer on a connection.
#[derive(Debug)]
pub(super) struct Broken {
    /// Whether no byte of the request was written.
    pub(super) is_unwritten: bool,
    /// What hyper says.
    pub(super) error: hyper::Error,
}

impl Link {
    /// To an instance at `address`; dials nobody yet.
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, idle: RefCell::default() }
    }

    /// Where it is.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The connection that rested last, if it is not known to be closed, else a new one.
    ///
    /// # Errors
    /// Nobody accepts a new one.
    pub(super) async fn connection(&self) -> io::Result<Kept> {
        loop {
            let newest = self.idle.borrow_mut().pop();
            match newest {
                None => return self.dial().await,
                Some(mut kept) => {
                    if kept.sender.ready().await.is_ok() {
                        return Ok(kept);
                    }
                }
            }
        }
    }

    /// The connection that rested last and looks usable while the instance is frozen, and so cannot close it.
    ///
    /// Whoever chooses before the thaw meets what happens at the thaw, as requests on the platform do; chosen
    /// behind it, chance would decide whether an end has been seen yet. `None` if there is none at hand.
    pub(super) async fn reserve(&self) -> Option<Kept> {
        // Their drivers come to rest first.
        tokio::task::yield_now().await;
        let mut idle = self.idle.borrow_mut();
        idle.retain(|kept| !kept.sender.is_closed());
        idle.pop_if(|kept| kept.sender.is_ready())
    }

    /// A new one.
    ///
    /// # Errors
    /// Nobody accepts it.
    pub(super) async fn dial(&self) -> io::Result<Kept> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let mut client = http1::Builder::new();
        client.title_case_headers(true).max_headers(FIELDS_MAX);
        let (sender, connection) = client.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let driver = tokio::task::spawn_local(async move {
            // Whoever waits for the answer learns why.
            let _ = connection.with_upgrades().await;
        });
        Ok(Kept { sender, was_used: false, _driver: Driver(driver) })
    }

    /// Takes a connection back whose answer has come to its end.
    pub(super) fn keep(&self, mut kept: Kept) {
        kept.was_used = true;
        self.idle.borrow_mut().push(kept);
    }

    /// Closes everything that rests.
    pub(super) fn close(&self) {
        self.idle.borrow_mut().clear();
    }
}

impl Kept {
    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// The connection failed first.
    ///
    /// # Cancel safety
    /// Whoever drops this drops the connection as well: the instance sees its end.
    pub(super) async fn send(&mut self, request: Request<Upload>) -> Result<Response<Incoming>, Broken> {
        self.sender.try_send_request(request).await.map_err(|mut failed| Broken {
            is_unwritten: failed.take_message().is_some(),
            error: failed.into_error(),
        })
    }
}
