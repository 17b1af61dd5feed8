//! What the supervisors tell the application: facts to print and to act upon.

use std::fmt;
use std::time::Duration;

use crate::error::Problem;
use crate::upstream::pool::{Address, WorkerId};

/// Something happened to a worker. Displayed as the text of one log line
/// (a [`Problem`] keeps its lines), without date or level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A worker accepts connections for the first time in this life.
    Ready {
        /// Which.
        worker: WorkerId,
        /// Its process; `None` if somebody else runs it.
        pid: Option<i32>,
        /// Since its process (or the watching) was started.
        after: Duration,
    },
    /// Every place in the pool is ready, for the first time.
    AllReady,
    /// A connect to a worker failed; it gets no requests until one succeeds.
    Gone {
        /// Which.
        worker: WorkerId,
        /// Where it accepted.
        address: Address,
    },
    /// A worker that was gone accepts again.
    Back {
        /// Which.
        worker: WorkerId,
        /// Where it accepts.
        address: Address,
        /// How long it was gone.
        after: Duration,
    },
    /// A worker ended although nobody asked it to; it is started again.
    Exited {
        /// Which.
        worker: WorkerId,
        /// Its process.
        pid: i32,
        /// How it ended and the last it wrote, one line.
        summary: String,
        /// Requests it held.
        in_flight: u32,
    },
    /// The exit just reported is one too many in a row; starts go on with growing pauses.
    CrashLoop {
        /// Which.
        worker: WorkerId,
        /// Exits in a row, none after ten seconds of readiness.
        exits: u32,
        /// The last exit, one line.
        summary: String,
    },
    /// A worker ended because it was asked to.
    Stopped {
        /// Which.
        worker: WorkerId,
        /// Its process.
        pid: i32,
        /// Whether it did not end within its grace and was killed.
        killed: bool,
    },
    /// A worker runs but accepts nothing, and why.
    NotReadyYet {
        /// Which.
        worker: WorkerId,
        /// What it does instead.
        problem: Problem,
    },
    /// No process could be started. Said once until the reason changes.
    SpawnFailed(Problem),
    /// How workers listen, or do from now on.
    Way(String),
    /// Something about Noslate's planes that is good to know.
    Plane(String),
    /// A plane is away or does not do what it should.
    PlaneTrouble(Problem),
    /// No worker was ever ready, and none will be without a change from outside.
    /// Sent once; a failed start that leads straight here is not reported on its own.
    NeverReady {
        /// Why.
        problem: Problem,
    },
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { worker, pid: Some(pid), after } => {
                write!(f, "worker {worker} (pid {pid}) is ready after {} ms", after.as_millis())
            }
            Self::Ready { worker, pid: None, after } => {
                write!(f, "worker {worker} is ready after {} ms", after.as_millis())
            }
            Self::AllReady => f.write_str("all workers are ready"),
            Self::Gone { worker, address } => {
                write!(f, "worker {worker}: {address} is gone, no requests until it is back")
            }
            Self::Back { worker, address, after } => {
                write!(f, "worker {worker}: {address} is back after {} ms", after.as_millis())
            }
            Self::Exited { worker, pid, summary, in_flight } => {
                write!(f, "worker {worker} (pid {pid}) {summary}")?;
                match in_flight {
                    0 => Ok(()),
                    1 => f.write_str(" (1 request was in flight)"),
                    many => write!(f, " ({many} requests were in flight)"),
                }
            }
            Self::CrashLoop { worker, exits, summary } => {
                write!(f, "worker {worker} is in a crash loop, {exits} exits in a row; the last: {summary}")
            }
            Self::Stopped { worker, pid, killed: false } => write!(f, "worker {worker} (pid {pid}) stopped"),
            Self::Stopped { worker, pid, killed: true } => {
                write!(f, "worker {worker} (pid {pid}) did not stop within its grace and was killed")
            }
            Self::Way(text) | Self::Plane(text) => f.write_str(text),
            Self::PlaneTrouble(problem)
            | Self::NotReadyYet { problem, .. }
            | Self::SpawnFailed(problem)
            | Self::NeverReady { problem } => problem.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_is_one_line_with_what_was_lost() {
        let summary = "exited with code 1: no module named app".to_owned();
        let report = Report::Exited { worker: WorkerId(2), pid: 7, summary, in_flight: 3 };
        assert_eq!(
            report.to_string(),
            "worker 2 (pid 7) exited with code 1: no module named app (3 requests were in flight)"
        );
    }
}
