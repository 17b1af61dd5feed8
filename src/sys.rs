//! Doors to the system that std does not have. The one file with `unsafe`, but for the ring of `engine`.
//!
//! Small functions, each around one system call, none with an opinion: who may
//! be signalled, restarted or diagnosed is decided a floor above. The choice of
//! raw calls over a wrapper crate keeps the number of doors visible.
#![allow(unsafe_code)]

use std::ffi::{CString, OsStr, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Arc, OnceLock};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

mod file;
pub mod manager;
pub mod notify;
mod peek;
mod signal;
mod spawn;
pub use file::{Opened, gains_privileges, is_noexec, open, open_directly};
pub use peek::{Peek, has_ended, has_left, peek};
pub use signal::{CONT, QUIT, STOP, signal};
pub use spawn::{Inherited, Program, reserve, spawn, spawn_asking};

/// Asks a process to end.
pub const TERM: i32 = libc::SIGTERM;
/// Ends a process.
pub const KILL: i32 = libc::SIGKILL;
/// The `errno` of a file that no loader of the kernel understands.
pub const ENOEXEC: i32 = libc::ENOEXEC;
/// The `errno` of an argument list or environment that is too long.
pub const E2BIG: i32 = libc::E2BIG;
/// The `errno` of a chain of symbolic links without an end.
pub const ELOOP: i32 = libc::ELOOP;

/// The `errno` of a write whose reader is gone.
pub const EPIPE: i32 = libc::EPIPE;

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a NUL byte inside"))
}

/// Makes orphans of our descendants our own children, as they are anyway for PID 1.
///
/// # Errors
/// A kernel before 3.4, or a sandbox that forbids prctl.
pub fn become_subreaper() -> io::Result<()> {
    // WHY: without it an orphan of a worker is reaped by somebody else, or by nobody in a small container.
    // SAFETY: prctl with this option reads one integer and touches no memory of ours.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1 as libc::c_ulong) })
}

/// Reaps every child that has ended, known or re-parented to us, and says how each ended.
///
/// `before` is called with each pid while it is still a zombie: until then the
/// number cannot belong to anybody else, so its group can be signalled safely.
/// Takes the children of every thread; nothing else in this process may wait for
/// children while somebody uses this.
pub fn reap_all(mut before: impl FnMut(i32)) -> Vec<(i32, ExitStatus)> {
    let mut reaped = Vec::new();
    while let Some(pid) = next_zombie() {
        before(pid);
        let mut status: c_int = 0;
        // WHY: std can wait only for children it started; orphans come from elsewhere.
        // SAFETY: `status` is a valid place for one int; `pid` is our child, as next_zombie just saw.
        if unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } != pid {
            break;
        }
        reaped.push((pid, ExitStatus::from_raw(status)));
    }
    reaped
}

/// A child that has ended and was not reaped.
fn next_zombie() -> Option<i32> {
    loop {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        // WHY: WNOWAIT is the only way to learn of an exit and keep the pid reserved.
        // SAFETY: `info` is a valid place for one siginfo_t, which the kernel fills.
        let answer = unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), flags) };
        if answer == 0 {
            // WHY: the pid is behind a union.
            // SAFETY: all zeroes is a valid siginfo_t, and waitid filled the child's fields if there was one.
            let pid = unsafe { info.assume_init().si_pid() };
            return (pid != 0).then_some(pid);
        }
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return None;
        }
    }
}

