//! Numbers that each thread keeps for itself, and whoever asks adds up.
//!
//! A number shared by threads costs each of them a locked instruction, and the wait for a cache line. Here a
//! thread writes to cells of its own, with a plain load and a plain store, and nobody else does; a reader
//! sees each as it was a moment ago. What a thread has counted outlives it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The cells of one thread, in the order that `tally` gives them.
struct Cells<const LEN: usize>([AtomicU64; LEN]);

/// The cells of all threads.
pub(super) struct Ledger<const LEN: usize>(Mutex<Pages<LEN>>);

struct Pages<const LEN: usize> {
    /// Of threads that live.
    open: Vec<Arc<Cells<LEN>>>,
    /// Of those that have ended.
    closed: [u64; LEN],
}

impl<const LEN: usize> Ledger<LEN> {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Pages { open: Vec::new(), closed: [0; LEN] }))
    }

    /// Cells for the calling thread.
    pub(super) fn open(&'static self) -> Page<LEN> {
        let cells = Arc::new(Cells([const { AtomicU64::new(0) }; LEN]));
        self.lock().open.push(Arc::clone(&cells));
        Page { cells, ledger: self }
    }

    /// What all threads together have in the cells of `range`.
    pub(super) fn sums(&self, range: std::ops::Range<usize>) -> Vec<u64> {
        let pages = self.lock();
        let mut sums = pages.closed[range.clone()].to_vec();
        for cells in &pages.open {
            for (sum, cell) in sums.iter_mut().zip(&cells.0[range.clone()]) {
                *sum = sum.wrapping_add(cell.load(Ordering::Relaxed));
            }
        }
        sums
    }

    /// Adds where no thread's cells are to be had any more: while it ends.
    pub(super) fn add(&self, cell: usize, many: u64) {
        let closed = &mut self.lock().closed[cell];
        *closed = closed.wrapping_add(many);
    }

    fn lock(&self) -> MutexGuard<'_, Pages<LEN>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread's cells; only that thread has it. What is in them stays counted when it is dropped.
pub(super) struct Page<const LEN: usize> {
    cells: Arc<Cells<LEN>>,
    ledger: &'static Ledger<LEN>,
}

impl<const LEN: usize> Page<LEN> {
    /// Adds to one cell. Nobody else writes to it, so nothing gets lost between the load and the store.
    pub(super) fn add(&self, cell: usize, many: u64) {
        let cell = &self.cells.0[cell];
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(many), Ordering::Relaxed);
    }
}

impl<const LEN: usize> Drop for Page<LEN> {
    fn drop(&mut self) {
        let mut pages = self.ledger.lock();
        pages.open.retain(|cells| !Arc::ptr_eq(cells, &self.cells));
        for (closed, cell) in pages.closed.iter_mut().zip(&self.cells.0) {
            *closed = closed.wrapping_add(cell.load(Ordering::Relaxed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_counted_is_added_up_while_they_live_and_when_they_are_gone() {
        static LEDGER: Ledger<2> = Ledger::new();
        let page = LEDGER.open();
        page.add(1, 5);
        let other = std::thread::spawn(|| {
            let page = LEDGER.open();
            for _ in 0..1000 {
                page.add(0, 1);
                page.add(1, 2);
            }
        });
        other.join().unwrap();
        assert_eq!(LEDGER.sums(0..2), [1000, 2005]);
        assert_eq!(LEDGER.lock().open.len(), 1, "an ended thread holds no page");
        LEDGER.add(0, 1);
        drop(page);
        assert_eq!(LEDGER.sums(0..1), [1001]);
    }
}
