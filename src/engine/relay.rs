//! Bytes of one exchange, both ways at once, between a client and a worker.
//!
//! A hand-written poll function: write at once, wait only when a side is slow,
//! read only when the last bytes have left or there is room behind them. So each
//! side's slowness stops the other, and an exchange never holds more than its two
//! buffers, or pipes in their place ([`super::passage`]). Bodies leave from the
//! buffer they arrived in.

use std::cell::OnceCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncWrite as _, ReadBuf};

use super::buffer::Buffer;
use super::departure::{Advice, Answer, CONTINUE, Departure};
use super::h2::preface::{self, FirstBytes};
use super::pace::Pace;
use super::passage::FIRST_READ;
use super::pipe::Pipe;
use super::plane::Plane;
use super::response::{ResponseBytes, Step};
use super::{Dial, Stream};
use crate::config::units::period_text;
use crate::fastcgi::fault::PhpFault;
use crate::http1::body::Body;
use crate::http1::framing::Framing;
use crate::http1::request::Request;
use crate::noslate::fault::PlaneFault;
use crate::proxy::exchange::{Cause, Delivery};
use crate::proxy::in_flight::InFlight;
use crate::telemetry::access::Outcome;
use crate::upstream::idle::Connection;

/// Longest request of which one write makes one block of the kernel, and every server's first read takes it whole.
const ONE_WRITE_MAX: u64 = 4 << 10;

/// How an exchange with a worker ended.
#[derive(Debug)]
pub(super) enum End {
    /// The whole answer was handed to the client.
    Served,
    /// The worker switched protocols; its answer has not left yet.
    Switched,
    /// The client left.
    ClientGone,
    /// The worker failed after its answer had begun.
    Aborted,
    /// The exchange failed before any byte of an answer left.
    Failed(Cause, Delivery),
}

/// The platform answers with 502 in place of an answer whose head is longer (FC contract §3.1).
pub(super) const PLATFORM_HEAD_MAX: usize = 8 << 10;

/// The request's bytes on their way to the worker.
#[derive(Debug)]
pub(super) struct RequestBytes<'a> {
    pub(super) buffer: &'a mut Buffer,
    pub(super) body: &'a mut Body,
    /// The verified bytes not yet written: `buffer[next..until]`.
    pub(super) next: usize,
    pub(super) until: usize,
    /// Body bytes on their way in the kernel; only while none are in the buffer.
    pub(super) pipe: Option<Pipe>,
    /// Bytes of the body that came, framing included.
    pub(super) received: u64,
    /// Bytes the worker's kernel took.
    pub(super) written: u64,
    /// In how many writes.
    pub(super) writes: u32,
    /// Whether the buffer still holds the request from its first byte.
    pub(super) intact: bool,
    /// The worker takes no more: it answered early, or closed.
    pub(super) stopped: bool,
}

impl RequestBytes<'_> {
    fn is_done(&self) -> bool {
        self.stopped || (self.is_flushed() && self.body.is_complete())
    }

    /// Whether all that was received has left.
    fn is_flushed(&self) -> bool {
        self.next == self.until && !self.holds_pipe()
    }

    fn holds_pipe(&self) -> bool {
        self.pipe.as_ref().is_some_and(Pipe::holds_bytes)
    }
}

/// One exchange on one worker connection.
pub(super) struct Relay<'a, 'g, C, D: Dial> {
    pub(super) plane: &'a Plane<D>,
    pub(super) client: &'a mut C,
    pub(super) request: &'a Request,
    pub(super) up: RequestBytes<'a>,
    pub(super) down: ResponseBytes<'a>,
    /// Taken when the worker has done its part.
    pub(super) connection: Option<Connection<D::Stream>>,
    pub(super) in_flight: &'a mut InFlight<'g>,
    pub(super) departure: Departure,
    /// Bytes of the answer that left.
    pub(super) sent: u64,
    /// Whether the answer began before the request had ended.
    pub(super) answered_early: bool,
    /// How slowly the client may send.
    pub(super) body_pace: Pace,
    /// How slowly it may read.
    pub(super) write_pace: Pace,
    /// Whether bodies may pass through pipes to the client; unknown until one is large enough.
    pub(super) takes_pipes: &'a OnceCell<bool>,
}

pub(super) enum Progress {
    Moved,
    Waiting,
    Ended(End),
}

