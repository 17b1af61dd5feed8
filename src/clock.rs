//! The one place that reads the monotonic clock, and takes frozen time out of it.
//!
//! The platform freezes an instance between requests. The system's clocks go on
//! meanwhile, so every deadline would be over at the thaw: of those who wait, of
//! workers that start, of a drain. Here time stands still while the process does:
//! [`now`] is the monotonic clock without the periods in which we were frozen,
//! and [`sleep_until`] waits by it. So no deadline needs to know of freezes.
//!
//! A freeze shows as a gap: somebody calls [`tick`] every [`TICK`], and whoever
//! finds the last one longer ago than [`GAP`] has been frozen, or starved, which
//! is as good a reason for patience. Where the whole machine was paused, the
//! monotonic clock may have stood still as well; then the date has jumped against
//! it. Whoever is about to rely on the past calls [`look`] first: at the thaw
//! nobody knows which thread runs first.
//!
//! Judging code takes `now` as an argument; drivers ask here. It is tokio's
//! clock, which a paused runtime replaces by virtual time: that is what lets
//! `engine/sim` run hours of queueing in milliseconds.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Between two ticks: short against [`GAP`], long against their cost (a few microseconds each).
pub const TICK: Duration = Duration::from_millis(200);
/// Without a tick for so long, the process was frozen. Shorter gaps hurt no deadline.
pub const GAP: Duration = Duration::from_secs(1);

/// Monotonic now, without the time in which the process was frozen. Virtual inside a runtime whose time is
/// paused.
pub fn now() -> Instant {
    WATCH.corrected(raw())
}

/// Resolves at `deadline`, a moment of [`now`]. Where schedules are explored, no deadline ever comes: whoever
/// is forgotten then waits for ever, and is found.
///
/// # Cancel safety
/// May be dropped at any time.
pub async fn sleep_until(deadline: Instant) {
    if cfg!(warmfront_shuttle) {
        std::future::pending::<()>().await;
    }
    loop {
        tokio::time::sleep_until(later(deadline, WATCH.frozen()).into()).await;
        // The freeze that let the system's timer fire may not have been seen yet.
        look();
        if now() >= deadline {
            return;
        }
    }
}

/// Resolves after `period` of time in which the process was not frozen.
///
/// # Cancel safety
/// May be dropped at any time.
pub async fn sleep(period: Duration) {
    sleep_until(later(now(), period)).await;
}

/// A [`sleep`] that can be kept and polled.
pub struct Timer(Pin<Box<dyn Future<Output = ()> + Send>>);

/// One that is over after `period` of time in which the process was not frozen.
pub fn timer(period: Duration) -> Timer {
    Timer(Box::pin(sleep(period)))
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timer")
    }
}

/// What `future` gives within `period` of time in which the process was not frozen; `None` if that is over first.
pub async fn timeout<F: Future>(period: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    tokio::select! {
        biased;
        output = &mut future => Some(output),
        () = sleep(period) => None,
    }
}

/// Notices a freeze that has just ended, and returns how many there were so far. Costs two readings of
/// clocks; nothing until the first [`tick`].
pub fn look() -> u64 {
    WATCH.look(|| Reading::now(WATCH.base()))
}

/// What the clocks say where a request begins, read once for everybody who wants to know.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// [`now`].
    pub now: Instant,
    /// Seconds since 1970.
    pub unix_secs: u64,
    /// The date, in nanoseconds since 1970.
    pub unix_nanos: u64,
    /// [`look`].
    pub freezes: u64,
}

/// [`look`] and [`now`] in one. Costs two readings of clocks.
pub fn moment() -> Moment {
    let monotonic = raw();
    let reading = Reading::at(monotonic, WATCH.base());
    let freezes = WATCH.look(|| reading);
    Moment {
        now: WATCH.corrected(monotonic),
        unix_secs: reading.unix_secs(),
        unix_nanos: reading.monotonic + reading.lead,
        freezes,
    }
}

