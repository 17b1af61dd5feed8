//! The data-plane threads, whatever moves their bytes: start, accept, drain, leave.
//!
//! A runtime per thread, one task per connection, all on the thread that accepted
//! it. The control plane speaks to a thread through one watch channel and never
//! waits for it. An `Engine` brings the sockets.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::JoinSet;

use super::connection::{Connection, Conversations, conversations};
use super::errand::{self, Errand};
use super::plane::Plane;
use super::{Dial, Stream};
use crate::clock;
use crate::config::{Limits, Protocol};
use crate::listener::Settling;
use crate::proxy::Proxy;
use crate::telemetry::say::{self, Seldom};
use crate::telemetry::stdout;
use crate::telemetry::tally::Counted;
use crate::upstream::idle::Idle;
use crate::upstream::pool::{Pool, Worker};

/// Pause after an accept that failed for want of descriptors or memory: the queue stays in the kernel.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// How often that is said.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(5);
/// How long behind the end of a drain an answer that needs no worker may take.
const LAST_WORDS: Duration = Duration::from_millis(100);

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
    /// What sockets of clients need.
    pub settling: Settling,
}

/// How the bytes of one data-plane thread move.
pub(super) trait Engine: 'static {
    /// What connects to workers; idle connections are kept where other threads can take them.
    type Dial: Dial<Stream: Send>;
    /// A client's connection.
    type Client: Stream + AsFd + 'static;
    /// What accepts clients.
    type Listener;

    /// Runs `serve` to its end on this thread.
    ///
    /// # Errors
    /// What the system refuses, or what `serve` returns.
    fn run<F: Future<Output = io::Result<()>>>(serve: impl FnOnce() -> F) -> io::Result<()>;

    /// What connects to workers that speak `protocol`.
    fn dial(protocol: Protocol, limits: Limits, proxy: &Proxy) -> Self::Dial;

    /// Makes `listener` usable on this thread.
    ///
    /// # Errors
    /// What the system says.
    fn listen(listener: TcpListener) -> io::Result<Self::Listener>;

    /// The next client, and where it is.
    ///
    /// # Errors
    /// What accept(2) says.
    ///
    /// # Cancel safety
    /// No client is lost when it is dropped.
    async fn accept(listener: &Self::Listener) -> io::Result<(Self::Client, SocketAddr)>;
}

/// Idle connections as the control plane sees them.
trait Shelves: fmt::Debug + Send + Sync {
    fn retain(&self, pool: &Pool);
    fn close(&self);
}

impl<S: fmt::Debug + Send> Shelves for Idle<S> {
    fn retain(&self, pool: &Pool) {
        Idle::retain(self, pool);
    }

    fn close(&self) {
        Idle::close(self);
    }
}

/// The running data plane.
#[derive(Debug)]
pub struct DataPlane {
    orders: watch::Sender<Order>,
    errands: UnboundedSender<Errand>,
    running: watch::Receiver<usize>,
    idle: Arc<dyn Shelves>,
    threads: Vec<JoinHandle<()>>,
}

