//! The open loop: requests are due when the schedule says, whether or not the last was answered.
//!
//! A closed loop asks less while the proxy stalls, and so hides the stall from its
//! own histogram (coordinated omission). Here the moment at which a request was
//! *due* is fixed beforehand, and its latency counts from there: a stall of 100 ms
//! at 1,000 requests per second is seen by a hundred requests, as it would be by a
//! hundred users.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Semaphore;

/// When each request is due. Pure: the caller knows the time.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    start: Instant,
    interval: Duration,
    count: u64,
    next: u64,
}

impl Schedule {
    /// `count` requests at `per_second`, the first at `start`.
    pub(crate) fn new(start: Instant, per_second: f64, count: u64) -> Self {
        Self { start, interval: Duration::from_secs_f64(1.0 / per_second.max(1e-3)), count, next: 0 }
    }

    /// When the next one is due; `None` behind the last.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        (self.next < self.count).then(|| self.start + self.interval.mul_f64(self.next as f64))
    }

    /// Takes the next one if it is due by `now`.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next_due().filter(|due| *due <= now)?;
        self.next += 1;
        Some(due)
    }
}

/// Requests that are due and were not taken by a connection yet, oldest first.
#[derive(Debug)]
pub(crate) struct Due {
    waiting: Mutex<VecDeque<Instant>>,
    /// One for each waiting request, and at the end one for each connection.
    permits: Semaphore,
}

impl Due {
    /// Nothing is due.
    pub(crate) fn new() -> Self {
        Self { waiting: Mutex::default(), permits: Semaphore::new(0) }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, VecDeque<Instant>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a request; says when it was due. `None` if there will be no more.
    pub(crate) async fn next(&self) -> Option<Instant> {
        self.permits.acquire().await.ok()?.forget();
        self.waiting().pop_front()
    }

    /// Makes requests due as `schedule` says, until it or the time is over, then sends `connections` home.
    ///
    /// # Errors
    /// The system gives no timer.
    pub(crate) async fn follow(
        &self,
        mut schedule: Schedule,
        until: Instant,
        connections: usize,
    ) -> io::Result<()> {
        let timer = Timer::new();
        while let (Some(due), Ok(timer)) = (schedule.next_due().filter(|due| *due < until), &timer) {
            if timer.wait_until(due).await.is_err() {
                break;
            }
            let now = Instant::now();
            let before = self.waiting().len();
            while let Some(due) = schedule.take(now) {
                self.waiting().push_back(due);
            }
            // Connections only take while we wait.
            self.permits.add_permits(self.waiting().len() - before);
        }
        self.permits.add_permits(connections);
        timer.map(drop)
    }
}

/// A timer of the kernel: the runtime's own counts milliseconds, and requests are due 0.2 ms apart.
pub(crate) struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    /// A timer that is not set.
    ///
    /// # Errors
    /// The system gives none.
    pub(crate) fn new() -> io::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        registered(timer).map(Self)
    }

    /// Returns at `due`, at once if that has passed.
    ///
    /// # Errors
    /// The system refuses.
    ///
    /// # Cancel safety
    /// Dropped half-way, it can be waited for again.
    pub(crate) async fn wait_until(&self, due: Instant) -> io::Result<()> {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() },
        };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.0.readable().await?;
            let mut count = [0; 8];
            match ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut count)?)) {
                Ok(read) => return read.map(drop),
                Err(_would_block) => {}
            }
        }
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe for types that lie about their descriptor; std's does not"
)]
fn registered(timer: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(timer, Interest::READABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Latencies of `count` requests on one connection that answers in 0.1 ms but stalls once, in the middle.
    fn latencies_ms(is_open: bool, count: u64) -> Vec<f64> {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 1000.0, count);
        let mut now = start;
        let mut latencies = Vec::new();
        for number in 0..count {
            let due = schedule.next_due().unwrap();
            now = now.max(due);
            assert_eq!(schedule.take(now), Some(due));
            let sent = now;
            let stall = if number == count / 2 { Duration::from_millis(100) } else { Duration::ZERO };
            now += Duration::from_micros(100) + stall;
            latencies.push((now - if is_open { due } else { sent }).as_secs_f64() * 1e3);
        }
        latencies
    }

    #[test]
    fn a_stall_is_seen_by_everybody_who_was_due_in_it() {
        let slow = |latencies: Vec<f64>| latencies.into_iter().filter(|ms| *ms > 10.0).count();
        assert_eq!(slow(latencies_ms(false, 1000)), 1, "counted from the sending, one request was slow");
        let seen = slow(latencies_ms(true, 1000));
        assert!((90..=111).contains(&seen), "of 100 requests due in the stall, {seen} were slow");
    }

    #[test]
    fn nothing_is_due_early_and_what_is_late_is_due_at_once() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start, 100.0, 4);
        let ms = |ms| start + Duration::from_millis(ms);
        assert_eq!(schedule.take(start), Some(start));
        assert_eq!(schedule.take(ms(9)), None);
        assert_eq!(schedule.take(ms(25)), Some(ms(10)));
        assert_eq!(schedule.take(ms(25)), Some(ms(20)));
        assert_eq!(schedule.take(ms(25)), None);
        assert_eq!((schedule.take(ms(99)), schedule.take(ms(99))), (Some(ms(30)), None));
    }

    #[tokio::test]
    async fn every_request_is_handed_out_once_and_then_everybody_goes_home() {
        let due = std::sync::Arc::new(Due::new());
        let start = Instant::now();
        let takers: Vec<_> = (0..3)
            .map(|_| {
                let due = std::sync::Arc::clone(&due);
                tokio::spawn(async move {
                    let mut taken = 0;
                    while due.next().await.is_some() {
                        taken += 1;
                    }
                    taken
                })
            })
            .collect();
        let schedule = Schedule::new(start, 10_000.0, 50);
        due.follow(schedule, start + Duration::from_secs(60), takers.len()).await.unwrap();
        let mut taken = 0;
        for taker in takers {
            taken += taker.await.unwrap();
        }
        assert_eq!(taken, 50);
        assert!(start.elapsed() >= Duration::from_micros(4900), "the last was due after 4.9 ms");
    }
}
