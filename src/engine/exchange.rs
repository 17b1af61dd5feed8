//! One request on an HTTP/1 client connection, as the walk sees it.

use std::cell::OnceCell;
use std::future::poll_fn;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::task::Poll;

use tokio::io::AsyncWriteExt as _;

use super::buffer::Buffer;
use super::departure::{Advice, Answer, CONTINUE, Departure};
use super::errand;
use super::pace::{Pace, within};
use super::plane::Plane;
use super::relay::{End, Relay, RequestBytes, poll_fill};
use super::response::ResponseBytes;
use super::tunnel::{Ended, Tunnel};
use super::{Dial, Stream};
use crate::clock;
use crate::config::Noslate;
use crate::fc::caller;
use crate::fc::kind::Kind;
use crate::http1::Span;
use crate::http1::body::Body;
use crate::http1::framing::Framing;
use crate::http1::lines::{kept_fields, kept_lines};
use crate::http1::request::Request;
use crate::http1::rewrite::rewrite;
use crate::id::REQUEST_ID_HEADER;
use crate::noslate::target::{self, Chosen};
use crate::proxy::exchange::{Caller, Cause, Collected, Delivery, Exchange, Failed, Head, Promise};
use crate::proxy::in_flight::{Context, InFlight};
use crate::proxy::reply::LocalReply;
use crate::telemetry::access::Outcome;
use crate::upstream::affinity::{Affinity, Session};
use crate::upstream::pool::Worker;

/// The header that tells a worker whether its request started cold or warm.
const START_HEADER: &str = "x-warmfront-start";

/// Room for the lines that a head may gain, the longest possible `Host` among them.
const LINES_BYTES: usize = 448;

/// What becomes of the client connection behind an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Another request may follow.
    KeepAlive,
    /// Close in order: everything sent must arrive.
    Close,
    /// Nobody is there, or the cut must show.
    Abort,
}

/// One exchange.
pub(super) struct Http1Exchange<'a, C, D: Dial> {
    plane: &'a Plane<D>,
    client: &'a mut C,
    /// What is known about it; see [`Relay::takes_pipes`].
    takes_pipes: &'a OnceCell<bool>,
    request: &'a Request,
    held: Held,
    /// Bytes of the head at the start of what is held.
    head_len: usize,
    /// Verified bytes of the body that stand behind it.
    body_len: usize,
    /// The rest of the body.
    body: &'a mut Body,
    departure: Departure,
    /// What is left of a question that the client did not take at once.
    question: &'static [u8],
    /// Whether the client was told to send its body, or has sent it.
    continued: bool,
    edited: bool,
    after: After,
}

/// One try that failed before an answer began.
struct Failure {
    cause: Cause,
    delivery: Delivery,
    /// Whether the request is still held whole.
    is_held: bool,
    promise: Promise,
    /// Whether the connection had waited idle before.
    was_idle: bool,
}

/// The request's first bytes.
enum Held {
    /// Where they arrived.
    Buffer(Buffer),
    /// While waiting: in a block of exactly their size.
    Parked(Box<[u8]>),
    /// Passed on; the buffer may hold bytes behind the request.
    Spent(Buffer),
}

impl<'a, C: Stream, D: Dial> Http1Exchange<'a, C, D> {
    /// The exchange of `request`, whose head stands at the start of `buffer`, followed by
    /// `body_len` bytes that `body` has taken already.
    pub(super) fn new(
        plane: &'a Plane<D>,
        client: &'a mut C,
        takes_pipes: &'a OnceCell<bool>,
        request: &'a Request,
        buffer: Buffer,
        body: &'a mut Body,
        body_len: usize,
    ) -> Self {
        Self {
            plane,
            client,
            takes_pipes,
            request,
            held: Held::Buffer(buffer),
            head_len: request.head_len,
            body_len,
            body,
            departure: Departure::default(),
            question: b"",
            continued: false,
            edited: false,
            after: After::KeepAlive,
        }
    }

