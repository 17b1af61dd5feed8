//! How slow a client may be, where somebody might be slow on purpose.
//!
//! Off unless configured: the platform buffers for its clients, and a stream of
//! events may rest for hours. Counted in windows: in each one at least
//! [`STEP`] bytes must move, or the message must end. A byte now and then does
//! not help.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::clock::{self, Timer};

/// Bytes that must move within one window.
const STEP: u64 = 4 << 10;

/// The pace of one direction of one message.
#[derive(Debug)]
pub(super) struct Pace {
    window: Option<Duration>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    timer: Timer,
    /// Bytes moved when the window began.
    from: u64,
}

impl Pace {
    /// At least [`STEP`] bytes in each `window`; any pace if `None`.
    pub(super) fn new(window: Option<Duration>) -> Self {
        Self { window, running: None }
    }

    /// Ready when the client is too slow. `waiting`: whether it is the client that keeps us waiting;
    /// `moved`: bytes so far.
    pub(super) fn poll(
        &mut self,
        waiting: bool,
        moved: impl Fn() -> u64,
        cx: &mut Context<'_>,
    ) -> Poll<Duration> {
        let Some(window) = self.window else { return Poll::Pending };
        if !waiting {
            self.running = None;
            return Poll::Pending;
        }
        loop {
            let running =
                self.running.get_or_insert_with(|| Running { timer: clock::timer(window), from: moved() });
            if Pin::new(&mut running.timer).poll(cx).is_pending() {
                return Poll::Pending;
            }
            if moved() < running.from + STEP {
                return Poll::Ready(window);
            }
            self.running = None;
        }
    }
}

/// What `future` gives within `limit`; `None` if that is over first.
pub(super) async fn within<F: Future>(limit: Option<Duration>, future: F) -> Option<F::Output> {
    match limit {
        Some(limit) => clock::timeout(limit, future).await,
        None => Some(future.await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::Waker;

    const WINDOW: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_trickle_is_too_slow_and_a_step_in_each_window_is_not() {
        let mut pace = Pace::new(Some(WINDOW));
        let mut cx = Context::from_waker(Waker::noop());
        let mut moved = 0;
        for _ in 0..5 {
            assert!(pace.poll(true, || moved, &mut cx).is_pending());
            tokio::time::advance(WINDOW).await;
            moved += STEP;
            assert!(pace.poll(true, || moved, &mut cx).is_pending());
        }
        moved += STEP - 1;
        assert_eq!(poll_fn(|cx| pace.poll(true, || moved, cx)).await, WINDOW);
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_others_keep_us_waiting_does_not_count() {
        let mut pace = Pace::new(Some(WINDOW));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pace.poll(true, || 0, &mut cx).is_pending());
        tokio::time::advance(WINDOW).await;
        assert!(pace.poll(false, || 0, &mut cx).is_pending());
        assert!(pace.poll(true, || 0, &mut cx).is_pending());
        assert!(Pace::new(None).poll(true, || 0, &mut cx).is_pending());
    }
}
