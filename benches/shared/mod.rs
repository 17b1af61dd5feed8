//! The steps of a request's way, one by one and all together, for both rulers: `steps` takes their time,
//! `counts` their instructions.
//!
//! Messages are what clients and workers really send.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use warmfront::config::{AccessLog, EngineChoice, Limits, Protocol, Queue, Reported};
use warmfront::engine;
use warmfront::engine::data_plane::{DataPlane, Manners};
use warmfront::http1::Parsed;
use warmfront::http1::chunked::Scanner;
use warmfront::http1::request::Request;
use warmfront::http1::response::Response;
use warmfront::http1::rewrite::{HEADROOM, rewrite};
use warmfront::id::RequestId;
use warmfront::listener::Settling;
use warmfront::proxy::Proxy;
use warmfront::proxy::admission::Gate;
use warmfront::telemetry::access::{Outcome, Record, Start};
use warmfront::upstream::balance::choose;
use warmfront::upstream::pool::{Address, Pool, Worker, WorkerId};

/// What curl sends through the platform.
const SMALL: &str = "GET /hello?name=x HTTP/1.1\r\nHost: example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\
                     x-fc-request-id: 1-6b0071b6-a5b408cb-c55f264d8ccd\r\n\r\n";

/// What Express answers.
const NODE: &str = "HTTP/1.1 200 OK\r\nX-Powered-By: Express\r\nContent-Type: text/html; charset=utf-8\r\n\
                    Content-Length: 19\r\nETag: W/\"13-ZzHFrlVPdFdPT7b6qsGrA9mzNY8\"\r\n\
                    Date: Fri, 20 Nov 2026 16:09:35 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n";

/// The answer of the whole forward, with a body of 1 KiB behind it.
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n";
const ANSWER_BYTES: usize = ANSWER.len() + 1024;

const DAY: Duration = Duration::from_secs(86_400);

