//! Calls of Noslate's data planes, as connections that speak HTTP/1.1.
//!
//! Another costume of the kind that [`super::h2`] is: each call is one stream of a shared HTTP/2 connection
//! (gRPC), used once; [`call`] puts it on. What is written is the request as the relay has edited it, what is read
//! is the function's answer. What the messages mean is `noslate`'s knowledge. Planes have traps that a client must
//! know: those are in [`answer`] (a call that failed never ends) and in [`undertaker`] (a call that waits in the
//! plane must not be cancelled, and too many resets end the connection).

pub(super) mod answer;
pub(super) mod call;
pub(super) mod undertaker;
mod upload;

use std::cell::OnceCell;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use self::call::Call;
use self::undertaker::Remains;
use super::h2::links::Lent;
use crate::config::{Limits, Noslate};
use crate::upstream::functions::Functions;
use crate::upstream::pool::Worker;

/// Makes calls, on one thread.
pub(super) struct Calls {
    noslate: Arc<Noslate>,
    functions: Arc<Functions>,
    limits: Limits,
    /// Of the task that ends calls which nobody needs any more. Begins with the first call.
    undertaker: OnceCell<(UnboundedSender<Remains>, Aborted)>,
}

/// A task that ends with its owner.
struct Aborted(JoinHandle<()>);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Calls {
    pub(super) fn new(noslate: Arc<Noslate>, functions: Arc<Functions>, limits: Limits) -> Self {
        Self { noslate, functions, limits, undertaker: OnceCell::new() }
    }

    /// One on `lent`, a connection to `worker`, which is a data plane.
    pub(super) fn call(&self, worker: &Arc<Worker>, lent: Lent) -> Call {
        let (undertaker, _) = self.undertaker.get_or_init(|| {
            let (sender, receiver) = unbounded_channel();
            (sender, Aborted(tokio::task::spawn_local(undertaker::run(receiver))))
        });
        let (noslate, functions) = (Arc::clone(&self.noslate), Arc::clone(&self.functions));
        Call::new(lent, Arc::clone(worker), noslate, functions, undertaker.clone(), &self.limits)
    }
}
