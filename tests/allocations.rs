//! No allocation per request, and a small one per connection: the real data plane in this process, a counting
//! allocator, kept connections.
//!
//! Every thread is counted that does not say that it is a part of the test, so
//! whatever the data plane may start is. Client and worker are threads of the
//! test. A failure shows where the first allocation came from.

// The exemption for tests does not reach their helpers.
#![allow(clippy::unwrap_used)]
// An allocator that counts, and a stdout that a thousand access lines do not fill, need it.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::Notify;
use warmfront::clock;
use warmfront::config::platform::Markers;
use warmfront::config::{AccessLog, EngineChoice, Limits, Protocol, Queue};
use warmfront::engine;
use warmfront::engine::data_plane::{DataPlane, Manners, Order};
use warmfront::proxy::Proxy;
use warmfront::proxy::admission::Gate;
use warmfront::upstream::pool::{Address, Pool, Worker, WorkerId};
use warmfront::upstream::roster::{PIPES, Pipe, Roster};

/// Connections at a time, each with a request in flight.
const CONNECTIONS: usize = 16;
/// So many times as many warm up: what grows with those who are served in one turn has its size before it is counted.
const CROWD: usize = 4;
/// Requests on each connection before the counting begins.
const WARMING: usize = 20;
/// Requests on each connection that are counted.
const COUNTED: usize = 125;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
/// Bytes of the largest one.
static LARGEST: AtomicUsize = AtomicUsize::new(0);
static FIRST: Mutex<Option<String>> = Mutex::new(None);

thread_local! {
    /// Whether this thread is a part of the test, or is just describing an allocation.
    static IS_EXEMPT: Cell<bool> = const { Cell::new(false) };
}

fn note(bytes: usize) {
    if IS_EXEMPT.get() {
        return;
    }
    LARGEST.fetch_max(bytes, Ordering::SeqCst);
    if ALLOCATIONS.fetch_add(1, Ordering::SeqCst) == 0 {
        IS_EXEMPT.set(true);
        *FIRST.lock().unwrap() = Some(Backtrace::force_capture().to_string());
        IS_EXEMPT.set(false);
    }
}

// SAFETY: everything is done by the system's allocator, with the arguments as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps the promises that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: the pointer came from `System`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Sends this process's stdout elsewhere until it is dropped.
struct Muted(File);

impl Muted {
    fn new() -> Self {
        let (before, nowhere) = (
            File::from(io::stdout().as_fd().try_clone_to_owned().unwrap()),
            File::create("/dev/null").unwrap(),
        );
        // SAFETY: both are open descriptors; nothing of ours relies on what 1 is.
        assert_eq!(unsafe { libc::dup2(nowhere.as_raw_fd(), 1) }, 1);
        Self(before)
    }
}

impl Drop for Muted {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { libc::dup2(self.0.as_raw_fd(), 1) };
    }
}

/// What one request and its answer look like.
struct Shape {
    name: &'static str,
    request: Vec<u8>,
    /// How the answer ends; no answer has it before.
    answer_end: &'static [u8],
}

fn shapes() -> Vec<Shape> {
    let shape = |name, head: &str, body: usize, answer_end| Shape {
        name,
        request: [
            format!("{head}\r\nHost: localhost\r\nUser-Agent: test\r\nContent-Length: {body}\r\n\r\n")
                .into_bytes(),
            vec![b'x'; body],
        ]
        .concat(),
        answer_end,
    };
    vec![
        shape("GET of 1 KiB", "GET /length HTTP/1.1", 0, b"end"),
        shape("POST of 4 KiB", "POST /length HTTP/1.1", 4096, b"end"),
        shape("GET of four chunks", "GET /chunks HTTP/1.1", 0, b"0\r\n\r\n"),
        shape(
            "a kept connection that says so, with the platform's id",
            "GET /length HTTP/1.1\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\
             x-fc-request-id: 1-6b0071b6-a5b408cb-c55f264d8ccd\r\nx-fc-control-path: /http-invoke",
            0,
            b"end",
        ),
    ]
}

/// Answers like Node, without an allocation of its own that anybody counts.
fn work(mut stream: UnixStream) {
    let fields = "Content-Type: text/plain\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n";
    let mut length = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 1024\r\n\r\n").into_bytes();
    length.extend_from_slice(&[b'.'; 1021]);
    length.extend_from_slice(b"end");
    let chunk = [b"100\r\n".as_slice(), &[b'.'; 256], b"\r\n"].concat();
    let mut chunks = format!("HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    chunks.extend_from_slice(&chunk.repeat(4));
    chunks.extend_from_slice(b"0\r\n\r\n");
    let mut buffer = [0; 8 << 10];
    loop {
        let mut filled = 0;
        let head_len = loop {
            match stream.read(&mut buffer[filled..]) {
                Ok(0) | Err(_) => return,
                Ok(count) => filled += count,
            }
            if let Some(at) = buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
        };
        let body = if buffer.starts_with(b"POST") { 4096 } else { 0 };
        while filled < head_len + body {
            filled += stream.read(&mut buffer[filled..]).unwrap();
        }
        let wants_chunks = buffer.starts_with(b"GET /chunks");
        stream.write_all(if wants_chunks { &chunks } else { &length }).unwrap();
    }
}

/// One request on every connection, then all their answers.
fn ask(clients: &mut [TcpStream], shape: &Shape, buffer: &mut [u8]) {
    for client in &mut *clients {
        client.write_all(&shape.request).unwrap();
    }
    for client in clients {
        let mut filled = 0;
        while !buffer[..filled].ends_with(shape.answer_end) {
            let count = client.read(&mut buffer[filled..]).unwrap();
            assert!(count > 0, "the answer was cut");
            filled += count;
        }
        assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..filled]));
    }
}

