//! The one place that reads the monotonic clock.
//!
//! Judging code takes `now` as an argument; drivers ask here. It is tokio's
//! clock, which a paused runtime replaces by virtual time: that is what lets
//! `engine/sim` run hours of queueing in milliseconds.

use std::time::Instant;

/// Monotonic now. Virtual inside a runtime whose time is paused.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Resolves at `deadline`. Where schedules are explored, no deadline ever comes: whoever is forgotten
/// then waits for ever, and is found.
pub async fn sleep_until(deadline: Instant) {
    if cfg!(warmfront_shuttle) {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep_until(deadline.into()).await;
}
