//! The log lines by which the platform finds where a request begins and ends.
//!
//! Byte-exact, each a whole line (FC contract §6). The platform's third version
//! writes those of invocations itself, and a second pair makes a call show twice
//! in its request list; so they are written only where they are needed.

use std::fmt::Write as _;

use super::kind::{Hook, Kind};

/// How a request ended, as the end marker tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was answered.
    Answered,
    /// The worker answered, and what it answered counts as a failure.
    Failed,
    /// The proxy had to answer itself: refused, or the worker's answer was unusable.
    Refused,
    /// The worker went away before its answer was whole, after so many milliseconds.
    Exited {
        /// Since the request came.
        after_ms: u64,
    },
    /// The client left, after so many milliseconds.
    Canceled {
        /// Since the request came.
        after_ms: u64,
    },
}

/// `FC Invoke Start RequestId: …`, with its line end.
pub fn start(kind: Kind, id: &str) -> String {
    format!("FC {} Start RequestId: {id}\n", word(kind))
}

/// `FC Invoke End RequestId: …`, with the suffix of its class and its line end.
pub fn end(kind: Kind, id: &str, ending: Ending) -> String {
    let mut line = format!("FC {} End RequestId: {id}", word(kind));
    // Writing to a String cannot fail. The memory is not ours to measure: zero, as the platform itself says
    // where it does not know.
    let _ = match ending {
        Ending::Answered => Ok(()),
        Ending::Failed => write!(line, ", Error: Handled function error"),
        Ending::Refused => write!(line, ", Error: Unhandled function error"),
        Ending::Exited { after_ms } => write!(
            line,
            ", Error: Process exited unexpectedly before completing request (duration: {after_ms}ms, \
             maxMemoryUsage: 0.00MB)"
        ),
        Ending::Canceled { after_ms } => write!(
            line,
            ", Error: Invocation canceled by client (duration: {after_ms}ms, maxMemoryUsage: 0.00MB)"
        ),
    };
    line.push('\n');
    line
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Http | Kind::Event => "Invoke",
        Kind::Hook(Hook::Initialize) => "Initialize",
        Kind::Hook(Hook::PreFreeze) => "PreFreeze",
        Kind::Hook(Hook::PreStop) => "PreStop",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fc35_markers_are_those_of_the_platforms_samples_byte_for_byte() {
        for (kind, word) in [
            (Kind::Http, "Invoke"),
            (Kind::Event, "Invoke"),
            (Kind::Hook(Hook::Initialize), "Initialize"),
            (Kind::Hook(Hook::PreFreeze), "PreFreeze"),
            (Kind::Hook(Hook::PreStop), "PreStop"),
        ] {
            assert_eq!(start(kind, "1-ab"), format!("FC {word} Start RequestId: 1-ab\n"));
            assert_eq!(end(kind, "1-ab", Ending::Answered), format!("FC {word} End RequestId: 1-ab\n"));
        }
    }

    #[test]
    fn fc35_an_end_marker_names_the_class_of_its_error() {
        for (ending, suffix) in [
            (Ending::Failed, "Handled function error"),
            (Ending::Refused, "Unhandled function error"),
            (
                Ending::Exited { after_ms: 8 },
                "Process exited unexpectedly before completing request (duration: 8ms, maxMemoryUsage: 0.00MB)",
            ),
            (
                Ending::Canceled { after_ms: 4912 },
                "Invocation canceled by client (duration: 4912ms, maxMemoryUsage: 0.00MB)",
            ),
        ] {
            let line = end(Kind::Http, "1-ab", ending);
            assert_eq!(line, format!("FC Invoke End RequestId: 1-ab, Error: {suffix}\n"));
        }
    }
}
