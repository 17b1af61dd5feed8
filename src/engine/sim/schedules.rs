//! Gate, pool, shelves, the choice of a connection and the lines of the log under every order of steps that
//! chance finds.
//!
//! Not virtual time but virtual threads: with `--cfg warmfront_shuttle` each atomic and each lock of
//! `crate::sync` is a point where another thread may go on, and shuttle says which. Deadlines never come
//! here, so a request that is forgotten leaves nobody to run, which shuttle reports.
//!
//! `scripts/schedules` runs this; `WARMFRONT_SCHEDULES=n` is how many schedules of each kind a promise gets.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use shuttle::future::block_on;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};
use tokio::sync::Notify;

use super::stream::{Counted, End, Kind, pair};
use super::world::roomy;
use crate::clock;
use crate::config::Limits;
use crate::engine::Dial;
use crate::engine::plane::Plane;
use crate::proxy::Proxy;
use crate::proxy::admission::{Gate, Permit, Refusal};
use crate::sync::{AtomicU32, Mutex, yield_now};
use crate::telemetry::stdout::Outlet;
use crate::upstream::idle::Idle;
use crate::upstream::lease::Lease;
use crate::upstream::pool::{Address, Pool, Worker, WorkerId};

/// Runs `scenario` under random schedules, and under those of few but well-placed preemptions.
fn explore(scenario: impl Fn() + Send + Sync + Clone + 'static) {
    let schedules = std::env::var("WARMFRONT_SCHEDULES")
        .map_or(2_000, |text| text.parse().expect("a number of schedules"));
    Runner::new(RandomScheduler::new(schedules), Config::default()).run(scenario.clone());
    Runner::new(PctScheduler::new(3, schedules), Config::default()).run(scenario);
}

fn worker(id: u32, slots: u32) -> Arc<Worker> {
    let address = Address::Tcp(([127, 0, 0, 1], 1).into());
    Worker::new(WorkerId(id), address, slots, Arc::new(Notify::new()))
}

fn pool(workers: &[Arc<Worker>]) -> Arc<Pool> {
    Arc::new(Pool::new(workers.to_vec()))
}

fn gate() -> Arc<Gate> {
    Arc::new(Gate::new(roomy(), clock::now() + Duration::from_secs(3600)))
}

/// A gate in front of one worker.
fn gate_to(slots: u32) -> (Arc<Gate>, Arc<Worker>) {
    let (gate, worker) = (gate(), worker(1, slots));
    gate.install(pool(&[Arc::clone(&worker)]));
    (gate, worker)
}

/// As the walk does it.
fn enter(gate: &Gate) -> Result<Permit<'_>, Refusal> {
    gate.try_enter().map_or_else(|| block_on(gate.enter(1)), Ok)
}

/// Holds a permit for a moment in which others may run.
fn use_up(permit: Permit<'_>, users: &AtomicU32) {
    let worker = Arc::clone(permit.worker());
    let now = users.fetch_add(1, Ordering::SeqCst) + 1;
    assert!(now <= worker.slots, "{now} requests in {} slots", worker.slots);
    users.fetch_sub(1, Ordering::SeqCst);
    drop(permit);
}

/// Joins the line if there is no slot, and leaves it at once.
fn look_in(gate: &Gate) {
    if let Poll::Ready(entered) = pin!(gate.enter(1)).poll(&mut Context::from_waker(Waker::noop())) {
        assert!(entered.is_ok(), "{entered:?}");
    }
}

fn at_rest(gate: &Gate, workers: &[&Arc<Worker>]) {
    assert_eq!(gate.waiting(), 0);
    for worker in workers {
        assert_eq!(worker.in_flight(), 0, "a slot of {} did not come back", worker.id);
    }
}

fn join(threads: Vec<thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().expect("no thread panics");
    }
}

fn spawn(count: usize, body: impl Fn(usize) + Send + Sync + Clone + 'static) -> Vec<thread::JoinHandle<()>> {
    let start = |index| {
        let body = body.clone();
        thread::spawn(move || body(index))
    };
    (0..count).map(start).collect()
}

