//! The built binary as a process: what it is told, what it says, how it ends.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Client, GUARD, eventually};

/// How a sidecar is to be started.
pub(crate) struct Setup {
    command: Command,
    worker: Vec<String>,
    dir: TempDir,
    port: String,
    stdout: Stdio,
    /// What the sidecar says once it can serve.
    sign: &'static str,
}

/// A running sidecar; killed on drop.
pub(crate) struct Sidecar {
    pub(crate) port: u16,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
    child: Child,
    dir: TempDir,
}

/// The engine that all sidecars of this run are to use, if not the default: `./test` runs everything with each.
pub(crate) fn engine() -> Option<String> {
    std::env::var("WARMFRONT_TEST_ENGINE").ok()
}

/// Has a command whose sidecars inherit our environment use that engine.
pub(crate) fn with_engine(command: &mut Command) -> &mut Command {
    // To them it would be a key that nobody knows.
    command.env_remove("WARMFRONT_TEST_ENGINE");
    match engine() {
        Some(engine) => command.env("WARMFRONT_ENGINE", engine),
        None => command,
    }
}

impl Setup {
    /// A sidecar on a port that the system chooses, in an empty directory, with
    /// nothing but `PATH` in its environment.
    pub(crate) fn new() -> Self {
        Self::wrapped(&[])
    }

    /// Started by other programs, each of which runs the words behind it.
    pub(crate) fn wrapped(by: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut words = by.iter().copied().chain([env!("CARGO_BIN_EXE_warmfront"), "run"]);
        let mut command = Command::new(words.next().expect("at least ours"));
        command
            .args(words)
            .current_dir(dir.path())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("TMPDIR", dir.path())
            .env("WARMFRONT_LISTEN_ADDRESS", "127.0.0.1");
        if let Some(engine) = engine() {
            command.env("WARMFRONT_ENGINE", engine);
        }
        let (port, stdout) = ("0".to_owned(), Stdio::piped());
        Self { command, worker: Vec::new(), dir, port, stdout, sign: "listens on" }
    }

    /// In front of workers at these sockets.
    pub(crate) fn forward(sockets: &[&Path]) -> Self {
        let mut setup = Self::new();
        for path in sockets {
            setup.command.arg("--socket").arg(path);
        }
        setup.sign = "warm after";
        setup
    }

    /// In front of worker processes that it starts itself.
    pub(crate) fn run<S: AsRef<OsStr>>(command: impl IntoIterator<Item = S>) -> Self {
        Self::new().worker(command)
    }

    /// In front of worker processes of this command.
    pub(crate) fn worker<S: AsRef<OsStr>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        let words = command.into_iter();
        self.worker = words.map(|word| word.as_ref().to_str().expect("UTF-8").to_owned()).collect();
        self.sign = "warm after";
        self
    }

    /// On this port.
    pub(crate) fn port(mut self, port: u16) -> Self {
        self.port = port.to_string();
        self
    }

    /// With its stdout elsewhere: [`Sidecar::stdout`] then hears nothing.
    pub(crate) fn stdout(mut self, to: impl Into<Stdio>) -> Self {
        self.stdout = to.into();
        self
    }

    /// With one more flag.
    pub(crate) fn flag(mut self, name: &str, value: &str) -> Self {
        self.command.args([name, value]);
        self
    }

    /// With a key set through its variable.
    pub(crate) fn set(mut self, key: &str, value: &str) -> Self {
        let name = format!("WARMFRONT_{}", key.to_ascii_uppercase().replace('.', "_"));
        self.command.env(name, value);
        self
    }

    /// With a variable that it does not know itself: its workers inherit it.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// With a file in its directory.
    pub(crate) fn file(self, name: &str, content: &str) -> Self {
        fs::write(self.dir.path().join(name), content).expect("written");
        self
    }

    /// The directory in which it runs and keeps its sockets.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts it and waits until it serves from a warm worker.
    pub(crate) fn start(self) -> Sidecar {
        let sign = self.sign;
        let sidecar = self.start_cold();
        sidecar.stderr.wait_for(sign);
        sidecar
    }

    /// Starts it in front of workers that its flags name, and waits until one is warm.
    pub(crate) fn start_ready(self) -> Sidecar {
        Self { sign: "warm after", ..self }.start()
    }

    /// Starts it and waits only until its port accepts.
    pub(crate) fn start_cold(self) -> Sidecar {
        let mut sidecar = self.launch();
        let line = sidecar.stderr.wait_for("listens on 127.0.0.1:");
        let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(';').next());
        sidecar.port =
            port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("no port in {line:?}"));
        sidecar
    }

    /// Starts it and waits for nothing.
    pub(crate) fn launch(mut self) -> Sidecar {
        self.command.args(["--port", &self.port]);
        if !self.worker.is_empty() {
            self.command.arg("--").args(&self.worker);
        }
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(self.stdout)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdout = match child.stdout.take() {
            Some(pipe) => Lines::read(pipe),
            None => Lines::read(std::io::empty()),
        };
        let stderr = Lines::read(child.stderr.take().expect("piped"));
        Sidecar { port: 0, stdout, stderr, child, dir: self.dir }
    }
}