/// Sends `signal` to every process of the group that `leader` leads.
///
/// # Errors
/// `InvalidInput` for 1 and below (they mean "everybody" or "ourselves" to kill(2));
/// otherwise what kill(2) says, ESRCH when the group is empty.
pub fn kill_group(leader: i32, signal: i32) -> io::Result<()> {
    if leader <= 1 {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // WHY: std can signal one child by KILL only; a worker may have children and deserves a TERM first.
    // SAFETY: kill takes integers; a group above 1 can be neither ours (every child leads its own) nor "all".
    check(unsafe { libc::kill(-leader, signal) })
}

/// Whether any process, zombies included, is left in the group.
pub fn group_exists(leader: i32) -> bool {
    kill_group(leader, 0).is_ok()
}

/// What is one open descriptor for its whole life, which nobody who borrows it can close or replace.
///
/// # Safety
/// As just said.
pub unsafe trait OneDescriptor: AsRawFd {}

// WHY: a descriptor that changes behind the runtime's back would be a stranger's, so types are named one by one.
// SAFETY: std's owners of a descriptor close it when they are dropped, and offer no way to put another in its place.
unsafe impl OneDescriptor for OwnedFd {}
// WHY: see above.
// SAFETY: see above.
unsafe impl OneDescriptor for TcpListener {}
// WHY: see above.
// SAFETY: see above.
unsafe impl OneDescriptor for TcpStream {}
// WHY: see above.
// SAFETY: see above.
unsafe impl OneDescriptor for UnixStream {}
// WHY: see above.
// SAFETY: whoever shares it only borrows it.
unsafe impl<T: OneDescriptor> OneDescriptor for Arc<T> {}

/// Registers `socket` with the runtime, for the events of `interest` alone: its own sockets always have both.
///
/// # Errors
/// If the kernel refuses; `socket` is dropped then.
pub fn register<S: OneDescriptor>(socket: S, interest: Interest) -> io::Result<AsyncFd<S>> {
    // WHY: the safe way is deprecated, since a type may change its descriptor behind the runtime's back.
    // SAFETY: `OneDescriptor` says that this one does not.
    Ok(unsafe { AsyncFd::register_with_interest(socket, interest) }?)
}

/// Bytes in a stream socket's send queue: written, but not taken by the peer's kernel yet.
pub fn untaken(socket: BorrowedFd<'_>) -> u64 {
    let mut bytes: c_int = 0;
    // WHY: a send buffer hides how far a slow reader has come; std has no ioctl.
    // SAFETY: TIOCOUTQ stores one int in `bytes`; the fd is open while borrowed.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if answer < 0 { 0 } else { u64::try_from(bytes).unwrap_or(0) }
}

/// Most pipes that one [`PipeWatch`] holds.
const WATCHED_MAX: usize = 2;

/// Pipes that can be asked together whether any of them has bytes to read.
#[derive(Debug)]
pub struct PipeWatch(OwnedFd);

impl PipeWatch {
    /// Watches `pipes` until they are closed; they stay their owner's.
    ///
    /// # Errors
    /// What epoll_create1(2) or epoll_ctl(2) says: no more descriptors, or something that is no pipe.
    pub fn new(pipes: [BorrowedFd<'_>; WATCHED_MAX]) -> io::Result<Self> {
        // WHY: a set that the kernel keeps is asked in 0.15 µs, poll(2) over two pipes in 0.39; std has neither.
        // SAFETY: the call takes a flag and gives a descriptor or an error.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        check(epoll)?;
        // WHY: std closes descriptors that it owns.
        // SAFETY: the descriptor is new and nobody else's.
        let watch = Self(unsafe { OwnedFd::from_raw_fd(epoll) });
        for pipe in pipes {
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
            // WHY: see above.
            // SAFETY: both descriptors are open; `event` is valid and only read.
            let added =
                unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, pipe.as_raw_fd(), &raw mut event) };
            check(added)?;
        }
        Ok(watch)
    }

    /// Whether any of them has bytes to read right now. An end behind the last byte is none.
    pub fn any_readable(&self) -> bool {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; WATCHED_MAX];
        // WHY: a read would take what somebody else is to read.
        // SAFETY: room for as many events as the call may store; a zero timeout never waits.
        let count =
            unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), WATCHED_MAX as c_int, 0) };
        let seen = &events[..usize::try_from(count).unwrap_or(0)];
        seen.iter().any(|event| event.events & libc::EPOLLIN as u32 != 0)
    }
}

/// Bytes that were written into a pipe and not read yet.
pub fn unread(pipe: BorrowedFd<'_>) -> u64 {
    let mut bytes: c_int = 0;
    // WHY: where the pipe stands can be learned without reading only here; std has no ioctl.
    // SAFETY: FIONREAD stores one int in `bytes`; the fd is open while borrowed.
    let answer = unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    if answer < 0 { 0 } else { u64::try_from(bytes).unwrap_or(0) }
}

