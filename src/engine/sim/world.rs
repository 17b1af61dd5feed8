//! One seeded world: clients, workers that die and return, a network that cuts
//! transfers anywhere, and the real gate, walk and relay between them.
//!
//! Everything random comes from the seed and time is virtual, so a seed is a
//! replay. Promises are checked while the world runs and once more when it ends.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet, spawn_local};
use tokio::time::{sleep, timeout};

use super::client::{Client, Habits};
use super::ledger::Ledger;
use super::network::{Listener, Network, address};
use super::stream::{End, Kind, pair, steps};
use super::wire::Wire;
use super::worker::{Manners, live};
use crate::clock;
use crate::config::{AccessLog, Limits, Queue};
use crate::engine::connection::serve_connection;
use crate::engine::plane::Plane;
use crate::proxy::Proxy;
use crate::proxy::admission::Gate;
use crate::upstream::idle::Idle;
use crate::upstream::pool::{Pool, Worker, WorkerId};

/// Virtual time in which every world must come to rest.
const PATIENCE: Duration = Duration::from_secs(3600);

const DOOMSDAY: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a world did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) steps: u64,
    pub(super) served: u64,
    pub(super) cut: u64,
    pub(super) refused: u64,
    pub(super) failed: u64,
    pub(super) left: u64,
    pub(super) violations: Vec<String>,
}

/// Runs `future` on a runtime of its own whose clock only moves when nobody can.
pub(super) fn in_virtual_time<F: Future>(future: F) -> F::Output {
    let runtime =
        Builder::new_current_thread().enable_time().start_paused(true).build_local(LocalOptions::default());
    // A stuck world has no timer left and would wait for ever: this is the last one.
    runtime.unwrap().block_on(async { timeout(DOOMSDAY, future).await.unwrap() })
}

/// The sidecar under test, its network, and whoever publishes its pool.
pub(super) struct Sidecar {
    pub(super) plane: Rc<Plane<Network>>,
    pub(super) network: Network,
    pub(super) suspicion: Arc<Notify>,
    connections: RefCell<JoinSet<()>>,
    polls: Rc<Cell<u64>>,
    /// Client connections that have not ended, those that linger included.
    open: Rc<Cell<usize>>,
}

/// Generous bounds: nothing strikes by accident.
pub(super) fn roomy() -> Queue {
    Queue {
        depth: 10_000,
        bytes: 1 << 30,
        timeout: Duration::from_secs(3600),
        newest_first_after: Duration::from_secs(3600),
    }
}

impl Sidecar {
    pub(super) fn new(queue: Queue, limits: Limits, network: Network) -> Rc<Self> {
        let gate = Gate::new(queue, clock::now() + Duration::from_secs(110));
        let proxy = Arc::new(Proxy { gate, access_log: AccessLog::Off, tell_start: true });
        let idle = idle();
        let plane = Plane::new(proxy, idle, 0, network.clone(), limits, Duration::from_secs(5));
        Rc::new(Self {
            plane,
            network,
            suspicion: Arc::default(),
            connections: RefCell::default(),
            polls: Rc::default(),
            open: Rc::default(),
        })
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.plane.proxy.gate
    }

    /// A new life of worker `id`, not yet published.
    pub(super) fn worker(&self, id: u32, slots: u32) -> Arc<Worker> {
        Worker::new(WorkerId(id), address(WorkerId(id)), slots, Arc::clone(&self.suspicion))
    }

    pub(super) fn publish(&self, workers: Vec<Arc<Worker>>) {
        let pool = Arc::new(Pool::new(workers));
        self.gate().install(Arc::clone(&pool));
        self.plane.idle.retain(&pool);
    }

    /// A client's end of a new connection.
    pub(super) fn connect(&self, capacity: usize) -> End {
        let (client, server) = pair(Kind::Tcp, capacity, self.network.chop());
        let mut serving = Box::pin(serve_connection(Rc::clone(&self.plane), server));
        let (polls, open) = (Rc::clone(&self.polls), Rc::clone(&self.open));
        open.set(open.get() + 1);
        self.connections.borrow_mut().spawn_local(std::future::poll_fn(move |cx| {
            polls.set(polls.get() + 1);
            let ended = serving.as_mut().poll(cx);
            if ended.is_ready() {
                open.set(open.get() - 1);
            }
            ended
        }));
        client
    }

    /// How often connections were woken so far, by peers or by timers.
    pub(super) fn polls(&self) -> u64 {
        self.polls.get()
    }

