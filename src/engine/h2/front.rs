//! HTTP/2 clients: one connection, and each of its streams as a virtual HTTP/1.1 client.
//!
//! The connection task moves frames; each stream is a task of its own that runs the
//! same code as an HTTP/1.1 connection. A client that resets a stream or vanishes
//! is an error on the virtual connection at once: unlike a FIN it leaves no doubt.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinSet;

use super::budget::{self, Budget};
use super::heads::{read_response, write_request};
use super::inflow::{Inflow, broken};
use super::outflow::{Outflow, Stopped};
use super::rewind::Rewind;
use super::{STREAM_WINDOW, header_list_max, joined, relaxed};
use crate::clock;
use crate::config::Limits;
use crate::engine::connection::{Connection, conversations};
use crate::engine::plane::{Plane, Resting};
use crate::engine::{Dial, Stream};
use crate::http1::Parsed;
use crate::http1::body::Body;
use crate::http1::response::Response;
use crate::telemetry::say;

/// Streams one connection may have open. FC gives an instance at most 200 requests at once, all on one
/// connection.
const STREAMS_MAX: u32 = 256;
/// Streams the client may reset between two looks at what it opened: what the `h2` package deems usual.
const UNSEEN_RESETS_MAX: usize = 20;
/// Streams that may fail by the client's breaches of protocol in the life of a connection. Each costs
/// us a frame; a thousand are no accident.
const BREACHES_MAX: usize = 1024;
/// What small DATA frames may cost beyond their bytes until their streams look, each counted as 256
/// bytes: 32,000 of them, in less than a turn of the thread.
const SMALL_FRAMES_MAX: usize = 8 << 20;
/// Streams that were reset and whose late frames are still to be ignored, for a second. Beyond that
/// number late frames are breaches; streams refused while a line is full come at most this fast.
const RESETS_KEPT: usize = 1024;
/// How long the last frames of a connection may take, and how long a drain waits for a client that
/// has nothing open to close.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves `client`, which has said `first` so far, until it leaves or the thread has drained.
pub(in crate::engine) async fn serve<C: Stream, D: Dial>(plane: &Rc<Plane<D>>, client: C, first: Vec<u8>) {
    let handshake = Builder::new()
        .max_concurrent_streams(STREAMS_MAX)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW * STREAMS_MAX)
        .max_header_list_size(header_list_max(&plane.limits))
        .max_send_buffer_size(plane.limits.buffer_bytes)
        .max_concurrent_reset_streams(RESETS_KEPT)
        .max_pending_accept_reset_streams(UNSEEN_RESETS_MAX)
        .max_local_error_reset_streams(Some(BREACHES_MAX))
        .data_frame_budget(SMALL_FRAMES_MAX)
        .handshake::<_, Bytes>(Rewind::new(first, client));
    let Ok(mut connection) = handshake.await else { return };
    let budget = Rc::new(Budget::new(clock::now()));
    let (conversations, resting) = (conversations(plane), Resting::new(plane));
    // Dropped with this future: a lost connection takes its streams along.
    let mut streams = JoinSet::new();
    let mut draining = false;
    loop {
        tokio::select! {
            biased;
            Some(_) = streams.join_next() => {}
            () = drained(plane, &resting), if !draining => {
                draining = true;
                connection.graceful_shutdown();
            }
            // All branches may be dropped: what was not accepted is there in the next turn.
            accepted = connection.accept() => {
                let Some(Ok((request, respond))) = accepted else { return };
                if !budget.on_stream(clock::now()) {
                    break;
                }
                let client = VirtualClient::new(request, respond, plane.limits, Rc::clone(&budget));
                let (plane, conversations) = (Rc::clone(plane), Rc::clone(&conversations));
                streams.spawn_local(Connection::http1(plane, conversations, client));
            }
            () = clock::sleep(FAREWELL), if draining && streams.is_empty() => return,
        }
    }
    say::warn(format_args!(
        "closing an HTTP/2 connection: its client cancelled more than half of {} streams within {} s before they \
         were answered",
        budget::STREAMS,
        budget::PERIOD.as_secs()
    ));
    connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
    // Whether the farewell arrives is the client's affair.
    let _ = clock::timeout(FAREWELL, poll_fn(|cx| connection.poll_closed(cx))).await;
}

async fn drained<D: Dial>(plane: &Plane<D>, resting: &Resting<D>) {
    poll_fn(|cx| {
        if plane.is_draining() {
            return Poll::Ready(());
        }
        resting.register(cx.waker());
        Poll::Pending
    })
    .await;
}

/// One stream, as a client that speaks HTTP/1.1: reading yields its request, writing takes the answer.
struct VirtualClient {
    request: RefCell<Inflow>,
    answer: Answer,
    /// Whether the request was HEAD.
    is_head: bool,
    limits: Limits,
    budget: Rc<Budget>,
}

enum Answer {
    /// Its final head is not here yet: the bytes of it so far.
    Head(SendResponse<Bytes>, Vec<u8>),
    Body(Outflow),
}

