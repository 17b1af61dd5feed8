//! What arrives on a stream, as the bytes of an HTTP/1.1 message.
//!
//! A head that somebody else wrote goes first, then each DATA frame as it is or as
//! one chunk, then the trailers. Window is given back as bytes are taken and not
//! before, so a reader that stops stops the sender. Frames are another matter: a
//! window of one-byte frames costs hundreds of times its bytes while they wait as
//! frames, so those that wait are gathered.

use std::io;
use std::io::Write as _;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use h2::RecvStream;
use http::HeaderMap;
use tokio::io::ReadBuf;

use super::heads::{Delimiter, write_trailers};

/// Where a message's data comes from.
pub(in crate::engine) trait Source {
    /// Why there is no more.
    type Error;

    /// The next data; `None` at the end.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>>;

    /// What stands behind the end of the data.
    fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<HeaderMap>, Self::Error>>;

    /// Gives window back for `count` bytes of the data that were taken.
    fn release(&mut self, count: usize);
}

impl Source for RecvStream {
    type Error = h2::Error;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, h2::Error>>> {
        RecvStream::poll_data(self, cx)
    }

    fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<HeaderMap>, h2::Error>> {
        RecvStream::poll_trailers(self, cx)
    }

    fn release(&mut self, count: usize) {
        // Fails only for more than was received.
        let _ = self.flow_control().release_capacity(count);
    }
}

/// A message's bytes on their way to a reader of HTTP/1.1.
pub(in crate::engine) struct Inflow<S: Source = RecvStream> {
    /// `None` before the message has begun.
    body: Option<S>,
    delimiter: Delimiter,
    /// Bytes of ours that go before `data`.
    lead: Vec<u8>,
    lead_at: usize,
    data: Bytes,
    /// Data behind it, of any number of frames.
    gathered: BytesMut,
    /// Whether no data follows what is here.
    data_ended: bool,
    /// Bytes of data still to come, where the fields say it.
    left: Option<u64>,
    /// The last data of a body with a length, until the stream has ended too: a reader that counts
    /// would be done, and drop a stream that is not.
    last: Bytes,
    /// Bytes of ours that go behind `data`.
    tail: &'static [u8],
    /// Whether nothing follows what is here.
    ended: bool,
}

impl<S: Source> Inflow<S> {
    /// `head`, and behind it `body`.
    pub(in crate::engine) fn new(head: Vec<u8>, delimiter: Delimiter, length: Option<u64>, body: S) -> Self {
        Self { body: Some(body), delimiter, lead: head, left: length, ..Self::awaited() }
    }

    /// A message whose head is still to come.
    pub(in crate::engine) fn awaited() -> Self {
        Self {
            body: None,
            delimiter: Delimiter::Fields,
            lead: Vec::new(),
            lead_at: 0,
            data: Bytes::new(),
            gathered: BytesMut::new(),
            data_ended: false,
            left: None,
            last: Bytes::new(),
            tail: b"",
            ended: false,
        }
    }

    /// Bytes that go before everything else. Only when nothing is here.
    pub(in crate::engine) fn say(&mut self, bytes: Vec<u8>) {
        (self.lead, self.lead_at) = (bytes, 0);
    }

    /// The awaited message.
    pub(in crate::engine) fn begin(
        &mut self,
        head: Vec<u8>,
        delimiter: Delimiter,
        length: Option<u64>,
        body: S,
    ) {
        *self = Self::new(head, delimiter, length, body);
    }

    /// Where the data comes from, if the message has begun.
    pub(in crate::engine) fn into_source(self) -> Option<S> {
        self.body
    }

    /// Whether everything was read.
    pub(in crate::engine) fn is_over(&self) -> bool {
        self.ended && !self.has_bytes()
    }

    /// Whether bytes are here.
    pub(in crate::engine) fn has_bytes(&self) -> bool {
        self.lead_at < self.lead.len() || !self.data.is_empty() || !self.tail.is_empty()
    }

    /// Ready when bytes or the end are here.
    pub(in crate::engine) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        while !self.has_bytes() && !self.ended {
            if !self.gathered.is_empty() {
                let data = self.gathered.split().freeze();
                self.on_data(data);
                continue;
            }
            let Some(body) = &mut self.body else { return Poll::Pending };
            let data = if self.data_ended { None } else { ready!(body.poll_data(cx)).transpose()? };
            match data {
                Some(data) => self.on_data(data),
                None => {
                    self.data_ended = true;
                    let trailers = ready!(body.poll_trailers(cx))?;
                    self.ended = true;
                    self.data = std::mem::take(&mut self.last);
                    if self.delimiter == Delimiter::Chunks {
                        let lines = trailers.as_ref().map(write_trailers).unwrap_or_default();
                        self.say([b"0\r\n", lines.as_slice(), b"\r\n"].concat());
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes frames that wait out of the stream, though nobody reads; their window stays closed. Looks
    /// at no error: whoever reads will.
    pub(in crate::engine) fn gather(&mut self, cx: &mut Context<'_>) {
        let Some(body) = &mut self.body else { return };
        while !self.data_ended {
            match body.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => self.gathered.extend_from_slice(&data),
                Poll::Ready(None) => self.data_ended = true,
                Poll::Ready(Some(Err(_))) | Poll::Pending => return,
            }
        }
    }

    fn on_data(&mut self, data: Bytes) {
        // An empty chunk would end the body; nothing was taken from any window for it.
        if data.is_empty() {
            return;
        }
        if let Some(left) = &mut self.left {
            // More than was announced is a fault of the stream, and never gets here.
            *left = left.saturating_sub(data.len() as u64);
            if *left == 0 {
                self.last = data;
                return;
            }
        }
        if self.delimiter == Delimiter::Chunks {
            self.lead.clear();
            self.lead_at = 0;
            // Writing to a Vec cannot fail.
            let _ = write!(self.lead, "{:x}\r\n", data.len());
            self.tail = b"\r\n";
        }
        self.data = data;
    }

    /// Reads what is here, as much as fits; nothing at the end.
    pub(in crate::engine) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), S::Error>> {
        let before = buf.filled().len();
        while buf.remaining() > 0 && !self.is_over() {
            match self.poll_ready(cx) {
                Poll::Ready(Ok(())) => self.take(buf),
                // What was read counts first; the rest will be said again.
                _ if buf.filled().len() > before => break,
                other => return other,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, buf: &mut ReadBuf<'_>) {
        let lead = &self.lead[self.lead_at..];
        let count = lead.len().min(buf.remaining());
        buf.put_slice(&lead[..count]);
        self.lead_at += count;
        let count = self.data.len().min(buf.remaining());
        if count > 0 {
            buf.put_slice(&self.data[..count]);
            self.data.advance(count);
            self.release(count);
        }
        if self.data.is_empty() && self.lead_at == self.lead.len() {
            let count = self.tail.len().min(buf.remaining());
            buf.put_slice(&self.tail[..count]);
            self.tail = &self.tail[count..];
        }
    }

    fn release(&mut self, count: usize) {
        if let Some(body) = &mut self.body {
            body.release(count);
        }
    }
}

/// A stream that failed, for those who read or write its bytes.
pub(in crate::engine) fn broken(error: &h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error.to_string())
}
