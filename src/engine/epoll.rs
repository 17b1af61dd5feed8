//! The engine: one current-thread runtime per data-plane thread, tokio's epoll underneath.
//!
//! One task per connection, all on the thread that accepted it. The control plane
//! speaks to a thread through one watch channel and never waits for it.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::connection::serve_connection;
use super::h2::back::VirtualWorker;
use super::h2::links::Links;
use super::plane::Plane;
use super::{Dial, Stream};
use crate::clock;
use crate::config::{Limits, Protocol};
use crate::proxy::Proxy;
use crate::sys;
use crate::telemetry::say;
use crate::upstream::idle::Idle;
use crate::upstream::pool::{Address, Pool, Worker};

/// Pause after an accept that failed for want of descriptors or memory: the queue stays in the kernel.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// How often that is said.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(5);

/// What a data-plane thread is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Accept and serve.
    Serve,
    /// Accept no more, finish what runs, let idle connections go.
    Drain,
    /// Leave now, cutting what still runs.
    Leave,
}

/// How clients and workers are dealt with.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// What one connection may cost.
    pub limits: Limits,
    /// Client connections at a time, over all threads.
    pub connections_max: usize,
    /// Longest time a connect to a worker may take.
    pub connect_timeout: Duration,
    /// What workers speak.
    pub protocol: Protocol,
}

/// The running data plane.
#[derive(Debug)]
pub struct DataPlane {
    orders: watch::Sender<Order>,
    running: watch::Receiver<usize>,
    idle: Arc<Idle<WorkerStream>>,
    threads: Vec<JoinHandle<()>>,
}

impl DataPlane {
    /// Starts one thread per listener. They hold at most `connections_max` client connections together.
    ///
    /// # Errors
    /// If a thread or its runtime cannot be made.
    pub fn start(listeners: Vec<TcpListener>, proxy: &Arc<Proxy>, manners: Manners) -> io::Result<Self> {
        let idle = Arc::new(Idle::new(listeners.len()));
        // Each thread holds a place ready for the next connection.
        let places = Places::new(manners.connections_max.max(listeners.len()));
        let (orders, _) = watch::channel(Order::Serve);
        let (running_sender, running) = watch::channel(listeners.len());
        let running_sender = Arc::new(running_sender);
        let mut threads = Vec::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            let proxy = Arc::clone(proxy);
            let (idle, places, orders) = (Arc::clone(&idle), places.clone(), orders.subscribe());
            let running = Arc::clone(&running_sender);
            let thread = std::thread::Builder::new().name(format!("data-{index}")).spawn(move || {
                let left = Left(running);
                let serving = run(|| {
                    let Manners { limits, connect_timeout, protocol, .. } = manners;
                    let sockets = Sockets { protocol, links: Links::new(limits) };
                    let plane = Plane::new(proxy, idle, index, sockets, limits, connect_timeout);
                    serve_listener(listener, plane, places, orders)
                });
                if let Err(error) = serving {
                    say::error(format_args!("data-plane thread {index} could not start: {error}"));
                }
                drop(left);
            })?;
            threads.push(thread);
        }
        Ok(Self { orders, running, idle, threads })
    }

    /// Forgets idle connections to workers that are not in `pool`.
    pub fn retain(&self, pool: &Pool) {
        self.idle.retain(pool);
    }

    /// Gives the order to all threads.
    pub fn order(&self, order: Order) {
        self.orders.send_replace(order);
    }

    /// Resolves when every thread has left.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn left(&mut self) {
        // An error means that the last thread has dropped its sender: they have all left.
        let _ = self.running.wait_for(|&running| running == 0).await;
    }

    /// Closes the idle connections and waits for the threads. Call when they have left.
    pub fn join(self) {
        self.idle.close();
        for thread in self.threads {
            // A panic was printed where it happened.
            let _ = thread.join();
        }
    }
}

/// Counts a thread out, also when it panics.
struct Left(Arc<watch::Sender<usize>>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

fn run<F: Future<Output = io::Result<()>>>(serve: impl FnOnce() -> F) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async { serve().await })
}

/// Room for client connections, shared by all threads.
#[derive(Clone)]
struct Places {
    free: Arc<Semaphore>,
    all: usize,
}