fn requests_with(slots: u32, threads: usize, each: usize) {
    let ((gate, worker), users) = (gate_to(slots), Arc::new(AtomicU32::new(0)));
    let inside = Arc::clone(&gate);
    join(spawn(threads, move |_| {
        for _ in 0..each {
            use_up(enter(&inside).expect("nobody refuses"), &users);
        }
    }));
    at_rest(&gate, &[&worker]);
}

#[test]
fn whoever_waits_gets_the_slot_that_comes_free() {
    explore(|| requests_with(1, 3, 2));
}

#[test]
fn no_more_are_in_than_there_are_slots() {
    explore(|| requests_with(2, 4, 1));
}

#[test]
fn one_who_leaves_the_line_takes_no_slot_along() {
    explore(|| {
        let ((gate, worker), users) = (gate_to(1), Arc::new(AtomicU32::new(0)));
        let inside = Arc::clone(&gate);
        join(spawn(4, move |index| match index {
            0 => use_up(enter(&inside).expect("nobody refuses"), &users),
            1 => use_up(block_on(inside.enter(1)).expect("nobody refuses"), &users),
            _ => look_in(&inside),
        }));
        at_rest(&gate, &[&worker]);
    });
}

#[test]
fn the_first_pool_serves_everybody_who_was_held_for_it() {
    explore(|| {
        let (gate, worker) = (gate(), worker(1, 2));
        let inside = Arc::clone(&gate);
        // They stay inside until all are: nobody is served because another has left.
        let entered = Arc::new(AtomicU32::new(0));
        let threads = spawn(2, move |_| {
            let permit = enter(&inside).expect("nobody refuses");
            entered.fetch_add(1, Ordering::SeqCst);
            while entered.load(Ordering::SeqCst) < 2 {
                thread::yield_now();
            }
            drop(permit);
        });
        gate.install(pool(&[Arc::clone(&worker)]));
        join(threads);
        at_rest(&gate, &[&worker]);
    });
}

#[test]
fn a_pool_that_is_published_while_requests_arrive_serves_them_all() {
    explore(|| {
        let (gate, before, after) = (gate(), worker(1, 1), worker(1, 2));
        let inside = Arc::clone(&gate);
        let threads = spawn(3, move |_| drop(enter(&inside).expect("nobody refuses")));
        gate.install(pool(&[Arc::clone(&before)]));
        // A restart: another life of the worker, while leases on the first may be out.
        gate.install(pool(&[Arc::clone(&after)]));
        join(threads);
        at_rest(&gate, &[&before, &after]);
    });
}

#[test]
fn a_worker_that_is_trusted_again_serves_those_who_waited() {
    explore(|| {
        let (gate, worker) = gate_to(1);
        let (inside, suspected) = (Arc::clone(&gate), Arc::clone(&worker));
        let threads = spawn(3, move |index| {
            if index == 0 {
                // A connect that failed.
                let permit = enter(&inside).expect("nobody refuses");
                suspected.suspect();
                drop(permit);
                // The supervisor looked again.
                suspected.clear_suspicion();
                inside.install(pool(&[Arc::clone(&suspected)]));
            } else {
                drop(enter(&inside).expect("nobody refuses"));
            }
        });
        join(threads);
        at_rest(&gate, &[&worker]);
    });
}

#[test]
fn nobody_is_forgotten_in_a_pause() {
    explore(|| {
        let ((gate, worker), users) = (gate_to(1), Arc::new(AtomicU32::new(0)));
        let inside = Arc::clone(&gate);
        let threads = spawn(3, move |index| {
            if index == 0 {
                inside.pause();
                yield_briefly();
                inside.resume();
            } else {
                use_up(enter(&inside).expect("nobody refuses"), &users);
            }
        });
        join(threads);
        assert!(!gate.is_paused());
        at_rest(&gate, &[&worker]);
    });
}

fn yield_briefly() {
    for _ in 0..3 {
        thread::yield_now();
    }
}

/// As the walk does it for a session.
fn enter_for<'g>(gate: &'g Gate, worker: &Arc<Worker>) -> Result<Permit<'g>, Refusal> {
    gate.try_enter_for(Some(worker))
        .map_or_else(|| block_on(gate.enter_for(Some(worker), 1, clock::now())), Ok)
}

