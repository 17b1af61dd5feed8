//! How many streams of a connection may still be reset.
//!
//! Servers take a flood of resets for an attack and close the connection, good streams included: nghttp2 since
//! 1.57, which is in every Node that still gets updates, allows 1,000 at once and 33 more each second. Clients that
//! leave and calls that failed cost one each. So a connection that has spent half of that gets no new streams, and
//! one that has spent nearly all of it resets nothing more while anybody needs it.

use std::sync::PoisonError;
use std::time::Instant;

use crate::sync::Mutex;

/// From here on new streams go elsewhere: what is in flight may need as many again.
const WORN: f64 = 500.0;
/// Beyond, nothing is reset.
const SPENT: f64 = 900.0;
/// What is forgiven each second.
const FORGIVEN: f64 = 30.0;

/// The account of one connection.
#[derive(Debug)]
pub(in crate::engine) struct Resets(Mutex<Account>);

#[derive(Clone, Copy, Debug)]
struct Account {
    spent: f64,
    at: Instant,
}

impl Resets {
    pub(super) fn new(now: Instant) -> Self {
        Self(Mutex::new(Account { spent: 0.0, at: now }))
    }

    /// Notes one that cannot be avoided.
    pub(in crate::engine) fn note(&self, now: Instant) {
        self.with(now, |account| account.spent += 1.0);
    }

    /// Whether one more does no harm; if so, it is noted.
    pub(in crate::engine) fn allow(&self, now: Instant) -> bool {
        self.with(now, |account| {
            let allowed = account.spent < SPENT;
            account.spent += f64::from(u8::from(allowed));
            allowed
        })
    }

    /// Whether new streams are better opened elsewhere.
    pub(super) fn is_worn(&self, now: Instant) -> bool {
        self.with(now, |account| account.spent >= WORN)
    }

    fn with<T>(&self, now: Instant, of: impl FnOnce(&mut Account) -> T) -> T {
        let mut account = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_duration_since(account.at).as_secs_f64();
        account.spent = (account.spent - since * FORGIVEN).max(0.0);
        account.at = now;
        of(&mut account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_connection_gets_no_new_streams_long_before_it_may_reset_none() {
        let now = crate::clock::now();
        let resets = Resets::new(now);
        (0..499).for_each(|_| assert!(resets.allow(now)));
        assert!(!resets.is_worn(now));
        assert!(resets.allow(now) && resets.is_worn(now));
        assert_eq!((0..1000).filter(|_| resets.allow(now)).count(), 400);
        let later = now + Duration::from_secs(1);
        assert_eq!((0..1000).filter(|_| resets.allow(later)).count(), 30);
    }
}
