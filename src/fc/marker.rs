//! The log lines by which the platform finds where a request begins and ends.
//!
//! Byte-exact, each a whole line (FC contract §6). The platform's third version
//! writes those of invocations itself, and a second pair makes a call show twice
//! in its request list; so they are written only where they are needed.

use std::fmt;

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

/// One line, with its line end, as [`fmt::Display`] writes it.
#[derive(Clone, Copy, Debug)]
pub struct Marker<'a> {
    kind: Kind,
    id: &'a str,
    /// `None` where it only begins.
    ending: Option<Ending>,
}

/// `FC Invoke Start RequestId: …`.
pub fn start(kind: Kind, id: &str) -> Marker<'_> {
    Marker { kind, id, ending: None }
}

/// `FC Invoke End RequestId: …`, with the suffix of its class.
pub fn end(kind: Kind, id: &str, ending: Ending) -> Marker<'_> {
    Marker { kind, id, ending: Some(ending) }
}

impl fmt::Display for Marker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, id, ending } = *self;
        match ending {
            None => writeln!(f, "FC {} Start RequestId: {id}", word(kind)),
            Some(ending) => writeln!(f, "FC {} End RequestId: {id}{ending}", word(kind)),
        }
    }
}

impl fmt::Display for Ending {
    /// What stands behind the id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The memory is not ours to measure: zero, as the platform itself says where it does not know.
        match self {
            Self::Answered => Ok(()),
            Self::Failed => f.write_str(", Error: Handled function error"),
            Self::Refused => f.write_str(", Error: Unhandled function error"),
            Self::Exited { after_ms } => write!(
                f,
                ", Error: Process exited unexpectedly before completing request (duration: {after_ms}ms, \
                 maxMemoryUsage: 0.00MB)"
            ),
            Self::Canceled { after_ms } => write!(
                f,
                ", Error: Invocation canceled by client (duration: {after_ms}ms, maxMemoryUsage: 0.00MB)"
            ),
        }
    }
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
            assert_eq!(start(kind, "1-ab").to_string(), format!("FC {word} Start RequestId: 1-ab\n"));
            assert_eq!(
                end(kind, "1-ab", Ending::Answered).to_string(),
                format!("FC {word} End RequestId: 1-ab\n")
            );
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
            let line = end(Kind::Http, "1-ab", ending).to_string();
            assert_eq!(line, format!("FC Invoke End RequestId: 1-ab, Error: {suffix}\n"));
        }
    }
}
