//! The life of one place in the pool, as a table of legal moves.
//!
//! No I/O and no clock: what happened and when come in as named events, what to
//! do next goes out as the state and the next moment at which something is due.
//!
//! ```text
//!            on_spawned            on_accepting           on_suspected
//!  Backoff ─────────────▶ Starting ─────────────▶ Ready ◀────────────▶ Suspect
//!     ▲  └ on_spawn_failed   │                      │    on_accepting     │
//!     └──────────────────────┴───── on_exited ──────┴─────────────────────┘
//!  on_stop: Backoff ──▶ Stopped; every other ──▶ Stopping ── on_exited ──▶ Stopped
//!  on_restart: Backoff is over; every other that lives ──▶ Retiring ── on_retired ──▶ Stopping ── on_exited ──▶ Backoff,
//!  which is over
//! ```

use std::time::{Duration, Instant};

use super::respawn::{Respawn, Restart};

/// A worker that is silent this long after its start is looked at.
pub const SILENT: Duration = Duration::from_secs(5);

/// Where a worker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing runs; the next start is due at `until`.
    Backoff {
        /// Start then.
        until: Instant,
    },
    /// It runs and has not accepted a connection yet.
    Starting {
        /// When it was started.
        since: Instant,
        /// When it should be ready; it is not killed then, only explained.
        deadline: Instant,
        /// When to look why it is silent.
        look_at: Option<Instant>,
    },
    /// It accepts connections.
    Ready {
        /// When it first did.
        since: Instant,
    },
    /// It runs, but a connect to it failed.
    Suspect {
        /// When it first accepted.
        ready_since: Instant,
        /// When the connect failed.
        since: Instant,
    },
    /// It shall end and come back: it gets no more requests, and finishes those that it has.
    Retiring {
        /// Since when.
        since: Instant,
        /// It is asked to end then, whatever it still has.
        until: Instant,
    },
    /// It was asked to end.
    Stopping {
        /// When it is forced to; `None` once that was done.
        kill_at: Option<Instant>,
        /// Whether it is started again.
        returns: bool,
    },
    /// It ended because it was asked to. Nothing follows.
    Stopped,
}

/// An event that cannot happen in the state it met. The state is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{event}` cannot happen in {from:?}")]
pub struct IllegalMove {
    /// The state it met.
    pub from: State,
    /// The event's name.
    pub event: &'static str,
}

/// What is due at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Start a process, then say `on_spawned` or `on_spawn_failed`.
    Spawn,
    /// Look why it is silent, then say `on_looked`.
    Look,
    /// Ask its group to end, then say `on_retired`. Due as soon as it has no request, too.
    Retire,
    /// Kill its group, then say `on_killed`.
    Kill,
}

/// One place in the pool over all the lives of its worker.
#[derive(Clone, Debug)]
pub struct Place {
    state: State,
    respawn: Respawn,
    ever_ready: bool,
    hopeless: bool,
}

