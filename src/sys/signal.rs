//! Signals to one process, whoever started it.
//!
//! A group is no instance: whatever made a group of its own is still part of it.
#![allow(unsafe_code)]

use std::io;

use super::check;

/// Asks a process to end when it is done with what it does, where it knows that (php-fpm).
pub const QUIT: i32 = libc::SIGQUIT;
/// Stops a process where it is; it cannot refuse.
pub const STOP: i32 = libc::SIGSTOP;
/// Lets a stopped process go on.
pub const CONT: i32 = libc::SIGCONT;

/// Sends `signal` to one process.
///
/// The number must belong to a descendant of ours that was seen a moment ago: a number is given to somebody
/// else only after its owner was reaped, and the numbers went around once.
///
/// # Errors
/// `InvalidInput` for 1 and below (they mean "init", "everybody" or a group to kill(2)); otherwise what
/// kill(2) says, ESRCH when it is gone.
pub fn signal(pid: i32, signal: i32) -> io::Result<()> {
    if pid <= 1 {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // WHY: std can only KILL, and only children that it started.
    // SAFETY: kill takes integers; a number above 1 is one process that is not init.
    check(unsafe { libc::kill(pid, signal) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn one_process_gets_the_signal_and_dangerous_numbers_are_refused() {
        let mut child = Command::new("/bin/sleep").arg("600").spawn().unwrap();
        signal(i32::try_from(child.id()).unwrap(), super::super::KILL).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(super::super::KILL));
        for number in [1, 0, -1, i32::MIN] {
            assert_eq!(signal(number, 0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
