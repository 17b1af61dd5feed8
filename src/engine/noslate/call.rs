//! One call of a data plane, as a connection that speaks HTTP/1.1.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request as Http2Request, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc::UnboundedSender;

use super::answer::{Answer, Broken};
use super::undertaker::{Abandoned, Left, Remains};
use super::upload::Upload;
use crate::clock::{self, Timer};
use crate::config::noslate::Target;
use crate::config::{Limits, Noslate};
use crate::engine::Stream;
use crate::engine::departure::CONTINUE;
use crate::engine::h2::heads::Delimiter;
use crate::engine::h2::inflow::{Inflow, broken};
use crate::engine::h2::links::{Lent, Shared};
use crate::engine::h2::outflow::Stopped;
use crate::engine::h2::{joined, relaxed};
use crate::http1::Parsed;
use crate::http1::body::Body;
use crate::http1::request::Request;
use crate::noslate::fault::{FaultKind, PlaneFault};
use crate::noslate::head::{AnswerBody, AnswerHead, answer_head};
use crate::noslate::request::{PIECE_MAX, first_message};
use crate::noslate::target::choose;
use crate::noslate::{INVOKE, INVOKE_SERVICE};
use crate::upstream::functions::Functions;
use crate::upstream::pool::Worker;

/// How long behind its deadline a call may still get an answer: the plane's clock and ours are one, its timers late.
const PATIENCE: Duration = Duration::from_secs(1);

/// When the plane ends a call by itself, in gRPC's words: longer than any answer, in case nobody else does.
const REAPED_AFTER: &str = "48H";

/// One call.
pub(in crate::engine) struct Call {
    request: Sending,
    answer: RefCell<Receiving>,
    refused: Cell<bool>,
    noslate: Arc<Noslate>,
    functions: Arc<Functions>,
    /// Of the function, once that is known.
    name: Option<String>,
    limits: Limits,
    shared: Arc<Shared>,
    worker: Arc<Worker>,
    undertaker: UnboundedSender<Remains>,
}

enum Sending {
    /// The head is not complete: its bytes so far.
    Head(SendRequest<Bytes>, Vec<u8>),
    Body(Upload),
    /// Nothing more: the undertaker has it.
    Gone,
}

#[expect(clippy::large_enum_variant, reason = "a call is boxed as a whole")]
enum Receiving {
    /// The request has not begun.
    Idle,
    /// The head is still to come.
    Awaited { answer: Answer, to_head: bool, timer: Timer, deadline: Instant, interim: Inflow<Answer> },
    /// It is here.
    Here { inflow: Inflow<Answer>, is_bodiless: bool },
    /// There will be none.
    Failed(Answer),
    /// The undertaker has it.
    Gone,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("worker", &self.worker.id).finish_non_exhaustive()
    }
}

impl Call {
    pub(super) fn new(
        lent: Lent,
        worker: Arc<Worker>,
        noslate: Arc<Noslate>,
        functions: Arc<Functions>,
        undertaker: UnboundedSender<Remains>,
        limits: &Limits,
    ) -> Self {
        let Lent { sender, shared } = lent;
        shared.needed.fetch_add(1, Ordering::Relaxed);
        Self {
            request: Sending::Head(sender, Vec::new()),
            answer: RefCell::new(Receiving::Idle),
            refused: Cell::new(false),
            noslate,
            functions,
            name: None,
            limits: relaxed(limits),
            shared,
            worker,
            undertaker,
        }
    }