#[test]
fn who_waits_for_one_worker_gets_its_slot_and_holds_up_nobody_else() {
    explore(|| {
        let (gate, one, two) = (gate(), worker(1, 1), worker(2, 1));
        gate.install(pool(&[Arc::clone(&one), Arc::clone(&two)]));
        let (inside, wished, users) =
            (Arc::clone(&gate), Arc::clone(&one), [(); 2].map(|()| AtomicU32::new(0)));
        let users = Arc::new(users);
        join(spawn(4, move |index| {
            let permit = match index {
                0 | 1 => enter_for(&inside, &wished),
                _ => enter(&inside),
            };
            let permit = permit.expect("nobody refuses");
            assert!(index > 1 || Arc::ptr_eq(permit.worker(), &wished));
            let id = permit.worker().id.0 as usize;
            use_up(permit, &users[id - 1]);
        }));
        at_rest(&gate, &[&one, &two]);
    });
}

#[test]
fn while_a_session_waits_for_its_busy_worker_others_get_the_idle_one() {
    explore(|| {
        let (gate, one, two) = (gate(), worker(1, 1), worker(2, 1));
        gate.install(pool(&[Arc::clone(&one), Arc::clone(&two)]));
        // Given back only when the others were served: they must not need it.
        let held = enter_for(&gate, &one).expect("it is free");
        let (inside, wished) = (Arc::clone(&gate), Arc::clone(&one));
        let threads = spawn(2, move |_| drop(enter(&inside).expect("nobody refuses")));
        let session = Arc::clone(&gate);
        let waits = thread::spawn(move || {
            let permit = enter_for(&session, &wished).expect("nobody refuses");
            assert!(Arc::ptr_eq(permit.worker(), &wished));
        });
        join(threads);
        drop(held);
        waits.join().expect("no thread panics");
        at_rest(&gate, &[&one, &two]);
    });
}

/// Some wish for the first of two workers, whose slot is taken, until `end` makes that hopeless.
fn wishes_in_vain(end: impl Fn(&Gate, &Arc<Worker>, &Arc<Worker>, Permit<'_>)) {
    let (gate, one, two) = (gate(), worker(1, 1), worker(2, 1));
    gate.install(pool(&[Arc::clone(&one), Arc::clone(&two)]));
    let held = enter_for(&gate, &one).expect("it is free");
    let mut waits = Box::pin(gate.enter_for(Some(&one), 1, clock::now()));
    assert!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let (inside, wished, other) = (Arc::clone(&gate), Arc::clone(&one), Arc::clone(&two));
    let threads = spawn(3, move |index| match index {
        2 => look_in(&inside),
        _ => {
            let permit = enter_for(&inside, &wished).expect("nobody refuses");
            assert!(Arc::ptr_eq(permit.worker(), &other));
        }
    });
    end(&gate, &one, &two, held);
    let permit = block_on(waits).expect("nobody refuses");
    assert!(Arc::ptr_eq(permit.worker(), &two));
    drop(permit);
    join(threads);
    at_rest(&gate, &[&two]);
}

#[test]
fn who_waits_for_a_worker_that_leaves_the_pool_is_served_by_another() {
    explore(|| {
        wishes_in_vain(|gate, _, two, held| {
            gate.install(pool(&[Arc::clone(two)]));
            // Never given back: only the installing can help.
            std::mem::forget(held);
        });
    });
}

#[test]
fn who_waits_for_a_worker_that_is_suspect_is_served_by_another() {
    explore(|| {
        wishes_in_vain(|_, one, _, held| {
            // As the walk does it when a connect failed.
            one.suspect();
            drop(held);
        });
    });
}

#[test]
fn closing_the_gate_answers_everybody() {
    explore(|| {
        let (gate, worker) = gate_to(1);
        // Never given back while somebody waits: only the closing can answer.
        let held = gate.try_enter().expect("it is free");
        let inside = Arc::clone(&gate);
        let mut threads = spawn(3, move |index| {
            if index == 0 {
                look_in_or_refused(&inside);
            } else {
                assert_eq!(enter(&inside).err(), Some(Refusal::Stopping));
            }
        });
        let closer = Arc::clone(&gate);
        threads.push(thread::spawn(move || closer.close(&Refusal::Stopping)));
        join(threads);
        drop(held);
        at_rest(&gate, &[&worker]);
    });
}

fn look_in_or_refused(gate: &Gate) {
    let entered = pin!(gate.enter(1)).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(entered, Poll::Pending | Poll::Ready(Err(Refusal::Stopping))));
}

