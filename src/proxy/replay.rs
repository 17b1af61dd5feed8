//! Whether a request that failed before its answer began may be sent again.
//!
//! Always, if it provably did nothing. Else only if most likely nobody executed it,
//! twice is as good as once, and the budget allows it; and once only: a request
//! that ends the workers it meets must not meet them all.

use std::sync::PoisonError;
use std::time::Instant;

use super::budget::Budget;
use super::exchange::{Delivery, Failed};
use crate::config::Replay;
use crate::sync::Mutex;
use crate::telemetry::tally::{Count, count};

/// Tries of one request before the proxy gives up and says so. Each further try
/// needs proof that the one before did nothing; five means that workers die
/// faster than they can be asked.
pub const ATTEMPTS_MAX: u32 = 5;

/// The rules and what is left of the budget.
#[derive(Debug)]
pub struct Replays {
    rules: Replay,
    budget: Mutex<Budget>,
}

/// How far one request has come with its tries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tries {
    /// Tries so far.
    pub attempts: u32,
    /// Whether one of them rested on likelihood.
    uncertain: bool,
}

impl Replays {
    /// By these rules.
    pub fn new(rules: Replay) -> Self {
        Self { rules, budget: Mutex::new(Budget::new(rules.budget_percent)) }
    }

    /// Whether the request of `failed` is sent again, which is counted. `asked`: all requests ever;
    /// `is_stopping`: the instance is, and takes nothing up again that may have run.
    pub fn allow(
        &self,
        failed: &Failed,
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
        if is_stopping || std::mem::replace(&mut tries.uncertain, true) || !self.is_repeatable(failed) {
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
