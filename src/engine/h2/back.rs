//! A stream to a worker that speaks HTTP/2, as a connection that speaks HTTP/1.1.
//!
//! What is written is the request as the relay has edited it, what is read is the
//! answer. The stream is used once. A worker that refuses a stream says that it did
//! nothing with it (RFC 9113 §8.7): the only one that can.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::Reason;
use h2::client::{ResponseFuture, SendRequest};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::heads::{Delimiter, content_length, read_request, write_interim, write_response};
use super::inflow::{Inflow, broken};
use super::links::{Lent, Shared};
use super::outflow::{Outflow, Stopped};
use super::{joined, relaxed};
use crate::clock;
use crate::config::Limits;
use crate::engine::Stream;
use crate::http1::Parsed;
use crate::http1::body::Body;
use crate::http1::framing::Framing;
use crate::http1::request::Request;

/// One stream.
pub(in crate::engine) struct VirtualWorker {
    request: Upload,
    answer: RefCell<Download>,
    limits: Limits,
    shared: Arc<Shared>,
    refused: Cell<bool>,
}

enum Upload {
    /// The head is not complete: its bytes so far.
    Head(SendRequest<Bytes>, Vec<u8>),
    Body(Outflow),
}

struct Download {
    /// The final head is still to come.
    head: Option<ResponseFuture>,
    to_head: bool,
    inflow: Inflow,
}

impl fmt::Debug for VirtualWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualWorker").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl VirtualWorker {
    /// One on `lent`.
    pub(in crate::engine) fn new(lent: Lent, limits: &Limits) -> Self {
        let Lent { sender, shared } = lent;
        Self {
            request: Upload::Head(sender, Vec::new()),
            answer: RefCell::new(Download { head: None, to_head: false, inflow: Inflow::awaited() }),
            limits: relaxed(limits),
            shared,
            refused: Cell::new(false),
        }
    }

    /// Takes bytes of the head; the stream opens when it is complete.
    fn write_head(&mut self, input: &[u8]) -> io::Result<usize> {
        let Upload::Head(sender, head) = &mut self.request else { return Ok(0) };
        let before = head.len();
        let bytes = joined(head, input);
        let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text);
        let judged = match Request::parse(&bytes, &self.limits) {
            Ok(Parsed::Complete(judged)) => judged,
            Ok(Parsed::Partial) => {
                *head = bytes.into_owned();
                return Ok(input.len());
            }
            Err(refused) => return Err(invalid(&refused.to_string())),
        };
        let taken = judged.head_len - before;
        let request = read_request(&bytes, &judged)
            .ok_or_else(|| invalid("this request cannot be told to a worker that speaks HTTP/2"))?;
        let opened = sender.send_request(request, judged.framing == Framing::None);
        let (response, stream) = opened.map_err(|error| {
            let error = failed(&self.shared, &error);
            // It was not sent, for whatever reason.
            self.refused.set(error.kind() != io::ErrorKind::InvalidData);
            error
        })?;
        let answer = self.answer.get_mut();
        (answer.head, answer.to_head) = (Some(response), judged.is_head);
        self.request = Upload::Body(Outflow::new(stream, Body::new(judged.framing)));
        Ok(taken)
    }

    fn failed(&self, error: &h2::Error) -> io::Error {
        let is_refusal = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        // A stream fails by GOAWAY only if that did not cover it.
        self.refused.set(error.is_remote() && (is_refusal || error.is_go_away()));
        failed(&self.shared, error)
    }
}

fn failed(shared: &Shared, error: &h2::Error) -> io::Error {
    match shared.speaks_http1() {
        true => {
            let text = "the worker speaks HTTP/1.1, but workers.protocol is h2";
            io::Error::new(io::ErrorKind::InvalidData, text)
        }
        false => broken(error),
    }
}

impl Download {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        if self.inflow.has_bytes() {
            return Poll::Ready(Ok(()));
        }
        let Some(head) = &mut self.head else { return self.inflow.poll_ready(cx) };
        if let Some(interim) = ready!(head.poll_informational(cx)).transpose()? {
            self.inflow.say(write_interim(&interim.into_parts().0));
            return Poll::Ready(Ok(()));
        }
        let (parts, body) = ready!(Pin::new(head).poll(cx))?.into_parts();
        let (head, delimiter) = write_response(&parts, self.to_head, body.is_end_stream());
        let length = (delimiter == Delimiter::Fields).then(|| content_length(&parts.headers)).flatten();
        self.inflow.begin(head, delimiter, length, body);
        self.head = None;
        Poll::Ready(Ok(()))
    }
}

impl Drop for VirtualWorker {
    /// A stream that goes before its end is reset.
    fn drop(&mut self) {
        let Upload::Body(flow) = &self.request else { return };
        if !(flow.is_over() && self.answer.get_mut().inflow.is_over()) {
            self.shared.resets.note(clock::now());
        }
    }
}

impl AsyncRead for VirtualWorker {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let worker = self.get_mut();
        let answer = worker.answer.get_mut();
        let read = match ready!(answer.poll_ready(cx)) {
            Ok(()) => ready!(answer.inflow.poll_read(cx, buf)),
            Err(error) => Err(error),
        };
        Poll::Ready(read.map_err(|error| worker.failed(&error)))
    }
}

impl AsyncWrite for VirtualWorker {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let worker = self.get_mut();
        let Upload::Body(flow) = &mut worker.request else { return Poll::Ready(worker.write_head(buf)) };
        Poll::Ready(match ready!(flow.poll_write(cx, buf)) {
            Ok(count) => Ok(count),
            Err(Stopped::Stream(error)) => Err(worker.failed(&error)),
            // Why will be read.
            Err(Stopped::Closed | Stopped::Malformed) => Err(io::ErrorKind::BrokenPipe.into()),
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Nothing: the end of the request is in the request.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Stream for VirtualWorker {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.answer.borrow_mut().poll_ready(cx).map_err(|error| self.failed(&error))
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(self.poll_readable(cx))?;
        Poll::Ready(Ok(usize::from(!self.answer.get_mut().inflow.is_over())))
    }

    fn has_ended(&self) -> bool {
        self.answer.borrow().inflow.is_over()
    }

    fn has_left(&self) -> bool {
        self.has_ended()
    }

    fn pending_error(&self) -> Option<io::Error> {
        None
    }

    /// A write takes what the worker's window has room for.
    fn untaken(&self) -> u64 {
        0
    }

    /// A stream that is dropped before its end is reset in any case.
    fn reset_on_close(&self) {}

    /// It has said so itself or nobody knows: see [`Stream::was_refused`].
    fn knows_delivery(&self) -> bool {
        false
    }

    fn was_refused(&self) -> bool {
        self.refused.get()
    }

    /// Used once.
    fn is_quiet(&mut self) -> bool {
        false
    }
}