/// One step, and what it is called; runs as often as it is told.
pub(crate) type Step = (&'static str, Box<dyn FnMut(u64)>);

/// The steps that only compute.
pub(crate) fn steps() -> Vec<Step> {
    vec![
        ("head: read a small request", read_request(SMALL.to_owned())),
        ("head: read a request of 96 fields", read_request(request_of_96_fields())),
        ("head: read an answer of Node's, with its framing", read_answer()),
        ("head: add a line", edit(SMALL, &[], b"x-fc-request-id: 1-6b0071b6-a5b408cb-c55f264d8ccd\r\n")),
        ("head: drop two lines", drop_two_lines()),
        ("body: scan 64 KiB in chunks of 256 bytes", scan_chunks()),
        ("id: make one", repeat(make_id)),
        ("choice: least of 8 workers", choice()),
        ("gate: enter and leave", enter_and_leave()),
        ("access line: text", access_line(AccessLog::Text)),
        ("access line: JSON", access_line(AccessLog::Json)),
        ("access line: left out of a sample", left_out()),
    ]
}

fn repeat(mut step: impl FnMut() + 'static) -> Box<dyn FnMut(u64)> {
    Box::new(move |times| (0..times).for_each(|_| step()))
}

/// A browser behind several proxies, at its worst.
fn request_of_96_fields() -> String {
    let fields: String =
        (0..95).map(|number| format!("X-Field-{number}: value of field {number}\r\n")).collect();
    format!("GET / HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n")
}

fn read_request(text: String) -> Box<dyn FnMut(u64)> {
    let limits = Limits::default();
    repeat(move || {
        let parsed = Request::parse(black_box(text.as_bytes()), &limits);
        assert!(matches!(black_box(parsed), Ok(Parsed::Complete(_))));
    })
}

fn read_answer() -> Box<dyn FnMut(u64)> {
    let limits = Limits::default();
    repeat(move || {
        let parsed = Response::parse(black_box(NODE.as_bytes()), &limits, false);
        assert!(matches!(black_box(parsed), Ok(Parsed::Complete(_))));
    })
}

/// Rewriting consumes the head, so each round starts with a copy of it: a few ns, a few dozen instructions.
fn edit(head: &'static str, dropped: &[warmfront::http1::Span], added: &'static [u8]) -> Box<dyn FnMut(u64)> {
    let mut buffer = [&[0; HEADROOM], head.as_bytes()].concat();
    let (end, dropped) = (buffer.len(), dropped.to_vec());
    repeat(move || {
        buffer[HEADROOM..].copy_from_slice(head.as_bytes());
        black_box(rewrite(&mut buffer, HEADROOM, head.len(), black_box(&dropped), added, end));
    })
}

fn drop_two_lines() -> Box<dyn FnMut(u64)> {
    let Ok(Parsed::Complete(response)) = Response::parse(NODE.as_bytes(), &Limits::default(), false) else {
        panic!("the head is sound")
    };
    assert_eq!(response.dropped().len(), 1, "one gap: Connection and Keep-Alive");
    edit(NODE, response.dropped(), b"")
}

/// Chunks of 256 bytes, as servers make of many small writes; 64 KiB of data in all.
fn scan_chunks() -> Box<dyn FnMut(u64)> {
    let mut body = [b"100\r\n".as_slice(), &[b'x'; 256], b"\r\n"].concat().repeat(256);
    body.extend_from_slice(b"0\r\n\r\n");
    repeat(move || {
        let mut scanner = Scanner::new();
        let taken = scanner.scan(black_box(&body), |data| {
            black_box(data);
        });
        assert!(scanner.is_done() && taken.is_ok());
    })
}

fn make_id() {
    black_box(RequestId::generate_at(black_box(1_795_000_000)));
}

fn choice() -> Box<dyn FnMut(u64)> {
    let workers = [(4, 3), (4, 2), (4, 4), (4, 1), (4, 2), (4, 1), (4, 3), (4, 1)];
    let mut rotation = 0;
    repeat(move || {
        rotation += 1;
        black_box(choose(black_box(workers).into_iter(), rotation));
    })
}

fn worker(address: Address) -> Arc<Worker> {
    Worker::new(WorkerId(1), address, 100, Arc::new(Notify::new()))
}

fn gate(address: Address) -> Gate {
    let bounds = Queue { depth: 100, bytes: 1 << 20, timeout: DAY, newest_first_after: DAY };
    let gate = Gate::new(bounds, Instant::now() + DAY);
    gate.install(Arc::new(Pool::new(vec![worker(address)])));
    gate
}

fn enter_and_leave() -> Box<dyn FnMut(u64)> {
    let gate = gate(Address::Tcp(([127, 0, 0, 1], 1).into()));
    repeat(move || drop(black_box(gate.try_enter().expect("a free slot"))))
}

/// A record as it is when its request ends, a moment before it does.
fn record(format: AccessLog, reported: Reported) -> (Box<Record>, Instant) {
    let now = Instant::now();
    let id = RequestId::sanitised(b"1-6b0071b6-a5b408cb-c55f264d8ccd");
    let record = Record::begin(format, reported, id, b"GET", b"/hello?name=x", Start::Warm, now);
    let mut record = record.expect("switched on");
    (record.admitted, record.connected) = (Some(now), Some(now + Duration::from_micros(12)));
    (record.first_byte, record.worker, record.status) =
        (Some(now + Duration::from_micros(1500)), Some(3), 200);
    (record.bytes_in, record.bytes_out) = (150, 1300);
    (record, now + Duration::from_micros(1600))
}

fn access_line(format: AccessLog) -> Box<dyn FnMut(u64)> {
    let ((record, now), mut line) = (record(format, Reported::ALL), Vec::new());
    repeat(move || {
        line.clear();
        record.line(&mut line, Outcome::Served, now);
        black_box(&line);
    })
}

fn left_out() -> Box<dyn FnMut(u64)> {
    let (record, now) = record(AccessLog::Text, Reported { one_in: 1_000_000, slow: Some(DAY) });
    repeat(move || assert!(!black_box(&record).is_reported(Outcome::Served, now)))
}

// === the whole forward ===

/// Starts a data plane of one thread in front of the worker at `socket`.
pub(crate) fn forward(socket: &Path, is_observed: bool) -> (DataPlane, SocketAddr) {
    let gate = gate(Address::Unix(socket.to_owned()));
    let proxy = Arc::new(Proxy { is_observed, ..Proxy::silent(gate) });
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket can");
    let address = listener.local_addr().expect("a bound port");
    let limits = Limits::default();
    let settling = Settling::default();
    let protocol = Protocol::Http1;
    let manners = Manners { limits, connections_max: 1000, connect_timeout: DAY, protocol, settling };
    (engine::start(EngineChoice::Epoll, vec![listener], &proxy, manners).expect("a thread"), address)
}

/// Answers on one connection after the other.
pub(crate) fn answer(listener: &UnixListener) {
    let answer = [ANSWER.as_bytes(), &[b'.'; 1024]].concat();
    for stream in listener.incoming() {
        let mut stream: UnixStream = stream.expect("a connection");
        let mut buffer = [0; 4096];
        while matches!(stream.read(&mut buffer), Ok(1..)) && stream.write_all(&answer).is_ok() {}
    }
}

/// One client's connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: [u8; 4096],
}

impl Client {
    /// To a data plane of [`forward`].
    pub(crate) fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("a socket can");
        Self { stream, buffer: [0; 4096] }
    }

    /// One request and its whole answer.
    pub(crate) fn ask(&mut self) {
        self.stream.write_all(SMALL.as_bytes()).expect("it is read");
        let mut filled = 0;
        while filled < ANSWER_BYTES {
            let count = self.stream.read(&mut self.buffer[filled..]).expect("an answer");
            assert!(count > 0, "an answer that is not cut");
            filled += count;
        }
    }
}
