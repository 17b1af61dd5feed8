//! One request and its answer on one connection of the load.
//!
//! The request is bytes, made once; the answer is read while the request is
//! still being sent, and judged when it has ended.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep, timeout};

use crate::body::Malformed;
use crate::http::{Answer, Message, Reader, parse_answer, parse_answer_to_head};
use crate::load::LoadArgs;
use crate::scratch::with_scratch;
use crate::tally::ErrorKind;
use crate::target::{Stream, Target};

/// Piece size of chunked request bodies.
const CHUNK_BYTES: usize = 16 << 10;

/// What every connection needs to know.
#[derive(Debug)]
pub(crate) struct Plan {
    target: Target,
    request: Vec<u8>,
    is_head: bool,
    expect_status: Option<u16>,
    expect_body_bytes: Option<u64>,
    pub(crate) is_fresh: bool,
    timeout: Duration,
}

impl Plan {
    pub(crate) fn new(args: &LoadArgs) -> Self {
        Self {
            target: args.target.clone(),
            request: request_bytes(args),
            is_head: args.method.as_deref() == Some("HEAD"),
            expect_status: None,
            expect_body_bytes: args.expect_body_bytes,
            is_fresh: args.new_connection_per_request,
            timeout: Duration::from_millis(args.timeout_ms),
        }
    }
}

/// What a good answer is, beyond a status that is neither 4xx nor 5xx.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    /// Status code; any but a failure if `None`.
    pub(crate) status: Option<u16>,
    /// Bytes of content; any number if `None`.
    pub(crate) body_bytes: Option<u64>,
}

impl Plan {
    /// For one request whose bytes are given, on connections that are kept.
    pub(crate) fn of_request(
        target: Target,
        request: Vec<u8>,
        is_head: bool,
        expected: Expected,
        timeout: Duration,
    ) -> Self {
        let Expected { status: expect_status, body_bytes: expect_body_bytes } = expected;
        Self { target, request, is_head, expect_status, expect_body_bytes, is_fresh: false, timeout }
    }
}

/// Adds a body to the head of a request.
pub(crate) fn append_body(bytes: &mut Vec<u8>, body: &[u8], is_chunked: bool) {
    if !is_chunked {
        bytes.extend_from_slice(body);
        return;
    }
    for chunk in body.chunks(CHUNK_BYTES) {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
}

/// The whole request, sent again and again.
fn request_bytes(args: &LoadArgs) -> Vec<u8> {
    let method = args.method.as_deref().unwrap_or(if args.body_bytes.is_some() { "POST" } else { "GET" });
    let mut head =
        format!("{method} {} HTTP/1.1\r\nhost: localhost\r\nuser-agent: warmfront-bench\r\n", args.path);
    for i in 0..args.header_count {
        head += &format!("x-extra-{i:03}: value-of-field-{i:03}\r\n");
    }
    if args.new_connection_per_request {
        head += "connection: close\r\n";
    }
    match args.body_bytes {
        Some(_) if args.chunked_body => head += "transfer-encoding: chunked\r\n",
        Some(length) => head += &format!("content-length: {length}\r\n"),
        None => {}
    }
    let mut bytes = (head + "\r\n").into_bytes();
    let body = vec![b'x'; args.body_bytes.unwrap_or(0)];
    append_body(&mut bytes, &body, args.chunked_body);
    bytes
}

/// Why an exchange has no good answer, with the detail a person needs.
pub(crate) type Failure = (ErrorKind, String);

/// One connection and the exchange on it.
pub(crate) struct Connection {
    stream: Stream,
    reader: Reader<Answer>,
    sent: usize,
    started: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl Connection {
    /// Connects; nothing is sent yet.
    pub(crate) async fn open(plan: &Plan) -> Result<Self, Failure> {
        match timeout(plan.timeout, plan.target.connect()).await {
            Ok(Ok(stream)) => Ok(Self {
                stream,
                reader: Reader::new(parse_answer),
                sent: 0,
                started: Instant::now(),
                alarm: Box::pin(sleep(plan.timeout)),
            }),
            Ok(Err(error)) => Err((ErrorKind::Connect, error.to_string())),
            Err(_) => Err((ErrorKind::Timeout, "connect".into())),
        }
    }

    /// Whether the other side has neither closed nor said anything since the last answer.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        poll_fn(|cx| {
            let mut into = [0; 1];
            let mut into = ReadBuf::new(&mut into);
            Poll::Ready(Pin::new(&mut self.stream).poll_read(cx, &mut into).is_pending())
        })
        .await
    }

    /// Sends the request and reads its answer, reading while sending.
    fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        plan: &Plan,
        on_content: &mut impl FnMut(&[u8]),
    ) -> Poll<Result<Message<Answer>, Failure>> {
        loop {
            if let Some(rest) = plan.request.get(self.sent..).filter(|rest| !rest.is_empty()) {
                match Pin::new(&mut self.stream).poll_write(cx, rest) {
                    Poll::Ready(Ok(n)) => {
                        self.sent += n;
                        continue;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(io_failure(&error, "sending"))),
                    Poll::Pending => {}
                }
            }
            match self.poll_message(cx, on_content) {
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Ok(Some(message))) => return Poll::Ready(Ok(message)),
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => {
                    ready!(self.poll_alarm(cx, plan.timeout));
                    return Poll::Ready(Err((
                        ErrorKind::Timeout,
                        format!("no answer in {:?}", plan.timeout),
                    )));
                }
            }
        }
    }

    /// One read. `None` if the answer has not ended yet.
    fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
        on_content: &mut impl FnMut(&[u8]),
    ) -> Poll<Result<Option<Message<Answer>>, Failure>> {
        with_scratch(|scratch| {
            let mut into = ReadBuf::new(scratch);
            if let Err(error) = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut into)) {
                return Poll::Ready(Err(io_failure(&error, "reading")));
            }
            let bytes = into.filled();
            if bytes.is_empty() {
                let is_clean = self.reader.is_between_messages();
                let place = if is_clean { "before the answer began" } else { "inside the answer" };
                let end = self.reader.finish();
                return Poll::Ready(end.map(Some).ok_or_else(|| (ErrorKind::Eof, place.to_owned())));
            }
            Poll::Ready(match self.reader.feed_to(bytes, &mut |_, piece| on_content(piece)) {
                Ok((taken, Some(_))) if taken < bytes.len() => {
                    Err((ErrorKind::BadResponse, format!("{} bytes after the answer", bytes.len() - taken)))
                }
                Ok((_, message)) => Ok(message),
                Err(Malformed(why)) => Err((ErrorKind::BadResponse, why)),
            })
        })
    }

    /// Ready once the exchange has taken too long. Arming a timer per request
    /// would cost more than the request; it is moved only when it rings early.
    fn poll_alarm(&mut self, cx: &mut Context<'_>, timeout: Duration) -> Poll<()> {
        loop {
            ready!(self.alarm.as_mut().poll(cx));
            let due = self.started + timeout;
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            self.alarm.as_mut().reset(due.into());
        }
    }

    /// Waits for the close that the request asked for.
    async fn closed_by_server(&mut self, plan: &Plan) -> Result<(), Failure> {
        let end = poll_fn(|cx| {
            with_scratch(|scratch| {
                let mut into = ReadBuf::new(scratch);
                Pin::new(&mut self.stream).poll_read(cx, &mut into).map_ok(|()| into.filled().len())
            })
        });
        match timeout(plan.timeout, end).await {
            Ok(Ok(0)) => Ok(()),
            Ok(Ok(n)) => Err((ErrorKind::BadResponse, format!("{n} bytes after the answer"))),
            Ok(Err(error)) => Err(io_failure(&error, "waiting for the close")),
            Err(_) => Err((ErrorKind::Timeout, "not closed after `connection: close`".into())),
        }
    }
}

