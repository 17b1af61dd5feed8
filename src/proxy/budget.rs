//! How many uncertain replays there may be: a share of the requests, so that a failing pool is not
//! asked twice as much just when it can do less. Pure.

use std::time::{Duration, Instant};

/// What is counted together.
const WINDOW: Duration = Duration::from_secs(10);
/// Replays in a window that are allowed however few requests there are.
const LEAST: u64 = 10;

/// The replays of a window against its requests, or those of the one before.
#[derive(Debug)]
pub struct Budget {
    percent: u64,
    window: Option<Window>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began: Instant,
    /// All requests ever, when it began.
    asked_before: u64,
    /// Requests of the window before.
    asked_last: u64,
    spent: u64,
}

impl Budget {
    /// `percent` replays for every hundred requests; 0: none at all.
    pub fn new(percent: u32) -> Self {
        Self { percent: percent.into(), window: None }
    }

    /// Takes one replay if there is one left. `asked`: all requests ever.
    pub fn spend(&mut self, asked: u64, now: Instant) -> bool {
        if self.percent == 0 {
            return false;
        }
        let fresh = Window { began: now, asked_before: asked, asked_last: 0, spent: 0 };
        let window = self.window.get_or_insert(fresh);
        let age = now.saturating_duration_since(window.began);
        if age >= WINDOW {
            let asked_last = if age < 2 * WINDOW { asked.saturating_sub(window.asked_before) } else { 0 };
            *window = Window { asked_last, ..fresh };
        }
        let volume = asked.saturating_sub(window.asked_before).max(window.asked_last);
        let is_left = window.spent < (volume * self.percent / 100).max(LEAST);
        window.spent += u64::from(is_left);
        is_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spendable(budget: &mut Budget, asked: u64, now: Instant) -> usize {
        std::iter::from_fn(|| budget.spend(asked, now).then_some(())).count()
    }

    #[test]
    fn fc19_replays_are_a_fifth_of_the_requests_and_ten_at_least() {
        let (mut budget, start) = (Budget::new(20), Instant::now());
        assert_eq!(spendable(&mut budget, 0, start), 10);
        assert_eq!(spendable(&mut budget, 1_000, start), 190, "a fifth, those spent before included");
        let later = start + WINDOW;
        assert_eq!(spendable(&mut budget, 1_001, later), 200, "by the window before");
        assert_eq!(spendable(&mut budget, 1_001, later + 3 * WINDOW), 10, "that is long ago now");
    }

    #[test]
    fn a_budget_of_nothing_allows_nothing() {
        assert_eq!(spendable(&mut Budget::new(0), 1_000_000, Instant::now()), 0);
    }
}
