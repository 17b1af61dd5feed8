//! One seeded world: clients, workers that die and return, a network that cuts
//! transfers anywhere, and the real gate, walk and relay between them.
//!
//! Everything random comes from the seed and time is virtual, so a seed is a
//! replay. Promises are checked while the world runs and once more when it ends.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use super::client::{Client, Habits};
use super::ledger::{Ledger, Outcome, Refusals};
use super::network::{Network, address};
use super::stream::{Chop, End, Kind, pair, steps};
use super::supervision::{Nature, Supervision};
use super::wire::Wire;
use super::worker::Manners;
use crate::clock;
use crate::config::{Limits, Queue};
use crate::engine::connection::{Connection, Conversations, conversations};
use crate::engine::plane::Plane;
use crate::proxy::Proxy;
use crate::proxy::admission::{Gate, Refusal};
use crate::upstream::idle::Idle;
use crate::upstream::pool::{Pool, Worker, WorkerId};

/// Virtual time in which every world must come to rest: one whose only worker needs twenty seconds to
/// start and then dies in the middle of its first answer gets there slowly.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// When even a world whose clock has stopped is over.
const DOOMSDAY: Duration = Duration::from_secs(7 * 24 * 3600);

/// Between two looks at the promises that hold at every moment.
const LOOK_EVERY: Duration = Duration::from_millis(3);

/// What a world did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) steps: u64,
    /// By outcome, in its order.
    pub(super) requests: Vec<u64>,
    pub(super) repeats: u64,
    pub(super) deaths: u64,
    pub(super) crash_loops: u64,
    pub(super) violations: Vec<String>,
}

impl Report {
    /// The report of a world that did not come to its end.
    pub(super) fn panicked() -> Self {
        Self { requests: vec![0; 6], violations: vec!["it panicked".into()], ..Self::default() }
    }
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
    conversations: Rc<Conversations<End>>,
    connections: RefCell<JoinSet<()>>,
    polls: Rc<Cell<u64>>,
    /// Client connections that have not ended, those that linger included.
    open: Rc<Cell<usize>>,
}

/// Generous bounds: nothing strikes by accident.
pub(super) fn roomy() -> Queue {
    Queue { depth: 10_000, bytes: 1 << 30, timeout: 2 * PATIENCE, newest_first_after: 2 * PATIENCE }
}

