//! What is told of processes beside which we are the front door: facts to print and to act upon.

use std::fmt;
use std::time::Duration;

use crate::error::Problem;

/// Something happened to a process. Displayed as the text of one log line
/// (a [`Problem`] keeps its lines), without date or level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It accepts connections, or runs if that is all that is asked of it.
    Ready {
        /// Which.
        name: String,
        /// Its process.
        pid: i32,
        /// Since its start.
        after: Duration,
    },
    /// Each of them is ready, for the first time.
    AllReady,
    /// It ended although nobody asked it to; it is started again.
    Exited {
        /// Which.
        name: String,
        /// Its process.
        pid: i32,
        /// How it ended and the last it wrote, one line.
        summary: String,
    },
    /// It ended although nobody asked it to, and the instance ends with it.
    Ended {
        /// Which.
        name: String,
        /// Its process.
        pid: i32,
        /// How it ended and the last it wrote, one line.
        summary: String,
    },
    /// The exit just told is one too many in a row; starts go on with growing pauses.
    CrashLoop {
        /// Which.
        name: String,
        /// Exits in a row, none after ten seconds of readiness.
        exits: u32,
        /// The last exit, one line.
        summary: String,
    },
    /// It ended because it was asked to.
    Stopped {
        /// Which.
        name: String,
        /// Its process.
        pid: i32,
        /// Whether it did not end within its grace and was killed.
        killed: bool,
    },
    /// It runs but is not ready, and why.
    NotReadyYet {
        /// What it does instead.
        problem: Problem,
        /// Whether its deadline is over.
        is_late: bool,
    },
    /// It could not be started. Told once until the reason changes.
    SpawnFailed(Problem),
    /// It was never ready, and will not be without a change from outside. Told once.
    NeverReady(Problem),
    /// They had left others behind, which were killed at the end.
    Swept {
        /// How many.
        count: usize,
    },
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { name, pid, after } => {
                write!(f, "process {name} (pid {pid}) is ready after {:.1} s", after.as_secs_f64())
            }
            Self::AllReady => f.write_str("all processes are ready"),
            Self::Exited { name, pid, summary } => write!(f, "process {name} (pid {pid}) {summary}"),
            Self::Ended { name, pid, summary } => {
                write!(
                    f,
                    "process {name} (pid {pid}) {summary}; the instance ends with it (on_exit = \"stop\")"
                )
            }
            Self::CrashLoop { name, exits, summary } => {
                write!(f, "process {name} is in a crash loop, {exits} exits in a row; the last: {summary}")
            }
            Self::Stopped { name, pid, killed: false } => write!(f, "process {name} (pid {pid}) stopped"),
            Self::Stopped { name, pid, killed: true } => {
                write!(f, "process {name} (pid {pid}) did not stop within its grace and was killed")
            }
            Self::NotReadyYet { problem, .. } | Self::SpawnFailed(problem) | Self::NeverReady(problem) => {
                problem.fmt(f)
            }
            Self::Swept { count: 1 } => f.write_str("1 process that had been left behind was killed"),
            Self::Swept { count } => write!(f, "{count} processes that had been left behind were killed"),
        }
    }
}