    /// Takes bytes of the head, and of the body what is here if that is all of it; the call begins when the head is
    /// complete.
    fn write_head(&mut self, input: &[u8]) -> io::Result<usize> {
        let Sending::Head(sender, head) = &mut self.request else { return Ok(0) };
        let before = head.len();
        let bytes = joined(head, input);
        let judged = match Request::parse(&bytes, &self.limits) {
            Ok(Parsed::Complete(judged)) => judged,
            Ok(Parsed::Partial) => {
                *head = bytes.into_owned();
                return Ok(input.len());
            }
            Err(refused) => return Err(io::Error::new(io::ErrorKind::InvalidData, refused.to_string())),
        };
        let chosen = choose(&self.noslate, &bytes, &judged).ok_or_else(|| failure(FaultKind::NoTarget))?;
        let place = match &chosen.target {
            Target::Function(_) => INVOKE,
            Target::Service(_) => INVOKE_SERVICE,
        };
        let mut body = Body::new(judged.framing);
        // Most bodies are short and here already: then one message says it all.
        let here = &bytes[judged.head_len..];
        let is_whole = matches!(body, Body::Length(length) if length <= here.len().min(PIECE_MAX) as u64);
        let first_piece = match body {
            Body::Length(length) if is_whole => &here[..usize::try_from(length).unwrap_or(0)],
            _ => &[],
        };
        body.skip(first_piece.len() as u64);
        let timeout = self.noslate.timeout;
        let wall = clock::unix_ms() as f64 + timeout.as_secs_f64() * 1e3;
        let message = first_message(&self.noslate, &chosen, &bytes, &judged, wall, first_piece);
        let opened = sender.send_request(call_to(place), false).and_then(|(response, mut stream)| {
            stream.send_data(message.into(), is_whole)?;
            Ok((response, stream))
        });
        let (response, stream) = opened.map_err(|error| {
            // It was not sent, for whatever reason.
            self.refused.set(true);
            broken(&error)
        })?;
        let mut interim = Inflow::awaited();
        if judged.expects_continue && !is_whole {
            // The plane knows nothing of such questions: it takes whatever comes.
            interim.say(CONTINUE.to_vec());
        }
        *self.answer.get_mut() = Receiving::Awaited {
            answer: Answer::awaited(response),
            to_head: judged.is_head,
            timer: clock::timer(timeout + PATIENCE),
            deadline: clock::now() + timeout + PATIENCE,
            interim,
        };
        let taken = judged.head_len - before + first_piece.len();
        self.request = Sending::Body(Upload::new(stream, body));
        if let Target::Function(name) = chosen.target {
            self.name = Some(name);
        }
        Ok(taken)
    }

    /// What reading gives that met `error`.
    fn failed(&self, error: &Broken) -> io::Error {
        let mut fault = match error {
            Broken::Stream(text) => return io::Error::new(io::ErrorKind::ConnectionReset, text.clone()),
            Broken::Error(error) => PlaneFault::of(error, self.noslate.shows_errors),
            Broken::Fault(kind) => PlaneFault::new(*kind),
        };
        let is_ours = || self.name.as_deref().is_some_and(|name| self.functions.is_profiled(name));
        if fault.kind == FaultKind::Unknown && is_ours() {
            // A plane that has come back is about to be told.
            fault.kind = FaultKind::NotYet;
        }
        self.refused.set(fault.kind.is_refusal());
        io::Error::other(fault)
    }
}

fn failure(kind: FaultKind) -> io::Error {
    io::Error::other(PlaneFault::new(kind))
}

