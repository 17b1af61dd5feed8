//! The published snapshot of ready workers, and one worker as the data plane sees it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::sync::{Notify, watch};

use super::roster::Roster;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64};

/// Number of a worker's place in the pool, from 1; stays the same over restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u32);

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a worker accepts connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket, under 108 bytes.
    Unix(PathBuf),
    /// A loopback port.
    Tcp(SocketAddr),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

/// One life of one worker: a restart makes a new `Worker` with the same id.
#[derive(Debug)]
pub struct Worker {
    /// Its place in the pool.
    pub id: WorkerId,
    /// Where it accepts connections.
    pub address: Address,
    /// Concurrent requests it may hold.
    pub slots: u32,
    in_flight: AtomicU32,
    connections: AtomicU32,
    served: AtomicU64,
    suspect: AtomicBool,
    http10: AtomicBool,
    suspicion: Arc<Notify>,
    speaks_http2: AtomicBool,
    roster: Option<Arc<Roster>>,
    first_answer: OnceLock<Instant>,
    abandoned: AtomicU32,
    voice: OnceLock<Voice>,
}

/// Where lines go that are said on behalf of a worker, beside those that it writes itself. Never waits.
pub struct Voice(Box<dyn Fn(Vec<u8>, u64) + Send + Sync>);

impl Voice {
    /// Hands each entry to `say`: whole, its line end included, and how many lines it has.
    pub fn new(say: impl Fn(Vec<u8>, u64) + Send + Sync + 'static) -> Self {
        Self(Box::new(say))
    }
}

impl fmt::Debug for Voice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Voice")
    }
}

impl Worker {
    /// A worker that nobody uses yet. `suspicion` is notified when the data plane
    /// fails to connect to it; whoever published the worker then looks again.
    pub fn new(id: WorkerId, address: Address, slots: u32, suspicion: Arc<Notify>) -> Arc<Self> {
        Self::with_roster(id, address, slots, suspicion, None)
    }