/// The data plane in front of a worker, and where it listens. The directory holds the worker's socket.
fn data_plane(
    engine: EngineChoice,
    access_log: AccessLog,
    markers: Markers,
    is_observed: bool,
) -> (DataPlane, SocketAddr, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("worker.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        IS_EXEMPT.set(true);
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || {
                IS_EXEMPT.set(true);
                work(stream);
            });
        }
    });
    // As it has one in life: whoever is in flight is on it.
    let (out, err) = (io::pipe().unwrap(), io::pipe().unwrap());
    let pipes: [Arc<dyn Pipe>; PIPES] = [Arc::new(out.0), Arc::new(err.0)];
    let roster = Roster::new(&pipes).unwrap();
    let worker = Worker::with_roster(
        WorkerId(1),
        Address::Unix(path),
        (CROWD * CONNECTIONS) as u32,
        Arc::new(Notify::new()),
        Some(roster),
    );
    let day = Duration::from_secs(86_400);
    let bounds = Queue { depth: 100, bytes: 1 << 20, timeout: day, newest_first_after: day };
    let gate = Gate::new(bounds, Instant::now() + day);
    gate.install(Arc::new(Pool::new(vec![worker])));
    let proxy = Arc::new(Proxy { access_log, markers, is_observed, tell_start: true, ..Proxy::silent(gate) });
    let front = TcpListener::bind("127.0.0.1:0").unwrap();
    front.set_nonblocking(true).unwrap();
    let address = front.local_addr().unwrap();
    let manners = Manners {
        limits: Limits::default(),
        connections_max: 1000,
        connect_timeout: day,
        protocol: Protocol::Http1,
        settling: warmfront::listener::Settling::default(),
    };
    let data = engine::start(engine, vec![front], &proxy, manners).unwrap();
    (data, address, dir)
}

/// Allocations of the data plane while it serves [`COUNTED`] requests on each connection.
fn counted(
    engine: EngineChoice,
    shape: &Shape,
    access_log: AccessLog,
    markers: Markers,
    is_observed: bool,
) -> u64 {
    let (data, address, _dir) = data_plane(engine, access_log, markers, is_observed);
    let mut clients: Vec<TcpStream> =
        (0..CROWD * CONNECTIONS).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut buffer = vec![0; 8 << 10];
    let muted = Muted::new();
    for _ in 0..WARMING {
        clock::tick();
        ask(&mut clients, shape, &mut buffer);
    }
    clients.truncate(CONNECTIONS);
    for round in 0..WARMING + COUNTED {
        if round == WARMING {
            FIRST.lock().unwrap().take();
            ALLOCATIONS.store(0, Ordering::SeqCst);
        }
        // Nobody else does; without it every request would meet a freeze.
        clock::tick();
        ask(&mut clients, shape, &mut buffer);
    }
    let allocations = ALLOCATIONS.load(Ordering::SeqCst);
    drop(muted);
    data.order(Order::Leave);
    data.join();
    allocations
}

/// Those that this build has.
fn engines() -> Vec<EngineChoice> {
    let others = [EngineChoice::Uring; cfg!(all(target_os = "linux", feature = "uring")) as usize];
    [&[EngineChoice::Epoll], &others[..]].concat()
}

/// The counters are the process's: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn requests_on_kept_connections_allocate_nothing() {
    let _alone = alone();
    IS_EXEMPT.set(true);
    // The counting itself: what would the rest be worth without it?
    thread::spawn(|| drop(std::hint::black_box(Box::new(7)))).join().unwrap();
    assert!(ALLOCATIONS.load(Ordering::SeqCst) > 0, "nothing is counted");
    for (engine, shape) in
        engines().into_iter().flat_map(|engine| shapes().into_iter().map(move |it| (engine, it)))
    {
        for access_log in [AccessLog::Off, AccessLog::Text, AccessLog::Json] {
            for (markers, is_observed) in
                [(Markers::Off, false), (Markers::On, false), (Markers::Off, true), (Markers::On, true)]
            {
                let allocations = counted(engine, &shape, access_log, markers, is_observed);
                let first = FIRST.lock().unwrap().take().unwrap_or_default();
                assert_eq!(
                    allocations,
                    0,
                    "{engine:?}, {}, access log {access_log:?}, markers {markers:?}, observed {is_observed}: \
                     {allocations} allocations in {} requests, the first one here:\n{first}",
                    shape.name,
                    COUNTED * CONNECTIONS
                );
            }
        }
    }
}

#[test]
fn a_connection_makes_no_allocation_of_more_than_half_a_kib() {
    let _alone = alone();
    IS_EXEMPT.set(true);
    for engine in engines() {
        let (data, address, _dir) = data_plane(engine, AccessLog::Off, Markers::Off, true);
        let (shape, mut buffer) = (&shapes()[0], vec![0; 8 << 10]);
        // The first one finds everything that threads keep.
        ask(&mut [TcpStream::connect(address).unwrap()], shape, &mut buffer);
        LARGEST.store(0, Ordering::SeqCst);
        let mut client = [TcpStream::connect(address).unwrap()];
        ask(&mut client, shape, &mut buffer);
        let largest = LARGEST.load(Ordering::SeqCst);
        data.order(Order::Leave);
        data.join();
        assert!((100..=512).contains(&largest), "{engine:?}: {largest} bytes");
    }
}