/// What opens a call.
fn call_to(place: &'static str) -> Http2Request<()> {
    let mut request = Http2Request::new(());
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = http::Uri::from_static(place);
    let fields = request.headers_mut();
    for (name, value) in
        [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", REAPED_AFTER)]
    {
        fields.insert(name, http::HeaderValue::from_static(value));
    }
    request
}

fn phrase(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default()
}

impl Receiving {
    /// Ready when bytes or the end are here.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let (answer, to_head, timer) = match self {
            Self::Idle | Self::Gone => return Poll::Pending,
            Self::Failed(answer) => return answer.poll_head(cx).map_ok(drop),
            Self::Here { inflow, .. } => return inflow.poll_ready(cx),
            Self::Awaited { interim, .. } if interim.has_bytes() => return Poll::Ready(Ok(())),
            Self::Awaited { answer, to_head, timer, .. } => (answer, *to_head, timer),
        };
        let head = match answer.poll_head(cx) {
            Poll::Ready(head) => head.and_then(|(status, fields)| {
                answer_head(status, &fields, to_head, phrase).map_err(Broken::Fault)
            }),
            Poll::Pending => {
                ready!(Pin::new(timer).poll(cx));
                Err(Broken::Fault(FaultKind::Silent))
            }
        };
        if let Err(Broken::Fault(kind)) = &head {
            answer.fail(*kind);
        }
        let Self::Awaited { mut answer, .. } = std::mem::replace(self, Self::Gone) else {
            return Poll::Pending;
        };
        match head {
            Ok(AnswerHead { bytes, body }) => {
                let (delimiter, length, is_bodiless) = match body {
                    AnswerBody::None => (Delimiter::Fields, None, true),
                    AnswerBody::Length(length) => (Delimiter::Fields, Some(length), false),
                    AnswerBody::Chunks => (Delimiter::Chunks, None, false),
                };
                answer.expect(length, is_bodiless);
                let inflow = Inflow::new(bytes, delimiter, length, answer);
                *self = Self::Here { inflow, is_bodiless };
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                *self = Self::Failed(answer);
                Poll::Ready(Err(error))
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<(), Broken>> {
        ready!(self.poll_ready(cx))?;
        match self {
            Self::Here { inflow, .. } => inflow.poll_read(cx, buf),
            Self::Awaited { interim, .. } => interim.poll_read(cx, buf),
            Self::Idle | Self::Failed(_) | Self::Gone => Poll::Ready(Ok(())),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Here { inflow, .. } => inflow.is_over(),
            Self::Failed(_) => true,
            Self::Idle | Self::Awaited { .. } | Self::Gone => false,
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let request = std::mem::replace(&mut self.request, Sending::Gone);
        let answer = std::mem::replace(self.answer.get_mut(), Receiving::Gone);
        self.shared.needed.fetch_sub(1, Ordering::Relaxed);
        // One that has not begun costs nothing.
        let Sending::Body(upload) = request else { return };
        let (answer, state) = match answer {
            Receiving::Awaited { answer, deadline, .. } => {
                (answer, Left::Waiting { until: deadline, counted: Abandoned::of(&self.worker) })
            }
            Receiving::Here { inflow, is_bodiless } => {
                let Some(answer) = inflow.into_source() else { return };
                (answer, if is_bodiless { Left::Ending } else { Left::Begun })
            }
            Receiving::Failed(answer) => (answer, Left::Begun),
            Receiving::Idle | Receiving::Gone => return,
        };
        let remains = Remains { answer, upload, shared: Arc::clone(&self.shared), state };
        if remains.has_ended() {
            return;
        }
        let is_free = matches!(remains.state, Left::Begun) && self.shared.resets.allow(clock::now());
        if !is_free {
            // Whoever is not there any more ends all of its calls.
            let _ = self.undertaker.send(remains);
        }
    }
}

impl AsyncRead for Call {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let call = self.get_mut();
        let read = ready!(call.answer.get_mut().poll_read(cx, buf));
        Poll::Ready(read.map_err(|error| call.failed(&error)))
    }
}

impl AsyncWrite for Call {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let call = self.get_mut();
        let Sending::Body(upload) = &mut call.request else { return Poll::Ready(call.write_head(buf)) };
        Poll::Ready(match ready!(upload.poll_write(cx, buf)) {
            Ok(count) => Ok(count),
            Err(Stopped::Stream(error)) => Err(broken(&error)),
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

impl Stream for Call {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.answer.borrow_mut().poll_ready(cx).map_err(|error| self.failed(&error))
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        ready!(self.poll_readable(cx))?;
        Poll::Ready(Ok(usize::from(!self.answer.get_mut().is_over())))
    }

    fn has_ended(&self) -> bool {
        self.answer.borrow().is_over()
    }

    fn has_left(&self) -> bool {
        self.has_ended()
    }

    fn pending_error(&self) -> Option<io::Error> {
        None
    }

    /// A write takes what the plane's window has room for.
    fn untaken(&self) -> u64 {
        0
    }

    /// A call that is dropped before its end is reset in any case.
    fn reset_on_close(&self) {}

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