    /// Resolves when every client connection has ended.
    pub(super) async fn ended(&self) {
        let mut connections = std::mem::take(&mut *self.connections.borrow_mut());
        while let Some(joined) = connections.join_next().await {
            joined.unwrap();
        }
    }

    /// Buffers that somebody holds now.
    pub(super) fn buffers_held(&self) -> usize {
        // The plane holds the pool once, each buffer once more.
        Rc::strong_count(&self.plane.buffers) - 1
    }
}

#[allow(
    clippy::arc_with_non_send_sync,
    reason = "the plane asks for an Arc; in memory it stays on one thread"
)]
fn idle() -> Arc<Idle<End>> {
    Arc::new(Idle::new(1))
}

/// One place in the pool and whoever lives there now.
struct Place {
    worker: Arc<Worker>,
    listener: Rc<Listener>,
    life: JoinHandle<()>,
    ready: bool,
}

struct World {
    rng: RefCell<fastrand::Rng>,
    sidecar: Rc<Sidecar>,
    ledger: Rc<Ledger>,
    places: RefCell<Vec<Place>>,
    manners: Manners,
    habits: Habits,
    capacity: usize,
    backlog: usize,
    draining: Rc<Cell<bool>>,
    next_id: Rc<Cell<u64>>,
}

/// Runs the world of `seed`.
pub(super) fn run(seed: u64) -> Report {
    fastrand::seed(seed);
    let before = steps();
    let mut report = in_virtual_time(async {
        let world = World::new(seed);
        if timeout(PATIENCE, world.live()).await.is_err() {
            let (gate, held) = (world.sidecar.gate().waiting(), world.sidecar.buffers_held());
            world
                .ledger
                .accuse(format!("the world does not come to rest: {gate} waiting, {held} buffers held"));
        } else {
            world.judge();
        }
        let ledger = &world.ledger;
        Report {
            steps: 0,
            served: ledger.served.get(),
            cut: ledger.cut.get(),
            refused: ledger.refused.get(),
            failed: ledger.failed.get(),
            left: ledger.left.get(),
            violations: ledger.violations(),
        }
    });
    report.steps = steps() - before;
    report
}

