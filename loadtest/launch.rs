//! A program under observation: when it was there, when it first wrote, what it wrote last, how it ended.
//!
//! Unlike `process.rs`, whose processes only have to run, this one notes the moments
//! of a start, and its whole process group goes when it is dropped.

use std::ffi::{OsStr, OsString};
use std::io::{self, PipeReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::fork::{Moment, Stamp};

/// What is kept of a program's output.
const TAIL_BYTES: usize = 4 << 10;
/// How long the last lines of a program that has ended may take to arrive; others of its group may hold the pipe.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a program may take to end once asked to, before it is ended.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two looks at a process that should end.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// The program and its arguments.
    pub(crate) words: Vec<OsString>,
    /// Added to the environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// Whether it must be asked to end, because processes of its own would stay behind otherwise.
    pub(crate) is_asked_to_end: bool,
}

impl Program {
    /// As one would type it.
    pub(crate) fn line(&self) -> String {
        self.words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }
}

/// A running program; dropping it ends it and its process group.
#[derive(Debug)]
pub(crate) struct Launched {
    child: Child,
    output: Arc<Mutex<Output>>,
    is_asked_to_end: bool,
    /// When the new process existed.
    pub(crate) forked: Moment,
    /// When the kernel had made it the program.
    pub(crate) executed: Moment,
}

/// What came out of a program.
#[derive(Debug, Default)]
struct Output {
    first: Option<Moment>,
    tail: Vec<u8>,
    /// Nobody can write any more.
    is_over: bool,
}

impl Launched {
    /// Starts `program` in a process group of its own, stdin empty.
    ///
    /// # Errors
    /// It cannot be executed; the message names it.
    pub(crate) fn start(program: &Program) -> io::Result<Self> {
        let name = program.words.first().map_or(OsStr::new(""), OsString::as_os_str);
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", name.to_string_lossy()));
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new(name);
        command.args(program.words.iter().skip(1)).envs(program.environment.iter().map(|(k, v)| (k, v)));
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
        let stamp = Stamp::arm(&mut command)?;
        let child = command.spawn().map_err(named)?;
        let executed = Moment::now();
        let forked = stamp.read(command)?;
        let output = Arc::new(Mutex::new(Output::default()));
        let into = Arc::clone(&output);
        thread::Builder::new().name("output".into()).spawn(move || drain(reader, &into))?;
        Ok(Self { child, output, is_asked_to_end: program.is_asked_to_end, forked, executed })
    }

    /// Its process id, which is its process group's too.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// When it first wrote something.
    pub(crate) fn first_output(&self) -> Option<Moment> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).first
    }

    /// How it ended and what it said last, if it did end.
    pub(crate) fn failure(&mut self) -> Option<String> {
        let status = self.ended()?;
        let deadline = Instant::now() + LAST_WORDS_TIMEOUT;
        while !self.output.lock().unwrap_or_else(PoisonError::into_inner).is_over && Instant::now() < deadline
        {
            thread::sleep(LOOK_EVERY);
        }
        Some(format!("ended with {status}: {}", self.last_words()))
    }

    /// The last lines it wrote.
    pub(crate) fn last_words(&self) -> String {
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&output.tail).into_owned();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(3)..].join(" | ")
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        // A group that is gone needs no signal.
        let _ = pid.map(|pid| kill_process_group(pid, signal));
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        if self.is_asked_to_end && self.ended().is_none() {
            self.signal(Signal::TERM);
            let deadline = Instant::now() + STOP_TIMEOUT;
            while self.ended().is_none() && Instant::now() < deadline {
                thread::sleep(LOOK_EVERY);
            }
        }
        // Also when the leader has ended: others of its group may run on.
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Ends with the last process that could write.
fn drain(mut reader: PipeReader, into: &Mutex<Output>) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = reader.read(&mut buffer) {
        let now = Moment::now();
        let mut output = into.lock().unwrap_or_else(PoisonError::into_inner);
        output.first.get_or_insert(now);
        output.tail.extend_from_slice(&buffer[..count]);
        let excess = output.tail.len().saturating_sub(TAIL_BYTES);
        output.tail.drain(..excess);
    }
    into.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        let words = ["sh", "-c", script].map(OsString::from).into();
        Program { words, environment: vec![("WORD".into(), "hello".into())], is_asked_to_end: false }
    }

    fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < deadline, "nothing happened");
            thread::yield_now();
        }
    }

    #[test]
    fn a_start_has_its_moments_in_order() {
        let before = Moment::now();
        let mut launched = Launched::start(&shell("echo $WORD; exit 3")).unwrap();
        let failure = until(|| launched.failure());
        let first = launched.first_output().unwrap();
        assert!(before < launched.forked && launched.forked < launched.executed && launched.executed < first);
        assert_eq!(failure, "ended with exit status: 3: hello");
    }

    #[test]
    fn what_cannot_be_executed_is_named() {
        let program = Program { words: vec!["/nowhere/app".into()], ..shell("") };
        let error = Launched::start(&program).unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/app: No such file"), "{error}");
    }

    #[test]
    fn a_dropped_program_takes_its_group_with_it() {
        let launched = Launched::start(&shell("sleep 60 & echo $!; wait")).unwrap();
        let pid: u32 = until(|| launched.last_words().parse().ok());
        drop(launched);
        // It is init's child now, so a zombie at most, and gone soon.
        until(|| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            (stat.is_empty() || stat.contains(") Z ")).then_some(())
        });
    }
}