/// How many freezes have been noticed so far. Reads no clock.
pub fn freeze_count() -> u64 {
    WATCH.count.load(Ordering::Acquire)
}

/// Milliseconds since 1970.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// [`look`], and the process is known to run now. For one caller, every [`TICK`].
pub fn tick() -> u64 {
    WATCH.tick(Reading::now(WATCH.base()))
}

/// The freezes so far.
pub fn freezes() -> Freezes {
    WATCH.freezes()
}

/// The freezes of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freezes {
    /// How many there were.
    pub count: u64,
    /// How long the last one was, to within [`TICK`].
    pub last: Duration,
    /// How long all of them were.
    pub total: Duration,
}

static WATCH: Watch = Watch::new();

fn raw() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn later(at: Instant, by: Duration) -> Instant {
    at.checked_add(by).unwrap_or_else(|| at + Duration::from_secs(365 * 24 * 3600))
}

/// Two clocks, read together, in nanoseconds: whole numbers, since every request compares them.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// Monotonic, since the watch began.
    monotonic: u64,
    /// How far the date is ahead of that. Constant, but for steps of the date.
    lead: u64,
}

impl Reading {
    fn now(base: Instant) -> Self {
        Self::at(raw(), base)
    }

    fn at(monotonic: Instant, base: Instant) -> Self {
        let monotonic = nanos(monotonic.saturating_duration_since(base));
        let date = nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        Self { monotonic, lead: date.saturating_sub(monotonic) }
    }

    fn unix_secs(self) -> u64 {
        (self.monotonic + self.lead) / 1_000_000_000
    }
}

/// A freeze as two clocks show it, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Freeze {
    /// How long it was.
    length: u64,
    /// How much of it the monotonic clock has counted.
    counted: u64,
}

/// Whether the process was frozen between two readings. Pure.
fn judge(seen: Reading, now: Reading) -> Option<Freeze> {
    const GAP_NANOS: u64 = GAP.as_nanos() as u64;
    const TICK_NANOS: u64 = TICK.as_nanos() as u64;
    let gap = now.monotonic.saturating_sub(seen.monotonic);
    let jump = now.lead.saturating_sub(seen.lead);
    if gap < GAP_NANOS && jump < GAP_NANOS {
        return None;
    }
    // Up to a tick of the gap was spent running. Taking all of it out would turn the clock back.
    let counted = if gap >= GAP_NANOS { gap - TICK_NANOS } else { 0 };
    let paused = if jump >= GAP_NANOS { jump } else { 0 };
    Some(Freeze { length: counted + paused, counted })
}

/// When the process was last seen running, and what was missed since it began. Nanoseconds throughout.
struct Watch {
    base: OnceLock<Instant>,
    seen_monotonic: AtomicU64,
    seen_lead: AtomicU64,
    /// To be taken out of the monotonic clock.
    frozen: AtomicU64,
    count: AtomicU64,
    freezes: Mutex<Freezes>,
}

impl Watch {
    const fn new() -> Self {
        Self {
            base: OnceLock::new(),
            seen_monotonic: AtomicU64::new(0),
            seen_lead: AtomicU64::new(0),
            frozen: AtomicU64::new(0),
            count: AtomicU64::new(0),
            freezes: Mutex::new(Freezes { count: 0, last: Duration::ZERO, total: Duration::ZERO }),
        }
    }

    fn base(&self) -> Instant {
        *self.base.get_or_init(raw)
    }

    fn frozen(&self) -> Duration {
        Duration::from_nanos(self.frozen.load(Ordering::Acquire))
    }

    fn corrected(&self, raw: Instant) -> Instant {
        match self.frozen.load(Ordering::Acquire) {
            0 => raw,
            frozen => raw.checked_sub(Duration::from_nanos(frozen)).unwrap_or(raw),
        }
    }

    fn seen(&self) -> Option<Reading> {
        let monotonic = self.seen_monotonic.load(Ordering::Acquire);
        let lead = self.seen_lead.load(Ordering::Acquire);
        (lead != 0).then_some(Reading { monotonic, lead })
    }

