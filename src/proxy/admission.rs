//! The gate: a slot now, a place in the line, or a refusal that says which limit struck.
//!
//! One step admits and chooses (`docs/adr/0002-admission-takes-the-slot.md`): a
//! permit *is* a slot of one worker, so no request ever stands behind a busy
//! worker while another is idle. Without waiters a request costs one load and
//! one exchange; the lock guards only the waiting path.
//!
//! No wake-up is lost: whoever is about to wait first raises `waiting` and then
//! looks for a slot once more; whoever returns a slot does so first and then
//! looks at `waiting`. With sequentially consistent order one of them sees the
//! other.
//!
//! Paused, it gives no slot to anybody: a bit beside the number of those who wait makes everybody look under the
//! lock, so that who finds it open pays nothing for the question.
//!
//! Who belongs to a session may wish for one worker and waits for that one alone,
//! in a lane beside the others. It is let off its wish when the worker leaves the
//! pool or is suspect: whoever suspects a worker holds a slot of it and gives that
//! back next, and a new pool is installed, so either way somebody looks.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use super::line::{Line, Ticket, Wish};
use crate::clock;
use crate::config::Queue;
use crate::config::units::period_text;
use crate::sync::{ArcSwap, AtomicUsize, Mutex, MutexGuard};
use crate::upstream::lease::Lease;
use crate::upstream::pool::{Pool, Worker};

/// How often a drain looks whether it is over.
const EMPTIED_LOOK: Duration = Duration::from_millis(5);

/// In `Gate::waiting`, beside the number of those who wait: nobody is let in.
const PAUSED: usize = 1 << (usize::BITS - 1);

/// Why the gate said no. Each names its limit and value, so that an operator
/// knows which one to move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `queue.depth` requests wait already.
    QueueFull {
        /// The limit.
        depth: usize,
    },
    /// Waiting requests hold `queue.bytes` already.
    QueueBytes {
        /// The limit.
        bytes: usize,
    },
    /// No slot came free within `queue.timeout`.
    Late {
        /// The limit.
        timeout: Duration,
    },
    /// No worker became ready within `start.deadline`, or none ever will.
    NotStarted,
    /// The process is stopping.
    Stopping,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueFull { depth } => write!(f, "queue.depth={depth}"),
            Self::QueueBytes { bytes } => write!(f, "queue.bytes={bytes}"),
            Self::Late { timeout } => write!(f, "queue.timeout={}", period_text(*timeout)),
            Self::NotStarted => f.write_str("workers-not-started"),
            Self::Stopping => f.write_str("stopping"),
        }
    }
}

/// How full the line is, and its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// Requests that wait.
    pub waiting: usize,
    /// Bytes that they hold.
    pub bytes: usize,
    /// How long the one has waited who has waited longest.
    pub oldest: Option<Duration>,
    /// What strikes when there are more, or it gets longer.
    pub bounds: Queue,
}

/// A slot held by one request. Dropping it returns the slot and wakes the next waiter.
#[derive(Debug)]
pub struct Permit<'g> {
    lease: Option<Lease>,
    gate: &'g Gate,
}

impl Permit<'_> {
    /// Whose slot it is.
    pub fn worker(&self) -> &Arc<Worker> {
        match &self.lease {
            Some(lease) => lease.worker(),
            None => unreachable!("invariant: the lease is taken out only in drop"),
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.lease = None;
        self.gate.slot_returned();
    }
}

/// Admission for all data-plane threads.
#[derive(Debug)]
pub struct Gate {
    pool: ArcSwap<Pool>,
    rotation: AtomicUsize,
    /// Those who wait, and [`PAUSED`].
    waiting: AtomicUsize,
    inner: Mutex<Inner>,
    /// When the first worker became ready: from then on waiting is bounded by `queue.timeout`.
    first_ready: watch::Sender<Option<Instant>>,
    bounds: Queue,
    start_deadline: Instant,
}

#[derive(Debug)]
struct Inner {
    line: Line<oneshot::Sender<Result<Lease, Refusal>>>,
    closed: Option<Refusal>,
    paused: bool,
    rate: DrainRate,
    /// Workers that have left the pool, as long as anybody has them: some have requests.
    departed: Vec<Weak<Worker>>,
}

impl Gate {
    /// A gate in front of an empty pool. Until the first worker is ready requests are
    /// held, at most until `start_deadline`.
    pub fn new(bounds: Queue, start_deadline: Instant) -> Self {
        Self {
            pool: ArcSwap::from_pointee(Pool::default()),
            rotation: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            inner: Mutex::new(Inner {
                line: Line::new(bounds),
                closed: None,
                paused: false,
                rate: DrainRate::default(),
                departed: Vec::new(),
            }),
            first_ready: watch::Sender::new(None),
            bounds,
            start_deadline,
        }
    }

    /// The pool it admits to.
    pub fn pool(&self) -> Arc<Pool> {
        self.pool.load_full()
    }

    /// Whether any worker is ready.
    pub fn has_workers(&self) -> bool {
        !self.pool.load().workers().is_empty()
    }