impl World {
    fn new(seed: u64) -> Rc<Self> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let peaceful = rng.u8(..5) < 2;
        let tight = rng.u8(..3) == 0;
        let mut queue = roomy();
        if tight {
            queue.depth = rng.usize(1..12);
            queue.bytes = 1 << rng.u32(12..20);
            queue.timeout = Duration::from_millis(rng.u64(1..2000));
        }
        if rng.bool() {
            queue.newest_first_after = Duration::from_millis(rng.u64(1..500));
        }
        let buffer_bytes = rng.usize(2048..16_384);
        let limits = Limits { head_bytes: 2048, buffer_bytes, ..Limits::default() };
        let network = if rng.u8(..4) > 0 { Network::choppy(rng.fork()) } else { Network::default() };
        Rc::new(Self {
            sidecar: Sidecar::new(queue, limits, network),
            ledger: Rc::default(),
            places: RefCell::default(),
            manners: Manners {
                faults: if peaceful { 0 } else { rng.u8(1..40) },
                pause_ms: *rng.choice(&[0, 5, 100, 2000]).unwrap_or(&0),
                answer_max: rng.usize(1..40_000),
                closes: !peaceful && rng.bool(),
            },
            habits: Habits {
                requests: rng.usize(1..9),
                body_max: rng.usize(1..40_000),
                leavers: if rng.bool() { 0 } else { rng.u8(1..50) },
                refusals: tight,
            },
            capacity: *rng.choice(&[100, 1000, 10_000, 100_000]).unwrap_or(&100),
            backlog: if rng.bool() { 1 } else { 64 },
            draining: Rc::default(),
            next_id: Rc::new(Cell::new(1)),
            rng: RefCell::new(rng),
        })
    }

    fn fork(&self) -> fastrand::Rng {
        self.rng.borrow_mut().fork()
    }

    async fn live(self: &Rc<Self>) {
        let mut rng = self.fork();
        for id in 1..=rng.u32(1..5) {
            let place = self.settle(id, rng.u32(1..5));
            self.places.borrow_mut().push(place);
        }
        let mut background = JoinSet::new();
        background.spawn_local(Rc::clone(self).supervise(self.fork()));
        background.spawn_local(Rc::clone(self).watch());
        if self.manners.faults > 0 && rng.bool() {
            background.spawn_local(Rc::clone(self).kill(self.fork()));
        }
        if rng.u8(..5) == 0 {
            background.spawn_local(Rc::clone(self).drain(self.fork()));
        }
        let start = Duration::from_millis(*rng.choice(&[0, 0, 50, 1000]).unwrap_or(&0));
        let mut clients = JoinSet::new();
        for _ in 0..rng.usize(2..24) {
            clients.spawn_local(Rc::clone(self).visit(self.fork()));
        }
        sleep(start).await;
        self.places.borrow_mut().iter_mut().for_each(|place| place.ready = true);
        self.publish();
        while let Some(joined) = clients.join_next().await {
            joined.unwrap();
        }
        self.sidecar.ended().await;
        // Workers notice at their next look that their connections are gone.
        background.shutdown().await;
    }

    fn settle(&self, id: u32, slots: u32) -> Place {
        let listener = self.sidecar.network.listen(WorkerId(id), self.capacity);
        listener.backlog.set(self.backlog);
        let life = live(Rc::clone(&listener), Rc::clone(&self.ledger), self.manners, self.fork());
        Place { worker: self.sidecar.worker(id, slots), listener, life: spawn_local(life), ready: false }
    }

    fn publish(&self) {
        let places = self.places.borrow();
        let ready =
            places.iter().filter(|place| place.ready).map(|place| Arc::clone(&place.worker)).collect();
        drop(places);
        self.sidecar.publish(ready);
    }

    /// Some connections, one after the other.
    async fn visit(self: Rc<Self>, mut rng: fastrand::Rng) {
        for _ in 0..rng.u8(1..5) {
            sleep(Duration::from_millis(rng.u64(0..100))).await;
            if self.draining.get() {
                break;
            }
            let client = Client {
                wire: Wire::new(self.sidecar.connect(self.capacity)),
                ledger: Rc::clone(&self.ledger),
                habits: self.habits,
                rng: rng.fork(),
                next_id: Rc::clone(&self.next_id),
                draining: Rc::clone(&self.draining),
                half_closed: false,
            };
            client.run().await;
        }
    }

    /// What the control plane does: looks again at workers that did not accept.
    async fn supervise(self: Rc<Self>, mut rng: fastrand::Rng) {
        loop {
            self.sidecar.suspicion.notified().await;
            sleep(Duration::from_millis(rng.u64(1..50))).await;
            for place in self.places.borrow().iter().filter(|place| place.listener.is_up.get()) {
                place.worker.clear_suspicion();
            }
            self.publish();
        }
    }

    /// Kills workers; each returns as another life.
    async fn kill(self: Rc<Self>, mut rng: fastrand::Rng) {
        loop {
            sleep(Duration::from_millis(rng.u64(10..1500))).await;
            let (index, id, slots) = {
                let mut places = self.places.borrow_mut();
                let index = rng.usize(..places.len());
                let place = &mut places[index];
                self.ledger.on_rudeness();
                place.listener.close();
                place.life.abort();
                (index, place.worker.id.0, place.worker.slots)
            };
            // Until it is noticed, the dead one stays in the pool.
            sleep(Duration::from_millis(rng.u64(0..10))).await;
            self.places.borrow_mut()[index].ready = false;
            self.publish();
            sleep(Duration::from_millis(rng.u64(0..300))).await;
            let place = self.settle(id, slots);
            self.places.borrow_mut()[index] = Place { ready: true, ..place };
            self.publish();
        }
    }

    async fn drain(self: Rc<Self>, mut rng: fastrand::Rng) {
        sleep(Duration::from_millis(rng.u64(0..500))).await;
        self.draining.set(true);
        self.sidecar.plane.drain();
    }

    /// Promises that hold at every moment.
    async fn watch(self: Rc<Self>) {
        loop {
            for place in self.places.borrow().iter() {
                let worker = &place.worker;
                let (held, open) = (worker.in_flight(), worker.connections());
                if held > worker.slots || open > worker.slots || place.listener.open_max.get() > worker.slots
                {
                    self.ledger.accuse(format!("{held} requests and {open} connections on {worker:?}"));
                }
            }
            if self.sidecar.buffers_held() > 2 * self.sidecar.open.get() {
                self.ledger.accuse(format!("{} buffers held", self.sidecar.buffers_held()));
            }
            sleep(Duration::from_millis(3)).await;
        }
    }

    /// Promises that hold when all is over.
    fn judge(&self) {
        let (waiting, held) = (self.sidecar.gate().waiting(), self.sidecar.buffers_held());
        if waiting > 0 || held > 0 {
            self.ledger.accuse(format!("at the end {waiting} are waiting and {held} buffers are held"));
        }
        for place in self.places.borrow().iter().filter(|place| place.worker.in_flight() > 0) {
            self.ledger.accuse(format!("at the end a slot is missing: {:?}", place.worker));
        }
    }
}
