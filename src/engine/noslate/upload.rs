//! A request's body, as messages of a call.

use std::ops::Range;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;

use crate::engine::h2::outflow::{Passed, Stopped, poll_pass};
use crate::http1::body::Body;
use crate::http1::chunked::Part;
use crate::noslate::request::{PIECE_MAX, body_message};
use crate::noslate::wire::BODY_HEAD_MAX;

/// The sending half of a call, behind its first message.
pub(super) struct Upload {
    stream: SendStream<Bytes>,
    body: Body,
    has_ended: bool,
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
        let wanted = input.len().min(PIECE_MAX) + BODY_HEAD_MAX;
        poll_pass(
            self,
            |upload| &mut upload.stream,
            cx,
            wanted,
            |upload, room| {
                let taken = upload.pass(input, room.saturating_sub(BODY_HEAD_MAX).min(PIECE_MAX))?;
                Ok(Passed { taken, is_all: taken == input.len() && !upload.has_ended })
            },
        )
    }

    fn pass(&mut self, input: &[u8], room: usize) -> Result<usize, Stopped> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let taken = self.body.take_at_most(input, room, |part, range| {
            // Calls have no trailers.
            if part == Part::Data && !range.is_empty() {
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