/// How a broken connection is counted.
pub(crate) fn io_failure(error: &io::Error, doing: &str) -> Failure {
    let kind = match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::WriteZero => ErrorKind::Eof,
        _ => ErrorKind::Reset,
    };
    (kind, format!("{doing}: {error}"))
}

/// What is wrong with a whole answer, if anything.
fn judge(plan: &Plan, message: &Message<Answer>) -> Result<(), Failure> {
    let status = message.head.status;
    if plan.expect_status.map_or(status >= 400, |expected| expected != status) {
        let kind = match status {
            400..500 => ErrorKind::Status4xx,
            500.. => ErrorKind::Status5xx,
            _ => ErrorKind::BadResponse,
        };
        let instead = plan.expect_status.map(|expected| format!(", not {expected}")).unwrap_or_default();
        return Err((kind, format!("status {status}{instead}")));
    }
    match plan.expect_body_bytes {
        Some(expected) if message.body_bytes != expected => {
            Err((ErrorKind::BodyLength, format!("{} bytes, not {expected}", message.body_bytes)))
        }
        _ => Ok(()),
    }
}

/// What a good answer took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchanged {
    /// Content of the answer.
    pub(crate) body_bytes: u64,
    /// From when the request was due, or from its start if nothing said when.
    pub(crate) latency: Duration,
    /// From its start, whenever it was due.
    pub(crate) service: Duration,
    /// How long after it was due the request was started.
    pub(crate) delay: Option<Duration>,
}

/// One request on `kept` or a new connection; leaves in `kept` what can be used again.
pub(crate) async fn exchange(
    plan: &Plan,
    kept: &mut Option<Connection>,
    due: Option<Instant>,
) -> Result<Exchanged, Failure> {
    exchange_with(plan, kept, due, &mut |_| {}).await
}

/// The same, with each piece of the answer's content handed to `on_content` as it arrives.
pub(crate) async fn exchange_with(
    plan: &Plan,
    kept: &mut Option<Connection>,
    due: Option<Instant>,
    on_content: &mut impl FnMut(&[u8]),
) -> Result<Exchanged, Failure> {
    let started = Instant::now();
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::open(plan).await?,
    };
    connection.started = started;
    connection.sent = 0;
    if plan.is_head {
        connection.reader = Reader::new(parse_answer_to_head);
    }
    let message = poll_fn(|cx| connection.poll_exchange(cx, plan, on_content)).await?;
    let done = Instant::now();
    let latency = done - due.unwrap_or(started);
    if plan.is_head {
        // The next request on it may be of another kind.
        connection.reader = Reader::new(parse_answer);
    }
    let was_sent = connection.sent == plan.request.len();
    if plan.is_fresh {
        connection.closed_by_server(plan).await?;
    } else if message.head.keeps_alive && was_sent {
        *kept = Some(connection);
    }
    judge(plan, &message)?;
    Ok(Exchanged {
        body_bytes: message.body_bytes,
        latency,
        service: done - started,
        delay: due.map(|due| started - due),
    })
}