impl<C: Stream, D: Dial> Relay<'_, '_, C, D> {
    /// Runs the exchange to its end.
    pub(super) async fn run(&mut self) -> End {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let sent_before = self.sent;
        loop {
            let up = if self.up.is_done() { Progress::Waiting } else { self.poll_request(cx) };
            if let Progress::Ended(end) = up {
                return Poll::Ready(end);
            }
            match self.poll_response(cx) {
                Progress::Ended(end) => return Poll::Ready(end),
                Progress::Moved => continue,
                Progress::Waiting if matches!(up, Progress::Moved) => continue,
                Progress::Waiting => {}
            }
            if let Poll::Ready(end) = self.poll_pace(cx) {
                return Poll::Ready(end);
            }
            match ready!(self.poll_departure(sent_before, cx)) {
                Advice::Gone => return Poll::Ready(End::ClientGone),
                Advice::Ask => self.down.ask(CONTINUE),
            }
        }
    }

    fn poll_request(&mut self, cx: &mut Context<'_>) -> Progress {
        let up = &mut self.up;
        if up.holds_pipe() {
            self.drain_up(cx)
        } else if up.next < up.until {
            if let Err(cause) = self.look_ahead_up(cx) {
                return Progress::Ended(self.failed(cause, Delivery::Nothing));
            }
            let up = &mut self.up;
            let Some(connection) = &mut self.connection else { return Progress::Waiting };
            let bytes = up.buffer.range(up.next, up.until);
            match Pin::new(&mut connection.stream).poll_write(cx, bytes) {
                Poll::Pending => Progress::Waiting,
                Poll::Ready(Ok(count)) => {
                    up.written += count as u64;
                    up.writes += 1;
                    up.next += count;
                    Progress::Moved
                }
                Poll::Ready(Err(error)) => self.write_failed(error),
            }
        } else {
            // What was written must have reached the kernel before its bytes are forgotten here.
            if let Some(connection) = &mut self.connection {
                match Pin::new(&mut connection.stream).poll_flush(cx) {
                    Poll::Pending => return Progress::Waiting,
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return self.write_failed(error),
                }
            }
            let up = &mut self.up;
            up.buffer.clear();
            // Should the exchange end before more comes, nothing of what was sent is left.
            (up.next, up.until) = (up.buffer.start, up.buffer.start);
            up.intact = false;
            if self.may_pass_up() {
                return self.fill_up(cx);
            }
            let up = &mut self.up;
            match poll_fill(self.client, up.buffer, cx) {
                Poll::Pending => Progress::Waiting,
                Poll::Ready(Ok(0) | Err(_)) => Progress::Ended(End::ClientGone),
                Poll::Ready(Ok(count)) => {
                    if let Some(cause) = self.on_received(count) {
                        return Progress::Ended(self.failed(cause, Delivery::Something));
                    }
                    let up = &mut self.up;
                    match up.body.take(up.buffer.filled()) {
                        Ok(taken) => {
                            up.next = up.buffer.start;
                            up.until = up.next + taken;
                            Progress::Moved
                        }
                        Err(fault) => Progress::Ended(self.failed(fault.into(), Delivery::Something)),
                    }
                }
            }
        }
    }

    /// Counts what came of the request's body; what is wrong with it if that is too much. A length in the head was
    /// judged before.
    pub(super) fn on_received(&mut self, count: usize) -> Option<Cause> {
        self.in_flight.on_bytes(count, 0);
        self.up.received += count as u64;
        let limit = self.plane.limits.body_bytes?;
        (self.up.received > limit && self.request.framing == Framing::Chunked)
            .then_some(Cause::LargeBody(limit))
    }

    fn write_failed(&mut self, error: io::Error) -> Progress {
        let stream = self.connection.as_ref().map(|connection| &connection.stream);
        let was_refused = stream.is_some_and(|stream| stream.was_refused());
        if self.up.written > 0 && !was_refused {
            // It may have answered before it stopped reading: that answer still counts.
            self.up.stopped = true;
            return Progress::Moved;
        }
        let is_closed =
            error.kind() == io::ErrorKind::BrokenPipe && stream.is_some_and(|stream| stream.knows_delivery());
        let delivery = if is_closed || was_refused { Delivery::Nothing } else { self.delivery() };
        Progress::Ended(End::Failed(cause_of(Some(error)), delivery))
    }

