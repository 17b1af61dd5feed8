//! How the process ends, as a number that scripts and platforms can act upon.
//!
//! The numbers follow `sysexits.h` where it has a word for it; the shell's habit
//! gives 128 + n for a signal. They are part of the stable surface.

use std::fmt;

/// Every way to end.
///
/// | code | meaning |
/// |---|---|
/// | 0 | stopped as asked, everything drained |
/// | 1 | unexpected failure: a bug |
/// | 64 | wrong usage of the command line |
/// | 69 | workers never became ready, or kept exiting; `status`: the instance is not ready |
/// | 71 | the system refused: bind, fork, limits; `status` and `top`: no answer |
/// | 75 | the drain deadline passed with requests cut off |
/// | 78 | configuration invalid |
/// | 128 + n | second signal n: left at once |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCode {
    /// Stopped as asked, everything drained.
    Done,
    /// Unexpected failure: a bug, please report.
    Bug,
    /// Wrong usage of the command line (`EX_USAGE`).
    Usage,
    /// Workers never became ready, or keep exiting (`EX_UNAVAILABLE`).
    WorkersUnavailable,
    /// The system refused: bind, fork, limits (`EX_OSERR`).
    SystemRefused,
    /// The drain deadline passed with requests cut off (`EX_TEMPFAIL`).
    CutOff,
    /// Configuration invalid (`EX_CONFIG`).
    BadConfig,
    /// Second signal of this number: left at once.
    Signal(u8),
}

impl ExitCode {
    /// The number the parent process sees. Signal numbers above 127 do not exist; they read as 255.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Bug => 1,
            Self::Usage => 64,
            Self::WorkersUnavailable => 69,
            Self::SystemRefused => 71,
            Self::CutOff => 75,
            Self::BadConfig => 78,
            Self::Signal(number) => 128_u8.saturating_add(number),
        }
    }
}

impl fmt::Display for ExitCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match self {
            Self::Done => "stopped as asked",
            Self::Bug => "unexpected failure",
            Self::Usage => "wrong usage",
            Self::WorkersUnavailable => "workers unavailable",
            Self::SystemRefused => "the system refused",
            Self::CutOff => "requests were cut off",
            Self::BadConfig => "configuration invalid",
            Self::Signal(number) => return write!(f, "signal {number} ({})", self.code()),
        };
        write!(f, "{meaning} ({})", self.code())
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(exit: ExitCode) -> Self {
        exit.code().into()
    }
}

#[cfg(test)]
mod tests {
    use super::ExitCode;

    #[test]
    fn the_numbers_are_those_that_were_promised() {
        let all = [
            (ExitCode::Done, 0),
            (ExitCode::Bug, 1),
            (ExitCode::Usage, 64),
            (ExitCode::WorkersUnavailable, 69),
            (ExitCode::SystemRefused, 71),
            (ExitCode::CutOff, 75),
            (ExitCode::BadConfig, 78),
            (ExitCode::Signal(15), 143),
            (ExitCode::Signal(200), 255),
        ];
        for (exit, code) in all {
            assert_eq!(exit.code(), code, "{exit}");
        }
    }
}
