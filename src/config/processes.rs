//! Processes beside which we are the front door: started in order, kept alive, stopped in reverse.
//!
//! They serve nothing by themselves as far as we know: who answers is said elsewhere
//! (`upstream`, `workers.sockets`). They stand in place of a script that starts them
//! and then waits.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// All of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Processes {
    /// In the order of their starts; names differ.
    pub each: Vec<Process>,
    /// The directory of log files that nobody named; made if it is not there.
    pub log_dir: Option<PathBuf>,
    /// First and longest pause between starts of one that keeps exiting.
    pub backoff: (Duration, Duration),
}

/// One of them. Its `Debug` masks secret variables (`secret`).
#[derive(Clone, PartialEq)]
pub struct Process {
    /// Letters, digits, `.`, `_` and `-`; at most [`Process::NAME_BYTES_MAX`].
    pub name: String,
    /// Program and arguments. Never empty.
    pub argv: Vec<OsString>,
    /// Added to the inherited environment.
    pub env: Vec<(String, String)>,
    /// Working directory; ours if `None`.
    pub cwd: Option<PathBuf>,
    /// The Unix socket that accepts once it is ready; it is ready as soon as it runs if `None`.
    pub ready: Option<PathBuf>,
    /// The file that its output goes to; our own streams if `None`.
    pub log: Option<PathBuf>,
    /// What follows when it ends although nobody asked it to.
    pub on_exit: OnExit,
    /// From TERM to KILL.
    pub grace: Duration,
    /// From its start until its silence counts as a failed start; it is not killed then.
    pub start_deadline: Duration,
}

impl Process {
    /// Bytes of a name: it is a file's, and stands in front of lines.
    pub const NAME_BYTES_MAX: usize = 64;
}

/// What follows when a process ends although nobody asked it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExit {
    /// It is started again, with growing pauses.
    Restart,
    /// The instance ends.
    Stop,
}

impl OnExit {
    /// The words for it, each at the place of its number.
    pub const WORDS: [&'static str; 2] = ["restart", "stop"];

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }
}