impl Place {
    /// An empty place whose first start is due `now`.
    pub fn new(respawn: Respawn, now: Instant) -> Self {
        Self { state: State::Backoff { until: now }, respawn, ever_ready: false, hopeless: false }
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether it accepts connections.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready { .. })
    }

    /// Whether any life of this worker was ever ready.
    pub fn was_ever_ready(&self) -> bool {
        self.ever_ready
    }

    /// Whether nothing but a change from outside can make it ready: its program
    /// cannot be executed, or it is in a crash loop.
    pub fn is_hopeless(&self) -> bool {
        self.hopeless || self.respawn.is_crash_loop()
    }

    /// Exits in a row without recovery.
    pub fn exits(&self) -> u32 {
        self.respawn.exits()
    }

    /// The moment at which something is due, and what.
    pub fn due(&self) -> Option<(Instant, Due)> {
        match self.state {
            State::Backoff { until } => Some((until, Due::Spawn)),
            State::Starting { look_at, .. } => look_at.map(|at| (at, Due::Look)),
            State::Retiring { until, .. } => Some((until, Due::Retire)),
            State::Stopping { kill_at, .. } => kill_at.map(|at| (at, Due::Kill)),
            State::Ready { .. } | State::Suspect { .. } | State::Stopped => None,
        }
    }

    /// Whether it was asked to end.
    pub fn is_stopping(&self) -> bool {
        matches!(self.state, State::Stopping { .. })
    }

    /// A process was started; it should be ready within `patience`.
    ///
    /// # Errors
    /// Unless the place was in [`State::Backoff`].
    pub fn on_spawned(&mut self, now: Instant, patience: Duration) -> Result<(), IllegalMove> {
        let State::Backoff { .. } = self.state else { return self.illegal("spawned") };
        self.hopeless = false;
        let deadline = later(now, patience);
        self.state = State::Starting { since: now, deadline, look_at: Some(deadline.min(now + SILENT)) };
        Ok(())
    }

    /// No process could be started. `forever`: trying again cannot help by itself.
    ///
    /// # Errors
    /// Unless the place was in [`State::Backoff`].
    pub fn on_spawn_failed(
        &mut self,
        now: Instant,
        forever: bool,
        jitter: f64,
    ) -> Result<Restart, IllegalMove> {
        let State::Backoff { .. } = self.state else { return self.illegal("spawn_failed") };
        self.hopeless = forever;
        Ok(self.back_off(now, None, jitter))
    }

    /// A connect to it succeeded. Returns whether that made a difference.
    ///
    /// # Errors
    /// Unless its process runs and was not asked to end.
    pub fn on_accepting(&mut self, now: Instant) -> Result<bool, IllegalMove> {
        let since = match self.state {
            State::Starting { .. } => now,
            State::Suspect { ready_since, .. } => ready_since,
            State::Ready { .. } => return Ok(false),
            State::Backoff { .. } | State::Retiring { .. } | State::Stopping { .. } | State::Stopped => {
                return self.illegal("accepting");
            }
        };
        self.ever_ready = true;
        self.state = State::Ready { since };
        Ok(true)
    }

    /// A connect to it failed. Returns whether that made a difference.
    ///
    /// # Errors
    /// Unless it was ready before.
    pub fn on_suspected(&mut self, now: Instant) -> Result<bool, IllegalMove> {
        match self.state {
            State::Ready { since } => {
                self.state = State::Suspect { ready_since: since, since: now };
                Ok(true)
            }
            State::Suspect { .. } => Ok(false),
            State::Starting { .. }
            | State::Backoff { .. }
            | State::Retiring { .. }
            | State::Stopping { .. }
            | State::Stopped => self.illegal("suspected"),
        }
    }

    /// Its silence was looked at; the next look, if any, is at the deadline.
    ///
    /// # Errors
    /// Unless it was starting.
    pub fn on_looked(&mut self, now: Instant) -> Result<(), IllegalMove> {
        let State::Starting { deadline, look_at, .. } = &mut self.state else {
            return self.illegal("looked");
        };
        *look_at = (now < *deadline).then_some(*deadline);
        Ok(())
    }

    /// Its process ended. Returns what follows, `None` if it was meant to end.
    ///
    /// # Errors
    /// If no process was running.
    pub fn on_exited(&mut self, now: Instant, jitter: f64) -> Result<Option<Restart>, IllegalMove> {
        let ready = match self.state {
            State::Starting { .. } => None,
            State::Ready { since } => Some(now.saturating_duration_since(since)),
            State::Suspect { ready_since, since } => Some(since.saturating_duration_since(ready_since)),
            State::Retiring { .. } | State::Stopping { returns: true, .. } => {
                self.state = State::Backoff { until: now };
                return Ok(None);
            }
            State::Stopping { returns: false, .. } => {
                self.state = State::Stopped;
                return Ok(None);
            }
            State::Backoff { .. } | State::Stopped => return self.illegal("exited"),
        };
        Ok(Some(self.back_off(now, ready, jitter)))
    }

    /// It shall end and not come back. Returns whether a process has to be told.
    pub fn on_stop(&mut self, now: Instant, grace: Duration) -> bool {
        match self.state {
            State::Backoff { .. } => {
                self.state = State::Stopped;
                false
            }
            State::Starting { .. } | State::Ready { .. } | State::Suspect { .. } | State::Retiring { .. } => {
                self.state = State::Stopping { kill_at: Some(later(now, grace)), returns: false };
                true
            }
            State::Stopping { kill_at, .. } => {
                self.state = State::Stopping { kill_at, returns: false };
                false
            }
            State::Stopped => false,
        }
    }

    /// It shall end and be started again, and may take `patience` over the requests that it has. Where nothing
    /// runs it is started at once. Returns whether that made a difference.
    ///
    /// # Errors
    /// If it has stopped for good.
    pub fn on_restart(&mut self, now: Instant, patience: Duration) -> Result<bool, IllegalMove> {
        self.state = match self.state {
            State::Backoff { .. } => State::Backoff { until: now },
            State::Starting { .. } | State::Ready { .. } | State::Suspect { .. } => {
                State::Retiring { since: now, until: later(now, patience) }
            }
            State::Retiring { .. } | State::Stopping { returns: true, .. } => return Ok(false),
            State::Stopping { returns: false, .. } | State::Stopped => return self.illegal("restart"),
        };
        Ok(true)
    }

    /// It was asked to end, and is started again when it has.
    ///
    /// # Errors
    /// Unless it was retiring.
    pub fn on_retired(&mut self, now: Instant, grace: Duration) -> Result<(), IllegalMove> {
        let State::Retiring { .. } = self.state else { return self.illegal("retired") };
        self.state = State::Stopping { kill_at: Some(later(now, grace)), returns: true };
        Ok(())
    }

    /// Its grace was over and it was killed.
    ///
    /// # Errors
    /// Unless it was stopping.
    pub fn on_killed(&mut self) -> Result<(), IllegalMove> {
        let State::Stopping { kill_at, .. } = &mut self.state else { return self.illegal("killed") };
        *kill_at = None;
        Ok(())
    }

    fn back_off(&mut self, now: Instant, ready: Option<Duration>, jitter: f64) -> Restart {
        let restart = self.respawn.on_exited(ready, jitter);
        self.state = State::Backoff { until: later(now, restart.pause) };
        restart
    }

    fn illegal<T>(&self, event: &'static str) -> Result<T, IllegalMove> {
        Err(IllegalMove { from: self.state, event })
    }
}

