//! Which worker a session belongs to: the one that served it last, for as long as that lives.
//!
//! A bounded table, least recently used first out. It holds a session's hash, under
//! a seed that no other process has, and no more than a weak hold on a worker's
//! life: what a session is called is never kept, and a life that is over keeps
//! nothing alive. One lock, taken for requests of sessions and for answers, and
//! only where `affinity.by` says so.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, PoisonError, Weak};

use super::pool::Worker;
use super::session::{in_answer, in_request};
use crate::config::{self, SessionRule};
use crate::http1::Span;
use crate::sync::{Mutex, MutexGuard};

/// The sessions of this instance.
#[derive(Debug)]
pub struct Affinity {
    by: Vec<SessionRule>,
    seed: RandomState,
    table: Mutex<Table>,
}

/// The session of one request.
#[derive(Clone, Copy, Debug)]
pub struct Session<'a> {
    affinity: &'a Affinity,
    hash: u64,
}

impl Affinity {
    /// An empty table; `None` if nothing makes a session.
    pub fn new(config: config::Affinity) -> Option<Self> {
        let table = Mutex::new(Table::new(config.sessions));
        (!config.by.is_empty()).then(|| Self { by: config.by, seed: RandomState::new(), table })
    }

    /// The session that a request's `head` names; its first line ends behind byte `from`.
    pub fn session(&self, head: &[u8], from: usize, dropped: &[Span]) -> Option<Session<'_>> {
        let key = in_request(&self.by, head, from, dropped)?;
        Some(Session { affinity: self, hash: self.seed.hash_one(key) })
    }

    /// Binds the sessions that the `head` of an answer names to the `worker` that gave it.
    pub fn learn(&self, head: &[u8], worker: &Arc<Worker>) {
        for key in in_answer(&self.by, head) {
            self.table().bind(self.seed.hash_one(key), worker);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session<'_> {
    /// The worker that it is bound to.
    pub fn worker(&self) -> Option<Arc<Worker>> {
        self.affinity.table().find(self.hash)
    }

    /// Binds it to `worker`, unless it is bound to another one that `serves`: that one then. Two first requests
    /// of a session may be admitted at once; one of them has to move.
    pub fn settle(&self, worker: &Arc<Worker>, serves: impl Fn(&Arc<Worker>) -> bool) -> Option<Arc<Worker>> {
        let mut table = self.affinity.table();
        let other = table.find(self.hash).filter(|bound| !Arc::ptr_eq(bound, worker) && serves(bound));
        if other.is_none() {
            table.bind(self.hash, worker);
        }
        other
    }
}

/// Sessions by hash, and hashes by the time of their last use.
#[derive(Debug)]
struct Table {
    entries: HashMap<u64, Entry>,
    by_use: BTreeMap<u64, u64>,
    /// Uses so far.
    uses: u64,
    sessions_max: usize,
}

#[derive(Debug)]
struct Entry {
    worker: Weak<Worker>,
    used: u64,
}

impl Table {
    fn new(sessions_max: usize) -> Self {
        Self { entries: HashMap::new(), by_use: BTreeMap::new(), uses: 0, sessions_max }
    }

    fn find(&mut self, hash: u64) -> Option<Arc<Worker>> {
        let worker = self.entries.get(&hash)?.worker.upgrade();
        match &worker {
            Some(worker) => self.bind(hash, worker),
            None => self.forget(hash),
        }
        worker
    }

    fn bind(&mut self, hash: u64, worker: &Arc<Worker>) {
        self.forget(hash);
        if self.entries.len() >= self.sessions_max
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.uses += 1;
        self.by_use.insert(self.uses, hash);
        self.entries.insert(hash, Entry { worker: Arc::downgrade(worker), used: self.uses });
    }

    fn forget(&mut self, hash: u64) {
        if let Some(entry) = self.entries.remove(&hash) {
            self.by_use.remove(&entry.used);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::pool::{Address, WorkerId};
    use proptest::prelude::*;
    use tokio::sync::Notify;

    fn worker(id: u32) -> Arc<Worker> {
        let address = Address::Tcp(([127, 0, 0, 1], 1).into());
        Worker::new(WorkerId(id), address, 1, Arc::new(Notify::new()))
    }

    fn affinity(sessions: usize) -> Affinity {
        let by = vec![SessionRule::Header("s".into()), SessionRule::Cookie("c".into())];
        Affinity::new(config::Affinity { by, sessions }).unwrap()
    }

    fn session<'a>(affinity: &'a Affinity, name: &str) -> Session<'a> {
        let head = format!("GET / HTTP/1.1\r\nS: {name}\r\n\r\n");
        affinity.session(head.as_bytes(), 5, &[]).unwrap()
    }

    fn bound(affinity: &Affinity, name: &str) -> Option<u32> {
        session(affinity, name).worker().map(|worker| worker.id.0)
    }

    #[test]
    fn without_rules_there_is_no_affinity() {
        assert!(Affinity::new(config::Affinity { by: Vec::new(), sessions: 1 }).is_none());
        assert!(affinity(1).session(b"GET / HTTP/1.1\r\nT: a\r\n\r\n", 5, &[]).is_none());
    }

    #[test]
    fn a_session_is_bound_to_the_worker_that_got_its_first_request() {
        let (affinity, one, two) = (affinity(9), worker(1), worker(2));
        assert_eq!(bound(&affinity, "a"), None);
        assert!(session(&affinity, "a").settle(&one, |_| true).is_none());
        assert_eq!((bound(&affinity, "a"), bound(&affinity, "b")), (Some(1), None));
        // A second first request has got another worker meanwhile.
        let other = session(&affinity, "a").settle(&two, |_| true);
        assert_eq!((other.unwrap().id, bound(&affinity, "a")), (one.id, Some(1)));
        assert!(session(&affinity, "a").settle(&two, |_| false).is_none());
        assert_eq!(bound(&affinity, "a"), Some(2));
    }

    #[test]
    fn a_session_is_bound_to_the_worker_that_named_it() {
        let (affinity, one) = (affinity(9), worker(1));
        affinity.learn(b"HTTP/1.1 200 OK\r\nS: a\r\nSet-Cookie: c=b\r\n\r\nS: body\r\n", &one);
        assert_eq!((bound(&affinity, "a"), bound(&affinity, "body")), (Some(1), None));
        assert_eq!(bound(&affinity, "b"), None, "a cookie is no field");
        let cookie = affinity.session(b"GET / HTTP/1.1\r\nCookie: c=b\r\n\r\n", 5, &[]).unwrap();
        assert_eq!(cookie.worker().unwrap().id, one.id);
    }

    #[test]
    fn a_session_of_a_life_that_is_over_is_unknown() {
        let (affinity, one) = (affinity(9), worker(1));
        session(&affinity, "a").settle(&one, |_| true);
        drop(one);
        assert_eq!(bound(&affinity, "a"), None);
        assert!(affinity.table().entries.is_empty() && affinity.table().by_use.is_empty());
    }

    #[test]
    fn the_least_recently_used_session_goes_first() {
        let (affinity, one) = (affinity(2), worker(1));
        for name in ["a", "b"] {
            session(&affinity, name).settle(&one, |_| true);
        }
        assert_eq!(bound(&affinity, "a"), Some(1));
        session(&affinity, "c").settle(&one, |_| true);
        assert_eq!(["a", "b", "c"].map(|name| bound(&affinity, name)), [Some(1), None, Some(1)]);
    }

    proptest! {
        #[test]
        fn the_table_is_bounded_and_remembers_the_last_used(
            steps in proptest::collection::vec((0_u64..6, 0_usize..3), 1..60),
            sessions_max in 1_usize..5,
        ) {
            let workers = [worker(0), worker(1)];
            let mut table = Table::new(sessions_max);
            // The least recently used first.
            let mut model: Vec<(u64, usize)> = Vec::new();
            for (hash, step) in steps {
                let known = model.iter().position(|(it, _)| *it == hash).map(|at| model.remove(at));
                if let Some(worker) = workers.get(step) {
                    table.bind(hash, worker);
                    model.push((hash, step));
                } else {
                    prop_assert_eq!(table.find(hash).map(|it| it.id.0 as usize), known.map(|(_, it)| it));
                    model.extend(known);
                }
                if model.len() > sessions_max {
                    model.remove(0);
                }
                let kept: Vec<u64> = table.by_use.values().copied().collect();
                prop_assert_eq!(kept, model.iter().map(|(it, _)| *it).collect::<Vec<_>>());
                prop_assert_eq!(table.entries.len(), model.len());
            }
        }
    }
}