/// The limit that workers get back, if ours was raised.
static ORIGINAL_FD_LIMIT: OnceLock<libc::rlimit> = OnceLock::new();

/// Raises the soft limit of open file descriptors to the hard one and returns it.
///
/// Workers keep the limit from before: some programs visit every possible
/// descriptor at their start.
///
/// # Errors
/// What getrlimit(2) or setrlimit(2) says; the limit then is what it was.
pub fn raise_fd_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // WHY: std has no door to resource limits.
    // SAFETY: `limit` is a valid place for one rlimit.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    if limit.rlim_cur < limit.rlim_max {
        let original = limit;
        limit.rlim_cur = limit.rlim_max;
        set_fd_limit(&limit)?;
        let _ = ORIGINAL_FD_LIMIT.set(original);
    }
    Ok(limit.rlim_cur)
}

fn set_fd_limit(limit: &libc::rlimit) -> io::Result<()> {
    // WHY: std has no door to resource limits.
    // SAFETY: `limit` is a valid rlimit that the call only reads; async-signal-safe on Linux.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, limit) })
}

/// Bytes of a page of memory.
pub fn page_bytes() -> u64 {
    system_constant(libc::_SC_PAGESIZE).unwrap_or(4096)
}

/// In what `/proc` counts processor time.
pub fn ticks_per_second() -> u64 {
    system_constant(libc::_SC_CLK_TCK).unwrap_or(100)
}

fn system_constant(name: c_int) -> Option<u64> {
    // WHY: std has no door to what sysconf(3) knows.
    // SAFETY: takes a number, touches nothing of ours.
    u64::try_from(unsafe { libc::sysconf(name) }).ok().filter(|&value| value > 0)
}

/// Whether this process may execute the file, as the kernel judges it.
pub fn may_execute(path: &Path) -> bool {
    let Ok(path) = c_string(path.as_os_str()) else { return false };
    // WHY: mode bits alone know neither our user nor a `noexec` mount.
    // SAFETY: `path` ends in NUL and is only read.
    unsafe { libc::access(path.as_ptr(), libc::X_OK) == 0 }
}

fn check(answer: c_int) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    use super::spawn::tests::program;
    use super::*;

    #[test]
    fn a_group_is_killed_whole_and_dangerous_numbers_are_refused() {
        let mut child = spawn(&program(&["/bin/sh", "-c", "sleep 600 & echo; wait"])).unwrap();
        let group = i32::try_from(child.id()).unwrap();
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut [0]).unwrap();
        assert!(group_exists(group));
        kill_group(group, KILL).unwrap();
        // The end of the pipe: the grandchild, which holds it too, is gone as well.
        assert_eq!(stdout.read(&mut [0]).unwrap(), 0);
        assert_eq!(child.wait().unwrap().signal(), Some(KILL));
        for number in [1, 0, -1, i32::MIN] {
            assert_eq!(kill_group(number, 0).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn a_pipe_says_what_was_not_read_and_its_end_is_no_byte() {
        let ((one, mut writer), (other, _open)) = (io::pipe().unwrap(), io::pipe().unwrap());
        let watch = PipeWatch::new([one.as_fd(), other.as_fd()]).unwrap();
        let look = || (watch.any_readable(), unread(one.as_fd()));
        assert_eq!(look(), (false, 0));
        writer.write_all(b"four").unwrap();
        assert_eq!((look(), look()), ((true, 4), (true, 4)), "asking takes nothing");
        (&one).read_exact(&mut [0; 4]).unwrap();
        assert_eq!(look(), (false, 0));
        writer.write_all(b"four").unwrap();
        drop(writer);
        (&one).read_exact(&mut [0; 4]).unwrap();
        assert_eq!(look(), (false, 0));
        drop(one);
        assert!(!watch.any_readable(), "whoever reads them may close them");
    }
}