    /// What remains when the walk has ended: the fate of the connection, and the bytes that
    /// came behind the request.
    pub(super) fn into_rest(self) -> (After, Buffer) {
        match self.held {
            Held::Spent(buffer) => (self.after, buffer),
            Held::Buffer(mut buffer) => {
                buffer.start += self.head_len + self.body_len;
                (self.after, buffer)
            }
            Held::Parked(bytes) => {
                let mut buffer = self.plane.buffers.get();
                buffer.append(&bytes[self.head_len + self.body_len..]);
                (self.after, buffer)
            }
        }
    }

    fn bytes(&self) -> &[u8] {
        match &self.held {
            Held::Buffer(buffer) | Held::Spent(buffer) => buffer.filled(),
            Held::Parked(bytes) => bytes,
        }
    }

    fn take_buffer(&mut self) -> Buffer {
        match std::mem::replace(&mut self.held, Held::Parked(Box::default())) {
            Held::Buffer(buffer) | Held::Spent(buffer) => buffer,
            Held::Parked(bytes) => {
                let mut buffer = self.plane.buffers.get();
                buffer.restore(&bytes);
                buffer
            }
        }
    }

    /// Makes the head that the worker gets, in place. Once: a second try sends the same bytes.
    fn edit_head(&mut self, buffer: &mut Buffer, in_flight: &InFlight<'_>) {
        if std::mem::replace(&mut self.edited, true) {
            return;
        }
        let (at, end) = (buffer.start, buffer.start + self.head_len);
        let mut lines = [0_u8; LINES_BYTES];
        let mut room = &mut lines[..];
        // Writing to a slice fails only for want of room: all lines together take less.
        if self.request.request_id.is_none() {
            for part in [REQUEST_ID_HEADER.as_bytes(), b": ", in_flight.context().id.as_bytes(), b"\r\n"] {
                let _ = room.write_all(part);
            }
        }
        if !self.request.has_host {
            // Without an authority RFC 9112 §3.2 asks for an empty field; many servers refuse that one.
            let authority = self.request.authority.map(|span| span.of_head(&buffer.bytes_mut()[at..]));
            let _ = room.write_all(b"Host: ");
            let _ = room.write_all(authority.unwrap_or(b"localhost"));
            let _ = room.write_all(b"\r\n");
        }
        if self.request.te_trailers {
            // TE speaks about one connection, and Connection says so (RFC 9110 §10.1.4).
            let _ = room.write_all(b"TE: trailers\r\nConnection: TE\r\n");
        }
        if self.request.upgrade.is_some() {
            let _ = room.write_all(b"Connection: Upgrade\r\n");
        }
        if in_flight.context().tell_start {
            let _ = write!(room, "{START_HEADER}: {}\r\n", in_flight.context().start.word());
        }
        let added = LINES_BYTES - room.len();
        if let Some(asterisk) = self.request.asterisk_at {
            buffer.bytes_mut()[at + asterisk as usize] = b'*';
        }
        if let Some(digits) = self.request.max_forwards {
            let (start, end) = (at + digits.start as usize, at + digits.end as usize);
            decrement(&mut buffer.bytes_mut()[start..end]);
        }
        if self.request.minor_version == 0 {
            let digit = at + self.request.target.end as usize + b" HTTP/1.".len();
            buffer.bytes_mut()[digit] = b'1';
        }
        let dropped = self.request.dropped();
        let events_path = &self.plane.proxy.events.path;
        buffer.start = match events_path.as_deref().filter(|_| in_flight.context().kind == Kind::Event) {
            None => rewrite(buffer.bytes_mut(), at, self.head_len, dropped, &lines[..added], end),
            Some(path) => {
                let bytes = &buffer.bytes_mut()[at..];
                let start = [self.request.method.of_head(bytes), b" ", path.as_bytes()].concat();
                let target = Span { start: 0, end: self.request.target.end };
                let below = dropped.iter().filter(|span| span.start >= target.end);
                let dropped: Vec<Span> = std::iter::once(target).chain(below.copied()).collect();
                let rest = rewrite(buffer.bytes_mut(), at, self.head_len, &dropped, &lines[..added], end);
                let at = rest - start.len();
                buffer.bytes_mut()[at..rest].copy_from_slice(&start);
                at
            }
        };
        self.head_len = end - buffer.start;
    }

