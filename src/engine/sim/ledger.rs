//! What really happened, kept by workers and clients: the judge of a simulation.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

/// One life of one worker, unique in its world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LifeId(pub(super) u32);

/// One request's truth.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub(super) is_post: bool,
    /// Lives that read its whole head, in order.
    pub(super) executed_by: Vec<LifeId>,
    /// Whether a worker mistreated it.
    pub(super) wronged: bool,
    /// Bytes of content the last worker meant to send; `None`: no answer was begun.
    pub(super) answer_len: Option<u64>,
    /// Whether only a close ends that answer: a worker killed in the middle of it looks done.
    pub(super) until_close: bool,
    /// What its client saw, once it saw an end.
    pub(super) outcome: Option<Outcome>,
}

/// How a request ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// The whole right answer.
    Served,
    /// A cut, or a close without an answer, for a reason.
    Cut,
    /// 503.
    Refused,
    /// 502.
    Failed,
    /// The client did not wait for the end.
    Left,
    /// It stood behind an answer that ended the connection.
    Unasked,
    /// A broken promise; told apart.
    Wrong,
}

/// What the sidecar's state allows it to refuse.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Refusals {
    /// Bounds of the line are tight enough to strike.
    pub(super) line: bool,
    /// When the first worker was ready.
    pub(super) first_ready: Option<Instant>,
    /// The gate was closed because none would ever be.
    pub(super) hopeless: bool,
    /// The gate was closed for good.
    pub(super) stopping: bool,
    /// Every connection was ended where it stood: answers on their way are lost.
    pub(super) cut_off: bool,
}

impl Refusals {
    /// Whether a request sent at `since` may be told that no worker has started.
    pub(super) fn may_say_not_started(&self, since: Instant) -> bool {
        self.hopeless || self.first_ready.is_none_or(|ready| since <= ready)
    }
}

/// The shared record of one world.
#[derive(Default)]
pub(super) struct Ledger {
    entries: RefCell<BTreeMap<u64, Entry>>,
    violations: RefCell<Vec<String>>,
    /// When a worker last did something that may hit a request it has not read.
    rude: Cell<Option<Instant>>,
    dead: RefCell<BTreeSet<LifeId>>,
    pub(super) refusals: Cell<Refusals>,
    pub(super) repeats: Cell<u64>,
}

impl Ledger {
    /// Notes a broken promise.
    pub(super) fn accuse(&self, what: String) {
        self.violations.borrow_mut().push(what);
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.violations.borrow().clone()
    }

    /// A client is about to send request `id`.
    pub(super) fn on_sending(&self, id: u64, is_post: bool) {
        self.entries.borrow_mut().insert(id, Entry { is_post, ..Entry::default() });
    }

    /// `life` has read the head of `id`.
    pub(super) fn on_execution(&self, id: u64, life: LifeId) {
        let mut entries = self.entries.borrow_mut();
        let Some(entry) = entries.get_mut(&id) else {
            drop(entries);
            return self.accuse(format!("a worker got request {id} that nobody sent"));
        };
        entry.executed_by.push(life);
        let executions = entry.executed_by.len();
        if executions > 1 {
            self.repeats.set(self.repeats.get() + 1);
        }
        // A method that may be repeated is repeated once.
        let most = if entry.is_post { 1 } else { 2 };
        let is_unasked = entry.outcome == Some(Outcome::Unasked) && !self.refusals.get().cut_off;
        if executions > most || is_unasked {
            let what = format!("request {id} was executed: {entry:?}");
            drop(entries);
            self.accuse(what);
        }
    }

    pub(super) fn on_answering(&self, id: u64, len: u64, until_close: bool) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(&id) {
            entry.answer_len = Some(len);
            entry.until_close = until_close;
        }
    }

    /// A worker breaks its word to `id`.
    pub(super) fn on_wrong(&self, id: u64) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(&id) {
            entry.wronged = true;
        }
    }

    /// A worker closes something that may already hold a request.
    pub(super) fn on_rudeness(&self) {
        self.rude.set(Some(Instant::now()));
    }

    /// A worker's process ends.
    pub(super) fn on_death(&self, life: LifeId) {
        self.dead.borrow_mut().insert(life);
        self.on_rudeness();
    }

    /// What a client saw of `id` in the end.
    pub(super) fn on_outcome(&self, id: u64, outcome: Outcome) {
        let mut entries = self.entries.borrow_mut();
        let Some(entry) = entries.get_mut(&id) else { return };
        let before = entry.outcome.replace(outcome);
        let is_unasked = outcome == Outcome::Unasked && !self.refusals.get().cut_off;
        let was_executed = is_unasked && !entry.executed_by.is_empty();
        let text = format!("{entry:?}");
        drop(entries);
        if let Some(before) = before {
            self.accuse(format!("request {id} ended twice, before as {before:?}: {text}"));
        }
        if was_executed {
            self.accuse(format!(
                "request {id} was executed behind an answer that ended the connection: {text}"
            ));
        }
    }

    /// Whether request `id`, sent at `since`, may have failed for a worker's fault: it was mistreated,
    /// who executed it died, or, if nobody did, something happened to connections meanwhile.
    pub(super) fn excuses(&self, id: u64, since: Instant) -> bool {
        let entry = self.entry(id);
        let dead = self.dead.borrow();
        entry.wronged
            || entry.executed_by.iter().any(|life| dead.contains(life))
            || (entry.executed_by.is_empty() && self.rude.get().is_some_and(|at| at >= since))
    }

    pub(super) fn entry(&self, id: u64) -> Entry {
        self.entries.borrow().get(&id).cloned().unwrap_or_default()
    }

    /// How many requests ended as `outcome`.
    pub(super) fn count(&self, outcome: Outcome) -> u64 {
        self.entries.borrow().values().filter(|entry| entry.outcome == Some(outcome)).count() as u64
    }

    /// When all is over, every request has its end.
    pub(super) fn judge(&self) {
        let open: Vec<u64> = self
            .entries
            .borrow()
            .iter()
            .filter(|(_, entry)| entry.outcome.is_none())
            .map(|(id, _)| *id)
            .collect();
        for id in open {
            self.accuse(format!("request {id} has no end: {:?}", self.entry(id)));
        }
    }
}
