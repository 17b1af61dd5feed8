//! The life of instances: made for a request, frozen while idle, thawed by the next one, destroyed.
//!
//! There is one at a time. Whoever makes or destroys one takes the turn, so the next is not made before the last
//! process of the one before is gone: they share a port.

use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};

use super::callback::{self, Outcome};
use super::freezer::Freezer;
use super::instance::Instance;
use super::link::Kept;
use super::log::Log;
use super::options::Options;
use super::payload::StartFailure;
use super::process;
use crate::clock;
use crate::error::Problem;
use crate::fc::kind::Hook;
use crate::sys;

/// Between two knocks at a port that is to open.
const KNOCK_PAUSE: Duration = Duration::from_millis(10);
/// The address that is dialled. The platform dials the instance's own, which who listens on loopback alone does
/// not have. All of 127.0.0.0/8 is this machine: a listener on 0.0.0.0 accepts here, one on 127.0.0.1 does not.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Where a listener that the platform cannot reach would be.
const INSIDE: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// How often a running instance is asked for its health; §1.4's defaults.
const HEALTH_PERIOD: Duration = Duration::from_secs(3);
/// How long a health check may take.
const HEALTH_PATIENCE: Duration = Duration::from_secs(1);
/// Failures in a row that make an instance unhealthy; one success makes it healthy again.
const HEALTH_FAILURES: u32 = 3;

/// How long the news of an end may take behind the end of its connections.
const NEWS_PATIENCE: Duration = Duration::from_millis(200);

/// What is to be done by whoever may start tasks.
#[derive(Debug)]
pub(super) enum Order {
    /// The instance has nothing in flight.
    Rest(Rc<Instance>),
    /// The instance is to be destroyed, and why.
    Destroy(Rc<Instance>, String),
}

/// How an instance was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Warmth {
    /// It had to be made, or was being made.
    Cold,
    /// It was frozen.
    Thawed,
    /// It was running.
    Warm,
}

impl Warmth {
    /// As the log says it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Thawed => "thawed",
            Self::Warm => "warm",
        }
    }
}

/// A request in an instance. The instance is left on drop.
#[derive(Debug)]
pub(super) struct Entry {
    emulator: Rc<Emulator>,
    /// Where it is.
    pub(super) instance: Rc<Instance>,
    /// How that was found.
    pub(super) warmth: Warmth,
    /// A connection that was chosen before the thaw.
    pub(super) reserved: RefCell<Option<Kept>>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.instance.in_flight.set(self.instance.in_flight.get() - 1);
        self.emulator.settle(&self.instance);
    }
}

/// The platform as one function sees it.
#[derive(Debug)]
pub(super) struct Emulator {
    /// What was asked for.
    pub(super) options: Options,
    /// Where everything is said.
    pub(super) log: Rc<Log>,
    /// Requests in flight, those included that wait for an instance.
    pub(super) held: Cell<u16>,
    freezer: Freezer,
    current: RefCell<Option<Rc<Instance>>>,
    /// For whoever makes or destroys an instance.
    turn: Mutex<()>,
    orders: mpsc::UnboundedSender<Order>,
}

impl Emulator {
    /// One without an instance, and what it wants to have done.
    ///
    /// # Errors
    /// The way to freeze that was asked for does not work here.
    pub(super) fn new(
        options: Options,
        log: Log,
    ) -> Result<(Rc<Self>, mpsc::UnboundedReceiver<Order>), Problem> {
        let (orders, received) = mpsc::unbounded_channel();
        let freezer = Freezer::new(options.freeze)?;
        log.note(format_args!("instances are frozen {}", freezer.name()));
        let emulator = Self {
            options,
            log: Rc::new(log),
            held: Cell::new(0),
            freezer,
            current: RefCell::new(None),
            turn: Mutex::new(()),
            orders,
        };
        Ok((Rc::new(emulator), received))
    }

    fn current(&self) -> Option<Rc<Instance>> {
        self.current.borrow().clone()
    }

    fn is_usable(instance: &Instance) -> bool {
        instance.exit().is_none() && !instance.is_doomed.get()
    }