    /// Sends what is left of the question.
    ///
    /// # Cancel safety
    /// What was not sent stays in `question`: a part of it would spoil the answer behind it.
    async fn finish_question(&mut self) -> io::Result<()> {
        while !self.question.is_empty() {
            let written = self.client.write(self.question).await?;
            self.question = &self.question[written..];
        }
        Ok(())
    }

    fn after_tunnel(&self, ended: Ended, in_flight: &mut InFlight<'_>) -> After {
        let (outcome, after) = match ended {
            Ended::Both | Ended::WorkerLeft => (Outcome::Served, After::Close),
            Ended::ClientBroke => (Outcome::ClientGone, After::Abort),
            Ended::WorkerBroke => {
                self.client.reset_on_close();
                (Outcome::Aborted, After::Abort)
            }
        };
        in_flight.finish(outcome);
        in_flight.release();
        after
    }

    /// One try on one connection.
    async fn attempt(&mut self, in_flight: &mut InFlight<'_>) -> Result<(), Failure> {
        let worker = in_flight.worker();
        let connection = match self.plane.idle_connection(worker) {
            Some(connection) => Ok(connection),
            // Boxed: requests that find a connection need not make room for opening one.
            None => Box::pin(self.plane.connection(worker)).await,
        };
        let connection = match connection {
            Ok(connection) => connection,
            Err(error) => {
                worker.suspect();
                return Err(Failure {
                    cause: Cause::Connect(error),
                    delivery: Delivery::Nothing,
                    is_held: true,
                    promise: Promise::default(),
                    was_idle: false,
                });
            }
        };
        let is_http10 = worker.is_http10();
        let was_idle = connection.uses > 0;
        in_flight.on_connected(was_idle);
        if self.request.expects_continue && !self.continued && !self.body.is_complete() && is_http10 {
            // It would wait for the body without a word (RFC 9110 §10.1.1). A question says the same.
            if self.question.is_empty() {
                self.question = CONTINUE;
            }
            self.continued = true;
        }
        let mut buffer = self.take_buffer();
        self.edit_head(&mut buffer, in_flight);
        let (next, until) = (buffer.start, buffer.start + self.head_len + self.body_len);
        let is_event = in_flight.context().kind == Kind::Event;
        let failures = is_event.then_some(&self.plane.proxy.events.failed);
        let mut relay = Relay {
            plane: self.plane,
            client: &mut *self.client,
            request: self.request,
            up: RequestBytes {
                buffer: &mut buffer,
                body: &mut *self.body,
                next,
                until,
                pipe: None,
                received: self.body_len as u64,
                written: 0,
                writes: 0,
                intact: true,
                stopped: false,
            },
            down: ResponseBytes::new(
                &self.plane.limits,
                std::mem::take(&mut self.question),
                self.continued,
                failures,
            ),
            connection: Some(connection),
            in_flight,
            departure: std::mem::take(&mut self.departure),
            sent: 0,
            answered_early: false,
            body_pace: Pace::new(self.plane.limits.body_timeout),
            write_pace: Pace::new(self.plane.limits.write_timeout),
            takes_pipes: self.takes_pipes,
        };
        let end = relay.run().await;
        let (intact, until) = (relay.up.intact, relay.up.until);
        let (keeps_client, ends_by_close) = (relay.down.keeps_client(), relay.down.ends_by_close());
        self.departure = relay.departure;
        let switched = match end {
            End::Switched => {
                relay.connection.take().map(|connection| (connection, relay.down.take_for_tunnel()))
            }
            _ => None,
        };
        if let Some((mut connection, down)) = switched {
            buffer.start = until;
            let mut tunnel =
                Tunnel::new(self.client, &mut connection.stream, Some(buffer), down, &self.plane.buffers);
            let ended = tunnel.run(|up, down| in_flight.on_bytes(up, down)).await;
            // Before the slot comes back: whoever gets it may open a connection of its own.
            drop(connection);
            self.after = self.after_tunnel(ended, in_flight);
            self.held = Held::Parked(Box::default());
            (self.head_len, self.body_len) = (0, 0);
            return Ok(());
        }
        let failure = match end {
            End::Switched => None,
            End::Served => {
                self.after = if keeps_client { After::KeepAlive } else { After::Close };
                None
            }
            End::ClientGone => {
                in_flight.finish(Outcome::ClientGone);
                // Its leaving may be a guess (`departure`); should it be there, a cut must not look like the end.
                if ends_by_close {
                    self.client.reset_on_close();
                }
                self.after = After::Abort;
                None
            }
            End::Aborted => {
                in_flight.finish(Outcome::Aborted);
                // Where a clean close would look like the end, it must be a reset. Elsewhere it must not:
                // a reset would destroy what was sent, earlier answers included.
                self.after = if ends_by_close {
                    self.client.reset_on_close();
                    After::Abort
                } else {
                    After::Close
                };
                None
            }
            End::Failed(cause, delivery) => {
                self.question = relay.down.own();
                let is_held = intact && self.body.is_complete();
                let head = if is_held { &buffer.filled()[..self.head_len] } else { &[][..] };
                let promise = Promise {
                    safe: self.request.repeatable,
                    idempotent: self.request.idempotent,
                    keyed: is_held && is_keyed(head),
                };
                Some(Failure { cause, delivery, is_held, promise, was_idle })
            }
        };
        self.held = match &failure {
            Some(_) if intact => {
                // More may have come to it.
                self.body_len = until - (buffer.start + self.head_len);
                Held::Buffer(buffer)
            }
            _ => {
                buffer.start = until;
                Held::Spent(buffer)
            }
        };
        failure.map_or(Ok(()), Err)
    }
}