    /// Requests so far that asked for a slot, those that asked again included.
    pub fn asked(&self) -> u64 {
        self.rotation.load(Ordering::Relaxed) as u64
    }

    /// Requests that hold a slot, also of workers that have left the pool.
    pub fn in_flight(&self) -> u64 {
        let (inner, pool) = (self.lock(), self.pool.load());
        let departed = inner.departed.iter().filter_map(Weak::upgrade);
        let held = |worker: &Arc<Worker>| u64::from(worker.in_flight());
        departed.map(|worker| held(&worker)).chain(pool.workers().iter().map(held)).sum()
    }

    /// Resolves when no request holds a slot or waits for one.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub async fn emptied(&self) {
        // Looked at, not told: only the last seconds of an instance wait for this, and every request would pay.
        while self.in_flight() + self.waiting() as u64 > 0 {
            clock::sleep(EMPTIED_LOOK).await;
        }
    }

    /// Resolves when no request goes on that its client has abandoned.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub async fn abandoned_ended(&self) {
        while self.pool.load().workers().iter().any(|worker| worker.abandoned() > 0) {
            clock::sleep(EMPTIED_LOOK).await;
        }
    }

    /// Requests waiting now.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst) & !PAUSED
    }

    /// Whether nobody is let in.
    pub fn is_paused(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) & PAUSED != 0
    }

    /// Lets nobody in from now on: who comes waits in line, within its bounds. Who is in stays.
    pub fn pause(&self) {
        let mut inner = self.lock();
        inner.paused = true;
        self.waiting.fetch_or(PAUSED, Ordering::SeqCst);
    }

    /// Lets those in again who wait, and everybody behind them.
    pub fn resume(&self) {
        let mut inner = self.lock();
        inner.paused = false;
        self.waiting.fetch_and(!PAUSED, Ordering::SeqCst);
        self.dispatch(&mut inner);
    }

    /// How full the line is.
    pub fn crowd(&self) -> Crowd {
        let inner = self.lock();
        let oldest = inner.line.oldest().map(|since| clock::now().saturating_duration_since(since));
        Crowd { waiting: inner.line.count(), bytes: inner.line.bytes(), oldest, bounds: self.bounds }
    }

    /// Replaces the pool and serves waiters from it.
    pub fn install(&self, pool: Arc<Pool>) {
        let (ready, now) = (!pool.workers().is_empty(), clock::now());
        let mut inner = self.lock();
        // Under the lock, so that nobody is counted twice or not at all.
        inner.departed.retain(|worker| worker.upgrade().is_some_and(|worker| !pool.has(&worker)));
        let before = self.pool.load_full();
        let leaving = before.workers().iter().filter(|worker| !pool.has(worker));
        inner.departed.extend(leaving.map(Arc::downgrade));
        self.pool.store(pool);
        inner.line.set_ready(ready, now);
        self.dispatch(&mut inner);
        drop(inner);
        self.first_ready.send_if_modified(|first| {
            let is_first = ready && first.is_none();
            if is_first {
                *first = Some(now);
            }
            is_first
        });
    }

    /// Refuses everybody from now on, those who wait included.
    pub fn close(&self, why: &Refusal) {
        let mut inner = self.lock();
        inner.closed = Some(why.clone());
        for waiter in inner.line.drain() {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            // Whoever stopped waiting meanwhile needs no answer.
            let _ = waiter.send(Err(why.clone()));
        }
    }

    /// A slot if one is free and nobody waits.
    pub fn try_enter(&self) -> Option<Permit<'_>> {
        if self.waiting.load(Ordering::SeqCst) != 0 {
            return None;
        }
        self.take(None).map(|lease| self.permit(lease))
    }

    /// A slot of the worker it wishes for, if that one serves, else of any; if one is free and nobody waits.
    pub fn try_enter_for(&self, wish: Wish<'_>) -> Option<Permit<'_>> {
        if self.waiting.load(Ordering::SeqCst) != 0 {
            return None;
        }
        self.take(wish.filter(|worker| self.serves(worker))).map(|lease| self.permit(lease))
    }

    /// Whether the pool has this life of a worker and trusts it.
    pub fn serves(&self, worker: &Arc<Worker>) -> bool {
        self.pool.load().has(worker) && !worker.is_suspect()
    }

    /// A slot, now or after waiting in line, holding `bytes` meanwhile.
    ///
    /// # Errors
    /// Those of [`Gate::enter_for`].
    ///
    /// # Cancel safety
    /// That of [`Gate::enter_for`].
    pub fn enter(&self, bytes: usize) -> impl Future<Output = Result<Permit<'_>, Refusal>> {
        self.enter_for(None, bytes, clock::now())
    }

    /// A slot of the worker it wishes for, now or after waiting in line since `since`, holding `bytes`
    /// meanwhile; of any worker if that one does not serve, or stops to.
    ///
    /// # Errors
    /// [`Refusal`] when a bound of the line strikes or the gate is closed.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the line; a slot already handed over goes to the next.
    pub async fn enter_for(
        &self,
        wish: Wish<'_>,
        bytes: usize,
        since: Instant,
    ) -> Result<Permit<'_>, Refusal> {
        let mut waiter = {
            let mut inner = self.lock();
            if let Some(why) = &inner.closed {
                return Err(why.clone());
            }
            self.waiting.fetch_add(1, Ordering::SeqCst);
            // Looked at under the lock: whoever publishes another pool or gives a slot back dispatches behind us.
            let wish = wish.filter(|worker| self.serves(worker));
            if !inner.paused
                && inner.line.is_clear(wish)
                && let Some(lease) = self.take(wish)
            {
                self.waiting.fetch_sub(1, Ordering::SeqCst);
                return Ok(self.permit(lease));
            }
            let (sender, receiver) = oneshot::channel();
            let ticket = match inner.line.push(wish, sender, bytes, since) {
                Ok(ticket) => ticket,
                Err(refusal) => {
                    self.waiting.fetch_sub(1, Ordering::SeqCst);
                    return Err(refusal);
                }
            };
            Waiter { gate: self, ticket, receiver }
        };
        let mut first_ready = self.first_ready.subscribe();
        loop {
            let (deadline, late) = match *first_ready.borrow_and_update() {
                Some(ready) => {
                    (since.max(ready) + self.bounds.timeout, Refusal::Late { timeout: self.bounds.timeout })
                }
                None => (self.start_deadline, Refusal::NotStarted),
            };
            // Both waits are cancel safe; a slot that has come wins over a deadline that has.
            tokio::select! {
                biased;
                granted = &mut waiter.receiver => {
                    // The sender is gone only when the gate is.
                    return granted.unwrap_or(Err(Refusal::Stopping)).map(|lease| self.permit(lease));
                }
                Ok(()) = first_ready.changed() => {}
                () = clock::sleep_until(deadline) => return Err(late),
            }
        }
    }

    /// Whole seconds after which a refused client may find a slot: the line's length over the
    /// rate at which requests leave, 1 to 60.
    pub fn retry_after_secs(&self) -> u64 {
        let served = self.pool.load().workers().iter().map(|worker| worker.served()).sum();
        let waiting = self.waiting();
        self.lock().rate.seconds_for(waiting, served, clock::now())
    }

    fn take(&self, wish: Wish<'_>) -> Option<Lease> {
        match wish {
            Some(worker) => Lease::of(worker),
            None => Lease::take(&self.pool.load(), self.rotation.fetch_add(1, Ordering::Relaxed)),
        }
    }

    fn permit(&self, lease: Lease) -> Permit<'_> {
        Permit { lease: Some(lease), gate: self }
    }

    fn slot_returned(&self) {
        if self.waiting.load(Ordering::SeqCst) != 0 {
            self.dispatch(&mut self.lock());
        }
    }

    /// Gives free slots to those who wait for just these, then to those who take any.
    fn dispatch(&self, inner: &mut Inner) {
        inner.line.give_up(|worker| self.serves(worker));
        if inner.paused {
            return;
        }
        for worker in inner.line.wishes() {
            self.serve(inner, Some(&worker));
        }
        self.serve(inner, None);
    }

    fn serve(&self, inner: &mut Inner, wish: Wish<'_>) {
        let mut spare = None;
        while !inner.line.is_clear(wish) {
            let Some(lease) = spare.take().or_else(|| self.take(wish)) else { return };
            let Some(waiter) = inner.line.pop(wish, clock::now()) else { return };
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            // One who left between pop and send hands the slot on to the next.
            if let Err(Ok(lease)) = waiter.send(Ok(lease)) {
                spare = Some(lease);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the line; dropping it leaves the line.
struct Waiter<'g> {
    gate: &'g Gate,
    ticket: Ticket,
    receiver: oneshot::Receiver<Result<Lease, Refusal>>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if self.gate.lock().line.remove(self.ticket) {
            self.gate.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        self.receiver.close();
        if let Ok(Ok(lease)) = self.receiver.try_recv() {
            drop(lease);
            self.gate.slot_returned();
        }
    }
}

/// How fast requests leave, sampled when somebody is refused. Pure.
#[derive(Debug, Default)]
struct DrainRate {
    sampled: Option<(Instant, u64)>,
    per_second: f64,
}

impl DrainRate {
    const WINDOW: Duration = Duration::from_secs(1);

    fn seconds_for(&mut self, waiting: usize, served: u64, now: Instant) -> u64 {
        match self.sampled {
            Some((at, before)) if now.saturating_duration_since(at) >= Self::WINDOW => {
                self.per_second = served.saturating_sub(before) as f64 / (now - at).as_secs_f64();
                self.sampled = Some((now, served));
            }
            Some(_) => {}
            None => self.sampled = Some((now, served)),
        }
        let seconds = (waiting + 1) as f64 / self.per_second.max(1.0);
        seconds.ceil().clamp(1.0, 60.0) as u64
    }
}

#[cfg(test)]
mod tests;