impl Places {
    fn new(all: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(all)), all }
    }

    /// A place for one more connection, when there is one.
    async fn take(&self, complaint: &mut Complaint) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(place);
        }
        complaint.say(format_args!(
            "limits.connections={} is reached; new connections wait until others end",
            self.all
        ));
        Arc::clone(&self.free).acquire_owned().await.ok()
    }
}

/// What is worth saying, but not at every connection.
#[derive(Default)]
struct Complaint(Option<Instant>);

impl Complaint {
    fn say(&mut self, what: std::fmt::Arguments<'_>) {
        let now = clock::now();
        if self.0.is_none_or(|at| now.saturating_duration_since(at) >= COMPLAINT_PAUSE) {
            self.0 = Some(now);
            say::warn(what);
        }
    }
}

async fn serve_listener(
    listener: TcpListener,
    plane: Rc<Plane<Sockets>>,
    places: Places,
    mut orders: watch::Receiver<Order>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    let (mut complaint, mut place) = (Complaint::default(), None);
    loop {
        tokio::select! {
            taken = places.take(&mut complaint), if place.is_none() => place = taken,
            accepted = listener.accept(), if place.is_some() => match accepted {
                Ok((client, _)) => accept(&mut connections, &plane, client, place.take()),
                Err(error) => after_failed_accept(&error, &mut complaint).await,
            },
            Some(_) = connections.join_next() => {}
            order = orders.wait_for(|&order| order != Order::Serve) => {
                // A vanished control plane is an order to drain as well.
                if matches!(order.as_deref(), Ok(Order::Leave)) {
                    return Ok(());
                }
                break;
            }
        }
    }
    // Connections that the kernel has accepted already are owed an answer.
    while let Some(Ok((client, _))) = poll_once(listener.accept()) {
        accept(&mut connections, &plane, client, None);
    }
    drop(listener);
    plane.drain();
    loop {
        tokio::select! {
            joined = connections.join_next() => if joined.is_none() { return Ok(()) },
            Ok(_) = orders.wait_for(|&order| order == Order::Leave) => return Ok(()),
        }
    }
}

fn accept(
    connections: &mut JoinSet<()>,
    plane: &Rc<Plane<Sockets>>,
    client: TcpStream,
    place: Option<OwnedSemaphorePermit>,
) {
    let serving = serve_connection(Rc::clone(plane), client);
    connections.spawn_local(async move {
        serving.await;
        drop(place);
    });
}

async fn after_failed_accept(error: &io::Error, complaint: &mut Complaint) {
    // The client gave up between connect and accept: nothing to do, nothing to say.
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) {
        return;
    }
    complaint.say(format_args!("cannot accept a connection ({error}); new ones wait until others end"));
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let future = std::pin::pin!(future);
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Opens sockets, and streams on shared sockets, to workers.
struct Sockets {
    protocol: Protocol,
    links: Links,
}

/// A connection to a worker.
#[derive(Debug)]
pub enum WorkerStream {
    /// Over a Unix socket.
    Unix(UnixStream),
    /// Over loopback TCP.
    Tcp(TcpStream),
    /// One stream of an HTTP/2 connection; boxed, since most workers need none.
    Http2(Box<VirtualWorker>),
}

impl Dial for Sockets {
    type Stream = WorkerStream;

    async fn dial(&self, worker: &Arc<Worker>) -> io::Result<WorkerStream> {
        let connect = async || match &worker.address {
            Address::Unix(path) => UnixStream::connect(path).await.map(WorkerStream::Unix),
            Address::Tcp(address) => dial_tcp(*address).await,
        };
        if self.protocol != Protocol::Http2 && !worker.speaks_http2() {
            return connect().await;
        }
        let connect_twice = async || {
            let stream = connect().await?;
            let handle = stream.handle()?;
            Ok((stream, handle))
        };
        self.links.stream(worker, connect_twice).await.map(|stream| WorkerStream::Http2(Box::new(stream)))
    }

    fn learn_http2(&self, worker: &Worker) -> bool {
        let may_learn = self.protocol == Protocol::Auto;
        if may_learn && worker.learn_http2() {
            say::info(format_args!(
                "worker {} speaks HTTP/2, and is told so from now on; `protocol = \"h2\"` below [workers] spares it \
                 the question",
                worker.id
            ));
        }
        may_learn
    }

