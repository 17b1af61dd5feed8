//! A request on its way to php-fpm: HTTP/1.1 in, records out.
//!
//! Bodies leave from the buffer they arrived in, between a record's head and the next. What was taken counts as
//! written, so the last byte of anything is taken only when the records around it have left: then nobody has to come
//! back to flush them. The first is taken only when the socket has taken one, which is what makes its refusal a proof.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use super::site::{Local, Site};
use crate::engine::h2::joined;
use crate::fastcgi::fault::PhpFault;
use crate::fastcgi::params::{self, Script};
use crate::fastcgi::path::Route;
use crate::fastcgi::record::{CONTENT_MAX, HEAD_BYTES, Kind, Params, head, push_begin};
use crate::http1::Parsed;
use crate::http1::body::Body;
use crate::http1::framing::Framing;
use crate::http1::request::Request;
use crate::id::REQUEST_ID_HEADER;

/// What the answer must know of its request.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) id: Vec<u8>,
    pub(super) to_head: bool,
}

/// What became of bytes of a head.
pub(super) enum Taken {
    /// More are needed.
    Partly,
    /// A script is asked.
    Asked(Asked),
    /// None is: this is the answer.
    Answered(Asked, Local),
}

/// Why no more is taken.
pub(super) enum Stopped {
    Socket(io::Error),
    Fault(PhpFault),
}

/// The sending half of a connection.
#[derive(Debug)]
pub(super) struct Upload {
    state: Sending,
    /// Records and parts of them that go before the next byte of the body.
    out: Vec<u8>,
    at: usize,
    /// Bytes of the input that are dealt with and not yet counted as taken.
    owed: usize,
    /// Bytes of the open record that are to come from the input.
    record: usize,
    /// Whether the socket has taken anything of the request.
    has_sent: bool,
    owes_continue: bool,
}

#[derive(Debug)]
enum Sending {
    /// The head is not complete: its bytes so far.
    Head(Vec<u8>),
    /// The body is held until its length is known.
    Hold(Box<Held>),
    /// The body, whose length the script was told.
    Body(Body),
    /// Nobody needs the body.
    Drop(Body),
}

/// A request in chunks: its head, the script, and the body so far.
#[derive(Debug)]
struct Held {
    head: Vec<u8>,
    judged: Request,
    name: Vec<u8>,
    info: Vec<u8>,
    body: Body,
    data: Vec<u8>,
}

impl Default for Upload {
    fn default() -> Self {
        Self {
            state: Sending::Head(Vec::new()),
            out: Vec::new(),
            at: 0,
            owed: 0,
            record: 0,
            has_sent: false,
            owes_continue: false,
        }
    }
}

impl Upload {
    pub(super) fn awaits_head(&self) -> bool {
        matches!(self.state, Sending::Head(_))
    }

    pub(super) fn has_sent(&self) -> bool {
        self.has_sent
    }

    /// Whether the client waits to be told to go on. Once.
    pub(super) fn owes_continue(&mut self) -> bool {
        std::mem::take(&mut self.owes_continue)
    }

    /// Takes bytes of the head. When it is complete, what of `input` belongs to it is owed.
    pub(super) fn take_head(&mut self, site: &Site, input: &[u8]) -> Result<Taken, PhpFault> {
        let Sending::Head(before) = &mut self.state else { return Ok(Taken::Partly) };
        let known = before.len();
        let bytes = joined(before, input);
        let judged = match Request::parse(&bytes, &site.limits) {
            Ok(Parsed::Complete(judged)) => judged,
            Ok(Parsed::Partial) => {
                *before = bytes.into_owned();
                return Ok(Taken::Partly);
            }
            // It was judged before, by the same judge.
            Err(_) => return Err(PhpFault::Record("the request could not be told")),
        };
        let head = &bytes[..judged.head_len];
        self.owed = judged.head_len - known;
        let id = judged.request_id.map(|id| id.of_head(head).to_vec()).unwrap_or_default();
        debug_assert!(!id.is_empty(), "invariant: the relay gives each request its {REQUEST_ID_HEADER}");
        let asked = Asked { id, to_head: judged.is_head };
        let body = Body::new(judged.framing);
        let (name, info) = match site.route(judged.target.of_head(head)) {
            Route::Script { name, info } => (name, info),
            route => {
                let local = site.answer(&route, head, &judged);
                self.state = Sending::Drop(body);
                return Ok(Taken::Answered(asked, local));
            }
        };
        self.owes_continue = judged.expects_continue && bytes.len() == judged.head_len;
        self.state = match judged.framing {
            Framing::Chunked => {
                let head = head.to_vec();
                Sending::Hold(Box::new(Held { head, judged, name, info, body, data: Vec::new() }))
            }
            Framing::Length(length) => {
                self.begin(site, head, &judged, (&name, &info), Some(length))?;
                Sending::Body(body)
            }
            Framing::None | Framing::UntilClose => {
                self.begin(site, head, &judged, (&name, &info), None)?;
                Sending::Body(Body::Length(0))
            }
        };
        if matches!(&self.state, Sending::Body(body) if body.is_complete()) {
            self.out.extend_from_slice(&end());
        }
        Ok(Taken::Asked(asked))
    }

