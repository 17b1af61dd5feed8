//! Listeners and connects in memory: backlog, refusal, and how many connections are open.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;

use super::stream::{Chop, Counted, End, Kind, pair};
use crate::engine::Dial;
use crate::upstream::pool::{Address, Worker, WorkerId};

/// All listeners by path. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Network {
    listeners: Rc<RefCell<BTreeMap<PathBuf, Rc<Listener>>>>,
    chop: Rc<RefCell<Option<Chop>>>,
    /// Whether closes of idle connections go unnoticed.
    pub(super) is_blind: Rc<Cell<bool>>,
}

/// A worker's socket.
pub(super) struct Listener {
    /// Bytes each direction of a connection holds.
    pub(super) capacity: usize,
    /// Connections that may wait for accept.
    pub(super) backlog: Cell<usize>,
    /// Whether connects succeed.
    pub(super) is_up: Cell<bool>,
    /// Whether every connection is closed as soon as it stands.
    pub(super) hangs_up: Cell<bool>,
    /// Connects seen, refused ones included.
    pub(super) dials: Cell<u32>,
    /// The sidecar's ends that are open.
    pub(super) open: Arc<AtomicU32>,
    /// Most that ever were.
    pub(super) open_max: Cell<u32>,
    queue: RefCell<VecDeque<End>>,
    arrived: Notify,
}

/// Where worker `id` listens.
pub(super) fn address(id: WorkerId) -> Address {
    Address::Unix(PathBuf::from(format!("/sim/{id}")))
}

impl Network {
    /// A network that cuts transfers into random pieces.
    pub(super) fn choppy(chop: Chop) -> Self {
        let network = Self::default();
        *network.chop.borrow_mut() = Some(chop);
        network
    }

    /// Randomness for one more stream, if this network is choppy.
    pub(super) fn chop(&self) -> Option<Chop> {
        let mut chop = self.chop.borrow_mut();
        chop.as_mut().map(|Chop { rng, crumbs }| Chop { rng: rng.fork(), crumbs: *crumbs })
    }

    /// Opens the socket of worker `id`.
    pub(super) fn listen(&self, id: WorkerId, capacity: usize) -> Rc<Listener> {
        self.listen_at(&address(id), capacity)
    }

    /// Opens a socket.
    pub(super) fn listen_at(&self, address: &Address, capacity: usize) -> Rc<Listener> {
        let listener = Rc::new(Listener {
            capacity,
            backlog: Cell::new(64),
            is_up: Cell::new(true),
            hangs_up: Cell::default(),
            dials: Cell::default(),
            open: Arc::default(),
            open_max: Cell::default(),
            queue: RefCell::default(),
            arrived: Notify::new(),
        });
        if let Address::Unix(path) = address {
            self.listeners.borrow_mut().insert(path.clone(), Rc::clone(&listener));
        }
        listener
    }

    /// Removes the file of a socket.
    pub(super) fn unlink(&self, address: &Address) {
        if let Address::Unix(path) = address {
            self.listeners.borrow_mut().remove(path);
        }
    }

    /// What a probe does: connects and hangs up. Whether it could.
    pub(super) fn probe(&self, address: &Address) -> bool {
        let Ok(listener) = self.find(address) else { return false };
        if listener.queue.borrow().len() >= listener.backlog.get() {
            return false;
        }
        let (ours, theirs) = pair(Kind::Unix, listener.capacity, None);
        drop(ours);
        listener.admit(theirs);
        true
    }

    fn find(&self, address: &Address) -> io::Result<Rc<Listener>> {
        let listener = match address {
            Address::Unix(path) => self.listeners.borrow().get(path).cloned(),
            Address::Tcp(_) => None,
        };
        let listener = listener.ok_or(io::ErrorKind::NotFound)?;
        listener.dials.set(listener.dials.get() + 1);
        if listener.is_up.get() { Ok(listener) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
    }
}

impl Listener {
    /// The next connection.
    pub(super) async fn accept(&self) -> End {
        loop {
            if let Some(end) = self.queue.borrow_mut().pop_front() {
                return end;
            }
            self.arrived.notified().await;
        }
    }

    fn admit(&self, end: End) {
        self.queue.borrow_mut().push_back(end);
        self.arrived.notify_one();
    }

    /// Refuses from now on, and resets what nobody accepted.
    pub(super) fn close(&self) {
        self.is_up.set(false);
        self.queue.borrow_mut().clear();
    }
}

impl Dial for Network {
    type Stream = End;

    async fn dial(&self, worker: &Arc<Worker>) -> io::Result<End> {
        let listener = self.find(&worker.address)?;
        if listener.queue.borrow().len() >= listener.backlog.get() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (ours, theirs) = pair(Kind::Unix, listener.capacity, self.chop());
        let ours = ours.counted(Counted::new(&listener.open));
        let blind = self.chop().map_or(self.is_blind.get(), |mut chop| chop.rng.bool());
        let ours = if blind { ours.blind() } else { ours };
        listener.open_max.set(listener.open_max.get().max(listener.open.load(Ordering::SeqCst)));
        if listener.hangs_up.get() {
            drop(theirs);
            tokio::task::yield_now().await;
        } else {
            listener.admit(theirs);
        }
        Ok(ours)
    }

    fn learn_http2(&self, _: &Worker) -> bool {
        false
    }

    fn adopt(&self, stream: End) -> io::Result<End> {
        Ok(stream)
    }
}