impl DataPlane {
    /// Starts one thread per listener. They hold at most `connections_max` client connections together.
    ///
    /// # Errors
    /// If a thread or its runtime cannot be made.
    pub(super) fn start<E: Engine<Dial: Dial<Stream: fmt::Debug>>>(
        listeners: Vec<TcpListener>,
        proxy: &Arc<Proxy>,
        manners: Manners,
    ) -> io::Result<Self> {
        let idle = Arc::new(Idle::new(listeners.len()));
        // Each thread holds a place ready for the next connection.
        let places = Places::new(manners.connections_max.max(listeners.len()));
        let (orders, _) = watch::channel(Order::Serve);
        let (errands, to_run) = unbounded_channel();
        let mut to_run = Some(to_run);
        let (running_sender, running) = watch::channel(listeners.len());
        let running_sender = Arc::new(running_sender);
        let mut threads = Vec::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            let proxy = Arc::clone(proxy);
            let (idle, places, orders) = (Arc::clone(&idle), places.clone(), orders.subscribe());
            let running = Arc::clone(&running_sender);
            // One thread is enough to run errands.
            let to_run = to_run.take();
            let thread = std::thread::Builder::new().name(format!("data-{index}")).spawn(move || {
                let left = Left(running);
                let serving = E::run(|| {
                    let Manners { limits, connect_timeout, protocol, settling, .. } = manners;
                    let dial = E::dial(protocol, limits, &proxy);
                    let plane = Plane::new(proxy, idle, index, dial, limits, connect_timeout);
                    serve_listener::<E>(listener, settling, plane, places, orders, to_run)
                });
                if let Err(error) = serving {
                    say::error(format_args!("data-plane thread {index} could not start: {error}"));
                }
                drop(left);
            })?;
            threads.push(thread);
        }
        Ok(Self { orders, errands, running, idle: idle as Arc<dyn Shelves>, threads })
    }

    /// Forgets idle connections to workers that are not in `pool`.
    pub fn retain(&self, pool: &Pool) {
        self.idle.retain(pool);
    }

    /// Gives the order to all threads.
    pub fn order(&self, order: Order) {
        self.orders.send_replace(order);
    }

    /// Sends `message`, a whole HTTP/1.1 request, to `worker`, beside its requests. Who waits for the end
    /// of it gets an error then, however it went: that is said where it happens.
    pub fn send(
        &self,
        worker: &Arc<Worker>,
        message: &Arc<[u8]>,
        patience: Duration,
    ) -> oneshot::Receiver<()> {
        let (done, ended) = oneshot::channel();
        // Where every thread has left there are no workers to tell either.
        let _ = self.errands.send(Errand {
            worker: Arc::clone(worker),
            message: Arc::clone(message),
            patience,
            done,
        });
        ended
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
        stdout::flush();
        self.0.send_modify(|running| *running -= 1);
    }
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
    async fn take(&self, complaint: &mut Seldom) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(place);
        }
        complaint.warn(format_args!(
            "limits.connections={} is reached; new connections wait until others end",
            self.all
        ));
        Arc::clone(&self.free).acquire_owned().await.ok()
    }
}

async fn serve_listener<E: Engine>(
    listener: TcpListener,
    settling: Settling,
    plane: Rc<Plane<E::Dial>>,
    places: Places,
    mut orders: watch::Receiver<Order>,
    errands: Option<UnboundedReceiver<Errand>>,
) -> io::Result<()> {
    let listener = E::listen(listener)?;
    let next = async || {
        let (client, peer) = E::accept(&listener).await?;
        settling.settle(&client, peer);
        Ok(client)
    };
    // Dropped with the thread's work, and its errands with it.
    let mut courier = JoinSet::new();
    if let Some(errands) = errands {
        courier.spawn_local(errand::carry(Rc::clone(&plane), errands));
    }
    let conversations = conversations(&plane);
    let mut connections = JoinSet::new();
    let (mut complaint, mut place) = (Seldom::every(COMPLAINT_PAUSE), None);
    loop {
        tokio::select! {
            taken = places.take(&mut complaint), if place.is_none() => place = taken,
            accepted = next(), if place.is_some() => match accepted {
                Ok(client) => accept(&mut connections, &plane, &conversations, client, place.take()),
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
    while let Some(Ok(client)) = poll_once(next()) {
        accept(&mut connections, &plane, &conversations, client, None);
    }
    drop(listener);
    plane.drain();
    loop {
        tokio::select! {
            joined = connections.join_next() => if joined.is_none() { return Ok(()) },
            Ok(_) = orders.wait_for(|&order| order == Order::Leave) => break,
        }
    }
    // Who waited in the line was refused a moment ago, and still has to hear it.
    let ended = async { while connections.join_next().await.is_some() {} };
    let _ = clock::timeout(LAST_WORDS, ended).await;
    Ok(())
}

fn accept<C: Stream + 'static, D: Dial>(
    connections: &mut JoinSet<()>,
    plane: &Rc<Plane<D>>,
    conversations: &Rc<Conversations<C>>,
    client: C,
    place: Option<OwnedSemaphorePermit>,
) {
    let (plane, conversations) = (Rc::clone(plane), Rc::clone(conversations));
    connections.spawn_local(async move {
        let _counted = Counted::client();
        // Made in here: a future that is captured and then awaited has its place twice.
        Connection::new(plane, conversations, client).await;
        drop(place);
    });
}

async fn after_failed_accept(error: &io::Error, complaint: &mut Seldom) {
    // The client gave up between connect and accept: nothing to do, nothing to say.
    if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) {
        return;
    }
    complaint.warn(format_args!("cannot accept a connection ({error}); new ones wait until others end"));
    clock::sleep(ACCEPT_PAUSE).await;
}

fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let future = std::pin::pin!(future);
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