    /// Writes what stands before the body.
    fn begin(
        &mut self,
        site: &Site,
        head: &[u8],
        judged: &Request,
        (name, info): (&[u8], &[u8]),
        length: Option<u64>,
    ) -> Result<(), PhpFault> {
        // Most parameters are the head in other words.
        self.out.reserve(head.len() + 1024);
        push_begin(&mut self.out, site.php.keeps_connections);
        let mut told = Params::new(&mut self.out);
        params::write(&mut told, head, judged, Script { root: site.root(), name, info }, length)?;
        told.end();
        Ok(())
    }

    /// Takes bytes of `input`, from behind what is owed of it.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        site: &Site,
        cx: &mut Context<'_>,
        input: &[u8],
    ) -> Poll<Result<usize, Stopped>> {
        loop {
            let rest = input.get(self.owed..).unwrap_or_default();
            match &mut self.state {
                Sending::Head(_) => return Poll::Ready(Ok(std::mem::take(&mut self.owed))),
                Sending::Drop(body) => {
                    // Malformed chunks were refused before they came here.
                    let taken = body.take(rest).unwrap_or(rest.len());
                    return Poll::Ready(Ok(std::mem::take(&mut self.owed) + taken));
                }
                Sending::Hold(held) => {
                    let taken = held.take(rest, site.php.chunked_bytes).map_err(Stopped::Fault)?;
                    self.owed += taken;
                    if !held.body.is_complete() {
                        return Poll::Ready(Ok(std::mem::take(&mut self.owed)));
                    }
                    self.let_go(site).map_err(Stopped::Fault)?;
                    continue;
                }
                Sending::Body(_) => {}
            }
            match self.poll_records(stream, cx, rest) {
                Poll::Ready(Ok(())) if self.at == self.out.len() => {
                    return Poll::Ready(Ok(std::mem::take(&mut self.owed)));
                }
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Stopped::Socket(error))),
                Poll::Pending if self.has_sent && self.owed > 1 => {
                    let told = self.owed - 1;
                    self.owed = 1;
                    return Poll::Ready(Ok(told));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Makes one write of what waits and of the body at the front of `rest`.
    fn poll_records<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        rest: &[u8],
    ) -> Poll<io::Result<()>> {
        let Sending::Body(body) = &mut self.state else { return Poll::Ready(Ok(())) };
        let left = usize::try_from(body.known_ahead()).unwrap_or(usize::MAX);
        if self.record == 0 && left > 0 && !rest.is_empty() {
            self.record = rest.len().min(left).min(CONTENT_MAX);
            self.out.extend_from_slice(&head(Kind::Stdin, self.record));
        }
        let data = &rest[..rest.len().min(self.record)];
        let end = end();
        let tail = if !data.is_empty() && data.len() == left { &end[..] } else { &[] };
        let before = &self.out[self.at..];
        if before.is_empty() && data.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let all = [IoSlice::new(before), IoSlice::new(data), IoSlice::new(tail)];
        let mut written = match Pin::new(stream).poll_write_vectored(cx, &all) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(written)) => written,
            // Something of it was taken before: that is no proof of anything.
            Poll::Ready(Err(error)) if self.has_sent && error.kind() == io::ErrorKind::BrokenPipe => {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
        };
        self.has_sent = true;
        let count = written.min(before.len());
        written -= count;
        self.at += count;
        if self.at == self.out.len() {
            self.out.clear();
            self.at = 0;
        }
        let count = written.min(data.len());
        written -= count;
        body.skip(count as u64);
        self.record -= count;
        self.owed += count;
        if !tail.is_empty() && count == data.len() {
            self.out.extend_from_slice(&tail[written..]);
        }
        Poll::Ready(Ok(()))
    }

    /// The held body is complete: everything is written as if it had come with its length.
    fn let_go(&mut self, site: &Site) -> Result<(), PhpFault> {
        let Sending::Hold(held) = std::mem::replace(&mut self.state, Sending::Body(Body::Length(0))) else {
            return Ok(());
        };
        let Held { head: lines, judged, name, info, data, .. } = *held;
        self.begin(site, &lines, &judged, (&name, &info), Some(data.len() as u64))?;
        for piece in data.chunks(CONTENT_MAX) {
            self.out.extend_from_slice(&head(Kind::Stdin, piece.len()));
            self.out.extend_from_slice(piece);
        }
        self.out.extend_from_slice(&end());
        Ok(())
    }
}

impl Held {
    fn take(&mut self, input: &[u8], limit: u64) -> Result<usize, PhpFault> {
        let data = &mut self.data;
        // Malformed chunks were refused before they came here.
        let taken = self.body.take_data(input, |range| data.extend_from_slice(&input[range]));
        if self.data.len() as u64 > limit {
            return Err(PhpFault::NoLength(limit));
        }
        Ok(taken.unwrap_or(input.len()))
    }
}

/// What ends a body.
fn end() -> [u8; HEAD_BYTES] {
    head(Kind::Stdin, 0)
}
