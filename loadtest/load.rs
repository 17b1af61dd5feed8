//! Closed-loop load: every connection sends its next request when the last was answered.
//!
//! Raw sockets, one runtime per thread, one read buffer per thread. A run has
//! two parts: connections are opened and warmed, then the measured part runs
//! between two edges at which nothing is in flight. CPU of other processes is
//! read at those edges, so that connecting and warming are not in the figure.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep, timeout};

use crate::body::Malformed;
use crate::cpu;
use crate::http::{Answer, Message, Reader, parse_answer, parse_answer_to_head};
use crate::scratch::with_scratch;
use crate::tally::{ErrorKind, LoadReport, Tally};
use crate::target::{Stream, Target};

/// Piece size of chunked request bodies.
const CHUNK_BYTES: usize = 16 << 10;
/// Pause after a refused connect, so that a target that is down is not hammered.
const CONNECT_PAUSE: Duration = Duration::from_millis(1);
/// Rest before CPU is read, so that every thread of the target is off the CPU and accounted.
const EDGE_REST: Duration = Duration::from_millis(10);

/// Flags of `load`.
#[derive(Args, Clone, Debug)]
pub(crate) struct LoadArgs {
    /// Loopback ADDRESS:PORT or unix:PATH.
    #[arg(long)]
    pub(crate) target: Target,
    /// Request target.
    #[arg(long, default_value = "/")]
    pub(crate) path: String,
    /// Connections open at the same time, over all threads.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) connections: u32,
    /// Requests of the measured part, over all connections.
    #[arg(long, default_value_t = 100_000, conflicts_with = "seconds")]
    pub(crate) requests: u64,
    /// Length of the measured part instead of a number of requests.
    #[arg(long)]
    pub(crate) seconds: Option<f64>,
    /// Method; GET without and POST with a body.
    #[arg(long)]
    pub(crate) method: Option<String>,
    /// Bytes of content in each request.
    #[arg(long)]
    pub(crate) body_bytes: Option<usize>,
    /// Send the content in chunks of 16 KiB instead of with a Content-Length.
    #[arg(long, requires = "body_bytes")]
    pub(crate) chunked_body: bool,
    /// Additional header fields in each request.
    #[arg(long, default_value_t = 0)]
    pub(crate) header_count: usize,
    /// One connection per request, which the server has to close.
    #[arg(long)]
    pub(crate) new_connection_per_request: bool,
    /// Threads of this program.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) threads: u32,
    /// Requests before the measured part; their errors count, their times do not.
    #[arg(long, default_value_t = 0)]
    pub(crate) warmup_requests: u64,
    /// Content length every answer must have; any if absent.
    #[arg(long)]
    pub(crate) expect_body_bytes: Option<u64>,
    /// Longest wait for one answer, in milliseconds.
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub(crate) timeout_ms: u64,
    /// Longest run, in seconds; requests that were not sent by then make it fail.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) limit_s: u64,
    /// Processes whose CPU time is read around the measured part.
    #[arg(long, value_delimiter = ',', value_name = "PID")]
    pub(crate) cpu_of: Vec<u32>,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What every connection needs to know.
#[derive(Debug)]
struct Plan {
    target: Target,
    request: Vec<u8>,
    is_head: bool,
    expect_body_bytes: Option<u64>,
    is_fresh: bool,
    timeout: Duration,
}

impl Plan {
    fn new(args: &LoadArgs) -> Self {
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

/// What the connections of one thread share: requests to send and what came of them.
#[derive(Debug)]
struct Lane {
    left: u64,
    until: Instant,
    tally: Tally,
}

/// Never contended: all holders run on one thread and none waits while holding it.
type SharedLane = Arc<Mutex<Lane>>;

fn lock(lane: &SharedLane) -> MutexGuard<'_, Lane> {
    lane.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes one request off the lane, if there is one and time for it.
fn take_request(lane: &SharedLane, now: Instant) -> bool {
    let mut lane = lock(lane);
    let may = lane.left > 0 && now < lane.until;
    if may {
        lane.left -= 1;
    }
    may
}

/// Why an exchange has no good answer, with the detail a person needs.
type Failure = (ErrorKind, String);

/// One connection and the exchange on it.
struct Connection {
    stream: Stream,
    reader: Reader<Answer>,
    sent: usize,
    started: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl Connection {
    async fn open(plan: &Plan) -> Result<Self, Failure> {
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

/// One request on `kept` or a new connection; leaves in `kept` what can be used again.
async fn exchange(plan: &Plan, kept: &mut Option<Connection>) -> Result<(u64, Duration), Failure> {
    let started = Instant::now();
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::open(plan).await?,
    };
    connection.started = started;
    connection.sent = 0;
    let message = poll_fn(|cx| connection.poll_exchange(cx, plan)).await?;
    let latency = started.elapsed();
    let was_sent = connection.sent == plan.request.len();
    if plan.is_fresh {
        connection.closed_by_server(plan).await?;
    } else if message.head.keeps_alive && was_sent {
        *kept = Some(connection);
    }
    judge(plan, &message)?;
    Ok((message.body_bytes, latency))
}

/// One connection's part: requests until the lane has none left.
async fn send_all(plan: Arc<Plan>, lane: SharedLane, mut kept: Option<Connection>) -> Option<Connection> {
    while take_request(&lane, Instant::now()) {
        match exchange(&plan, &mut kept).await {
            Ok((body_bytes, latency)) => lock(&lane).tally.add(body_bytes, latency),
            Err((kind, detail)) => {
                lock(&lane).tally.fail(kind, detail);
                if kind == ErrorKind::Connect {
                    sleep(CONNECT_PAUSE).await;
                }
            }
        }
    }
    kept
}

/// One thread's share of the run.
#[derive(Clone, Copy, Debug)]
struct Share {
    connections: u32,
    warmup: u64,
    requests: u64,
    period: Duration,
    has_period: bool,
}

/// Splits `total` over `parts`; the first parts take what is left over.
fn share_of(total: u64, parts: u64, index: u64) -> u64 {
    total / parts + u64::from(index < total % parts)
}

/// What a thread tells; it waits to be told to go on after each.
enum Stage {
    Warm,
    Finished(Box<Tally>),
}

fn drive(
    plan: Arc<Plan>,
    share: Share,
    tell: &mpsc::Sender<Stage>,
    go_on: &mpsc::Receiver<()>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut connections: Vec<Option<Connection>> = (0..share.connections).map(|_| None).collect();
    let mut errors = Tally::new();
    for is_measured in [false, true] {
        let lane = Arc::new(Mutex::new(Lane {
            left: if is_measured { share.requests } else { share.warmup },
            until: Instant::now() + share.period,
            tally: Tally::new(),
        }));
        connections = runtime.block_on(run_part(&plan, &lane, connections, is_measured));
        let mut lane = lock(&lane);
        if is_measured && !share.has_period {
            lane.tally.unsent = lane.left;
        }
        let mut tally = std::mem::replace(&mut lane.tally, Tally::new());
        let stage = if is_measured {
            tally.merge_errors(&errors);
            Stage::Finished(Box::new(tally))
        } else {
            errors = tally;
            Stage::Warm
        };
        // Whoever listened is gone: nothing left to measure for.
        if tell.send(stage).is_err() || go_on.recv().is_err() {
            return Ok(());
        }
    }
    Ok(())
}

async fn run_part(
    plan: &Arc<Plan>,
    lane: &SharedLane,
    connections: Vec<Option<Connection>>,
    is_measured: bool,
) -> Vec<Option<Connection>> {
    let mut tasks = Vec::with_capacity(connections.len());
    for mut kept in connections {
        if !is_measured && !plan.is_fresh {
            // Opened before anything is measured; a failure shows when the first request tries again.
            kept = Connection::open(plan).await.ok();
        }
        tasks.push(tokio::spawn(send_all(Arc::clone(plan), Arc::clone(lane), kept)));
    }
    let mut kept = Vec::with_capacity(tasks.len());
    for task in tasks {
        kept.push(task.await.ok().flatten());
    }
    kept
}

/// Runs the load; blocks until it is over.
///
/// # Errors
/// No thread or runtime could be made, or a process in `--cpu-of` does not exist.
/// Failed requests are no error here: they are in the report.
pub(crate) fn run(args: &LoadArgs) -> io::Result<LoadReport> {
    let plan = Arc::new(Plan::new(args));
    let threads = args.threads.min(args.connections);
    let limit = Duration::from_secs(args.limit_s);
    let period = args.seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(limit).min(limit));
    let (tell, told) = mpsc::channel();
    let mut lanes = Vec::new();
    for index in 0..threads {
        let part = |total| share_of(total, threads.into(), index.into());
        let share = Share {
            connections: u32::try_from(part(args.connections.into())).unwrap_or(args.connections),
            warmup: part(args.warmup_requests),
            requests: if period.is_some() { u64::MAX } else { part(args.requests) },
            period: period.unwrap_or(limit),
            has_period: period.is_some(),
        };
        let (go, go_on) = mpsc::channel();
        let (plan, tell) = (Arc::clone(&plan), tell.clone());
        let thread = thread::Builder::new()
            .name(format!("load-{index}"))
            .spawn(move || drive(plan, share, &tell, &go_on))?;
        lanes.push((thread, go));
    }
    drop(tell);
    // A thread that is gone shows when its next stage does not come, or at the join.
    let go_on = || {
        lanes.iter().for_each(|(_, go)| {
            let _ = go.send(());
        })
    };

    let mut report = LoadReport::new();
    await_stage(&told, lanes.len(), |_| {})?;
    let cpu_before = cpu_at_rest(&args.cpu_of)?;
    let started = Instant::now();
    go_on();
    await_stage(&told, lanes.len(), |tally| report.tally.merge(&tally))?;
    report.elapsed = started.elapsed();
    let cpu_after = cpu_at_rest(&args.cpu_of)?;
    report.cpu_ns = cpu_after.zip(cpu_before).map(|(after, before)| after.saturating_sub(before));
    go_on();
    for (thread, _) in lanes {
        thread.join().map_err(|_| io::Error::other("a load thread panicked"))??;
    }
    Ok(report)
}

/// Waits until every thread has told its stage.
fn await_stage(
    told: &mpsc::Receiver<Stage>,
    threads: usize,
    mut finished: impl FnMut(Tally),
) -> io::Result<()> {
    for _ in 0..threads {
        match told.recv() {
            Ok(Stage::Warm) => {}
            Ok(Stage::Finished(tally)) => finished(*tally),
            Err(mpsc::RecvError) => {
                return Err(io::Error::other("a load thread could not start its runtime"));
            }
        }
    }
    Ok(())
}

fn cpu_at_rest(pids: &[u32]) -> io::Result<Option<u64>> {
    if pids.is_empty() {
        return Ok(None);
    }
    thread::sleep(EDGE_REST);
    cpu::cpu_ns(pids).map(Some)
}