    fn look(&self, now: impl FnOnce() -> Reading) -> u64 {
        let Some(seen) = self.seen() else { return 0 };
        let now = now();
        if judge(seen, now).is_some() {
            self.note(now);
        }
        self.count.load(Ordering::Acquire)
    }

    fn tick(&self, now: Reading) -> u64 {
        self.note(now);
        self.count.load(Ordering::Acquire)
    }

    /// Judges once more, alone, and remembers that the process runs. The count rises before the reading is
    /// renewed: whoever finds the new reading finds the new count.
    fn note(&self, now: Reading) {
        let mut freezes = self.freezes.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = self.seen();
        if let Some(freeze) = seen.and_then(|seen| judge(seen, now)) {
            freezes.count += 1;
            let length = Duration::from_nanos(freeze.length);
            freezes.last = length;
            freezes.total += length;
            self.frozen.fetch_add(freeze.counted, Ordering::AcqRel);
            self.count.store(freezes.count, Ordering::Release);
        }
        // Somebody who read the clocks later may have been here first.
        if seen.is_none_or(|seen| now.monotonic >= seen.monotonic) {
            self.seen_lead.store(now.lead.max(1), Ordering::Release);
            self.seen_monotonic.store(now.monotonic, Ordering::Release);
        }
    }

    fn freezes(&self) -> Freezes {
        *self.freezes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nanos(period: Duration) -> u64 {
    // In 64 bits: every request does this, and 584 years are enough.
    (period.as_secs().saturating_mul(1_000_000_000)).saturating_add(u64::from(period.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// Milliseconds of the monotonic clock, and of a date that began 1000 s before.
    fn at(monotonic: u64, date: u64) -> Reading {
        Reading { monotonic: nanos(MS(monotonic)), lead: nanos(MS(1_000_000 + date - monotonic)) }
    }

    #[test]
    fn a_gap_is_a_freeze_and_a_late_tick_is_none() {
        assert_eq!(judge(at(100, 100), at(1_099, 1_099)), None);
        let freeze = judge(at(100, 100), at(3_400, 3_400)).unwrap();
        assert_eq!(freeze, Freeze { length: nanos(MS(3_100)), counted: nanos(MS(3_100)) });
    }

    #[test]
    fn a_date_that_jumps_against_the_monotonic_clock_is_a_freeze_that_moves_no_deadline() {
        let freeze = judge(at(100, 100), at(250, 60_250)).unwrap();
        assert_eq!(freeze, Freeze { length: nanos(MS(60_000)), counted: 0 });
        assert_eq!(judge(at(100, 60_100), at(250, 250)), None, "a date that was set back is none");
    }

    #[test]
    fn whoever_looks_first_counts_a_freeze_once_and_the_clock_never_goes_back() {
        let watch = Watch::new();
        let base = raw();
        assert_eq!(watch.look(|| at(0, 0)), 0, "nobody watches yet");
        watch.tick(at(1_000, 1_000));
        // Running goes on for most of a tick, then three seconds are missing.
        let before = watch.corrected(base + MS(1_190));
        assert_eq!(watch.look(|| at(4_200, 4_200)), 1);
        let after = watch.corrected(base + MS(4_200));
        assert!(after >= before && after - before <= TICK, "{:?}", after - before);
        assert_eq!((watch.look(|| at(4_210, 4_210)), watch.tick(at(4_220, 4_220))), (1, 1));
        assert_eq!(watch.freezes(), Freezes { count: 1, last: MS(3_000), total: MS(3_000) });
        assert_eq!(watch.tick(at(9_000, 9_000)), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_gives_what_came_in_time() {
        assert_eq!(timeout(MS(10), async { 7 }).await, Some(7));
        let began = now();
        assert_eq!(timeout(MS(10), std::future::pending::<()>()).await, None);
        assert_eq!(now() - began, MS(10));
    }
}