    fn poll_response(&mut self, cx: &mut Context<'_>) -> Progress {
        self.look_ahead_down(cx);
        if let Some(bytes) = self.down.pending() {
            return match self.client.poll_write_more(cx, bytes, self.down.holds_pipe()) {
                Poll::Pending => Progress::Waiting,
                Poll::Ready(Err(_)) => Progress::Ended(End::ClientGone),
                Poll::Ready(Ok(count)) => {
                    self.sent += count as u64;
                    self.down.on_written(count);
                    if self.down.is_sent() { Progress::Ended(End::Served) } else { Progress::Moved }
                }
            };
        }
        if self.down.holds_pipe() {
            return self.drain_down(cx);
        }
        if self.down.is_sent() {
            return Progress::Ended(End::Served);
        }
        if !self.down.wants_bytes() {
            return self.digest();
        }
        let Some(connection) = &mut self.connection else { return Progress::Waiting };
        if connection.stream.poll_readable(cx).is_pending() {
            self.down.release_unused();
            return Progress::Waiting;
        }
        if self.may_pass_down() {
            return self.fill_down(cx);
        }
        let Some(connection) = &mut self.connection else { return Progress::Waiting };
        let room = if self.down.has_begun() { usize::MAX } else { FIRST_READ };
        let buffer = self.down.buffer(&self.plane.buffers);
        match poll_fill_most(&mut connection.stream, buffer, room, cx) {
            Poll::Pending => {
                self.down.release_unused();
                Progress::Waiting
            }
            Poll::Ready(Ok(0)) => self.worker_closed(None),
            Poll::Ready(Err(error)) => self.worker_closed(Some(error)),
            Poll::Ready(Ok(_)) => self.digest(),
        }
    }

    /// Makes sense of the bytes received from the worker.
    fn digest(&mut self) -> Progress {
        let keep = self.request.persistent && !self.plane.is_draining();
        let begun = self.down.has_begun();
        let request_sent = self.up.is_done() && !self.up.stopped;
        let timed = self.plane.proxy.server_timing.then_some(&*self.in_flight);
        match self.down.digest(self.request, keep, self.up.body, request_sent, timed) {
            Ok(Step::Switched { bytes }) => {
                self.on_answer();
                self.in_flight.on_bytes(0, bytes);
                Progress::Ended(End::Switched)
            }
            Ok(Step::NeedsMore) => Progress::Moved,
            Ok(Step::Ready { bytes, complete }) => {
                if !begun && self.down.has_begun() {
                    self.answered_early = !self.up.is_done();
                    self.on_answer();
                    if self.down.worker_is_old() {
                        self.in_flight.worker().set_http10();
                    }
                }
                self.in_flight.on_bytes(0, bytes);
                if complete {
                    self.worker_is_done();
                }
                Progress::Moved
            }
            // What broke may stand in the same bytes as the head: then nothing has left yet.
            Err(_) if begun => Progress::Ended(End::Aborted),
            Err(_) if preface::look_at_answer(self.down.received()) == FirstBytes::Open => Progress::Moved,
            Err(_) if preface::look_at_answer(self.down.received()) == FirstBytes::Http2 => {
                Progress::Ended(self.answered_in_http2())
            }
            Err(cause) => Progress::Ended(End::Failed(cause, Delivery::Something)),
        }
    }

    /// Notes the final answer, whose head is the first of what is pending.
    fn on_answer(&mut self) {
        self.in_flight.on_answer(self.down.status());
        if self.down.event_has_failed() {
            self.in_flight.set_failed();
        }
        if self.down.head_len() > PLATFORM_HEAD_MAX && self.request.request_id.is_some() {
            self.plane.warn_of_large_head(self.in_flight, self.down.head_len());
        }
        if let Some(affinity) = &self.plane.proxy.affinity {
            affinity.learn(self.down.pending().unwrap_or_default(), self.in_flight.worker());
        }
    }

    /// An HTTP/2 server takes our request for a broken preface (RFC 9113 §3.4): it did nothing with it.
    fn answered_in_http2(&self) -> End {
        let (text, delivery) = match self.plane.dial.learn_http2(self.in_flight.worker()) {
            true if self.up.intact => ("the worker speaks HTTP/2", Delivery::Nothing),
            true => (
                "the worker speaks HTTP/2, which shows only now that a part of this request is gone; the next one \
                 will be told in HTTP/2",
                Delivery::Something,
            ),
            false => ("the worker speaks HTTP/2, but workers.protocol is http1", Delivery::Something),
        };
        End::Failed(Cause::Protocol(io::Error::new(io::ErrorKind::InvalidData, text)), delivery)
    }

