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
            expect_body_bytes: args.expect_body_bytes,
            is_fresh: args.new_connection_per_request,
            timeout: Duration::from_millis(args.timeout_ms),
        }
    }
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
    if args.chunked_body {
        for chunk in body.chunks(CHUNK_BYTES) {
            bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
    } else {
        bytes.extend_from_slice(&body);
    }
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
        let parse = if plan.is_head { parse_answer_to_head } else { parse_answer };
        match timeout(plan.timeout, plan.target.connect()).await {
            Ok(Ok(stream)) => Ok(Self {
                stream,
                reader: Reader::new(parse),
                sent: 0,
                started: Instant::now(),
                alarm: Box::pin(sleep(plan.timeout)),
            }),
            Ok(Err(error)) => Err((ErrorKind::Connect, error.to_string())),
            Err(_) => Err((ErrorKind::Timeout, "connect".into())),
        }
    }

    /// Sends the request and reads its answer, reading while sending.
    fn poll_exchange(&mut self, cx: &mut Context<'_>, plan: &Plan) -> Poll<Result<Message<Answer>, Failure>> {
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
            match self.poll_message(cx) {
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
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message<Answer>>, Failure>> {
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
            Poll::Ready(match self.reader.feed(bytes) {
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

fn io_failure(error: &io::Error, doing: &str) -> Failure {
    let kind = match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::WriteZero => ErrorKind::Eof,
        _ => ErrorKind::Reset,
    };
    (kind, format!("{doing}: {error}"))
}

/// What is wrong with a whole answer, if anything.
fn judge(plan: &Plan, message: &Message<Answer>) -> Result<(), Failure> {
    match (message.head.status, plan.expect_body_bytes) {
        (status @ 400..500, _) => Err((ErrorKind::Status4xx, format!("status {status}"))),
        (status @ 500.., _) => Err((ErrorKind::Status5xx, format!("status {status}"))),
        (_, Some(expected)) if message.body_bytes != expected => {
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
    /// How long after it was due the request was started.
    pub(crate) delay: Option<Duration>,
}

/// One request on `kept` or a new connection; leaves in `kept` what can be used again.
pub(crate) async fn exchange(
    plan: &Plan,
    kept: &mut Option<Connection>,
    due: Option<Instant>,
) -> Result<Exchanged, Failure> {
    let started = Instant::now();
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::open(plan).await?,
    };
    connection.started = started;
    connection.sent = 0;
    let message = poll_fn(|cx| connection.poll_exchange(cx, plan)).await?;
    let latency = due.unwrap_or(started).elapsed();
    let was_sent = connection.sent == plan.request.len();
    if plan.is_fresh {
        connection.closed_by_server(plan).await?;
    } else if message.head.keeps_alive && was_sent {
        *kept = Some(connection);
    }
    judge(plan, &message)?;
    Ok(Exchanged { body_bytes: message.body_bytes, latency, delay: due.map(|due| started - due) })
}
