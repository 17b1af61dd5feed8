//! A call's answer: frames of HTTP/2 in, the function's head and body out.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use h2::client::ResponseFuture;
use http::HeaderMap;

use crate::engine::h2::inflow::Source;
use crate::noslate::fault::{FaultKind, PlaneError};
use crate::noslate::reply::{Messages, Said};
use crate::noslate::wire::Malformed;

/// The status of a call, in its trailers or in place of everything (gRPC over HTTP/2).
const STATUS: &str = "grpc-status";

/// What a plane has said that is no answer.
#[derive(Clone, Debug)]
pub(in crate::engine) enum Broken {
    /// The stream or its connection failed, for this reason.
    Stream(String),
    /// An error of the plane, before the head. The call goes on, says the plane, and nothing comes of it.
    Error(Box<PlaneError>),
    /// The call ended, or went on, in a way that is no answer.
    Fault(FaultKind),
}

impl From<Malformed> for Broken {
    fn from(malformed: Malformed) -> Self {
        Self::Fault(FaultKind::Answer(malformed.0))
    }
}

impl From<h2::Error> for Broken {
    fn from(error: h2::Error) -> Self {
        Self::Stream(error.to_string())
    }
}

impl Broken {
    /// A call that ended with this status and without a head.
    fn headless(status: i32) -> Self {
        Self::Fault(match status {
            0 => FaultKind::Answer("end: it came before a head"),
            4 => FaultKind::TooLate,
            status => FaultKind::Grpc(status),
        })
    }
}

/// Status and fields.
pub(super) type Head = (i32, Vec<(Bytes, Bytes)>);

/// The answering half of a call.
pub(in crate::engine) struct Answer {
    stream: Stream,
    messages: Messages,
    /// Bytes that were received and for which window is still to be given back, those of the body aside that were
    /// handed on: they are given back as they are read.
    framing: usize,
    /// Bytes of the body for which window was given back before they were read: their message had to be gathered.
    ahead: usize,
    /// Bytes of the body still to come, where the head says it.
    left: Option<u64>,
    /// Whether there is to be no body, whatever comes.
    is_bodiless: bool,
    has_ended: bool,
    /// Why nothing more comes: whoever asks again is told the same, since an end behind it may look like a good one.
    broken: Option<Broken>,
}

enum Stream {
    Awaited(ResponseFuture),
    Here(RecvStream),
}

impl Answer {
    pub(super) fn awaited(response: ResponseFuture) -> Self {
        Self {
            stream: Stream::Awaited(response),
            messages: Messages::default(),
            framing: 0,
            ahead: 0,
            left: None,
            is_bodiless: false,
            has_ended: false,
            broken: None,
        }
    }

    /// The body has this many bytes; none at all may come if `None` and `is_bodiless`.
    pub(super) fn expect(&mut self, length: Option<u64>, is_bodiless: bool) {
        (self.left, self.is_bodiless) = (length, is_bodiless);
    }

    /// Whether the plane has ended the call.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Makes it one that has failed.
    pub(super) fn fail(&mut self, kind: FaultKind) {
        self.broken = Some(Broken::Fault(kind));
    }

    /// What `asked` gives, or what broke before.
    fn unless_broken<T>(
        &mut self,
        cx: &mut Context<'_>,
        asked: impl FnOnce(&mut Self, &mut Context<'_>) -> Poll<Result<T, Broken>>,
    ) -> Poll<Result<T, Broken>> {
        if let Some(broken) = &self.broken {
            return Poll::Ready(Err(broken.clone()));
        }
        let given = ready!(asked(self, cx));
        if let Err(broken) = &given {
            self.broken = Some(broken.clone());
        }
        Poll::Ready(given)
    }

    /// Status and fields of the answer.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, Broken>> {
        self.unless_broken(cx, Self::poll_for_head)
    }

