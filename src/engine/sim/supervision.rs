//! The control plane under virtual time: lives that start late, die, loop and stop.
//!
//! What decides is production's: [`Place`] and its pauses, the [`Publisher`], the
//! gate that installs what it publishes. Around it stands the supervisor's loop
//! with lives in memory instead of processes: it starts what is due, probes,
//! hears of exits and suspicions, and publishes on every change.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, sleep_until, timeout};

use super::ledger::{Ledger, LifeId};
use super::network::{Listener, Network};
use super::worker::{Manners, live};
use crate::clock;
use crate::upstream::pool::{Address, Pool, Publisher, Worker, WorkerId};
use crate::worker::probe::LONGEST_SPAWNED;
use crate::worker::respawn::Respawn;
use crate::worker::state::{Due, IllegalMove, Place, State};

/// When a starting worker should be ready, and what a stopping one is given.
const PATIENCE: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_secs(3);

/// How the workers of a world live and die.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nature {
    pub(super) manners: Manners,
    /// Longest time from start to socket, in milliseconds.
    pub(super) start_ms: u64,
    /// Mean life behind it; `None`: nobody dies by himself.
    pub(super) life_ms: Option<u64>,
    /// Of a hundred starts, how many fail: no process, or one that ends before it listens.
    pub(super) stillborn: u8,
    /// Bytes each direction of a connection holds.
    pub(super) capacity: usize,
    pub(super) backlog: usize,
}

/// What the lives and the probes report.
enum Event {
    Accepting { seat: usize, life: LifeId },
    Exited { seat: usize, life: LifeId },
}

struct Seat {
    id: WorkerId,
    slots: u32,
    place: Place,
    life: Option<Life>,
}

struct Life {
    id: LifeId,
    worker: Arc<Worker>,
    listener: Rc<Listener>,
    probe: Option<AbortHandle>,
    /// Asks it to end, as TERM does.
    term: Rc<Notify>,
    process: AbortHandle,
}

/// All places of one world.
pub(super) struct Supervision {
    network: Network,
    ledger: Rc<Ledger>,
    suspicion: Arc<Notify>,
    nature: Nature,
    seats: RefCell<Vec<Seat>>,
    publisher: Publisher,
    /// Every life there ever was, for the last look.
    lives: RefCell<Vec<(Arc<Worker>, Rc<Listener>)>>,
    /// Those that still run or are still held by somebody, as places in `lives`.
    watched: RefCell<Vec<usize>>,
    tasks: RefCell<JoinSet<()>>,
    events: mpsc::UnboundedSender<Event>,
    rng: RefCell<fastrand::Rng>,
    pub(super) deaths: Cell<u64>,
    pub(super) crash_loops: Cell<u64>,
}

impl Supervision {
    /// Places with these slots, all empty; the pool that [`Supervision::run`] publishes.
    pub(super) fn new(
        network: Network,
        ledger: Rc<Ledger>,
        suspicion: Arc<Notify>,
        nature: Nature,
        slots: &[u32],
        mut rng: fastrand::Rng,
    ) -> (Rc<Self>, Running, watch::Receiver<Arc<Pool>>) {
        let (publisher, pool) = Publisher::new();
        let (events, heard) = mpsc::unbounded_channel();
        let now = clock::now();
        let respawn =
            Respawn::new(Duration::from_millis(rng.u64(1..200)), Duration::from_millis(rng.u64(200..10_000)));
        let seat = |(id, &slots)| Seat {
            id: WorkerId(id),
            slots,
            place: Place::new(respawn.clone(), now),
            life: None,
        };
        let supervision = Rc::new(Self {
            network,
            ledger,
            suspicion,
            nature,
            seats: RefCell::new((1..).zip(slots).map(seat).collect()),
            publisher,
            lives: RefCell::default(),
            watched: RefCell::default(),
            tasks: RefCell::default(),
            events,
            rng: RefCell::new(rng),
            deaths: Cell::default(),
            crash_loops: Cell::default(),
        });
        let running = Running { supervision: Rc::clone(&supervision), heard };
        (supervision, running, pool)
    }

    /// Every life there ever was.
    pub(super) fn lives(&self) -> Vec<(Arc<Worker>, Rc<Listener>)> {
        self.lives.borrow().clone()
    }

    /// Looks at every life that somebody may still hold.
    pub(super) fn watch(&self, mut look: impl FnMut(&Worker, &Listener)) {
        let lives = self.lives.borrow();
        self.watched.borrow_mut().retain(|&index| {
            let (worker, listener) = &lives[index];
            look(worker, listener);
            let is_held = worker.in_flight() > 0 || worker.connections() > 0;
            // A process or a connect holds its socket.
            is_held || Rc::strong_count(listener) > 1
        });
    }

