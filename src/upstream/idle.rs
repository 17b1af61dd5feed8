//! Kept-alive connections to workers, newest first, one shelf per data-plane thread.
//!
//! A thread uses its own shelf; it reaches for another's only when a worker
//! already has as many connections as slots. That keeps the promise that a
//! worker never sees more connections than the requests it may hold, on which
//! single-threaded servers depend: an idle connection of one thread would
//! otherwise starve the request of another.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::pool::{Pool, Worker};
use crate::sync::{AtomicBool, Mutex, MutexGuard};

/// Leave to open one connection to a worker. The count is raised here, in one step with the look at the
/// bound, and falls when the connection is closed or was never opened.
#[derive(Debug)]
pub struct Opening(Arc<Worker>);

impl Opening {
    /// `None` when the worker has as many connections as slots.
    pub fn reserve(worker: &Arc<Worker>) -> Option<Self> {
        worker.try_open().then(|| Self(Arc::clone(worker)))
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.on_closed();
    }
}

/// One connection to one worker; counts as open until dropped.
#[derive(Debug)]
pub struct Connection<S> {
    /// The stream.
    pub stream: S,
    /// Requests already answered on it.
    pub uses: u64,
    /// Freezes of the process before it came to rest.
    pub freezes: u64,
    // Behind the stream: closed first, then no longer counted.
    opening: Opening,
}

impl<S> Connection<S> {
    /// A fresh connection.
    pub fn new(stream: S, opening: Opening) -> Self {
        Self { stream, uses: 0, freezes: 0, opening }
    }

    /// The same connection with its stream converted.
    ///
    /// # Errors
    /// Those of `convert`; the connection is closed then.
    pub fn convert<T, E>(self, convert: impl FnOnce(S) -> Result<T, E>) -> Result<Connection<T>, E> {
        let Self { stream, uses, freezes, opening } = self;
        convert(stream).map(|stream| Connection { stream, uses, freezes, opening })
    }
}

/// The idle connections of all data-plane threads.
#[derive(Debug)]
pub struct Idle<S> {
    shelves: Box<[Mutex<Shelf<S>>]>,
    closed: AtomicBool,
}

/// Connections by worker id; an entry of an earlier life of a worker is replaced.
#[derive(Debug)]
struct Shelf<S>(Vec<Option<Entry<S>>>);

/// The connections to one life of one worker, oldest first.
#[derive(Debug)]
struct Entry<S> {
    worker: Arc<Worker>,
    connections: Vec<Connection<S>>,
}

impl<S> Idle<S> {
    /// Empty shelves for `threads` threads.
    pub fn new(threads: usize) -> Self {
        let shelves = (0..threads).map(|_| Mutex::new(Shelf(Vec::new()))).collect();
        Self { shelves, closed: AtomicBool::new(false) }
    }

    /// The newest idle connection of `thread` to `worker`.
    pub fn take(&self, thread: usize, worker: &Arc<Worker>) -> Option<Connection<S>> {
        self.shelf(thread).of(worker)?.pop()
    }

    /// The oldest idle connection of any other thread to `worker`.
    pub fn steal(&self, thread: usize, worker: &Arc<Worker>) -> Option<Connection<S>> {
        (0..self.shelves.len()).filter(|&other| other != thread).find_map(|other| {
            let mut shelf = self.shelf(other);
            let connections = shelf.of(worker)?;
            (!connections.is_empty()).then(|| connections.remove(0))
        })
    }

    /// Keeps a connection for the next request. Must happen before its slot is given back, so
    /// that whoever gets the slot finds the connection.
    pub fn put(&self, thread: usize, connection: Connection<S>) {
        // Looked at under the lock: `close` empties each shelf behind its store, so either it finds the
        // connection or we find the shelf closed.
        let mut shelf = self.shelf(thread);
        if !self.closed.load(Ordering::SeqCst) {
            shelf.put(connection);
        }
    }

    /// Drops the connections of workers that are no longer in `pool`.
    pub fn retain(&self, pool: &Pool) {
        for thread in 0..self.shelves.len() {
            for entry in &mut self.shelf(thread).0 {
                if entry.as_ref().is_some_and(|entry| !pool.has(&entry.worker)) {
                    *entry = None;
                }
            }
        }
    }

    /// Drops all connections.
    pub fn forget(&self) {
        self.retain(&Pool::default());
    }

    /// Drops all connections and keeps none from now on.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.forget();
    }

    fn shelf(&self, thread: usize) -> MutexGuard<'_, Shelf<S>> {
        self.shelves[thread].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Shelf<S> {
    fn of(&mut self, worker: &Arc<Worker>) -> Option<&mut Vec<Connection<S>>> {
        match self.0.get_mut(worker.id.0 as usize)? {
            Some(entry) if Arc::ptr_eq(&entry.worker, worker) => Some(&mut entry.connections),
            _ => None,
        }
    }

    fn put(&mut self, connection: Connection<S>) {
        if let Some(connections) = self.of(&connection.opening.0) {
            connections.push(connection);
            return;
        }
        let worker = Arc::clone(&connection.opening.0);
        let index = worker.id.0 as usize;
        if self.0.len() <= index {
            self.0.resize_with(index + 1, || None);
        }
        self.0[index] = Some(Entry { worker, connections: vec![connection] });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::pool::{Address, WorkerId};
    use tokio::sync::Notify;

    fn worker(id: u32) -> Arc<Worker> {
        let address = Address::Tcp(([127, 0, 0, 1], 1).into());
        Worker::new(WorkerId(id), address, 4, Arc::new(Notify::new()))
    }

    fn connection(name: &'static str, worker: &Arc<Worker>) -> Connection<&'static str> {
        Connection::new(name, Opening::reserve(worker).unwrap())
    }

    #[test]
    fn a_worker_has_no_more_connections_than_slots() {
        let worker = worker(1);
        let openings: Vec<_> = std::iter::from_fn(|| Opening::reserve(&worker)).collect();
        assert_eq!(openings.len(), 4);
        drop(openings);
        assert_eq!(worker.connections(), 0, "a connect that failed leaves nothing");
    }

    #[test]
    fn the_newest_is_reused_and_the_oldest_is_stolen() {
        let (idle, worker) = (Idle::new(2), worker(1));
        for name in ["a", "b", "c"] {
            idle.put(0, connection(name, &worker));
        }
        assert_eq!(worker.connections(), 3);
        assert_eq!(idle.take(0, &worker).unwrap().stream, "c");
        assert!(idle.take(1, &worker).is_none());
        assert_eq!(idle.steal(1, &worker).unwrap().stream, "a");
        assert_eq!(worker.connections(), 1);
    }

    #[test]
    fn connections_of_a_former_life_are_never_reused() {
        let (idle, before, after) = (Idle::new(1), worker(1), worker(1));
        idle.put(0, connection("old", &before));
        assert!(idle.take(0, &after).is_none());
        idle.put(0, connection("new", &after));
        assert_eq!(before.connections(), 0, "the old one was closed");
        idle.retain(&Pool::default());
        assert!(idle.take(0, &after).is_none());
    }
}
