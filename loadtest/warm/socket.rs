//! A WebSocket of the load: opened once, then one message at a time goes out and comes back.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::exchange::{Failure, io_failure};
use crate::tally::ErrorKind;
use crate::target::Stream;
use crate::warm::scenario::Request;
use crate::websocket::{Frame, Frames, Opcode, Side, accept_of, new_key};

/// A head that is longer never ends.
const HEAD_BYTES_MAX: usize = 64 << 10;
const PIECE_BYTES: usize = 16 << 10;

/// An open WebSocket that nothing is on its way on.
pub(crate) struct Socket {
    stream: Stream,
    frames: Frames,
    sent: u64,
}

impl Socket {
    /// Makes a WebSocket of a new connection.
    ///
    /// # Errors
    /// The server does not, within `limit`.
    pub(crate) async fn open(
        stream: Stream,
        request: &Request,
        host: &str,
        limit: Duration,
    ) -> Result<Self, Failure> {
        within(limit, "no handshake", Self::shake_hands(stream, request, host)).await
    }

    async fn shake_hands(mut stream: Stream, request: &Request, host: &str) -> Result<Self, Failure> {
        let key = new_key();
        let head = format!(
            "{}upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n\r\n",
            request.head(host)
        );
        stream.write_all(head.as_bytes()).await.map_err(|error| io_failure(&error, "the handshake"))?;
        let mut held = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let count = stream.read(&mut piece).await.map_err(|error| io_failure(&error, "the handshake"))?;
            if count == 0 {
                return Err((ErrorKind::Eof, "inside the handshake".into()));
            }
            held.extend_from_slice(&piece[..count]);
            if let Some(length) = judge(&held, &key)? {
                let mut frames = Frames::new(Side::Client);
                frames.feed(&held[length..]);
                return Ok(Self { stream, frames, sent: 0 });
            }
            if held.len() > HEAD_BYTES_MAX {
                return Err((ErrorKind::BadResponse, "the handshake's head does not end".into()));
            }
        }
    }

    /// Sends a message and waits until it is back, as it was.
    ///
    /// # Errors
    /// It is not, within `limit`; the socket is of no use any more.
    pub(crate) async fn echo(&mut self, content: &[u8], limit: Duration) -> Result<(), Failure> {
        within(limit, "no echo", self.send_and_receive(content)).await
    }

    async fn send_and_receive(&mut self, content: &[u8]) -> Result<(), Failure> {
        // Each message of a socket is another, so that a late echo is not taken for this one.
        self.sent += 1;
        let mut payload = content.to_vec();
        let number = format!("{:08x}", self.sent);
        let place = number.len().min(payload.len());
        payload[..place].copy_from_slice(&number.as_bytes()[number.len() - place..]);
        let message = Frame { opcode: Opcode::Text, is_last: true, payload };
        self.send(&message).await?;
        let mut back = Vec::new();
        let mut piece = [0; PIECE_BYTES];
        loop {
            while let Some(frame) = self.frames.next().map_err(|error| malformed(&error))? {
                match frame.opcode {
                    Opcode::Ping => self.send(&Frame { opcode: Opcode::Pong, ..frame }).await?,
                    Opcode::Pong => {}
                    Opcode::Close => return Err((ErrorKind::Eof, "the server ended the WebSocket".into())),
                    Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                        back.extend_from_slice(&frame.payload);
                        if back.len() > message.payload.len() || (frame.is_last && back != message.payload) {
                            return Err((ErrorKind::BadResponse, "another message came back".into()));
                        }
                        if frame.is_last {
                            return Ok(());
                        }
                    }
                }
            }
            match self.stream.read(&mut piece).await {
                Ok(0) => return Err((ErrorKind::Eof, "before the message came back".into())),
                Ok(count) => self.frames.feed(&piece[..count]),
                Err(error) => return Err(io_failure(&error, "waiting for the echo")),
            }
        }
    }

    async fn send(&mut self, frame: &Frame) -> Result<(), Failure> {
        let bytes = frame.to_bytes(Side::Client);
        self.stream.write_all(&bytes).await.map_err(|error| io_failure(&error, "sending"))
    }
}

fn malformed(error: &io::Error) -> Failure {
    (ErrorKind::BadResponse, error.to_string())
}

async fn within<T>(
    limit: Duration,
    what: &str,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err((ErrorKind::Timeout, format!("{what} in {limit:?}"))),
    }
}

/// The length of a good answer to the handshake (RFC 6455 §4.1); `None` while it is incomplete.
fn judge(bytes: &[u8], key: &str) -> Result<Option<usize>, Failure> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err((ErrorKind::BadResponse, format!("handshake: {error}"))),
    };
    match response.code.unwrap_or(0) {
        101 => {}
        status => {
            let kind = match status {
                400..500 => ErrorKind::Status4xx,
                500.. => ErrorKind::Status5xx,
                _ => ErrorKind::BadResponse,
            };
            return Err((kind, format!("status {status}, not 101")));
        }
    }
    let accept = accept_of(key);
    let proves = |header: &httparse::Header<'_>| {
        header.name.eq_ignore_ascii_case("sec-websocket-accept")
            && header.value.trim_ascii() == accept.as_bytes()
    };
    match response.headers.iter().any(proves) {
        true => Ok(Some(length)),
        false => Err((ErrorKind::BadResponse, "101 without the key's Sec-WebSocket-Accept".into())),
    }
}
