//! Doors to the system that std does not have. The one file with `unsafe`, but for the ring of `engine`.
//!
//! Small functions, each around one system call, none with an opinion: who may
//! be signalled, restarted or diagnosed is decided a floor above. The choice of
//! raw calls over a wrapper crate keeps the number of doors visible.
#![allow(unsafe_code)]

use std::ffi::{CString, OsStr, OsString, c_char, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::ptr;
use std::sync::{Arc, OnceLock};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

mod signal;
pub use signal::{CONT, STOP, signal};

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

/// What to execute, complete: nothing is searched, inherited or expanded any more.
#[derive(Clone, Debug)]
pub struct Program {
    /// The file to execute; relative to `cwd` if not absolute. Never searched in `PATH`.
    pub path: PathBuf,
    /// Arguments, the program's own name first.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory; ours if `None`.
    pub cwd: Option<PathBuf>,
}

/// Starts `program` in its own process group, stdin empty, stdout and stderr piped.
///
/// The child dies by SIGKILL when the *thread* that called this ends (that is how
/// Linux counts parents here), so call it from a thread that lives as long as the
/// workers shall. The file-descriptor limit is the one from before [`raise_fd_limit`].
///
/// The child must be reaped with [`reap_all`] on the same thread, or waited for.
///
/// # Errors
/// What the kernel answered to fork, chdir or execve; a NUL byte in a string is
/// `InvalidInput`. No shell takes over when the kernel does not know the format
/// (glibc's `execvp` would do that, musl's would not).
pub fn spawn(program: &Program) -> io::Result<Child> {
    spawn_as_child_of(program, std::process::id())
}

fn spawn_as_child_of(program: &Program, parent: u32) -> io::Result<Child> {
    let image = Image::new(program)?;
    let fd_limit = ORIGINAL_FD_LIMIT.get().copied();
    let mut command = Command::new(&program.path);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    if let Some(cwd) = &program.cwd {
        command.current_dir(cwd);
    }
    // WHY: only a hook between fork and exec can arm the parent-death signal and
    // call execve itself instead of std's execvp.
    // SAFETY: the hook allocates nothing, takes no lock and makes only
    // async-signal-safe calls; all strings were made before the fork.
    unsafe {
        command.pre_exec(move || {
            tie_to_parent(parent)?;
            reset_signals()?;
            if let Some(limit) = fd_limit {
                set_fd_limit(&limit)?;
            }
            Err(image.exec())
        });
    }
    command.spawn()
}

/// Makes the calling process die by SIGKILL with the thread that forked it.
fn tie_to_parent(parent: u32) -> io::Result<()> {
    // WHY: a worker must not outlive a sidecar that was killed and could not stop it.
    // SAFETY: prctl with this option reads one integer and touches no memory of ours.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::c_ulong::from(libc::SIGKILL.unsigned_abs())) })?;
    // WHY: a parent that died before the line above sends no signal any more.
    // SAFETY: getppid cannot fail and has no arguments.
    let now = unsafe { libc::getppid() };
    if now.unsigned_abs() == parent { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
}

/// No signal blocked, SIGPIPE fatal again: what a program expects at its start.
fn reset_signals() -> io::Result<()> {
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // WHY: a signal mask survives exec; a worker that inherits one cannot be stopped by TERM.
    // SAFETY: sigemptyset initialises the set it is given, which is ours.
    check(unsafe { libc::sigemptyset(none.as_mut_ptr()) })?;
    // WHY: see above.
    // SAFETY: `none` was initialised by sigemptyset; the old mask is not asked for.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut()) })?;
    // WHY: std ignores SIGPIPE in us, and "ignored" survives exec.
    // SAFETY: SIG_DFL installs no handler; SIGPIPE is a valid signal.
    if unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) } == libc::SIG_ERR {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The three arguments of execve, made before the fork because nothing may allocate after it.
struct Image {
    path: CString,
    argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    /// Owns what `argv` and `env` point to; never touched again.
    _strings: Vec<CString>,
}

// WHY: `pre_exec` wants a hook that is Send and Sync; raw pointers are neither by themselves.
// SAFETY: the pointers lead into `_strings`, whose heap bytes move with nobody and are never written.
unsafe impl Send for Image {}
// WHY: see above.
// SAFETY: see above; sharing it only reads.
unsafe impl Sync for Image {}

impl Image {
    fn new(program: &Program) -> io::Result<Self> {
        let argv = program.argv.iter().map(|word| c_string(word)).collect::<io::Result<Vec<_>>>()?;
        let env = program.env.iter().map(|(name, value)| {
            let mut pair = name.clone();
            pair.push("=");
            pair.push(value);
            c_string(&pair)
        });
        let env = env.collect::<io::Result<Vec<_>>>()?;
        let end = std::iter::once(ptr::null());
        Ok(Self {
            path: c_string(program.path.as_os_str())?,
            argv: argv.iter().map(|word| word.as_ptr()).chain(end.clone()).collect(),
            env: env.iter().map(|pair| pair.as_ptr()).chain(end).collect(),
            _strings: argv.into_iter().chain(env).collect(),
        })
    }

    /// Becomes the program; returns only if the kernel refused.
    fn exec(&self) -> io::Error {
        // WHY: std's own exec asks a shell to run what the kernel refuses; we want the refusal.
        // SAFETY: `path` ends in NUL; both lists end in a null pointer and their strings live in `self`.
        unsafe { libc::execve(self.path.as_ptr(), self.argv.as_ptr(), self.env.as_ptr()) };
        io::Error::last_os_error()
    }
}

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

/// What waits in a socket's receive queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peek {
    /// Nothing: the peer is there and silent.
    Quiet,
    /// At least one byte.
    Data,
    /// The peer closed its sending side.
    Eof,
}

/// Looks whether bytes or the end wait on a connected stream socket; takes nothing, never waits.
///
/// # Errors
/// What recv(2) says, ECONNRESET above all; "nothing there" is no error.
pub fn peek(socket: BorrowedFd<'_>) -> io::Result<Peek> {
    let mut byte = 0_u8;
    loop {
        // WHY: std's peek waits on a blocking socket and does not exist for Unix sockets.
        // SAFETY: `byte` is a valid place for the one byte asked for; the fd is open while borrowed.
        let got = unsafe {
            libc::recv(socket.as_raw_fd(), (&raw mut byte).cast(), 1, libc::MSG_PEEK | libc::MSG_DONTWAIT)
        };
        match got {
            0 => return Ok(Peek::Eof),
            1.. => return Ok(Peek::Data),
            _ => {}
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock => return Ok(Peek::Quiet),
            io::ErrorKind::Interrupted => {}
            _ => return Err(error),
        }
    }
}

/// Whether the peer of a connected stream socket has finished sending, bytes that are still unread aside.
pub fn has_ended(socket: BorrowedFd<'_>) -> bool {
    let mut asked = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
    // WHY: an end behind unread bytes shows in no read; std has no poll.
    // SAFETY: one valid pollfd is passed with the count 1; a zero timeout never waits.
    let count = unsafe { libc::poll(&raw mut asked, 1, 0) };
    count == 1 && asked.revents != 0
}

/// Whether the peer of a connected stream socket is gone in both directions. A Unix socket knows as soon
/// as the peer has closed; TCP learns it only from an answer to what it sends.
pub fn has_left(socket: BorrowedFd<'_>) -> bool {
    let mut asked = libc::pollfd { fd: socket.as_raw_fd(), events: 0, revents: 0 };
    // WHY: no read tells a closed peer from one that has only finished sending; std has no poll.
    // SAFETY: one valid pollfd is passed with the count 1; a zero timeout never waits.
    let count = unsafe { libc::poll(&raw mut asked, 1, 0) };
    count == 1 && asked.revents & (libc::POLLHUP | libc::POLLERR) != 0
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
    use std::fs;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn program(words: &[&str]) -> Program {
        Program {
            path: PathBuf::from(words[0]),
            argv: words.iter().map(OsString::from).collect(),
            env: vec![("GREETING".into(), "a=b".into())],
            cwd: Some(PathBuf::from("/")),
        }
    }

    fn output(mut child: Child) -> String {
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        child.wait().unwrap();
        text
    }

    #[test]
    fn a_child_gets_exactly_the_arguments_environment_and_directory_given() {
        let child = spawn(&program(&["/bin/sh", "-c", "echo $0 $1 $GREETING $HOME $PWD", "zero", "{one}"]));
        assert_eq!(output(child.unwrap()), "zero {one} a=b /\n");
    }

    #[test]
    fn a_child_dies_with_the_thread_that_started_it() {
        let mut child =
            std::thread::spawn(|| spawn(&program(&["/bin/sleep", "600"])).unwrap()).join().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(KILL));
    }

    #[test]
    fn a_child_whose_parent_is_gone_already_does_not_start() {
        let error = spawn_as_child_of(&program(&["/bin/true"]), 1).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
    }

    #[test]
    fn a_child_starts_with_no_signal_blocked_and_pipe_not_ignored_in_a_group_of_its_own() {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // WHY: the mask of this thread must differ from the default for the test to mean anything.
        // SAFETY: sigemptyset initialises the set; the later calls read it; the old mask is not asked for.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM);
            libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut());
        }
        let child = spawn(&program(&["/bin/cat", "/proc/self/status", "/proc/self/stat"])).unwrap();
        let pid = child.id().to_string();
        let text = output(child);
        let mask = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        assert_eq!(mask("SigBlk:"), 0);
        assert_eq!(mask("SigIgn:") & (1 << (libc::SIGPIPE - 1)), 0);
        assert_eq!(text.lines().last().unwrap().split(' ').nth(4), Some(pid.as_str()), "its own group");
    }

    #[test]
    fn no_shell_runs_what_the_kernel_refuses() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("no-shebang");
        fs::write(&path, "echo a shell ran me\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let error = loop {
            // Another test that forks right now holds our file open for writing for a moment.
            match spawn(&program(&[path.to_str().unwrap()])).unwrap_err() {
                busy if busy.kind() == io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
                error => break error,
            }
        };
        assert_eq!(error.raw_os_error(), Some(ENOEXEC));
    }

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
    fn peeking_takes_nothing_and_knows_silence_data_and_the_end() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        assert_eq!(peek(ours.as_fd()).unwrap(), Peek::Quiet);
        theirs.write_all(b"x").unwrap();
        assert_eq!(peek(ours.as_fd()).unwrap(), Peek::Data);
        assert_eq!(peek(ours.as_fd()).unwrap(), Peek::Data);
        drop(theirs);
        (&ours).read_exact(&mut [0]).unwrap();
        assert_eq!(peek(ours.as_fd()).unwrap(), Peek::Eof);
    }

    #[test]
    fn an_end_behind_unread_bytes_is_seen() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"x").unwrap();
        assert!(!has_ended(ours.as_fd()) && !has_left(ours.as_fd()));
        assert_eq!(untaken(ours.as_fd()), 0);
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(has_ended(ours.as_fd()) && !has_left(ours.as_fd()));
        drop(theirs);
        assert!(has_left(ours.as_fd()));
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

    #[test]
    fn the_fd_limit_rises_for_us_and_not_for_children() {
        let soft = "echo $(ulimit -Sn)";
        let before = output(spawn(&program(&["/bin/sh", "-c", soft])).unwrap());
        let raised = raise_fd_limit().unwrap();
        let hard = output(spawn(&program(&["/bin/sh", "-c", "echo $(ulimit -Hn)"])).unwrap());
        assert_eq!(hard.trim(), raised.to_string());
        assert_eq!(output(spawn(&program(&["/bin/sh", "-c", soft])).unwrap()), before);
    }
}