    fn adopt(&self, stream: WorkerStream) -> io::Result<WorkerStream> {
        Ok(match stream {
            WorkerStream::Unix(stream) => WorkerStream::Unix(UnixStream::from_std(stream.into_std()?)?),
            WorkerStream::Tcp(stream) => WorkerStream::Tcp(TcpStream::from_std(stream.into_std()?)?),
            // It belongs to a connection of its thread; it is never parked, so this is never asked.
            WorkerStream::Http2(_) => return Err(io::ErrorKind::Unsupported.into()),
        })
    }
}

async fn dial_tcp(address: SocketAddr) -> io::Result<WorkerStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(WorkerStream::Tcp(stream))
}

impl WorkerStream {
    /// A second handle of the socket.
    fn handle(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Unix(stream) => stream.as_fd().try_clone_to_owned(),
            Self::Tcp(stream) => stream.as_fd().try_clone_to_owned(),
            Self::Http2(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl Stream for TcpStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut byte = [0];
        TcpStream::poll_peek(self, cx, &mut ReadBuf::new(&mut byte))
    }

    fn has_ended(&self) -> bool {
        sys::has_ended(self.as_fd())
    }

    fn has_left(&self) -> bool {
        sys::has_left(self.as_fd())
    }

    fn pending_error(&self) -> Option<io::Error> {
        self.take_error().unwrap_or_else(Some)
    }

    fn untaken(&self) -> u64 {
        sys::untaken(self.as_fd())
    }

    fn reset_on_close(&self) {
        // Without it the client sees a clean end where there was none; nothing more can be done then.
        let _ = self.set_zero_linger();
    }

    fn knows_delivery(&self) -> bool {
        false
    }

    fn is_quiet(&mut self) -> bool {
        // A write into a closing TCP connection succeeds and is lost: ask the kernel before each use.
        matches!(sys::peek(self.as_fd()), Ok(sys::Peek::Quiet))
    }
}

impl Stream for WorkerStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Unix(stream) => stream.poll_read_ready(cx),
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Http2(stream) => stream.poll_readable(cx),
        }
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match self {
            Self::Unix(stream) => {
                std::task::ready!(stream.poll_read_ready(cx))?;
                Poll::Ready(sys::peek(stream.as_fd()).map(|peek| usize::from(peek != sys::Peek::Eof)))
            }
            Self::Tcp(stream) => Stream::poll_peek(stream, cx),
            Self::Http2(stream) => stream.poll_peek(cx),
        }
    }

    fn has_ended(&self) -> bool {
        match self {
            Self::Unix(stream) => sys::has_ended(stream.as_fd()),
            Self::Tcp(stream) => stream.has_ended(),
            Self::Http2(stream) => stream.has_ended(),
        }
    }

    fn has_left(&self) -> bool {
        match self {
            Self::Unix(stream) => sys::has_left(stream.as_fd()),
            Self::Tcp(stream) => stream.has_left(),
            Self::Http2(stream) => stream.has_left(),
        }
    }

    fn pending_error(&self) -> Option<io::Error> {
        match self {
            Self::Unix(stream) => stream.take_error().unwrap_or_else(Some),
            Self::Tcp(stream) => stream.pending_error(),
            Self::Http2(stream) => stream.pending_error(),
        }
    }

    fn untaken(&self) -> u64 {
        match self {
            Self::Unix(stream) => sys::untaken(stream.as_fd()),
            Self::Tcp(stream) => stream.untaken(),
            Self::Http2(stream) => stream.untaken(),
        }
    }

    fn reset_on_close(&self) {
        if let Self::Tcp(stream) = self {
            stream.reset_on_close();
        }
    }

    fn knows_delivery(&self) -> bool {
        matches!(self, Self::Unix(_))
    }

    fn was_refused(&self) -> bool {
        matches!(self, Self::Http2(stream) if stream.was_refused())
    }

    fn is_quiet(&mut self) -> bool {
        match self {
            // Where nothing was reported there is nothing to ask: should the end come between now and the
            // first write, that write fails with EPIPE and proves that nothing was delivered.
            Self::Unix(stream) => {
                stream.poll_read_ready(&mut Context::from_waker(Waker::noop())).is_pending()
                    || matches!(sys::peek(stream.as_fd()), Ok(sys::Peek::Quiet))
            }
            Self::Tcp(stream) => stream.is_quiet(),
            Self::Http2(stream) => stream.is_quiet(),
        }
    }
}

impl AsyncRead for WorkerStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Http2(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for WorkerStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Http2(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Http2(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Unix(stream) => stream.is_write_vectored(),
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Http2(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Http2(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