    /// Whether no worker was ever ready and none will be.
    pub(super) fn is_hopeless(&self) -> bool {
        self.seats.borrow().iter().all(|seat| seat.place.is_hopeless() && !seat.place.was_ever_ready())
    }

    fn next_due(&self) -> Option<Instant> {
        self.seats.borrow().iter().filter_map(|seat| Some(seat.place.due()?.0)).min()
    }

    fn do_due(self: &Rc<Self>) {
        let (now, count) = (clock::now(), self.seats.borrow().len());
        for number in 0..count {
            let due = self.seats.borrow()[number].place.due();
            match due {
                Some((at, Due::Spawn)) if at <= now => self.spawn(number, now),
                Some((at, Due::Look)) if at <= now => {
                    let looked = self.seats.borrow_mut()[number].place.on_looked(now);
                    self.expect_legal(looked);
                }
                Some((at, Due::Kill)) if at <= now => self.kill(number),
                _ => {}
            }
        }
    }

    fn spawn(self: &Rc<Self>, number: usize, now: Instant) {
        let mut rng = self.rng.borrow_mut().fork();
        let seat = &mut self.seats.borrow_mut()[number];
        let stillborn = rng.u8(..100) < self.nature.stillborn;
        if stillborn && rng.u8(..4) == 0 {
            let failed = seat.place.on_spawn_failed(now, rng.u8(..4) == 0, rng.f64());
            self.expect_legal(failed);
            return;
        }
        let id = LifeId(self.lives.borrow().len() as u32 + 1);
        let address = Address::Unix(format!("/sim/{}-{}", seat.id, id.0).into());
        let listener = self.network.listen_at(&address, self.nature.capacity);
        listener.is_up.set(false);
        listener.backlog.set(self.nature.backlog);
        let worker = Worker::new(seat.id, address, seat.slots, Arc::clone(&self.suspicion));
        self.watched.borrow_mut().push(self.lives.borrow().len());
        self.lives.borrow_mut().push((Arc::clone(&worker), Rc::clone(&listener)));
        let spawned = seat.place.on_spawned(now, PATIENCE);
        self.expect_legal(spawned);
        let term = Rc::new(Notify::new());
        let process = Process {
            supervision: Rc::clone(self),
            seat: number,
            id,
            listener: Rc::clone(&listener),
            term: Rc::clone(&term),
            stillborn,
            rng,
        };
        let process = self.tasks.borrow_mut().spawn_local(process.run());
        let probe = self.probe(number, id, worker.address.clone());
        seat.life = Some(Life { id, worker, listener, probe: Some(probe), term, process });
    }

    /// Waits beside us until the life accepts, as `worker::probe` does.
    fn probe(&self, seat: usize, life: LifeId, address: Address) -> AbortHandle {
        let (network, events) = (self.network.clone(), self.events.clone());
        self.tasks.borrow_mut().spawn_local(async move {
            let mut pause = Duration::from_millis(1);
            while !network.probe(&address) {
                sleep(pause).await;
                pause = pause.mul_f32(1.5).min(LONGEST_SPAWNED);
            }
            // Nobody hears it once the world has ended.
            let _ = events.send(Event::Accepting { seat, life });
        })
    }

    fn on_accepting(&self, number: usize, life: LifeId) {
        {
            let seat = &mut self.seats.borrow_mut()[number];
            let Some(now_living) = seat.life.as_mut().filter(|living| living.id == life) else { return };
            let Ok(true) = seat.place.on_accepting(clock::now()) else { return };
            now_living.probe = None;
            now_living.worker.clear_suspicion();
        }
        self.publish();
    }

    fn look_for_suspects(&self) {
        let mut suspects = Vec::new();
        for (number, seat) in self.seats.borrow_mut().iter_mut().enumerate() {
            let Some(life) = seat.life.as_ref().filter(|life| life.worker.is_suspect()) else { continue };
            if let Ok(true) = seat.place.on_suspected(clock::now()) {
                suspects.push((number, life.id, life.worker.address.clone()));
            }
        }
        for (number, life, address) in suspects {
            self.publish();
            let probe = self.probe(number, life, address);
            if let Some(life) = &mut self.seats.borrow_mut()[number].life {
                life.probe = Some(probe);
            }
        }
    }

    fn on_exited(&self, number: usize, life: LifeId) {
        let was_ready = {
            let seat = &mut self.seats.borrow_mut()[number];
            let Some(dead) = seat.life.take_if(|living| living.id == life) else { return };
            if let Some(probe) = dead.probe {
                probe.abort();
            }
            self.network.unlink(&dead.worker.address);
            let was_ready = seat.place.is_ready();
            let restart = seat.place.on_exited(clock::now(), self.rng.borrow_mut().f64());
            if let Ok(Some(restart)) = restart
                && restart.crash_loop
            {
                self.crash_loops.set(self.crash_loops.get() + 1);
            }
            self.expect_legal(restart);
            was_ready
        };
        if was_ready {
            self.publish();
        }
    }

