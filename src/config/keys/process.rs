//! What may be said of one process beside which we are the front door.

use super::Key;
use super::Kind::{Choice, Path, Period, Text, Variables, Words};
use super::Zero::{Allowed, Refused};
use crate::config::processes::OnExit;

/// The fields of one `[[process]]`, in the order of the documents.
pub(super) const FIELDS: &[Key] = &[
    Key::new(
        "name",
        Text,
        "",
        "Required. What it is called in reports, by the admin, and as a log file; no two have the same.",
    ),
    Key::new(
        "command",
        Words,
        "",
        "Required. Program and arguments; executed as given, without a shell. It must stay in the foreground.",
    ),
    Key::new("env", Variables, "", "Added to the inherited environment."),
    Key::new("cwd", Path, "", "Its working directory. Unset: ours."),
    Key::new(
        "ready",
        Path,
        "",
        "The Unix socket that accepts once it is ready; one that nobody listens on is removed before a start. Unset: it \
         is ready as soon as it runs.",
    ),
    Key::new(
        "log",
        Path,
        "",
        "The file that its output is appended to, line by line as it was written. Unset: NAME.log in log.process_dir, or \
         our own stdout and stderr if that is not set either.",
    ),
    Key::new(
        "on_exit",
        Choice(&OnExit::WORDS),
        "restart",
        "What follows when it ends by itself. restart: it is started again, with the pauses of workers.backoff_min and \
         workers.backoff_max. stop: the instance drains and ends with exit code 69.",
    ),
    Key::new("grace", Period(Allowed), "10s", "Time from TERM to KILL. 0s kills at once."),
    Key::new(
        "start_deadline",
        Period(Refused),
        "60s",
        "From its start until its silence is explained for the last time and /initialize fails, naming it. It is not \
         killed then: late is not never.",
    ),
];