/// Whether a head bears a key by which its worker knows the request again: what the platform's own client
/// takes for leave to repeat it.
fn is_keyed(head: &[u8]) -> bool {
    kept_fields(head, &[]).any(|(name, value)| {
        !value.is_empty()
            && (name.eq_ignore_ascii_case(b"idempotency-key")
                || name.eq_ignore_ascii_case(b"x-idempotency-key"))
    })
}

/// One less, in as many digits: `10` becomes `09`. Zero stays.
fn decrement(digits: &mut [u8]) {
    if digits.iter().all(|&digit| digit == b'0') {
        return;
    }
    for digit in digits.iter_mut().rev() {
        if *digit > b'0' {
            *digit -= 1;
            return;
        }
        *digit = b'9';
    }
}

impl<C: Stream, D: Dial> Exchange for Http1Exchange<'_, C, D> {
    fn head(&self) -> Head<'_> {
        let bytes = self.bytes();
        let is_last = |digits: Span| digits.of_head(bytes).iter().all(|&digit| digit == b'0');
        Head {
            method: self.request.method.of_head(bytes),
            target: self.request.target.of_head(bytes),
            last_hop: self
                .request
                .max_forwards
                .filter(|&digits| is_last(digits))
                .map(|_| &bytes[..self.head_len]),
            request_id: self.request.request_id.map(|span| span.of_head(bytes)),
            control_path: self.request.control_path.map(|span| span.of_head(bytes)),
            names_service: self.request.names_service,
            body_bytes: match self.request.framing {
                Framing::Length(length) => length,
                Framing::None | Framing::Chunked | Framing::UntilClose => self.body_len as u64,
            },
            received: self.head_len + self.body_len,
        }
    }

    fn caller(&self) -> Caller {
        let version = if self.request.minor_version == 0 { "1.0" } else { "1.1" };
        let lines = kept_lines(&self.bytes()[..self.head_len], self.request.target.end as usize, &[]);
        Caller {
            parent: caller::parent(lines.map(|line| (line.name, line.value))),
            version: self.client.version().unwrap_or(version),
        }
    }

    fn function(&self, noslate: &Noslate) -> Option<Chosen> {
        target::choose(noslate, self.bytes(), self.request)
    }

    fn session<'s>(&self, affinity: &'s Affinity) -> Option<Session<'s>> {
        let (head, from) = (&self.bytes()[..self.head_len], self.request.target.end as usize);
        affinity.session(head, from, self.request.dropped())
    }

    async fn collect(&mut self) -> Collected {
        if !self.plane.limits.collect_requests || self.body.is_complete() {
            return Collected::Ready;
        }
        if self.request.expects_continue {
            // No worker can be asked before it has a slot.
            if self.client.write_all(CONTINUE).await.is_err() {
                return Collected::Gone;
            }
            self.continued = true;
        }
        let mut pace = Pace::new(self.plane.limits.body_timeout);
        let mut buffer = self.take_buffer();
        let collected = poll_fn(|cx| {
            loop {
                if self.body.is_complete() || buffer.space().is_empty() {
                    return Poll::Ready(Collected::Ready);
                }
                let filled = buffer.filled().len();
                match poll_fill(self.client, &mut buffer, cx) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Collected::Gone),
                    Poll::Ready(Ok(_)) => match self.body.take(&buffer.filled()[filled..]) {
                        Ok(taken) => self.body_len += taken,
                        Err(fault) => return Poll::Ready(Collected::BadBody(fault)),
                    },
                    Poll::Pending => {
                        let body_len = self.body_len as u64;
                        return pace.poll(true, || body_len, cx).map(Collected::TooSlow);
                    }
                }
            }
        })
        .await;
        self.held = Held::Buffer(buffer);
        // It may have waited through a freeze.
        clock::look();
        if collected == Collected::Gone {
            self.after = After::Abort;
        }
        collected
    }

    fn held_bytes(&self) -> usize {
        self.bytes().len()
    }

    fn park(&mut self) {
        if let Held::Buffer(buffer) = &self.held {
            self.held = Held::Parked(buffer.filled().into());
        }
    }

    async fn abandoned(&mut self) {
        let answer = if self.request.minor_version == 0 { Answer::NotBegunPlain } else { Answer::NotBegun };
        loop {
            let advice = poll_fn(|cx| self.departure.poll(self.client, answer, 0, 0, cx)).await;
            if advice == Advice::Ask {
                self.question = CONTINUE;
            }
            if advice == Advice::Gone || self.finish_question().await.is_err() {
                self.after = After::Abort;
                return;
            }
        }
    }

    async fn relay(&mut self, in_flight: &mut InFlight<'_>) -> Result<(), Failed> {
        loop {
            match self.attempt(in_flight).await {
                Ok(()) => return Ok(()),
                // A kept-alive connection that closed while nobody looked: the next one, same slot. Ends
                // because every failed one is gone for good; a new one that closes at once is not.
                Err(Failure {
                    cause: Cause::Closed, delivery: Delivery::Nothing, was_idle: true, ..
                }) => {}
                // It said which protocol it speaks; from now on it is told in that one.
                Err(Failure { cause: Cause::Protocol(_), delivery: Delivery::Nothing, .. }) => {}
                Err(Failure { cause, delivery, is_held, promise, .. }) => {
                    return Err(Failed { cause, delivery, is_held, promise });
                }
            }
        }
    }

    fn errand(&self, context: &Context) -> Vec<u8> {
        errand::message(self.request, &self.bytes()[..self.head_len], &context.id)
    }

    async fn run_errand(&self, worker: &Arc<Worker>, message: &[u8]) -> io::Result<u16> {
        errand::run(self.plane, worker, message).await
    }

    fn forget_idle(&self) {
        self.plane.idle.forget();
    }

    async fn reply(&mut self, context: Context, reply: LocalReply) {
        // A client that waits for 100 may or may not send its body now: what follows could be either.
        let body_in_doubt = self.request.expects_continue && !self.continued && !self.body.is_complete();
        let close = reply.close
            || !self.request.persistent
            || self.plane.is_draining()
            || body_in_doubt
            || self.request.upgrade.is_some();
        let bytes = reply.to_bytes(close, self.request.is_head);
        context.finish_locally(&reply, bytes.len());
        let limit = self.plane.limits.write_timeout;
        let sending = async {
            self.finish_question().await?;
            self.client.write_all(&bytes).await
        };
        self.after = match within(limit, sending).await {
            Some(Ok(())) if close => After::Close,
            Some(Ok(())) => After::KeepAlive,
            Some(Err(_)) | None => After::Abort,
        };
    }
}
