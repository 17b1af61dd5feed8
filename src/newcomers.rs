//! Workers that became ready behind the platform's `/initialize`: each gets it before its first request.
//!
//! The platform initialises an instance once. Where that was fanned out to every
//! worker (`hooks.initialize = "fanout"`), a worker that is started again later would
//! serve without it. So it is kept out of the gate's pool until it has answered the
//! same message, or its time for that is over.

use std::future::pending;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::engine::data_plane::DataPlane;
use crate::proxy::hooks::Initialized;
use crate::upstream::pool::{Pool, Worker};

/// Who was initialised, and who is being.
#[derive(Debug)]
pub struct Newcomers {
    initialized: watch::Receiver<Option<Arc<Initialized>>>,
    /// Lives that may serve.
    known: Vec<Arc<Worker>>,
    /// Lives that were sent the message.
    asked: Vec<Arc<Worker>>,
    running: JoinSet<Arc<Worker>>,
}

impl Newcomers {
    /// Nobody was initialised yet, so everybody may serve.
    pub fn new(initialized: watch::Receiver<Option<Arc<Initialized>>>) -> Self {
        Self { initialized, known: Vec::new(), asked: Vec::new(), running: JoinSet::new() }
    }

    /// Resolves when [`Newcomers::admit`] would answer differently.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn changed(&mut self) {
        tokio::select! {
            Ok(()) = self.initialized.changed() => {
                if let Some(initialized) = self.initialized.borrow_and_update().as_ref() {
                    self.known.extend(initialized.workers.iter().cloned());
                }
            }
            Some(Ok(worker)) = self.running.join_next() => self.known.push(worker),
            else => pending().await,
        }
    }

    /// The members of `pool` that may serve; the others are sent the message.
    pub fn admit(&mut self, pool: &Arc<Pool>, data: &DataPlane) -> Arc<Pool> {
        let Some(initialized) = self.initialized.borrow().clone() else { return Arc::clone(pool) };
        for list in [&mut self.known, &mut self.asked] {
            list.retain(|worker| contains(pool.workers(), worker));
        }
        let (known, newcomers): (Vec<_>, Vec<_>) =
            pool.workers().iter().cloned().partition(|worker| contains(&self.known, worker));
        if newcomers.is_empty() {
            return Arc::clone(pool);
        }
        for worker in newcomers {
            if !contains(&self.asked, &worker) {
                self.asked.push(Arc::clone(&worker));
                let done = data.send(&worker, &initialized.message, initialized.patience);
                self.running.spawn(async move {
                    // However it went, which was said: it is the only one that can take its place.
                    let _ = done.await;
                    worker
                });
            }
        }
        Arc::new(Pool::new(known))
    }
}

fn contains(workers: &[Arc<Worker>], worker: &Arc<Worker>) -> bool {
    workers.iter().any(|member| Arc::ptr_eq(member, worker))
}