impl VirtualClient {
    fn new(
        request: http::Request<RecvStream>,
        respond: SendResponse<Bytes>,
        limits: Limits,
        budget: Rc<Budget>,
    ) -> Self {
        let (parts, body) = request.into_parts();
        let (head, delimiter) = write_request(&parts, body.is_end_stream());
        Self {
            request: RefCell::new(Inflow::new(head, delimiter, None, body)),
            answer: Answer::Head(respond, Vec::new()),
            is_head: parts.method == http::Method::HEAD,
            limits: relaxed(&limits),
            budget,
        }
    }

    /// Ready when the client has reset the stream or is lost.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let gone = match &mut self.answer {
            Answer::Head(respond, _) => ready!(respond.poll_reset(cx)),
            Answer::Body(flow) => ready!(flow.poll_reset(cx)),
        };
        Poll::Ready(match gone {
            Ok(reason) => broken(&reason.into()),
            Err(error) => broken(&error),
        })
    }

    fn is_answered(&self) -> bool {
        matches!(&self.answer, Answer::Body(flow) if flow.is_over())
    }

    /// Takes bytes of a head; the answer goes over to its body when it is complete.
    fn write_head(&mut self, input: &[u8]) -> io::Result<usize> {
        let Answer::Head(respond, head) = &mut self.answer else { return Ok(0) };
        let before = head.len();
        let bytes = joined(head, input);
        let judged = match Response::parse(&bytes, &self.limits, self.is_head) {
            Ok(Parsed::Complete(judged)) => judged,
            Ok(Parsed::Partial) => {
                *head = bytes.into_owned();
                return Ok(input.len());
            }
            // Nothing that the relay lets pass; should it be, the client sees a cut answer.
            Err(bad) => return Err(io::Error::new(io::ErrorKind::InvalidData, bad)),
        };
        let taken = judged.head_len - before;
        let answer = read_response(&bytes, &judged)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a head that HTTP/2 cannot say"))?;
        if judged.is_interim() {
            respond.send_informational(answer).map_err(|error| broken(&error))?;
            *head = Vec::new();
        } else {
            let body = Body::new(judged.framing);
            let stream = respond.send_response(answer, body.is_complete()).map_err(|error| broken(&error))?;
            self.answer = Answer::Body(Outflow::new(stream, body));
        }
        Ok(taken)
    }
}

impl Drop for VirtualClient {
    fn drop(&mut self) {
        match &mut self.answer {
            Answer::Head(respond, _) => {
                let look = respond.poll_reset(&mut Context::from_waker(Waker::noop()));
                match look {
                    Poll::Ready(_) => self.budget.on_cancel(),
                    Poll::Pending => respond.send_reset(Reason::INTERNAL_ERROR),
                }
            }
            Answer::Body(flow) => flow.cut(Reason::INTERNAL_ERROR),
        }
    }
}

impl AsyncRead for VirtualClient {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let client = self.get_mut();
        // One who has left already is not worth a worker's time, whatever it has sent.
        if let Poll::Ready(error) = client.poll_gone(cx) {
            return Poll::Ready(Err(error));
        }
        // Answered: what is left of the request interests nobody.
        if client.is_answered() {
            return Poll::Ready(Ok(()));
        }
        let request = client.request.get_mut();
        // The end of a request is no end of the client: it waits for its answer.
        if request.is_over() {
            return Poll::Pending;
        }
        request.poll_read(cx, buf).map_err(|error| broken(&error))
    }
}

impl AsyncWrite for VirtualClient {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let client = self.get_mut();
        let Answer::Body(flow) = &mut client.answer else { return Poll::Ready(client.write_head(buf)) };
        Poll::Ready(match ready!(flow.poll_write(cx, buf)) {
            Ok(count) => Ok(count),
            Err(Stopped::Stream(error)) => Err(broken(&error)),
            Err(Stopped::Closed) => Err(io::ErrorKind::ConnectionReset.into()),
            Err(Stopped::Malformed) => Err(io::ErrorKind::InvalidData.into()),
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The end of the connection; of the answer too, and if that is not complete, a visible one.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().answer {
            Answer::Head(respond, _) => respond.send_reset(Reason::INTERNAL_ERROR),
            Answer::Body(flow) => flow.cut(Reason::INTERNAL_ERROR),
        }
        Poll::Ready(Ok(()))
    }
}

impl Stream for VirtualClient {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.request.borrow_mut().poll_ready(cx).map_err(|error| broken(&error))
    }

    /// Only errors: bytes that wait are no reason to look, and the end of a request is not the client's.
    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.request.get_mut().gather(cx);
        self.poll_gone(cx).map(Err)
    }

    fn has_ended(&self) -> bool {
        self.is_answered()
    }

    fn pending_error(&self) -> Option<io::Error> {
        None
    }

    fn has_left(&self) -> bool {
        false
    }

    /// A write takes what the client's window has room for.
    fn untaken(&self) -> u64 {
        0
    }

    /// It is always one.
    fn reset_on_close(&self) {}

    fn knows_delivery(&self) -> bool {
        false
    }

    fn version(&self) -> Option<&'static str> {
        Some("2")
    }

    fn is_quiet(&mut self) -> bool {
        false
    }
}