    pub(super) fn worker_closed(&mut self, error: Option<io::Error>) -> Progress {
        if !self.down.has_begun() {
            let reset = error.as_ref().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionReset);
            let delivery = match &self.connection {
                Some(connection) if self.up.intact && connection.stream.was_refused() => Delivery::Nothing,
                _ if self.down.has_heard() => Delivery::Something,
                _ if self.up.written == 0 => Delivery::Nothing,
                Some(connection) if reset && connection.stream.knows_delivery() => {
                    let up = &self.up;
                    let is_small = up.is_done() && up.writes == 1 && up.written <= ONE_WRITE_MAX;
                    Delivery::Unread { in_one_write: is_small }
                }
                _ => self.delivery(),
            };
            return Progress::Ended(End::Failed(cause_of(error), delivery));
        }
        if error.is_none() && self.down.on_close() {
            self.worker_is_done();
            return Progress::Moved;
        }
        Progress::Ended(End::Aborted)
    }

    /// The answer is here whole: nothing more is needed of the worker, however slow the client reads.
    pub(super) fn worker_is_done(&mut self) {
        self.in_flight.finish(Outcome::Served);
        let request_sent = self.up.is_done() && !self.up.stopped;
        self.up.stopped = true;
        if let Some(connection) = self.connection.take()
            && request_sent
            && self.down.connection_is_reusable()
        {
            self.plane.rest(connection);
        }
        self.in_flight.release();
    }

    pub(super) fn failed(&self, cause: Cause, delivery: Delivery) -> End {
        // Behind a part of an interim answer no other can follow.
        if self.down.has_begun() || self.down.pending().is_some() {
            End::Aborted
        } else {
            End::Failed(cause, delivery)
        }
    }

    fn delivery(&self) -> Delivery {
        match &self.connection {
            Some(connection) if connection.uses > 0 => Delivery::ReusedConnection,
            _ => Delivery::Something,
        }
    }

    /// Ready when the client is too slow for the limits.
    fn poll_pace(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let awaits_body = !self.up.is_done() && self.up.is_flushed();
        let received = self.up.written;
        if let Poll::Ready(limit) = self.body_pace.poll(awaits_body, || received, cx) {
            let end = self.failed(Cause::SlowBody(limit), Delivery::Something);
            return Poll::Ready(self.cut("body", limit, end));
        }
        let (client, sent) = (&self.client, self.sent);
        let taken = || sent.saturating_sub(client.untaken());
        if let Poll::Ready(limit) = self.write_pace.poll(self.down.has_pending(), taken, cx) {
            return Poll::Ready(self.cut("write", limit, End::ClientGone));
        }
        Poll::Pending
    }

    /// Cuts a client off, unless it can still be told: it must not take the cut for the end, and the
    /// kernel must not keep for it what it does not read.
    fn cut(&mut self, which: &str, limit: Duration, end: End) -> End {
        if matches!(end, End::Failed(..)) {
            return end;
        }
        self.in_flight.finish_cut(format!("limits.{which}_timeout={}", period_text(limit)));
        self.client.reset_on_close();
        End::ClientGone
    }

    fn poll_departure(&mut self, sent_before: u64, cx: &mut Context<'_>) -> Poll<Advice> {
        // Where the request's body is being read, reading shows the end.
        if !self.up.is_done() && self.up.is_flushed() {
            return Poll::Pending;
        }
        let answer = match (self.down.has_begun(), self.down.has_pending()) {
            _ if self.answered_early => Answer::Early,
            (_, true) => Answer::Flowing,
            (true, false) => Answer::Quiet,
            (false, false) if self.request.minor_version == 0 => Answer::NotBegunPlain,
            (false, false) => Answer::NotBegun,
        };
        self.departure.poll(self.client, answer, sent_before, self.sent, cx)
    }
}

/// Why a worker's connection gave no answer.
fn cause_of(error: Option<io::Error>) -> Cause {
    let Some(error) = error else { return Cause::Closed };
    let error = match error.downcast::<PlaneFault>() {
        Ok(fault) => return Cause::Plane(fault),
        Err(error) => error,
    };
    match error.downcast::<PhpFault>() {
        Ok(fault) => Cause::Php(fault),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Cause::Protocol(error),
        Err(_) => Cause::Closed,
    }
}

/// Reads once into the free room of `buffer`.
pub(super) fn poll_fill<S: Stream>(
    stream: &mut S,
    buffer: &mut Buffer,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    poll_fill_most(stream, buffer, usize::MAX, cx)
}

/// Reads once, at most `most` bytes, into the free room of `buffer`.
pub(super) fn poll_fill_most<S: Stream>(
    stream: &mut S,
    buffer: &mut Buffer,
    most: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let space = buffer.space();
    let most = most.min(space.len());
    let mut read = ReadBuf::new(&mut space[..most]);
    ready!(Pin::new(stream).poll_read(cx, &mut read))?;
    let count = read.filled().len();
    buffer.end += count;
    Poll::Ready(Ok(count))
}
