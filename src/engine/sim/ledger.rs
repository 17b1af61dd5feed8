//! What really happened, kept by workers and clients: the judge of a simulation.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use tokio::time::Instant;

/// One request's truth.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub(super) is_post: bool,
    /// Workers that read its whole head.
    pub(super) executions: u32,
    /// Whether a worker mistreated it.
    pub(super) wronged: bool,
    /// Bytes of content the last worker meant to send; `None`: no answer was begun.
    pub(super) answer_len: Option<u64>,
    /// Whether only a close ends that answer: a worker killed in the middle of it looks done.
    pub(super) until_close: bool,
}

/// The shared record of one world.
#[derive(Default)]
pub(super) struct Ledger {
    entries: RefCell<BTreeMap<u64, Entry>>,
    violations: RefCell<Vec<String>>,
    /// When a worker last did something that may hit a request it has not read.
    rude: Cell<Option<Instant>>,
    pub(super) served: Cell<u64>,
    pub(super) cut: Cell<u64>,
    pub(super) refused: Cell<u64>,
    pub(super) failed: Cell<u64>,
    pub(super) left: Cell<u64>,
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

    /// A worker has read the head of `id`.
    pub(super) fn on_execution(&self, id: u64) {
        let mut entries = self.entries.borrow_mut();
        let Some(entry) = entries.get_mut(&id) else {
            drop(entries);
            return self.accuse(format!("a worker got request {id} that nobody sent"));
        };
        entry.executions += 1;
        // A method that may be repeated is repeated once.
        let most = if entry.is_post { 1 } else { 2 };
        if entry.executions > most {
            let what =
                format!("request {id} (post: {}) was executed {} times", entry.is_post, entry.executions);
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

    /// Whether request `id`, sent at `since`, may have failed for a worker's fault.
    pub(super) fn excuses(&self, id: u64, since: Instant) -> bool {
        self.entry(id).wronged || self.rude.get().is_some_and(|at| at >= since)
    }

    pub(super) fn entry(&self, id: u64) -> Entry {
        self.entries.borrow().get(&id).cloned().unwrap_or_default()
    }

    pub(super) fn count(counter: &Cell<u64>) {
        counter.set(counter.get() + 1);
    }
}
