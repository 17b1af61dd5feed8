//! One question over a connection, and its answer, as bytes: what a client library would smooth over is what matters.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::clock;
use crate::config::Limits;
use crate::http1::Parsed;
use crate::http1::body::Body;
use crate::http1::response::Response;
use crate::upstream::pool::Address;

/// How long an answer may take before it counts as none: FC's default of a whole invocation.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of a body that are read: a page is asked for, not a download.
const BODY_MAX: u64 = 64 << 20;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection to the worker.
pub(super) struct Line {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Three-digit status.
    pub status: u16,
    /// Whether it is an HTTP/1.0 answer.
    pub is_http10: bool,
    /// Whether another request may follow, as the answer says.
    pub keeps: bool,
    /// Whether a 100 came first.
    pub continued: bool,
    /// Bytes of the body as they came.
    pub body: u64,
    /// From the last byte sent to the last byte of the answer.
    pub after: Duration,
}

impl Line {
    /// Connects.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) async fn to(address: &Address) -> io::Result<Self> {
        let stream: Box<dyn Stream> = match address {
            Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Address::Tcp(address) => Box::new(TcpStream::connect(address).await?),
        };
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends these bytes.
    ///
    /// # Errors
    /// The other end is gone.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads an answer to its end. `to_head`: the question was a HEAD.
    ///
    /// # Errors
    /// The connection ended before the answer did, the answer is no HTTP, or none came in time.
    pub(super) async fn answer(&mut self, to_head: bool) -> io::Result<Answer> {
        let began = clock::now();
        clock::timeout(PATIENCE, self.read_answer(to_head, began)).await.ok_or(io::ErrorKind::TimedOut)?
    }

    /// Whether a 100 comes next; anything else stays where it is.
    ///
    /// # Errors
    /// As for [`Line::answer`].
    pub(super) async fn continued(&mut self) -> io::Result<bool> {
        let head = self.head(false).await?;
        if head.status == 100 {
            self.buffer.drain(..head.head_len);
        }
        Ok(head.status == 100)
    }

    async fn read_answer(&mut self, to_head: bool, began: Instant) -> io::Result<Answer> {
        let mut continued = false;
        loop {
            let head = self.head(to_head).await?;
            self.buffer.drain(..head.head_len);
            if head.is_interim() {
                continued |= head.status == 100;
                continue;
            }
            let body = self.body(Body::new(head.framing)).await?;
            return Ok(Answer {
                status: head.status,
                is_http10: head.minor_version == 0,
                keeps: head.persistent,
                continued,
                body,
                after: clock::now() - began,
            });
        }
    }

    async fn head(&mut self, to_head: bool) -> io::Result<Response> {
        loop {
            let parsed =
                Response::parse(&self.buffer, &Limits::default(), to_head).map_err(io::Error::other)?;
            if let Parsed::Complete(head) = parsed {
                return Ok(head);
            }
            if self.read().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn body(&mut self, mut body: Body) -> io::Result<u64> {
        let mut bytes = 0;
        loop {
            let taken = body.take(&self.buffer).map_err(io::Error::other)?;
            self.buffer.drain(..taken);
            bytes += taken as u64;
            if body.is_complete() {
                return Ok(bytes);
            }
            if bytes > BODY_MAX {
                return Err(io::Error::other("the answer is very long"));
            }
            if self.read().await? == 0 {
                let is_end = body == Body::UntilClose;
                return if is_end { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    async fn read(&mut self) -> io::Result<usize> {
        self.stream.read_buf(&mut self.buffer).await
    }

    /// Waits until the other end closes; for ever if it does not.
    pub(super) async fn closed(&mut self) {
        // What is read here belongs to no question.
        while matches!(self.read().await, Ok(count) if count > 0) {
            self.buffer.clear();
        }
    }
}
