//! Child processes that do not outlive the measurement.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// From asking a process to stop to ending it.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two looks at a process that should end.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Which CPU a process may use; any if `None`.
pub(crate) type Cpu = Option<u8>;

/// A command for `program`, held to `cpu` by taskset(1), which becomes the program and keeps its pid.
pub(crate) fn command(program: &Path, cpu: Cpu) -> Command {
    match cpu {
        Some(cpu) => {
            let mut command = Command::new("taskset");
            command.arg("-c").arg(cpu.to_string()).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// Lets this process and its children have as many open files as the system allows them.
pub(crate) fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised, whoever needs more says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// A program on the search path, or where system daemons are installed.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into(), "/usr/local/bin".into()])
        .map(|dir| dir.join(name))
        .find(|program| program.is_file())
}

/// A running child; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
    /// How to ask for its end, where ending it at once would leave its own children behind.
    stop: Option<Command>,
}

impl Process {
    /// Starts `command` with its output in the file `log`.
    pub(crate) fn start(mut command: Command, log: PathBuf, stop: Option<Command>) -> io::Result<Self> {
        let out = File::create(&log)?;
        let err = out.try_clone()?;
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().map_err(|error| {
            let program = command.get_program().to_string_lossy().into_owned();
            io::Error::new(error.kind(), format!("{program}: {error}"))
        })?;
        Ok(Self { child, log, stop })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The last lines it wrote.
    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        if let Some(stop) = &mut self.stop {
            // If asking fails, ending it below is all that is left.
            let _ = stop.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
            let deadline = Instant::now() + STOP_TIMEOUT;
            while Instant::now() < deadline {
                if self.ended().is_some() {
                    return;
                }
                thread::sleep(LOOK_EVERY);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `command` to its end and returns what it wrote to stdout (at most a pipe full).
///
/// # Errors
/// It cannot be started or takes longer than `limit`.
///
/// # Cancel safety
/// Dropping the future ends the process.
pub(crate) async fn output(mut command: Command, limit: Duration) -> io::Result<String> {
    struct Guard(Child);
    impl Drop for Guard {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    let mut guard = Guard(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?);
    let deadline = Instant::now() + limit;
    while guard.0.try_wait()?.is_none() {
        if Instant::now() >= deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no end after {limit:?}")));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let mut text = String::new();
    if let Some(mut stdout) = guard.0.stdout.take() {
        io::Read::read_to_string(&mut stdout, &mut text)?;
    }
    Ok(text)
}

/// First line that `program argument` prints, wherever it prints it.
pub(crate) fn version_line(program: &Path, argument: &str) -> String {
    let Ok(output) = Command::new(program).arg(argument).stdin(Stdio::null()).output() else {
        return "version unknown".into();
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().next().filter(|line| !line.is_empty()).unwrap_or("version unknown").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_process_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let mut sleeper = Command::new("sleep");
        sleeper.arg("60");
        let process = Process::start(sleeper, dir.path().join("log"), None).unwrap();
        let place = format!("/proc/{}/stat", process.pid());
        assert!(Path::new(&place).exists());
        drop(process);
        assert!(!Path::new(&place).exists());
    }

    #[tokio::test]
    async fn a_command_that_does_not_end_is_ended() {
        let mut sleeper = Command::new("sleep");
        sleeper.arg("60");
        let error = output(sleeper, Duration::from_millis(30)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
