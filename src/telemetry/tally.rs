//! What happened how often, since the process began: a few counters that cost one atomic addition each.
//!
//! None of them is touched on the usual path of a request. They are said in one
//! line at the end of the process, and upon USR1.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// A request sent again: provably nothing of it had been delivered.
    ReplayUndelivered,
    /// A request sent again: a worker closed its Unix socket with bytes of it unread.
    ReplayUnread,
    /// A request sent again: it met a reused connection as it closed.
    ReplayReused,
    /// A request not sent again because `replay.budget` was spent.
    ReplayRefused,
    /// A thaw.
    Thaw,
    /// An idle connection to a worker that was given up at a thaw.
    IdleGivenUp,
    /// An answer's head over the platform's limit.
    LargeHead,
    /// A client connection that its client ended between requests, or within a head.
    ClientClosed,
    /// A line, of a worker or of our own, that was dropped because nobody took our output.
    LineLost,
}

const NAMES: [&str; 9] = [
    "replays_undelivered",
    "replays_unread",
    "replays_reused",
    "replays_refused",
    "thaws",
    "idle_given_up",
    "large_heads",
    "client_closes",
    "lines_lost",
];

static TALLY: [AtomicU64; NAMES.len()] = [const { AtomicU64::new(0) }; NAMES.len()];

/// Counts one more.
pub fn count(what: Count) {
    add(what, 1);
}

/// Counts so many more.
pub fn add(what: Count, many: u64) {
    TALLY[what as usize].fetch_add(many, Ordering::Relaxed);
}

/// How often it happened.
pub fn counted(what: Count) -> u64 {
    TALLY[what as usize].load(Ordering::Relaxed)
}

/// Every counter as `name=value`, in one line without its end.
pub fn line() -> String {
    let mut line = String::new();
    for (name, value) in NAMES.iter().zip(&TALLY) {
        let gap = if line.is_empty() { "" } else { " " };
        // Writing to a String cannot fail.
        let _ = write!(line, "{gap}{name}={}", value.load(Ordering::Relaxed));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_in_the_line_under_its_own_name() {
        let before = counted(Count::LargeHead);
        count(Count::LargeHead);
        assert!(counted(Count::LargeHead) > before);
        let line = line();
        assert_eq!(line.split(' ').count(), NAMES.len());
        assert_eq!(NAMES[Count::LineLost as usize], "lines_lost");
        assert!(line.contains("large_heads=") && !line.contains("large_heads=0"), "{line}");
    }
}