    /// Hands an order to whoever may start tasks.
    pub(super) fn order(&self, order: Order) {
        // Nobody takes any during the end, which destroys everything anyway.
        let _ = self.orders.send(order);
    }

    /// An instance that can take a request now. The request is in it already: it cannot be frozen in between.
    ///
    /// Started as a task of its own: a client that leaves must not leave half an instance.
    pub(super) async fn enter(self: Rc<Self>) -> Result<Entry, StartFailure> {
        let is_there = |instance: Rc<Instance>| Self::is_usable(&instance) && instance.is_created.get();
        let was_there = self.current().is_some_and(is_there);
        let _turn = self.turn.lock().await;
        let instance = match self.current().filter(|instance| Self::is_usable(instance)) {
            Some(instance) => instance,
            None => {
                self.clear().await;
                self.create().await?
            }
        };
        let reserved = if self.freezer.is_frozen() { instance.link.reserve().await } else { None };
        let was_frozen = self.thaw(&instance);
        let warmth = match (was_there, was_frozen) {
            (false, _) => Warmth::Cold,
            (true, true) => Warmth::Thawed,
            (true, false) => Warmth::Warm,
        };
        instance.in_flight.set(instance.in_flight.get() + 1);
        let entry = Entry { emulator: Rc::clone(&self), instance, warmth, reserved: RefCell::new(reserved) };
        self.look_after(&entry.instance).await?;
        Ok(entry)
    }

    /// An instance that has nothing in flight any more is frozen at once where nobody has to be asked before.
    fn settle(&self, instance: &Rc<Instance>) {
        if instance.in_flight.get() > 0 || !Self::is_usable(instance) {
            return;
        }
        instance.rests.set(instance.rests.get() + 1);
        if self.options.pre_freeze.is_none() {
            self.freeze(instance);
        }
        if self.options.pre_freeze.is_some() || self.options.idle.is_some() {
            self.order(Order::Rest(Rc::clone(instance)));
        }
    }

    /// What an instance that has just come to rest still needs: its pre-freeze callback, an end after `--idle`.
    pub(super) async fn rest(self: Rc<Self>, instance: Rc<Instance>) {
        let rests = instance.rests.get();
        let is_at_rest =
            || Self::is_usable(&instance) && instance.in_flight.get() == 0 && instance.rests.get() == rests;
        if let Some(patience) = self.options.pre_freeze {
            if !is_at_rest() {
                return;
            }
            let outcome = callback::call(&self, &instance, Hook::PreFreeze, patience).await;
            if outcome.asks_for_restart() {
                instance.is_doomed.set(true);
                return self.destroy(instance, "its pre-freeze callback answered 500".to_owned()).await;
            }
            if is_at_rest() {
                self.freeze(&instance);
            }
        }
        if let Some(idle) = self.options.idle {
            clock::sleep(idle).await;
            if is_at_rest() {
                instance.is_doomed.set(true);
                let why = format!("no request for {}", crate::config::units::period_text(idle));
                self.destroy(instance, why).await;
            }
        }
    }

    fn freeze(&self, instance: &Instance) {
        match self.freezer.freeze() {
            Ok(true) => self.log.note(format_args!("instance frozen: {}", instance.id)),
            Ok(false) => {}
            Err(error) => self.log.warn(format_args!("the instance does not freeze: {error}")),
        }
    }

    fn thaw(&self, instance: &Instance) -> bool {
        match self.freezer.thaw() {
            Ok(true) => self.log.note(format_args!("instance thawed: {}", instance.id)),
            Ok(false) => return false,
            Err(error) => self.log.warn(format_args!("the instance does not thaw: {error}")),
        }
        true
    }

    /// Makes the first instance before anybody asks for one, so that a mistake shows at once.
    pub(super) async fn warm_up(self: Rc<Self>) {
        // It comes to rest as if a request had left it.
        let is_there = Rc::clone(&self).enter().await.is_ok();
        self.log.note(if is_there { "ready" } else { "there is no instance; the next request tries again" });
    }