    /// The same, and whoever holds a slot of it is on `roster` meanwhile.
    pub fn with_roster(
        id: WorkerId,
        address: Address,
        slots: u32,
        suspicion: Arc<Notify>,
        roster: Option<Arc<Roster>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            address,
            slots,
            in_flight: AtomicU32::new(0),
            connections: AtomicU32::new(0),
            served: AtomicU64::new(0),
            suspect: AtomicBool::new(false),
            http10: AtomicBool::new(false),
            suspicion,
            speaks_http2: AtomicBool::new(false),
            roster,
            first_answer: OnceLock::new(),
            abandoned: AtomicU32::new(0),
            voice: OnceLock::new(),
        })
    }

    /// Gives it a voice. Only the first time counts.
    pub fn set_voice(&self, voice: Voice) {
        let _ = self.voice.set(voice);
    }

    /// Says `entry`, of so many lines, on its behalf; gives it back if it has no voice.
    pub fn say(&self, entry: Vec<u8>, lines: u64) -> Option<Vec<u8>> {
        match self.voice.get() {
            Some(Voice(say)) => {
                say(entry, lines);
                None
            }
            None => Some(entry),
        }
    }

    /// Who is in flight on it, if its output is to be told apart by that.
    pub fn roster(&self) -> Option<&Arc<Roster>> {
        self.roster.as_ref()
    }

    /// Requests it holds now.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Requests it has been given back from, finished or not.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// Notes that it answered a request. Only the first time counts.
    pub fn on_answer(&self, now: Instant) {
        let _ = self.first_answer.set(now);
    }

    /// When it first answered a request, if anybody noted that.
    pub fn first_answer(&self) -> Option<Instant> {
        self.first_answer.get().copied()
    }

    /// Notes a request that goes on in it though its client has left, and holds no slot.
    pub fn abandon(&self) {
        self.abandoned.fetch_add(1, Ordering::SeqCst);
    }

    /// Notes that one of those has ended.
    pub fn on_abandoned_ended(&self) {
        let before = self.abandoned.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0, "an abandoned request ended twice");
    }

    /// Requests that go on in it though their clients have left.
    pub fn abandoned(&self) -> u32 {
        self.abandoned.load(Ordering::SeqCst)
    }

    /// Connections open to it or about to be, idle ones included.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::SeqCst)
    }

    /// Counts one more connection if that leaves no more than slots. Only `upstream::idle` calls this.
    pub(super) fn try_open(&self) -> bool {
        self.connections
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |open| (open < self.slots).then_some(open + 1))
            .is_ok()
    }

    /// Counts one connection less. Only `upstream::idle` calls this.
    pub(super) fn on_closed(&self) {
        let before = self.connections.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0, "a connection was closed twice");
    }

    /// Says that a connect failed. Stays set until [`Worker::clear_suspicion`].
    pub fn suspect(&self) {
        if !self.suspect.swap(true, Ordering::SeqCst) {
            self.suspicion.notify_one();
        }
    }

    /// Whether a connect failed since the last clearing.
    pub fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::SeqCst)
    }

    /// Trusts the worker again (its socket accepted).
    pub fn clear_suspicion(&self) {
        self.suspect.store(false, Ordering::SeqCst);
    }

    /// Notes that it answered as HTTP/1.0.
    pub fn set_http10(&self) {
        self.http10.store(true, Ordering::Relaxed);
    }

    /// Whether it has answered as HTTP/1.0: then it sends no `100 Continue`.
    pub fn is_http10(&self) -> bool {
        self.http10.load(Ordering::Relaxed)
    }

    /// Notes, for this life, that it speaks HTTP/2. False if that was known.
    pub fn learn_http2(&self) -> bool {
        !self.speaks_http2.swap(true, Ordering::SeqCst)
    }

    /// Whether it has shown that it speaks HTTP/2.
    pub fn speaks_http2(&self) -> bool {
        self.speaks_http2.load(Ordering::SeqCst)
    }

    /// Takes a slot if one is free. Only `upstream::lease` calls this.
    pub(super) fn try_take(&self) -> bool {
        self.in_flight
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |held| (held < self.slots).then_some(held + 1))
            .is_ok()
    }

    /// Returns a slot. Only `upstream::lease` calls this.
    pub(super) fn give_back(&self) {
        let before = self.in_flight.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0, "a slot was returned twice");
        self.served.fetch_add(1, Ordering::Relaxed);
    }
}

/// Immutable snapshot of the ready workers, sorted by id.
#[derive(Debug, Default)]
pub struct Pool {
    workers: Vec<Arc<Worker>>,
}

impl Pool {
    /// A snapshot of `workers`.
    pub fn new(mut workers: Vec<Arc<Worker>>) -> Self {
        workers.sort_by_key(|worker| worker.id);
        Self { workers }
    }

    /// The ready workers, sorted by id.
    pub fn workers(&self) -> &[Arc<Worker>] {
        &self.workers
    }

    /// Whether this life of a worker is ready.
    pub fn has(&self, worker: &Arc<Worker>) -> bool {
        self.workers.iter().any(|member| Arc::ptr_eq(member, worker))
    }

    /// Concurrent requests all of them may hold.
    pub fn slots(&self) -> u64 {
        self.workers.iter().map(|worker| u64::from(worker.slots)).sum()
    }
}

/// The control plane's end: whoever knows which workers are ready publishes here.
#[derive(Clone, Debug)]
pub struct Publisher(watch::Sender<Arc<Pool>>);

impl Publisher {
    /// A publisher of an empty pool, and the end that follows it.
    pub fn new() -> (Self, watch::Receiver<Arc<Pool>>) {
        let (sender, receiver) = watch::channel(Arc::new(Pool::default()));
        (Self(sender), receiver)
    }

    /// Replaces the pool. Leases on workers that are no longer in it stay valid until they end.
    pub fn publish(&self, workers: Vec<Arc<Worker>>) {
        self.0.send_replace(Arc::new(Pool::new(workers)));
    }
}