    fn poll_for_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, Broken>> {
        loop {
            match self.messages.said()? {
                Some(Said::Head(status, fields)) => return Poll::Ready(Ok((status, fields))),
                Some(Said::Error(error)) => return Poll::Ready(Err(Broken::Error(error))),
                Some(Said::Body(_)) => {
                    return Poll::Ready(Err(Broken::Fault(FaultKind::Answer("first message"))));
                }
                None => {}
            }
            if !ready!(self.poll_more(cx))? {
                let status = ready!(self.poll_status(cx))?;
                return Poll::Ready(Err(Broken::headless(status)));
            }
        }
    }

    /// Receives more; false at the end.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Broken>> {
        if let Stream::Awaited(response) = &mut self.stream {
            let (parts, body) = ready!(Pin::new(response).poll(cx))?.into_parts();
            self.stream = Stream::Here(body);
            if let Some(status) = status_of(&parts.headers) {
                self.has_ended = true;
                return Poll::Ready(Err(Broken::headless(status)));
            }
            if parts.status != http::StatusCode::OK {
                return Poll::Ready(Err(Broken::Fault(FaultKind::Answer(
                    "gRPC: the socket speaks another protocol",
                ))));
            }
        }
        let Stream::Here(stream) = &mut self.stream else { return Poll::Pending };
        // What is understood needs no window any more.
        let framing = std::mem::take(&mut self.framing);
        if framing > 0 {
            // Fails only for more than was received.
            let _ = stream.flow_control().release_capacity(framing);
        }
        match ready!(stream.poll_data(cx)).transpose()? {
            Some(bytes) => {
                self.framing += bytes.len();
                self.messages.push(bytes);
                Poll::Ready(Ok(true))
            }
            None => Poll::Ready(Ok(false)),
        }
    }

    fn poll_status(&mut self, cx: &mut Context<'_>) -> Poll<Result<i32, Broken>> {
        let Stream::Here(stream) = &mut self.stream else { return Poll::Pending };
        let trailers = ready!(stream.poll_trailers(cx))?;
        self.has_ended = true;
        let status = trailers.as_ref().and_then(status_of);
        Poll::Ready(status.ok_or(Broken::Fault(FaultKind::Answer("end: it has no status"))))
    }
}

fn status_of(fields: &HeaderMap) -> Option<i32> {
    fields.get(STATUS)?.to_str().ok()?.parse().ok()
}

impl Answer {
    fn poll_for_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        loop {
            match self.messages.said()? {
                Some(Said::Error(error)) => return Poll::Ready(Err(Broken::Error(error))),
                // Never said twice.
                Some(Said::Head(..)) | None => {}
                Some(Said::Body(_)) if self.is_bodiless => continue,
                Some(Said::Body(bytes)) => {
                    if let Some(left) = &mut self.left {
                        let less = left.checked_sub(bytes.len() as u64);
                        *left = less
                            .ok_or(Broken::Fault(FaultKind::Answer("body: it is longer than announced")))?;
                    }
                    self.ahead += bytes.len().saturating_sub(self.framing);
                    self.framing = self.framing.saturating_sub(bytes.len());
                    return Poll::Ready(Ok(Some(bytes)));
                }
            }
            if !ready!(self.poll_more(cx))? {
                return Poll::Ready(Ok(None));
            }
        }
    }

    fn poll_for_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(match ready!(self.poll_status(cx))? {
            0 if self.messages.is_between() => Ok(()),
            0 => Err(Broken::Fault(FaultKind::Answer("end: a message is cut"))),
            status => Err(Broken::Fault(FaultKind::Grpc(status))),
        })
    }
}

impl Source for Answer {
    type Error = Broken;

    /// The next bytes of the body. An error behind the head is one, whatever status the call ends with.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        self.unless_broken(cx, Self::poll_for_data).map(Result::transpose)
    }

    /// None ever; an error unless the call ended well.
    fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<HeaderMap>, Broken>> {
        self.unless_broken(cx, Self::poll_for_end).map_ok(|()| None)
    }

    fn release(&mut self, count: usize) {
        let before = count.min(self.ahead);
        self.ahead -= before;
        if let Stream::Here(stream) = &mut self.stream {
            // Fails only for more than was received.
            let _ = stream.flow_control().release_capacity(count - before);
        }
    }
}
