//! One slot of one worker, given back exactly once.

use std::sync::Arc;

use super::balance::choose;
use super::pool::{Pool, Worker};

/// A taken slot. Dropping it returns the slot.
#[derive(Debug)]
pub struct Lease {
    worker: Arc<Worker>,
}

impl Lease {
    /// Takes a slot of the least loaded trusted worker of `pool`; `None` when all are taken.
    pub fn take(pool: &Pool, rotation: usize) -> Option<Self> {
        // A choice can be lost to another thread between looking and taking; then look again. Every
        // lost race means that somebody else took a slot, so this ends.
        loop {
            let workers = pool.workers();
            let index = choose(
                workers.iter().map(|worker| {
                    let slots = if worker.is_suspect() { 0 } else { worker.slots };
                    (slots, worker.in_flight())
                }),
                rotation,
            )?;
            if workers[index].try_take() {
                return Some(Self { worker: Arc::clone(&workers[index]) });
            }
        }
    }

    /// Takes a slot of just this worker, whatever others have; `None` when all are taken or it is suspect.
    pub fn of(worker: &Arc<Worker>) -> Option<Self> {
        let lease = worker.try_take().then(|| Self { worker: Arc::clone(worker) })?;
        // Looked at behind the taking: whoever suspects it gives a slot back only then.
        (!worker.is_suspect()).then_some(lease)
    }

    /// The worker whose slot this is.
    pub fn worker(&self) -> &Arc<Worker> {
        &self.worker
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.worker.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::pool::{Address, WorkerId};
    use tokio::sync::Notify;

    fn worker(id: u32, slots: u32) -> Arc<Worker> {
        let address = Address::Tcp(([127, 0, 0, 1], 1).into());
        Worker::new(WorkerId(id), address, slots, Arc::new(Notify::new()))
    }

    #[test]
    fn no_more_leases_than_slots_and_each_comes_back_once() {
        let pool = Pool::new(vec![worker(2, 2), worker(1, 1)]);
        let leases: Vec<_> = std::iter::from_fn(|| Lease::take(&pool, 0)).collect();
        assert_eq!(leases.len(), 3);
        drop(leases);
        assert!(pool.workers().iter().all(|worker| worker.in_flight() == 0));
        assert_eq!(pool.workers().iter().map(|worker| worker.served()).sum::<u64>(), 3);
    }

    #[test]
    fn a_suspect_worker_gets_nothing() {
        let pool = Pool::new(vec![worker(1, 1), worker(2, 1)]);
        pool.workers()[0].suspect();
        let lease = Lease::take(&pool, 0).unwrap();
        assert_eq!(lease.worker().id, WorkerId(2));
        assert!(Lease::of(&pool.workers()[0]).is_none() && pool.workers()[0].in_flight() == 0);
        assert!(Lease::take(&pool, 0).is_none());
    }
}