#[test]
fn closing_while_slots_come_back_loses_neither_slot_nor_request() {
    explore(|| {
        let ((gate, worker), users) = (gate_to(1), Arc::new(AtomicU32::new(0)));
        let inside = Arc::clone(&gate);
        join(spawn(4, move |index| {
            if index == 0 {
                inside.close(&Refusal::Stopping);
            } else if let Ok(permit) = enter(&inside) {
                use_up(permit, &users);
            }
        }));
        at_rest(&gate, &[&worker]);
    });
}

#[test]
fn leases_of_several_workers_are_taken_once_and_come_back() {
    explore(|| {
        let (first, second) = (worker(1, 1), worker(2, 2));
        let members = pool(&[Arc::clone(&first), Arc::clone(&second)]);
        join(spawn(4, move |index| {
            let lease = Lease::take(&members, index);
            let is_over = |worker: &Arc<Worker>| worker.in_flight() > worker.slots;
            assert!(!members.workers().iter().any(is_over));
            drop(lease);
        }));
        assert_eq!((first.in_flight(), second.in_flight()), (0, 0));
        let served = first.served() + second.served();
        assert!((3..=4).contains(&served), "{served} of 4 in 3 slots");
    });
}

/// Opens streams that nobody answers, never more than the worker has slots.
#[derive(Clone)]
struct Dialer {
    open: Arc<std::sync::atomic::AtomicU32>,
    /// The worker's ends.
    peers: Arc<std::sync::Mutex<Vec<End>>>,
    slots: u32,
}

impl Dial for Dialer {
    type Stream = End;

    async fn dial(&self, _: &Arc<Worker>) -> io::Result<End> {
        let (end, peer) = pair(Kind::Unix, 8, None);
        let end = end.counted(Counted::new(&self.open));
        let open = self.open.load(Ordering::SeqCst);
        assert!(open <= self.slots, "{open} connections to a worker of {} slots", self.slots);
        self.peers.lock().expect("no thread panics").push(peer);
        yield_now().await;
        Ok(end)
    }

    fn learn_http2(&self, _: &Worker) -> bool {
        false
    }

    fn adopt(&self, stream: End) -> io::Result<End> {
        Ok(stream)
    }
}

/// What the threads of a data plane share.
#[derive(Clone)]
struct Shared {
    proxy: Arc<Proxy>,
    idle: Arc<Idle<End>>,
    dialer: Dialer,
    worker: Arc<Worker>,
}

impl Shared {
    fn new(threads: usize, slots: u32) -> Self {
        let (gate, worker) = (gate(), worker(1, slots));
        gate.install(pool(&[Arc::clone(&worker)]));
        let gate = Arc::into_inner(gate).expect("nobody else has it");
        Self {
            proxy: Arc::new(Proxy::silent(gate)),
            idle: Arc::new(Idle::new(threads)),
            dialer: Dialer { open: Arc::default(), peers: Arc::default(), slots },
            worker,
        }
    }

    fn plane(&self, thread: usize) -> Rc<Plane<Dialer>> {
        let (proxy, idle, dialer) = (Arc::clone(&self.proxy), Arc::clone(&self.idle), self.dialer.clone());
        Plane::new(proxy, idle, thread, dialer, Limits::default(), Duration::from_secs(3600))
    }