impl Sidecar {
    /// A new connection to its port.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.port)
    }

    /// Returns when everything that was sent to the port before was read: a data-plane
    /// thread takes what came first first, so an answer to something later tells. With
    /// several threads nobody knows which one answers; so many of them miss none.
    pub(crate) fn fence(&self, threads: usize) {
        let fences = if threads == 1 { 1 } else { 10 };
        for _ in 0..fences {
            assert_eq!(self.client().ask("no request\r\n\r\n").status(), 400);
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Sends a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for its end: the exit code, or 128 + the signal that killed it.
    pub(crate) fn wait_exit(&mut self) -> i32 {
        let status = eventually("the exit", || self.child.try_wait().expect("our child"));
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
    }

    /// Descriptors it holds.
    pub(crate) fn fds(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("alive").count()
    }

    /// Resident memory in bytes.
    pub(crate) fn rss(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("alive");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number");
        kib << 10
    }

    /// Processor time it has used, in clock ticks.
    pub(crate) fn cpu(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("alive");
        let fields = stat.rsplit_once(')').expect("a name").1.split_whitespace();
        fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
    }

    /// Its child processes: pid and state letter.
    pub(crate) fn children(&self) -> Vec<(u32, char)> {
        let parent = self.pid();
        processes().into_iter().filter(|it| it.parent == parent).map(|it| (it.pid, it.state)).collect()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- stderr of the sidecar ---\n{}", self.stderr.all().join("\n"));
        }
    }
}

/// A process as the kernel shows it.
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) group: u32,
    pub(crate) state: char,
}

/// Every process of this machine.
pub(crate) fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold spaces; the last parenthesis ends it.
        let mut rest = stat.rsplit_once(')')?.1.split_whitespace();
        let state = rest.next()?.chars().next()?;
        Some(Process { pid, state, parent: rest.next()?.parse().ok()?, group: rest.next()?.parse().ok()? })
    })
    .collect()
}

/// Sends a signal by name.
pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
    assert!(status.expect("kill runs").success(), "kill -{name} {pid}");
}

/// Everything a pipe said, line by line.
#[derive(Clone)]
pub(crate) struct Lines(Arc<(Mutex<Said>, Condvar)>);

#[derive(Default)]
struct Said {
    lines: Vec<String>,
    closed: bool,
}

impl Lines {
    pub(crate) fn read(pipe: impl Read + Send + 'static) -> Self {
        let shared = Arc::<(Mutex<Said>, Condvar)>::default();
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            let (said, news) = &*theirs;
            for line in BufReader::new(pipe).lines() {
                let Ok(line) = line else { break };
                said.lock().expect("not poisoned").lines.push(line);
                news.notify_all();
            }
            said.lock().expect("not poisoned").closed = true;
            news.notify_all();
        });
        Self(shared)
    }

    /// All lines so far.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.0.lock().expect("not poisoned").lines.clone()
    }

    /// The first line that contains `part`, when it is there.
    pub(crate) fn wait_for(&self, part: &str) -> String {
        self.wait_for_count(part, 1).remove(0)
    }

    /// The lines that contain `part`, when there are `count`.
    pub(crate) fn wait_for_count(&self, part: &str, count: usize) -> Vec<String> {
        self.wait_longer_for_count(part, count, GUARD)
    }

    /// The same of whoever may take its time.
    pub(crate) fn wait_longer_for_count(&self, part: &str, count: usize, patience: Duration) -> Vec<String> {
        let (said, news) = &*self.0;
        let deadline = Instant::now() + patience;
        let mut said = said.lock().expect("not poisoned");
        loop {
            let found: Vec<String> = said.lines.iter().filter(|line| line.contains(part)).cloned().collect();
            if found.len() >= count {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if said.closed || left.is_zero() {
                let why = if said.closed { "the pipe closed" } else { "time is up" };
                let lines = said.lines.join("\n");
                // A panic must not poison what Drop wants to print.
                drop(said);
                panic!("{part:?} was not said {count} times, {why}:\n{lines}");
            }
            said = news.wait_timeout(said, left).expect("not poisoned").0;
        }
    }

    /// All lines, once the pipe is closed.
    pub(crate) fn until_closed(&self) -> Vec<String> {
        eventually("the end of a pipe", || self.0.0.lock().expect("not poisoned").closed.then_some(()));
        self.all()
    }
}
