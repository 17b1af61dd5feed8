//! The moment between fork and exec: the one thing about a start that only the new process can tell.
//!
//! The ruler's one door to `unsafe`. What it does in the child is reading a clock and
//! writing eight bytes to a pipe.
#![allow(unsafe_code)]

use std::io::{self, PipeReader, PipeWriter, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::time::{ClockId, clock_gettime};

/// A point in time: nanoseconds of the monotonic clock, the same in every process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    /// This one.
    pub(crate) fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        let (seconds, nanos) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
        Self(seconds * 1_000_000_000 + nanos)
    }

    /// Milliseconds from `start` to this; zero if it was before.
    pub(crate) fn ms_since(self, start: Self) -> f64 {
        self.0.saturating_sub(start.0) as f64 / 1e6
    }

    /// Microseconds from `start` to this; zero if it was before.
    pub(crate) fn us_since(self, start: Self) -> f64 {
        self.0.saturating_sub(start.0) as f64 / 1e3
    }
}

/// Tells when a child existed.
#[derive(Debug)]
pub(crate) struct Stamp(PipeReader);

impl Stamp {
    /// Makes the next child of `command` leave a stamp. The command must start only one.
    ///
    /// # Errors
    /// No pipe can be had.
    pub(crate) fn arm(command: &mut Command) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        // WHY: nobody but the child itself sees when it exists, and std has no safe hook there.
        // SAFETY: the hook reads a clock and writes eight bytes of its stack to a descriptor; it allocates nothing
        // and takes no lock. The descriptor is open until the exec, which closes it.
        unsafe {
            command.pre_exec(move || leave(&writer));
        }
        Ok(Self(reader))
    }

    /// When the child existed. To be asked once the start has succeeded; the stamp is in the pipe then.
    ///
    /// # Errors
    /// No child was started.
    pub(crate) fn read(mut self, command: Command) -> io::Result<Moment> {
        // The command owns the pipe's other end; without it a child that never was would be waited for.
        drop(command);
        let mut bytes = [0; 8];
        self.0.read_exact(&mut bytes)?;
        Ok(Moment(u64::from_ne_bytes(bytes)))
    }
}

fn leave(writer: &PipeWriter) -> io::Result<()> {
    let bytes = Moment::now().0.to_ne_bytes();
    rustix::io::write(writer, &bytes)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_exists_between_the_call_and_its_return() {
        let mut command = Command::new("true");
        let stamp = Stamp::arm(&mut command).unwrap();
        let before = Moment::now();
        let mut child = command.spawn().unwrap();
        let after = Moment::now();
        let forked = stamp.read(command).unwrap();
        child.wait().unwrap();
        assert!(before < forked && forked < after, "{before:?} {forked:?} {after:?}");
    }

    #[test]
    fn what_was_never_started_has_no_stamp() {
        let mut command = Command::new("true");
        let stamp = Stamp::arm(&mut command).unwrap();
        assert!(stamp.read(command).is_err());
    }
}
