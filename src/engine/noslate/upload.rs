//! A request's body, as messages of a call.

use std::ops::Range;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;

use crate::http1::body::Body;
use crate::noslate::request::{PIECE_MAX, body_message};
use crate::noslate::wire::BODY_HEAD_MAX;

/// The sending half of a call, behind its first message.
pub(super) struct Upload {
    stream: SendStream<Bytes>,
    body: Body,
    has_ended: bool,
}

/// Why no more can be written.
pub(super) enum Stopped {
    /// The stream or its connection failed.
    Stream(h2::Error),
    /// The plane takes no more.
    Closed,
    /// More came than the request has.
    Malformed,
}

impl Upload {
    /// What follows on `stream`; a body that is complete was sent with the first message.
    pub(super) fn new(stream: SendStream<Bytes>, body: Body) -> Self {
        let has_ended = body.is_complete();
        Self { stream, body, has_ended }
    }

    /// Whether the plane was told that this is all.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Takes bytes from the front of `input`: framing always, data as the window allows, one message at a time.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, input: &[u8]) -> Poll<Result<usize, Stopped>> {
        if input.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.has_ended {
            return Poll::Ready(Err(Stopped::Malformed));
        }
        loop {
            let wanted = input.len().min(PIECE_MAX) + BODY_HEAD_MAX;
            let mut room = self.stream.capacity();
            if room < wanted {
                self.stream.reserve_capacity(wanted);
                room = self.stream.capacity();
            }
            let taken = self.pass(input, room.saturating_sub(BODY_HEAD_MAX).min(PIECE_MAX))?;
            if taken == input.len() && !self.has_ended {
                // Window that was reserved for framing belongs to the connection's other streams.
                self.stream.reserve_capacity(0);
            }
            if taken > 0 {
                return Poll::Ready(Ok(taken));
            }
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(Stopped::Stream(error))),
                None => return Poll::Ready(Err(Stopped::Closed)),
            }
        }
    }

    fn pass(&mut self, input: &[u8], room: usize) -> Result<usize, Stopped> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let taken = self.body.take_at_most(input, room, |part, range| {
            // Calls have no trailers.
            if part == crate::http1::chunked::Part::Data && !range.is_empty() {
                ranges.push(range);
            }
        });
        let taken = taken.map_err(|_| Stopped::Malformed)?;
        self.has_ended = self.body.is_complete();
        let length = ranges.iter().map(ExactSizeIterator::len).sum();
        if length > 0 || self.has_ended {
            let message = match length {
                0 => Vec::new(),
                length => body_message(length, ranges.into_iter().map(|range| &input[range])),
            };
            self.stream.send_data(message.into(), self.has_ended).map_err(Stopped::Stream)?;
        }
        Ok(taken)
    }
}