    fn publish(&self) {
        let seats = self.seats.borrow();
        let ready = seats.iter().filter(|seat| seat.place.is_ready());
        self.publisher.publish(
            ready.filter_map(|seat| seat.life.as_ref()).map(|life| Arc::clone(&life.worker)).collect(),
        );
    }

    fn begin_stop(&self) {
        for seat in self.seats.borrow_mut().iter_mut() {
            if let (true, Some(life)) = (seat.place.on_stop(clock::now(), GRACE), &mut seat.life) {
                if let Some(probe) = life.probe.take() {
                    probe.abort();
                }
                life.term.notify_one();
            }
        }
        self.publish();
    }

    fn kill(&self, number: usize) {
        let seat = &mut self.seats.borrow_mut()[number];
        let killed = seat.place.on_killed();
        self.expect_legal(killed);
        if let Some(life) = &seat.life {
            life.process.abort();
            self.bury(number, life.id, &life.listener);
        }
    }

    /// The process is gone: its socket refuses, its connections are closed, and somebody will hear of it.
    fn bury(&self, seat: usize, life: LifeId, listener: &Listener) {
        self.ledger.on_death(life);
        self.deaths.set(self.deaths.get() + 1);
        listener.close();
        // Nobody hears it once the world has ended.
        let _ = self.events.send(Event::Exited { seat, life });
    }

    fn is_over(&self) -> bool {
        self.seats.borrow().iter().all(|seat| seat.life.is_none())
    }

    /// The supervisor's loop never makes an illegal move.
    fn expect_legal<T>(&self, moved: Result<T, IllegalMove>) {
        if let Err(illegal) = moved {
            self.ledger.accuse(format!("the supervisor: {illegal}"));
        }
    }
}

/// The supervisor's loop.
pub(super) struct Running {
    supervision: Rc<Supervision>,
    heard: mpsc::UnboundedReceiver<Event>,
}

impl Running {
    /// Keeps the workers alive until `stop` is true, then ends them all.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let (all, mut stopping) = (self.supervision, false);
        loop {
            all.do_due();
            if stopping && all.is_over() {
                break;
            }
            let due = all.next_due();
            tokio::select! {
                biased;
                _ = stop.wait_for(|&stop| stop), if !stopping => {
                    stopping = true;
                    all.begin_stop();
                }
                Some(event) = self.heard.recv() => match event {
                    Event::Accepting { seat, life } => all.on_accepting(seat, life),
                    Event::Exited { seat, life } => all.on_exited(seat, life),
                },
                () = all.suspicion.notified() => all.look_for_suspects(),
                () = until(due) => {}
            }
        }
        for seat in all.seats.borrow().iter().filter(|seat| seat.place.state() != State::Stopped) {
            all.ledger.accuse(format!("worker {} did not stop: {:?}", seat.id, seat.place.state()));
        }
        let mut tasks = std::mem::take(&mut *all.tasks.borrow_mut());
        // What was aborted on the way (probes, killed lives) ends here.
        while tasks.join_next().await.is_some() {}
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => pending().await,
    }
}

/// One life from its start to its end.
struct Process {
    supervision: Rc<Supervision>,
    seat: usize,
    id: LifeId,
    listener: Rc<Listener>,
    term: Rc<Notify>,
    stillborn: bool,
    rng: fastrand::Rng,
}

impl Process {
    async fn run(mut self) {
        let nature = self.supervision.nature;
        let start = Duration::from_millis(self.rng.u64(0..=nature.start_ms));
        let is_deaf = self.rng.u8(..5) == 0;
        let term = Rc::clone(&self.term);
        let told = async {
            term.notified().await;
            if is_deaf {
                // Until it is killed.
                pending::<()>().await;
            }
        };
        let life = async {
            sleep(start).await;
            if self.stillborn {
                return;
            }
            self.listener.is_up.set(true);
            let mut rng = self.rng.fork();
            let living = live(
                self.id,
                Rc::clone(&self.listener),
                Rc::clone(&self.supervision.ledger),
                nature.manners,
                self.rng.fork(),
            );
            match nature.life_ms {
                Some(mean) => {
                    let length = Duration::from_secs_f64(-(1.0 - rng.f64()).ln() * mean as f64 / 1e3);
                    // Its end in the middle of anything is what this is about.
                    let _ = timeout(length, living).await;
                }
                None => living.await,
            }
        };
        tokio::select! {
            biased;
            () = life => {}
            () = told => {}
        }
        // The kernel closes everything at once; SIGCHLD may take its time.
        self.supervision.ledger.on_death(self.id);
        self.listener.close();
        sleep(Duration::from_millis(self.rng.u64(0..10))).await;
        self.supervision.bury(self.seat, self.id, &self.listener);
    }
}