impl Sidecar {
    pub(super) fn new(queue: Queue, limits: Limits, network: Network, start: Duration) -> Rc<Self> {
        let gate = Gate::new(queue, clock::now() + start);
        let proxy = Arc::new(Proxy { tell_start: true, ..Proxy::silent(gate) });
        let idle = idle();
        let plane = Plane::new(proxy, idle, 0, network.clone(), limits, Duration::from_secs(5));
        Rc::new(Self {
            conversations: conversations(&plane),
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
        self.install(Arc::new(Pool::new(workers)));
    }

    /// What the application does with a new pool.
    fn install(&self, pool: Arc<Pool>) {
        self.plane.idle.retain(&pool);
        self.gate().install(pool);
    }

    /// A client's end of a new connection.
    pub(super) fn connect(&self, capacity: usize) -> End {
        let (client, server) = pair(Kind::Tcp, capacity, self.network.chop());
        let mut serving = Connection::new(Rc::clone(&self.plane), Rc::clone(&self.conversations), server);
        let (polls, open) = (Rc::clone(&self.polls), Open::new(&self.open));
        self.connections.borrow_mut().spawn_local(std::future::poll_fn(move |cx| {
            let _ = &open;
            polls.set(polls.get() + 1);
            Pin::new(&mut serving).poll(cx)
        }));
        client
    }

    /// Ends every connection where it stands, as a data-plane thread does when it leaves.
    fn leave(&self) {
        self.connections.borrow_mut().abort_all();
    }

    /// How often connections were woken so far, by peers or by timers.
    pub(super) fn polls(&self) -> u64 {
        self.polls.get()
    }

    /// Resolves when every client connection has ended.
    pub(super) async fn ended(&self) {
        let mut connections = std::mem::take(&mut *self.connections.borrow_mut());
        while let Some(joined) = connections.join_next().await {
            if let Err(error) = joined {
                assert!(error.is_cancelled(), "{error}");
            }
        }
    }

    /// Buffers that somebody holds now.
    pub(super) fn buffers_held(&self) -> usize {
        // The plane holds the pool once, each buffer once more.
        Rc::strong_count(&self.plane.buffers) - 1
    }
}

/// Counts a connection until its task is gone, however that comes.
struct Open(Rc<Cell<usize>>);

impl Open {
    fn new(open: &Rc<Cell<usize>>) -> Self {
        open.set(open.get() + 1);
        Self(Rc::clone(open))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[allow(
    clippy::arc_with_non_send_sync,
    reason = "the plane asks for an Arc; in memory it stays on one thread"
)]
fn idle() -> Arc<Idle<End>> {
    Arc::new(Idle::new(1))
}

struct World {
    rng: RefCell<fastrand::Rng>,
    sidecar: Rc<Sidecar>,
    ledger: Rc<Ledger>,
    nature: Nature,
    habits: Habits,
    draining: Rc<Cell<bool>>,
    next_id: Rc<Cell<u64>>,
    /// Since when somebody has waited although a slot was free, at every look.
    idle_slot_since: Cell<Option<Instant>>,
}

/// Runs the world of `seed`.
pub(super) fn run(seed: u64) -> Report {
    fastrand::seed(seed);
    let before = steps();
    let mut report = in_virtual_time(async {
        let world = World::new(seed);
        let supervision = match timeout(PATIENCE, world.live()).await {
            Ok(supervision) => Some(supervision),
            Err(_) => {
                let (gate, held) = (world.sidecar.gate().waiting(), world.sidecar.buffers_held());
                let pool = world.sidecar.gate().pool();
                let text = format!(
                    "the world does not come to rest: {gate} waiting, {held} buffers held; {pool:?}, {:?}",
                    world.nature
                );
                world.ledger.accuse(text);
                None
            }
        };
        if let Some(supervision) = &supervision {
            world.judge(supervision);
        }
        let ledger = &world.ledger;
        let outcomes = [
            Outcome::Served,
            Outcome::Cut,
            Outcome::Refused,
            Outcome::Failed,
            Outcome::Left,
            Outcome::Unasked,
        ];
        Report {
            steps: 0,
            requests: outcomes.map(|outcome| ledger.count(outcome)).to_vec(),
            repeats: ledger.repeats.get(),
            deaths: supervision.as_ref().map_or(0, |supervision| supervision.deaths.get()),
            crash_loops: supervision.as_ref().map_or(0, |supervision| supervision.crash_loops.get()),
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
        let network = match rng.u8(..4) {
            0 => Network::default(),
            _ => Network::choppy(Chop { crumbs: rng.u8(..60), rng: rng.fork() }),
        };
        // Some workers come later than anybody will wait for them.
        let (start, start_ms) = match rng.u8(..6) {
            0 => (Duration::from_millis(rng.u64(1..3000)), 5000),
            1 => (Duration::from_secs(110), 20_000),
            _ => (Duration::from_secs(110), *rng.choice(&[0, 50, 1000]).unwrap_or(&0)),
        };
        let nature = Nature {
            manners: Manners {
                faults: if peaceful { 0 } else { rng.u8(1..40) },
                pause_ms: *rng.choice(&[0, 5, 100, 2000]).unwrap_or(&0),
                answer_max: rng.usize(1..20_000),
                closes: !peaceful && rng.bool(),
                crashes: if rng.bool() { 0 } else { rng.u8(1..30) },
            },
            start_ms,
            life_ms: (!peaceful && rng.bool()).then(|| rng.u64(10..5000)),
            stillborn: *rng.choice(&[0, 0, 0, 0, 0, 0, 20, 40, 60, 100]).unwrap_or(&0),
            capacity: *rng.choice(&[100, 1000, 10_000, 100_000]).unwrap_or(&100),
            backlog: if rng.bool() { 1 } else { 64 },
        };
        let ledger = Rc::new(Ledger::default());
        ledger.refusals.set(Refusals { line: tight, ..Refusals::default() });
        Rc::new(Self {
            sidecar: Sidecar::new(queue, limits, network, start),
            ledger,
            nature,
            habits: Habits {
                requests: rng.usize(1..30),
                body_max: rng.usize(1..20_000),
                leavers: if rng.bool() { 0 } else { rng.u8(1..50) },
            },
            draining: Rc::default(),
            next_id: Rc::new(Cell::new(1)),
            idle_slot_since: Cell::default(),
            rng: RefCell::new(rng),
        })
    }

    fn fork(&self) -> fastrand::Rng {
        self.rng.borrow_mut().fork()
    }

    async fn live(self: &Rc<Self>) -> Rc<Supervision> {
        let mut rng = self.fork();
        let slots: Vec<u32> = (0..rng.u32(1..5)).map(|_| rng.u32(1..5)).collect();
        let (supervision, running, pool) = Supervision::new(
            self.sidecar.network.clone(),
            Rc::clone(&self.ledger),
            Arc::clone(&self.sidecar.suspicion),
            self.nature,
            &slots,
            self.fork(),
        );
        let (stop, stopped) = watch::channel(false);
        let workers = spawn_local(running.run(stopped));
        let mut background = JoinSet::new();
        background.spawn_local(Rc::clone(self).follow(pool));
        background.spawn_local(Rc::clone(self).watch(Rc::clone(&supervision)));
        background.spawn_local(Rc::clone(self).give_up(Rc::clone(&supervision)));
        if rng.u8(..4) == 0 {
            background.spawn_local(Rc::clone(self).drain(self.fork()));
        }
        let mut clients = JoinSet::new();
        for _ in 0..rng.usize(2..24) {
            clients.spawn_local(Rc::clone(self).visit(self.fork()));
        }
        while let Some(joined) = clients.join_next().await {
            joined.unwrap();
        }
        self.sidecar.ended().await;
        stop.send_replace(true);
        workers.await.unwrap();
        background.shutdown().await;
        supervision
    }

    /// What the application does: installs each pool that is published.
    async fn follow(self: Rc<Self>, mut pool: watch::Receiver<Arc<Pool>>) {
        while pool.changed().await.is_ok() {
            let latest = Arc::clone(&pool.borrow_and_update());
            let refusals = self.ledger.refusals.get();
            if !latest.workers().is_empty() && refusals.first_ready.is_none() {
                self.ledger.refusals.set(Refusals { first_ready: Some(Instant::now()), ..refusals });
            }
            self.sidecar.install(latest);
        }
    }

    /// What the application does when no worker will ever be ready.
    async fn give_up(self: Rc<Self>, supervision: Rc<Supervision>) {
        while !supervision.is_hopeless() {
            sleep(Duration::from_millis(50)).await;
        }
        self.draining.set(true);
        self.ledger.refusals.set(Refusals { hopeless: true, ..self.ledger.refusals.get() });
        self.sidecar.gate().close(&Refusal::NotStarted);
        self.sidecar.plane.drain();
    }

    /// Some connections, one after the other.
    async fn visit(self: Rc<Self>, mut rng: fastrand::Rng) {
        for _ in 0..rng.u8(1..12) {
            sleep(Duration::from_millis(rng.u64(0..100))).await;
            if self.draining.get() {
                break;
            }
            let client = Client {
                wire: Wire::new(self.sidecar.connect(self.nature.capacity)),
                ledger: Rc::clone(&self.ledger),
                habits: self.habits,
                rng: rng.fork(),
                next_id: Rc::clone(&self.next_id),
                draining: Rc::clone(&self.draining),
                half_closed: false,
                open: Vec::new(),
            };
            client.run().await;
        }
    }

    /// The end comes in the middle: no new connections, then no new slots, then no mercy.
    async fn drain(self: Rc<Self>, mut rng: fastrand::Rng) {
        sleep(Duration::from_millis(rng.u64(0..5000))).await;
        self.draining.set(true);
        self.sidecar.plane.drain();
        if rng.bool() {
            sleep(Duration::from_millis(rng.u64(0..3000))).await;
            let cut_off = rng.bool();
            self.ledger.refusals.set(Refusals { stopping: true, cut_off, ..self.ledger.refusals.get() });
            self.sidecar.gate().close(&Refusal::Stopping);
            if cut_off {
                self.sidecar.leave();
            }
        }
    }

    /// Promises that hold at every moment.
    async fn watch(self: Rc<Self>, supervision: Rc<Supervision>) {
        let (mut pause, mut seen) = (LOOK_EVERY, steps());
        loop {
            supervision.watch(|worker, listener| {
                let (held, open) = (worker.in_flight(), worker.connections());
                if held > worker.slots || open > worker.slots || listener.open_max.get() > worker.slots {
                    self.ledger.accuse(format!("{held} requests and {open} connections on {worker:?}"));
                }
            });
            if self.sidecar.buffers_held() > 2 * self.sidecar.open.get() {
                self.ledger.accuse(format!("{} buffers held", self.sidecar.buffers_held()));
            }
            self.look_for_idle_slots();
            sleep(pause).await;
            // Where nothing moves there is little to see.
            pause = if steps() == seen { (pause * 2).min(100 * LOOK_EVERY) } else { LOOK_EVERY };
            seen = steps();
        }
    }

    /// Nobody waits while a slot is free. A look may come between a slot's return and its next owner,
    /// but not two looks with time between them.
    fn look_for_idle_slots(&self) {
        let pool = self.sidecar.gate().pool();
        let is_free = |worker: &Arc<Worker>| !worker.is_suspect() && worker.in_flight() < worker.slots;
        let free = pool.workers().iter().find(|worker| is_free(worker));
        match (free, self.idle_slot_since.get()) {
            (Some(worker), Some(since)) if self.sidecar.gate().waiting() > 0 => self.ledger.accuse(format!(
                "{} wait since {:?} although there is room at {worker:?}",
                self.sidecar.gate().waiting(),
                since.elapsed()
            )),
            (Some(_), None) if self.sidecar.gate().waiting() > 0 => {
                self.idle_slot_since.set(Some(Instant::now()))
            }
            _ => self.idle_slot_since.set(None),
        }
    }

    /// Promises that hold when all is over.
    fn judge(&self, supervision: &Supervision) {
        let (waiting, held) = (self.sidecar.gate().waiting(), self.sidecar.buffers_held());
        let open = self.sidecar.open.get();
        if waiting > 0 || held > 0 || open > 0 {
            let text =
                format!("at the end {waiting} wait, {held} buffers are held, {open} connections are open");
            self.ledger.accuse(text);
        }
        self.sidecar.plane.idle.close();
        for (worker, listener) in supervision.lives() {
            let (held, open) = (worker.in_flight(), worker.connections());
            if held > 0 || open > 0 || listener.open.load(Ordering::SeqCst) > 0 {
                self.ledger.accuse(format!("at the end a slot or a connection is missing: {worker:?}"));
            }
        }
        self.ledger.judge();
    }
}
