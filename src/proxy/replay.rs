//! Whether a request that failed before its answer began may be sent again.
//!
//! Always, if it provably did nothing. Else only if most likely nobody executed it,
//! twice is as good as once, and the budget allows it; and once only: a request
//! that ends the workers it meets must not meet them all. A worker that dies can be
//! met twice, though: its listener outlives its connections by a moment, and takes the
//! next try along.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use super::budget::Budget;
use super::exchange::{Delivery, Failed};
use crate::config::Replay;
use crate::sync::Mutex;
use crate::telemetry::tally::{Count, count};
use crate::upstream::pool::Worker;

/// Tries of one request before the proxy gives up and says so. Each further try
/// needs proof that the one before did nothing; five means that workers die
/// faster than they can be asked.
pub const ATTEMPTS_MAX: u32 = 5;

/// Which tries rested on likelihood.
#[derive(Clone, Debug, Default)]
enum Uncertain {
    #[default]
    None,
    /// One, behind the failure of this life of a worker.
    Once(Arc<Worker>),
    /// Two, behind failures of the same life.
    Twice,
}

/// The rules and what is left of the budget.
#[derive(Debug)]
pub struct Replays {
    rules: Replay,
    budget: Mutex<Budget>,
}

/// How far one request has come with its tries.
#[derive(Clone, Debug, Default)]
pub struct Tries {
    /// Tries so far.
    pub attempts: u32,
    /// What tries rested on likelihood.
    uncertain: Uncertain,
}

impl Replays {
    /// By these rules.
    pub fn new(rules: Replay) -> Self {
        Self { rules, budget: Mutex::new(Budget::new(rules.budget_percent)) }
    }

    /// Whether the request of `failed`, which `worker` did not answer, is sent again, which is counted. `asked`: all requests ever;
    /// `is_stopping`: the instance is, and takes nothing up again that may have run.
    pub fn allow(
        &self,
        failed: &Failed,
        worker: &Arc<Worker>,
        tries: &mut Tries,
        is_stopping: bool,
        asked: u64,
        now: Instant,
    ) -> bool {
        let reason = match failed.delivery {
            _ if tries.attempts >= ATTEMPTS_MAX => return false,
            Delivery::Nothing => {
                count(Count::ReplayUndelivered);
                return true;
            }
            Delivery::Unread { .. } => Count::ReplayUnread,
            Delivery::ReusedConnection => Count::ReplayReused,
            Delivery::Something => return false,
        };
        if is_stopping
            || !tries.may_rest_on_likelihood(failed.delivery, worker)
            || !self.is_repeatable(failed)
        {
            return false;
        }
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        let allowed = budget.spend(asked, now);
        count(if allowed { reason } else { Count::ReplayRefused });
        allowed
    }

    fn is_repeatable(&self, failed: &Failed) -> bool {
        let promise = failed.promise;
        let by_method = promise.safe
            || (promise.idempotent && self.rules.idempotent)
            || (promise.keyed && self.rules.keyed);
        let unread = matches!(failed.delivery, Delivery::Unread { in_one_write: true }) && self.rules.unread;
        failed.is_held && (by_method || unread)
    }
}

impl Tries {
    /// True once. Once more if the same life of a worker fails again and has left all of it unread this time.
    fn may_rest_on_likelihood(&mut self, delivery: Delivery, worker: &Arc<Worker>) -> bool {
        let unread = Delivery::Unread { in_one_write: true };
        self.uncertain = match &self.uncertain {
            Uncertain::None => Uncertain::Once(Arc::clone(worker)),
            Uncertain::Once(met) if Arc::ptr_eq(met, worker) && delivery == unread => Uncertain::Twice,
            Uncertain::Once(_) | Uncertain::Twice => return false,
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;
    use crate::proxy::exchange::{Cause, Promise};
    use crate::upstream::pool::{Address, WorkerId};

    fn life() -> Arc<Worker> {
        Worker::new(WorkerId(1), Address::Unix("/x/a".into()), 1, Arc::new(Notify::new()))
    }

    #[test]
    fn a_request_that_two_lives_of_a_worker_did_not_survive_is_sent_to_no_third() {
        let replays = Replays::new(Replay::default());
        let failed = |delivery| Failed {
            cause: Cause::Closed,
            delivery,
            is_held: true,
            promise: Promise { safe: true, ..Promise::default() },
        };
        let now = crate::clock::now();
        let (first, second) = (life(), life());
        let unread = Delivery::Unread { in_one_write: true };
        let allowed = |meetings: &[(&Arc<Worker>, Delivery)]| {
            let mut tries = Tries::default();
            let mut allow =
                |(worker, delivery)| replays.allow(&failed(delivery), worker, &mut tries, false, 1, now);
            meetings.iter().map(|meeting| allow(*meeting)).collect::<Vec<_>>()
        };
        let reused = Delivery::ReusedConnection;
        assert_eq!(allowed(&[(&first, reused), (&second, unread)]), [true, false]);
        assert_eq!(allowed(&[(&first, reused), (&first, reused)]), [true, false], "both were read");
        let same = [(&first, reused), (&first, unread), (&first, unread)];
        assert_eq!(allowed(&same), [true, true, false], "a life that is ending is met twice, not for ever");
    }
}