    /// One request of `thread`; keeps its connection if `keeps`.
    fn request(&self, plane: &Plane<Dialer>, keeps: bool) {
        let permit = enter(&self.proxy.gate).expect("nobody refuses");
        let mut connection = block_on(plane.connection(permit.worker())).expect("it accepts");
        if keeps {
            connection.uses += 1;
            self.idle.put(plane.thread, connection);
        } else {
            drop(connection);
        }
        drop(permit);
    }

    /// All threads have ended: the books agree with what is open.
    fn at_rest(&self) {
        at_rest(&self.proxy.gate, &[&self.worker]);
        let (counted, open) = (self.worker.connections(), self.dialer.open.load(Ordering::SeqCst));
        assert_eq!(counted, open);
    }
}

#[test]
fn a_worker_never_has_more_connections_than_slots_from_any_threads() {
    explore(|| {
        let shared = Shared::new(3, 2);
        // One of the slots is taken up by an idle connection of a thread that is not running.
        shared.request(&shared.plane(2), true);
        let inside = shared.clone();
        join(spawn(2, move |index| {
            let plane = inside.plane(index);
            inside.request(&plane, true);
            inside.request(&plane, index == 0);
        }));
        shared.at_rest();
    });
}

#[test]
fn idle_connections_that_closed_meanwhile_make_room_for_new_ones() {
    explore(|| {
        let shared = Shared::new(3, 2);
        let others = shared.plane(2);
        let first = block_on(others.connection(&shared.worker)).expect("it accepts");
        let second = block_on(others.connection(&shared.worker)).expect("it accepts");
        shared.idle.put(2, first);
        shared.idle.put(2, second);
        let inside = shared.clone();
        join(spawn(3, move |index| {
            if index == 2 {
                inside.dialer.peers.lock().expect("no thread panics").clear();
            } else {
                inside.request(&inside.plane(index), true);
            }
        }));
        shared.at_rest();
    });
}

#[test]
fn behind_the_closing_of_the_shelves_no_connection_stays() {
    explore(|| {
        let shared = Shared::new(2, 2);
        let inside = shared.clone();
        join(spawn(3, move |index| match index {
            2 => inside.idle.close(),
            _ => inside.request(&inside.plane(index), true),
        }));
        assert_eq!(shared.dialer.open.load(Ordering::SeqCst), 0, "a connection is left on a shelf");
        shared.at_rest();
    });
}

#[test]
fn connections_of_a_former_life_go_with_it() {
    explore(|| {
        let (shared, next) = (Shared::new(2, 2), worker(1, 2));
        let (inside, published) = (shared.clone(), pool(&[Arc::clone(&next)]));
        join(spawn(3, move |index| match index {
            2 => {
                inside.proxy.gate.install(Arc::clone(&published));
                inside.idle.retain(&published);
            }
            _ => inside.request(&inside.plane(index), true),
        }));
        // Whatever is taken now is of the life that is published.
        let taken = shared.idle.take(0, &shared.worker).or_else(|| shared.idle.steal(0, &shared.worker));
        drop(taken);
        at_rest(&shared.proxy.gate, &[&shared.worker, &next]);
    });
}

#[test]
fn no_line_waits_once_nobody_is_in_flight() {
    explore(|| {
        let written = Arc::new(AtomicU32::new(0));
        let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count() as u32;
        let outlet = {
            let written = Arc::clone(&written);
            Arc::new(Outlet::new(move |bytes: &[u8]| {
                written.fetch_add(lines(bytes), Ordering::SeqCst);
            }))
        };
        // As the platform counts: requests in flight, and lines of those that had their last byte.
        let platform = Arc::new(Mutex::new((0, 0)));
        join(spawn(3, move |index| {
            for _ in 0..2 {
                platform.lock().expect("nobody panics").0 += 1;
                outlet.begin();
                let line = if index == 0 { "" } else { "a line\n" };
                outlet.end(line.as_bytes(), false);
                let mut seen = platform.lock().expect("nobody panics");
                *seen = (seen.0 - 1, seen.1 + lines(line.as_bytes()));
                assert!(
                    seen.0 > 0 || written.load(Ordering::SeqCst) == seen.1,
                    "frozen with a line unwritten"
                );
            }
            // It sleeps.
            outlet.flush();
        }));
    });
}