    /// Makes an instance; the turn is the caller's.
    async fn create(&self) -> Result<Rc<Instance>, StartFailure> {
        let id = new_id();
        self.log.platform(format_args!("fc:Instance:Creating {id}"));
        let made = self.try_create(id).await;
        if let Err(failure) = &made {
            self.freezer.kill();
            self.current.replace(None);
            self.log.platform(format_args!("fc:Instance:CreateFailed {failure}"));
        }
        made
    }

    async fn try_create(&self, id: String) -> Result<Rc<Instance>, StartFailure> {
        let port = self.options.port;
        // Somebody else behind it would look like a very fast start.
        if let Err(error) = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) {
            return Err(StartFailure::Local(format!(
                "Port {port} is not free ({error}): on the platform an instance has its ports for itself. \
                 End who listens there, or choose another port with --port."
            )));
        }
        let began = clock::now();
        let started = process::start(&self.options, &id)?;
        let instance = Instance::new(id, started, SocketAddr::from((OUTSIDE, port)), &self.log);
        // From now on its end is heard of.
        self.current.replace(Some(Rc::clone(&instance)));
        self.until_open(&instance, began).await?;
        self.log.platform(format_args!(
            "fc:Instance:RuntimeInitialization {}: performed health check in {:.2} ms",
            instance.id,
            clock::now().saturating_duration_since(began).as_secs_f64() * 1e3
        ));
        self.initialize(&instance).await?;
        if let Some(path) = &self.options.health_check {
            let outcome = callback::health(self, &instance, path, HEALTH_PATIENCE).await;
            if let Some(illness) = illness(&outcome) {
                return Err(illness);
            }
        }
        instance.memory_kb();
        instance.is_created.set(true);
        self.log.platform(format_args!("fc:Instance:CreateSuccess {}", instance.id));
        Ok(instance)
    }

    /// Knocks at the port until somebody accepts.
    async fn until_open(&self, instance: &Instance, began: Instant) -> Result<(), StartFailure> {
        let (port, deadline) = (self.options.port, self.options.start_deadline);
        let mut has_hinted = false;
        loop {
            if TcpStream::connect((OUTSIDE, port)).await.is_ok() {
                return Ok(());
            }
            if !has_hinted && TcpStream::connect((INSIDE, port)).await.is_ok() {
                has_hinted = true;
                self.log.warn(format_args!(
                    "something listens on 127.0.0.1:{port} alone, where the platform cannot reach it: \
                     it dials the instance's own address. Listen on 0.0.0.0:{port}."
                ));
            }
            if clock::now().saturating_duration_since(began) >= deadline {
                let logs = instance.logs().await;
                return Err(StartFailure::NotListening { port, seconds: whole_seconds(deadline), logs });
            }
            tokio::select! {
                status = instance.exited() => return Err(self.ended_early(instance, status).await),
                () = clock::sleep(KNOCK_PAUSE) => {}
            }
        }
    }

    async fn ended_early(&self, instance: &Instance, status: ExitStatus) -> StartFailure {
        // Those who are left hold its pipes.
        self.freezer.kill();
        let (code, message) = process::ending(status);
        let command = process::command_line(&self.options);
        StartFailure::Exited { code, message, command, logs: instance.logs().await }
    }

    /// Whatever else than success it answers, this instance is not used: the next caller's is a new one.
    async fn initialize(&self, instance: &Instance) -> Result<(), StartFailure> {
        let Some(patience) = self.options.initializer else { return Ok(()) };
        let outcome = callback::call(self, instance, Hook::Initialize, patience).await;
        if outcome.is_success() {
            return Ok(());
        }
        if let Outcome::Broken(_) = outcome {
            // A connection ends a moment before the news of its process.
            if let Some(status) = clock::timeout(NEWS_PATIENCE, instance.exited()).await {
                return Err(self.ended_early(instance, status).await);
            }
        }
        Err(StartFailure::Initializer { status: outcome.status() })
    }

    /// Whether an instance that was ill is well again; nobody asks it while it is frozen.
    async fn look_after(&self, instance: &Instance) -> Result<(), StartFailure> {
        let Some(path) = self.options.health_check.as_deref().filter(|_| instance.illness.borrow().is_some())
        else {
            return Ok(());
        };
        let outcome = callback::health(self, instance, path, HEALTH_PATIENCE).await;
        let illness = illness(&outcome);
        instance.illness.replace(illness.clone());
        illness.map_or(Ok(()), Err)
    }

    /// Asks for the health of whatever instance runs, for ever. The frozen are not asked.
    pub(super) async fn watch_health(self: Rc<Self>) {
        let Some(path) = self.options.health_check.clone() else { return };
        let mut failures = 0;
        loop {
            clock::sleep(HEALTH_PERIOD).await;
            let Some(instance) = self.current().filter(|instance| instance.in_flight.get() > 0) else {
                failures = 0;
                continue;
            };
            let rests = instance.rests.get();
            let outcome = callback::health(&self, &instance, &path, HEALTH_PATIENCE).await;
            if instance.rests.get() != rests {
                // Frozen in the middle: it could not answer.
                continue;
            }
            let illness = illness(&outcome);
            failures = if illness.is_some() { failures + 1 } else { 0 };
            if failures == HEALTH_FAILURES {
                self.log.warn(format_args!("instance unhealthy: {} ({outcome})", instance.id));
                *instance.illness.borrow_mut() = illness;
            } else if failures == 0 && instance.illness.take().is_some() {
                self.log.note(format_args!("instance healthy again: {}", instance.id));
            }
        }
    }

    /// Somebody below us has ended; the instance with it if it was its first process.
    pub(super) fn on_exit(&self, pid: i32, status: ExitStatus) {
        let Some(instance) = self.current().filter(|instance| instance.pid == pid) else { return };
        instance.memory_kb();
        // Without its first process an instance has none.
        self.freezer.kill();
        instance.on_exit(status);
        if instance.is_created.get() {
            self.current.replace(None);
            let ending = process::ending(status).1;
            self.log.note(format_args!("instance destroyed: {} (it ended: {ending})", instance.id));
        }
    }

    /// Removes what is left of an instance that cannot be used; the turn is the caller's.
    async fn clear(&self) {
        if let Some(instance) = self.current() {
            self.end(&instance, "it cannot be used any more").await;
        }
    }

    /// Destroys the instance, unless somebody has done it already.
    pub(super) async fn destroy(self: Rc<Self>, instance: Rc<Instance>, why: String) {
        let _turn = self.turn.lock().await;
        if self.current().is_some_and(|current| Rc::ptr_eq(&current, &instance)) {
            self.end(&instance, &why).await;
        }
    }

    /// Destroys whatever there is.
    pub(super) async fn shut_down(self: Rc<Self>, why: &str) {
        if let Some(instance) = self.current() {
            instance.is_doomed.set(true);
        }
        let _turn = self.turn.lock().await;
        if let Some(instance) = self.current() {
            self.end(&instance, why).await;
        }
    }

    async fn end(&self, instance: &Instance, why: &str) {
        if instance.exit().is_none() {
            self.thaw(instance);
            if let Some(patience) = self.options.pre_stop {
                // Whatever it answers: it ends.
                let _ = callback::call(self, instance, Hook::PreStop, patience).await;
            }
        }
        let is_gone = self.freezer.kill();
        if instance.exit().is_none() {
            instance.on_exit(ExitStatus::from_raw(sys::KILL));
        }
        // What it wrote last comes before the news of its end.
        let _ = instance.logs().await;
        self.current.replace(None);
        self.log.note(format_args!("instance destroyed: {} ({why})", instance.id));
        if !is_gone {
            self.log.warn("a process of the instance does not go: the system keeps it");
        }
    }
}

/// As the platform counts: a second that has begun counts whole.
pub(super) fn whole_seconds(period: Duration) -> u64 {
    period.as_secs() + u64::from(period.subsec_nanos() > 0)
}

/// Why an instance is not healthy.
fn illness(outcome: &Outcome) -> Option<StartFailure> {
    match outcome.status() {
        Ok(200..=399) => None,
        status => Some(StartFailure::Unhealthy { status }),
    }
}

/// `c-` and what follows in real ones: a date-like part and two random ones.
fn new_id() -> String {
    let id = crate::id::RequestId::generate();
    format!("c-{}", id.as_str().trim_start_matches("1-"))
}
