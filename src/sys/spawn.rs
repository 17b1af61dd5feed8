//! From a program and its words to a running process.
#![allow(unsafe_code)]

use std::ffi::{CString, OsString, c_char};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::ptr;
use std::sync::Arc;

use super::{ORIGINAL_FD_LIMIT, c_string, check, notify, set_fd_limit};

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
    /// What stays open in it beside the standard streams.
    pub inherits: Option<Inherited>,
}

/// A descriptor that a program starts with.
#[derive(Clone, Debug)]
pub struct Inherited {
    /// It, from [`reserve`].
    pub fd: Arc<OwnedFd>,
    /// Its number there: that of `fd`, or one that `fd` was reserved beside.
    pub number: RawFd,
}

/// A copy of `fd` with the first free number from `lowest` on, which no program inherits by itself.
///
/// While it lives, `lowest` is taken here, so that nothing that a start makes for itself can be in its place.
///
/// # Errors
/// No number is free.
pub fn reserve(fd: BorrowedFd<'_>, lowest: RawFd) -> io::Result<OwnedFd> {
    // WHY: std copies to whichever number is free.
    // SAFETY: `fd` is open; the call makes a new descriptor and touches no memory.
    let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest) };
    check(copy)?;
    // WHY: an owner closes it.
    // SAFETY: the kernel has just made it for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Its own process id is written over the value of this variable, if it is among those of a program.
const LISTEN_PID: &str = "LISTEN_PID";

/// Starts `program` in its own process group, stdin empty, stdout and stderr piped.
///
/// The child dies by SIGKILL when the *thread* that called this ends (that is how
/// Linux counts parents here), so call it from a thread that lives as long as the
/// workers shall. The file-descriptor limit is the one from before [`super::raise_fd_limit`].
///
/// The child must be reaped with [`super::reap_all`] on the same thread, or waited for.
///
/// # Errors
/// What the kernel answered to fork, chdir or execve; a NUL byte in a string is
/// `InvalidInput`. No shell takes over when the kernel does not know the format
/// (glibc's `execvp` would do that, musl's would not).
pub fn spawn(program: &Program) -> io::Result<Child> {
    spawn_as_child_of(program, std::process::id(), None)
}

/// The same, but the program and its children ask before every bind(2): by the descriptor that comes with the
/// child (see [`notify`]). While nobody answers, they wait.
///
/// # Errors
/// As [`spawn`]; also what seccomp(2) says, see [`notify::probe`].
pub fn spawn_asking(program: &Program) -> io::Result<(Child, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut child = spawn_as_child_of(program, std::process::id(), Some(theirs))?;
    // It sent the descriptor before it became the program, which it is now.
    match notify::receive(&ours) {
        Ok(asks) => Ok((child, asks)),
        Err(error) => {
            child.kill()?;
            child.wait()?;
            Err(error)
        }
    }
}

fn spawn_as_child_of(program: &Program, parent: u32, asking: Option<UnixStream>) -> io::Result<Child> {
    let mut image = Image::new(program)?;
    let inherits = program.inherits.clone();
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
            if let Some(Inherited { fd, number }) = &inherits {
                leave_open(fd.as_fd(), *number)?;
            }
            if let Some(socket) = &asking {
                notify::install_and_send(socket)?;
            }
            image.write_pid();
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

/// Lets `fd` survive exec as `number`.
fn leave_open(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    let own = fd.as_raw_fd();
    // WHY: std closes everything but the standard streams at exec.
    // SAFETY: both calls take numbers and touch no memory; `number` is nobody's here but what was reserved.
    check(unsafe { if own == number { libc::fcntl(own, libc::F_SETFD, 0) } else { libc::dup2(own, number) } })
}

/// Digits of the highest pid, and to spare.
const PID_DIGITS: usize = 10;

/// The three arguments of execve, made before the fork because nothing may allocate after it.
struct Image {
    path: CString,
    argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    /// `LISTEN_PID=`, room for the number, and where in `env` it goes.
    pid: Option<(Vec<u8>, usize)>,
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
        let pid = program.env.iter().position(|(name, _)| name == LISTEN_PID).map(|at| {
            let room = format!("{LISTEN_PID}={}", "\0".repeat(PID_DIGITS + 1));
            (room.into_bytes(), at)
        });
        Ok(Self {
            path: c_string(program.path.as_os_str())?,
            argv: argv.iter().map(|word| word.as_ptr()).chain(end.clone()).collect(),
            env: env.iter().map(|pair| pair.as_ptr()).chain(end).collect(),
            pid,
            _strings: argv.into_iter().chain(env).collect(),
        })
    }

    /// Says who is meant, as sd_listen_fds(3) wants it: known only behind the fork.
    fn write_pid(&mut self) {
        let Some((text, at)) = &mut self.pid else { return };
        // Nothing may allocate here, so the digits are made by hand, the last first.
        let (mut pid, mut digits, mut count) = (std::process::id(), [0_u8; PID_DIGITS], 0);
        while pid > 0 && count < PID_DIGITS {
            digits[PID_DIGITS - 1 - count] = b'0' + (pid % 10) as u8;
            pid /= 10;
            count += 1;
        }
        let begin = LISTEN_PID.len() + 1;
        text[begin..begin + count].copy_from_slice(&digits[PID_DIGITS - count..]);
        self.env[*at] = text.as_ptr().cast();
    }

    /// Becomes the program; returns only if the kernel refused.
    fn exec(&self) -> io::Error {
        // WHY: std's own exec asks a shell to run what the kernel refuses; we want the refusal.
        // SAFETY: `path` ends in NUL; both lists end in a null pointer and their strings live in `self`.
        unsafe { libc::execve(self.path.as_ptr(), self.argv.as_ptr(), self.env.as_ptr()) };
        io::Error::last_os_error()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::ExitStatusExt as _;

    use super::super::{ENOEXEC, KILL, raise_fd_limit};
    use super::*;

    pub(in crate::sys) fn program(words: &[&str]) -> Program {
        Program {
            path: PathBuf::from(words[0]),
            argv: words.iter().map(OsString::from).collect(),
            env: vec![("GREETING".into(), "a=b".into())],
            cwd: Some(PathBuf::from("/")),
            inherits: None,
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
        let error = spawn_as_child_of(&program(&["/bin/true"]), 1, None).unwrap_err();
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
    fn a_child_inherits_the_one_descriptor_that_it_was_given_and_hears_its_own_pid() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        for number in [3, 57] {
            let fd = Arc::new(reserve(theirs.as_fd(), number).unwrap());
            let script = format!("echo $$ >&{number}; echo $LISTEN_PID $(ls /proc/self/fd | tr '\\n' ' ')");
            let mut program = program(&["/bin/bash", "-c", &script]);
            program.env.push(("LISTEN_PID".into(), "".into()));
            program.inherits = Some(Inherited { fd, number });
            let text = output(spawn(&program).unwrap());
            let mut said = [0; 32];
            let count = (&ours).read(&mut said).unwrap();
            let pid = std::str::from_utf8(&said[..count]).unwrap().trim();
            let words: Vec<_> = text.split_whitespace().collect();
            assert_eq!(words[0], pid);
            assert!(words[1..].contains(&number.to_string().as_str()), "{text}");
        }
        let text = output(spawn(&program(&["/bin/ls", "-l", "/proc/self/fd"])).unwrap());
        assert!(!text.contains("socket:"), "what nobody gave it: {text}");
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