/// `now + period`; a period beyond what the clock can count means a year.
pub(super) fn later(now: Instant, period: Duration) -> Instant {
    now.checked_add(period).unwrap_or_else(|| now + Duration::from_secs(365 * 24 * 3600))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn place(now: Instant) -> Place {
        Place::new(Respawn::new(Duration::from_millis(100), S(10)), now)
    }

    #[test]
    fn a_life_goes_from_backoff_over_starting_to_ready_and_back() {
        let start = Instant::now();
        let mut place = place(start);
        assert_eq!(place.due(), Some((start, Due::Spawn)));
        place.on_spawned(start, S(120)).unwrap();
        assert_eq!(place.due(), Some((start + S(5), Due::Look)));
        assert!(place.on_accepting(start + S(1)).unwrap());
        assert!(!place.on_accepting(start + S(2)).unwrap(), "news only once");
        assert_eq!(place.due(), None);
        let restart = place.on_exited(start + S(3), 0.0).unwrap().unwrap();
        assert_eq!(restart.pause, Duration::ZERO, "it had worked for two seconds");
        assert!(place.was_ever_ready() && !place.is_ready());
    }

    #[test]
    fn a_silent_worker_is_looked_at_after_five_seconds_and_at_its_deadline() {
        let start = Instant::now();
        let mut place = place(start);
        place.on_spawned(start, S(30)).unwrap();
        place.on_looked(start + S(5)).unwrap();
        assert_eq!(place.due(), Some((start + S(30), Due::Look)));
        place.on_looked(start + S(30)).unwrap();
        assert_eq!(place.due(), None);
        assert!(place.on_accepting(start + S(31)).unwrap(), "late is not never");
    }

    #[test]
    fn suspicion_does_not_count_as_readiness_and_ends_with_a_connect() {
        let start = Instant::now();
        let mut place = place(start);
        place.on_spawned(start, S(30)).unwrap();
        place.on_accepting(start).unwrap();
        place.on_suspected(start + S(2)).unwrap();
        assert!(!place.is_ready());
        place.on_accepting(start + S(3)).unwrap();
        assert_eq!(place.state(), State::Ready { since: start });
        place.on_suspected(start + S(5)).unwrap();
        place.on_exited(start + S(60), 0.0).unwrap();
        assert_eq!(place.exits(), 1, "five seconds ready are no recovery");
    }

    #[test]
    fn a_stopped_place_stays_stopped() {
        let start = Instant::now();
        let mut place = place(start);
        place.on_spawned(start, S(30)).unwrap();
        assert!(place.on_stop(start, S(3)));
        assert_eq!(place.due(), Some((start + S(3), Due::Kill)));
        place.on_killed().unwrap();
        assert_eq!(place.due(), None);
        assert_eq!(place.on_exited(start + S(4), 0.0).unwrap(), None);
        assert_eq!(place.state(), State::Stopped);
        assert_eq!(place.on_exited(start, 0.0).unwrap_err().event, "exited");
        assert!(!place.on_stop(start, S(3)));
    }

    #[test]
    fn a_restart_lets_requests_finish_and_leaves_no_trace_in_the_pauses() {
        let start = Instant::now();
        let mut place = place(start);
        place.on_spawned(start, S(30)).unwrap();
        place.on_accepting(start).unwrap();
        assert!(place.on_restart(start + S(1), S(25)).unwrap() && !place.is_ready());
        assert!(!place.on_restart(start + S(2), S(25)).unwrap(), "once is enough");
        assert_eq!(place.due(), Some((start + S(26), Due::Retire)));
        place.on_retired(start + S(3), S(10)).unwrap();
        assert_eq!(place.due(), Some((start + S(13), Due::Kill)));
        assert_eq!(place.on_exited(start + S(4), 0.0).unwrap(), None, "it was meant to end");
        assert_eq!((place.due(), place.exits()), (Some((start + S(4), Due::Spawn)), 0));
        // Who is in a pause is started at once.
        place.on_spawned(start + S(4), S(30)).unwrap();
        for _ in 0..4 {
            place.on_exited(start + S(4), 0.0).unwrap();
            place.on_restart(start + S(5), S(25)).unwrap();
            assert_eq!(place.due(), Some((start + S(5), Due::Spawn)));
            place.on_spawned(start + S(5), S(30)).unwrap();
        }
        // The end of everything wins.
        place.on_restart(start + S(6), S(25)).unwrap();
        place.on_retired(start + S(6), S(10)).unwrap();
        assert!(!place.on_stop(start + S(7), S(3)), "it was told already");
        assert_eq!(place.on_exited(start + S(8), 0.0).unwrap(), None);
        assert_eq!(place.state(), State::Stopped);
        assert_eq!(place.on_restart(start + S(9), S(1)).unwrap_err().event, "restart");
    }

    #[test]
    fn endless_periods_are_no_panic() {
        let mut place = place(Instant::now());
        place.on_spawned(Instant::now(), Duration::MAX).unwrap();
        assert!(place.on_stop(Instant::now(), Duration::MAX));
    }

    #[test]
    fn a_program_that_cannot_be_executed_is_hopeless_until_it_can() {
        let start = Instant::now();
        let mut place = place(start);
        place.on_spawn_failed(start, true, 0.0).unwrap();
        assert!(place.is_hopeless());
        place.on_spawned(start, S(30)).unwrap();
        assert!(!place.is_hopeless());
    }

    proptest! {
        #[test]
        fn no_order_of_events_breaks_the_promises(events in proptest::collection::vec((0_u8..10, 0_u64..12_000), 1..200)) {
            let mut now = Instant::now();
            let mut place = place(now);
            let mut stopped = false;
            for (event, later) in events {
                now += Duration::from_millis(later);
                let before = place.state();
                let illegal = match event {
                    0 => place.on_spawned(now, S(30)).err(),
                    1 => place.on_spawn_failed(now, false, 0.5).err(),
                    2 => place.on_accepting(now).err(),
                    3 => place.on_suspected(now).err(),
                    4 => place.on_looked(now).err(),
                    5 => place.on_exited(now, 0.5).err(),
                    6 => place.on_killed().err(),
                    7 => place.on_restart(now, S(5)).err(),
                    8 => place.on_retired(now, S(3)).err(),
                    _ => { place.on_stop(now, S(3)); stopped = true; None }
                };
                if let Some(illegal) = illegal {
                    prop_assert_eq!(illegal.from, before);
                    prop_assert_eq!(place.state(), before, "an illegal move changes nothing");
                }
                let is_over = matches!(place.state(), State::Stopping { returns: false, .. } | State::Stopped);
                prop_assert_eq!(is_over, stopped, "stop is final");
                prop_assert!(!place.is_ready() || place.was_ever_ready());
                if let State::Backoff { until } = place.state() {
                    prop_assert!(until <= now.max(until) && until.saturating_duration_since(now) <= S(10));
                }
            }
        }
    }
}
