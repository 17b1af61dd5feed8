//! When a worker that ended is started again, and when that has become a crash loop.
//!
//! The first death of a worker that worked is repaired at once; a worker that
//! keeps dying must not eat the CPU of those that live. Pure: durations and a
//! random number in, a pause out.

use std::time::Duration;

/// A worker that was ready this long is restarted without a pause, the first time.
pub const WORKED: Duration = Duration::from_secs(1);
/// A worker that was ready this long has no past.
pub const RECOVERED: Duration = Duration::from_secs(10);
/// Exits in a row, none after [`RECOVERED`], that make a crash loop.
pub const CRASH_LOOP: u32 = 5;

/// The memory of one place in the pool: how often its worker ended in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respawn {
    first: Duration,
    longest: Duration,
    exits: u32,
}

/// What follows an exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// How long to wait before the next start.
    pub pause: Duration,
    /// Whether this very exit made it a crash loop; true once per loop.
    pub crash_loop: bool,
}

impl Respawn {
    /// No exits yet; pauses grow from `first` to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest: longest.max(first), exits: 0 }
    }

    /// The worker ended after it had been ready for `ready`, if it ever was.
    ///
    /// `jitter` is a random number from 0 to 1 (more or less counts as that): the
    /// pause is between the half and the whole of the doubled one, so that many
    /// workers that died together do not start together.
    pub fn on_exited(&mut self, ready: Option<Duration>, jitter: f64) -> Restart {
        let ready = ready.unwrap_or_default();
        if ready >= RECOVERED {
            self.exits = 0;
            return Restart { pause: Duration::ZERO, crash_loop: false };
        }
        let before = self.exits;
        self.exits = before.saturating_add(1);
        let crash_loop = self.exits == CRASH_LOOP;
        if before == 0 && ready >= WORKED {
            return Restart { pause: Duration::ZERO, crash_loop };
        }
        let doubled = self.first.saturating_mul(1_u32.checked_shl(before.min(31)).unwrap_or(u32::MAX));
        let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 1.0 };
        Restart { pause: doubled.min(self.longest).mul_f64(0.5 + jitter / 2.0), crash_loop }
    }

    /// Exits in a row without [`RECOVERED`] between them.
    pub fn exits(&self) -> u32 {
        self.exits
    }

    /// Whether the last [`CRASH_LOOP`] exits came without recovery.
    pub fn is_crash_loop(&self) -> bool {
        self.exits >= CRASH_LOOP
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn the_first_death_of_a_worker_that_worked_is_repaired_at_once() {
        let mut respawn = Respawn::new(MS(100), MS(10_000));
        assert_eq!(respawn.on_exited(Some(WORKED), 1.0).pause, Duration::ZERO);
        assert_eq!(respawn.on_exited(Some(WORKED), 1.0).pause, MS(200), "the second is not");
    }

    #[test]
    fn pauses_double_from_the_first_to_the_longest() {
        let mut respawn = Respawn::new(MS(100), MS(1_000));
        let pauses: Vec<_> = (0..6).map(|_| respawn.on_exited(None, 1.0).pause).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1_000, 1_000].map(MS));
    }

    #[test]
    fn ten_seconds_of_readiness_forget_the_past() {
        let mut respawn = Respawn::new(MS(100), MS(1_000));
        for _ in 0..7 {
            respawn.on_exited(None, 0.0);
        }
        assert!(respawn.is_crash_loop());
        assert_eq!(respawn.on_exited(Some(RECOVERED), 0.0).pause, Duration::ZERO);
        assert!(!respawn.is_crash_loop());
        assert_eq!(respawn.on_exited(None, 1.0).pause, MS(100));
    }

    #[test]
    fn the_fifth_exit_in_a_row_is_named_a_crash_loop_once() {
        let mut respawn = Respawn::new(MS(1), MS(1));
        let named: Vec<_> = (0..8).map(|_| respawn.on_exited(Some(MS(9_999)), 0.5).crash_loop).collect();
        assert_eq!(named, [false, false, false, false, true, false, false, false]);
    }

    proptest! {
        #[test]
        fn a_pause_never_exceeds_the_longest_and_never_shrinks_below_half_of_the_first(
            first in 1_u64..10_000, longest in 1_u64..1_000_000,
            exits in proptest::collection::vec((proptest::option::of(0_u64..20_000), proptest::num::f64::ANY), 0..80),
        ) {
            let mut respawn = Respawn::new(MS(first), MS(longest));
            let longest = MS(longest.max(first));
            for (ready, jitter) in exits {
                let before = respawn.exits();
                let restart = respawn.on_exited(ready.map(MS), jitter);
                prop_assert!(restart.pause <= longest);
                prop_assert!(restart.pause.is_zero() || restart.pause >= MS(first) / 2);
                prop_assert!(!restart.crash_loop || respawn.exits() == CRASH_LOOP);
                prop_assert!(respawn.exits() == before + 1 || respawn.exits() == 0);
            }
        }
    }
}
