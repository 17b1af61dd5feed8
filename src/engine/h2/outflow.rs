//! A body that is written as HTTP/1.1, as the DATA frames and trailers of a stream.
//!
//! What the other side's window does not take is not taken from the writer either.
//! This is the one place where body bytes are copied: frames own their bytes.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};

use super::heads::read_trailers;
use crate::http1::body::Body;
use crate::http1::chunked::Part;

/// The body's bytes on their way into a stream.
pub(super) struct Outflow {
    stream: SendStream<Bytes>,
    body: Body,
    /// Lines of the trailer section so far.
    trailers: Vec<u8>,
    /// Whether END_STREAM was sent.
    ended: bool,
}

/// Why no more can be written.
pub(in crate::engine) enum Stopped {
    /// The stream failed, or its other side reset it.
    Stream(h2::Error),
    /// The other side takes no more.
    Closed,
    /// The bytes are no body that HTTP/2 could carry.
    Malformed,
}

/// What one turn has passed on.
pub(in crate::engine) struct Passed {
    /// Bytes taken from the writer.
    pub(in crate::engine) taken: usize,
    /// Whether that was all there was, and more will come.
    pub(in crate::engine) is_all: bool,
}

/// Has `pass` take what the window of `flow`'s stream allows, for which `wanted` bytes of it are asked; waits while
/// that is nothing.
pub(in crate::engine) fn poll_pass<F>(
    flow: &mut F,
    stream: impl Fn(&mut F) -> &mut SendStream<Bytes>,
    cx: &mut Context<'_>,
    wanted: usize,
    pass: impl Fn(&mut F, usize) -> Result<Passed, Stopped>,
) -> Poll<Result<usize, Stopped>> {
    loop {
        let mut room = stream(flow).capacity();
        if room < wanted {
            stream(flow).reserve_capacity(wanted);
            room = stream(flow).capacity();
        }
        let Passed { taken, is_all } = pass(flow, room)?;
        if is_all {
            // Window that was reserved for framing belongs to the connection's other streams.
            stream(flow).reserve_capacity(0);
        }
        if taken > 0 {
            return Poll::Ready(Ok(taken));
        }
        match ready!(stream(flow).poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(error)) => return Poll::Ready(Err(Stopped::Stream(error))),
            None => return Poll::Ready(Err(Stopped::Closed)),
        }
    }
}

impl Outflow {
    /// What follows on `stream`; a body that is complete already was ended by its head.
    pub(super) fn new(stream: SendStream<Bytes>, body: Body) -> Self {
        let ended = body.is_complete();
        Self { stream, body, trailers: Vec::new(), ended }
    }

    /// Whether all of it was sent.
    pub(super) fn is_over(&self) -> bool {
        self.ended
    }

    /// Takes bytes from the front of `input`: framing always, data as the window allows.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Poll<Result<usize, Stopped>> {
        if input.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.ended {
            return Poll::Ready(Err(Stopped::Malformed));
        }
        poll_pass(
            self,
            |flow| &mut flow.stream,
            cx,
            input.len(),
            |flow, room| {
                let taken = flow.pass(input, room)?;
                Ok(Passed { taken, is_all: taken == input.len() && !flow.ended })
            },
        )
    }

    fn pass(&mut self, input: &[u8], room: usize) -> Result<usize, Stopped> {
        let (mut ranges, trailers) = (Vec::new(), &mut self.trailers);
        let taken = self
            .body
            .take_at_most(input, room, |part, range| match part {
                Part::Data if range.is_empty() => {}
                Part::Data => ranges.push(range),
                Part::Trailer => trailers.extend_from_slice(&input[range]),
            })
            .map_err(|_| Stopped::Malformed)?;
        let data = match ranges.as_slice() {
            [] => Bytes::new(),
            [range] => Bytes::copy_from_slice(&input[range.clone()]),
            ranges => {
                let parts: Vec<&[u8]> = ranges.iter().map(|range| &input[range.clone()]).collect();
                parts.concat().into()
            }
        };
        if self.body.is_complete() {
            self.end(data)?;
        } else if !data.is_empty() {
            self.stream.send_data(data, false).map_err(Stopped::Stream)?;
        }
        Ok(taken)
    }

    fn end(&mut self, data: Bytes) -> Result<(), Stopped> {
        self.ended = true;
        let trailers = read_trailers(&self.trailers).ok_or(Stopped::Malformed)?;
        if trailers.is_empty() {
            return self.stream.send_data(data, true).map_err(Stopped::Stream);
        }
        if !data.is_empty() {
            self.stream.send_data(data, false).map_err(Stopped::Stream)?;
        }
        self.stream.send_trailers(trailers).map_err(Stopped::Stream)
    }

    /// Ready when the other side has reset the stream or the connection is lost.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reason, h2::Error>> {
        self.stream.poll_reset(cx)
    }

    /// Lets the other side see that the body was cut.
    pub(super) fn cut(&mut self, reason: Reason) {
        if !self.ended {
            self.ended = true;
            self.stream.send_reset(reason);
        }
    }
}
