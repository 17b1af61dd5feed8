//! How much cancelling one client connection may do.
//!
//! A stream that is opened and reset at once costs a client two small frames and
//! us a request that reaches a worker ("rapid reset", CVE-2023-44487). Limits on
//! concurrency do not see it. Cancelling is fine, cancelling most of what one asks
//! for at a high rate is not.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Streams that are judged together.
pub(super) const STREAMS: u32 = 500;
/// Slower than this many streams in this time is no burden, whatever becomes of them: event streams
/// that most clients leave early are usual.
pub(super) const PERIOD: Duration = Duration::from_secs(10);

/// The account of one connection.
#[derive(Debug)]
pub(super) struct Budget {
    began: Cell<Instant>,
    streams: Cell<u32>,
    cancelled: Cell<u32>,
}

impl Budget {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: Cell::new(now), streams: Cell::new(0), cancelled: Cell::new(0) }
    }

    /// Notes a stream that the client reset before its answer began.
    pub(super) fn on_cancel(&self) {
        self.cancelled.set(self.cancelled.get() + 1);
    }

    /// Notes a new stream; false if the connection must end: of its last [`STREAMS`] streams, opened
    /// within [`PERIOD`], more than half were cancelled.
    pub(super) fn on_stream(&self, now: Instant) -> bool {
        if self.streams.get() < STREAMS {
            self.streams.set(self.streams.get() + 1);
            return true;
        }
        let is_fast = now.saturating_duration_since(self.began.get()) < PERIOD;
        let within = !is_fast || self.cancelled.get() <= STREAMS / 2;
        self.began.set(now);
        self.streams.set(1);
        self.cancelled.set(0);
        within
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    /// Whether one more stream is within the budget when `cancelled` of the 500 before it were.
    fn within(cancelled: u32, pause: Duration) -> bool {
        let now = clock::now();
        let budget = Budget::new(now);
        for index in 0..STREAMS {
            assert!(budget.on_stream(now));
            if index < cancelled {
                budget.on_cancel();
            }
        }
        budget.on_stream(now + pause)
    }

    #[test]
    fn who_cancels_more_than_half_of_many_streams_in_short_time_is_over_budget() {
        assert!(within(STREAMS / 2, Duration::ZERO));
        assert!(!within(STREAMS / 2 + 1, Duration::ZERO));
        assert!(!within(STREAMS, PERIOD - Duration::from_millis(1)));
        assert!(within(STREAMS, PERIOD), "slow enough");
    }
}
