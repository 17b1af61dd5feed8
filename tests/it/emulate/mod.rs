//! `warmfront emulate`: the platform around a command, tested from both of its sides.
//!
//! The functions are small Node servers, as plain as the platform's own samples, and the product itself. Every
//! emulation checks at its end that nothing of its instances is left.

mod end;
mod freeze;
mod gateway;
mod loss;
mod once;
mod product;
mod start;
mod streams;

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::TempDir;

use crate::support::sidecar::{Lines, processes, signal};
use crate::support::{Client, Response, eventually};

/// Where the events of FC 3 go.
const INVOKE: &str = "/2023-03-30/functions/function/invocations";

/// What stands in front of every Node function: a server that answers by its table of paths.
const SERVER: &str = "\
const http = require('http');
const port = +process.env.FC_SERVER_PORT;
const text = (q) => new Promise((done) => { let b = ''; q.on('data', (d) => b += d); q.on('end', () => done(b)); });
const serve = (answer, host) => {
  const server = http.createServer(answer);
  server.keepAliveTimeout = 0;
  server.listen(port, host || '0.0.0.0', () => console.log('listening'));
  return server;
};
";

/// How a function is to be emulated.
struct Plan {
    flags: Vec<String>,
    command: Vec<String>,
    stdin: Vec<u8>,
    dir: TempDir,
    port: u16,
}

/// A running emulator. Ended, with all that belongs to it, on drop.
struct Emulation {
    child: Child,
    /// Where its gateway listens.
    gateway: u16,
    /// Where its instance listens.
    port: u16,
    log: Lines,
    stderr: Lines,
    mark: String,
    _dir: TempDir,
}

/// A port that nobody is given by chance: below those that the system hands out.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 12_000 + (std::process::id() % 200) as u16 * 100;
    eventually("a free port", || {
        let port = base + NEXT.fetch_add(1, Ordering::Relaxed) % 100;
        TcpListener::bind(("0.0.0.0", port)).ok().map(|_| port)
    })
}

impl Plan {
    /// Of this command.
    fn new(command: &[&str]) -> Self {
        Self {
            flags: Vec::new(),
            command: command.iter().map(ToString::to_string).collect(),
            stdin: Vec::new(),
            dir: tempfile::tempdir().expect("a directory"),
            port: free_port(),
        }
    }

    /// Of a Node server: `body` is its program behind [`SERVER`].
    fn node(body: &str) -> Self {
        Self::new(&["node", "server.js"]).file("server.js", &format!("{SERVER}{body}"))
    }

    /// With a file in its directory, which is that of the code.
    fn file(self, name: &str, content: &str) -> Self {
        fs::write(self.dir.path().join(name), content).expect("written");
        self
    }

    /// With a file that may be executed.
    fn executable(self, name: &str, content: &str) -> Self {
        let plan = self.file(name, content);
        let path = plan.dir.path().join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("ours");
        plan
    }

    fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(ToString::to_string));
        self
    }

    fn stdin(mut self, bytes: &[u8]) -> Self {
        self.stdin = bytes.to_vec();
        self
    }

    /// Starts the emulator and waits for nothing.
    fn launch(self) -> Emulation {
        let mark = format!("EMULATION={}-{}", std::process::id(), self.port);
        let mut child = Command::new(env!("CARGO_BIN_EXE_warmfront"))
            .args(["emulate", "--port", &self.port.to_string(), "--listen", "127.0.0.1:0", "--env", &mark])
            .args(&self.flags)
            .arg("--")
            .args(&self.command)
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("SECRET_OF_THE_LAPTOP", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut stdin = child.stdin.take().expect("piped");
        // Who wants no event reads none.
        let _ = stdin.write_all(&self.stdin);
        drop(stdin);
        let log = Lines::read(child.stdout.take().expect("piped"));
        let stderr = Lines::read(child.stderr.take().expect("piped"));
        Emulation { child, gateway: 0, port: self.port, log, stderr, mark, _dir: self.dir }
    }

    /// Starts the emulator and waits for its gateway.
    fn open(self) -> Emulation {
        let mut emulation = self.launch();
        let line = emulation.log.wait_for("the gateway listens on http://127.0.0.1:");
        let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(';').next());
        emulation.gateway = port.and_then(|port| port.parse().ok()).expect("a port");
        emulation
    }

    /// Starts the emulator and waits for its first instance.
    fn start(self) -> Emulation {
        let emulation = self.open();
        emulation.log.wait_for("emulate: ready");
        emulation
    }
}

impl Emulation {
    fn client(&self) -> Client {
        Client::connect(self.gateway)
    }

    /// One request on a connection of its own.
    fn ask(&self, request: impl AsRef<[u8]>) -> Response {
        self.client().ask(request)
    }

    fn get(&self, target: &str) -> Response {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n"))
    }

    fn post(&self, target: &str, body: &str) -> Response {
        self.ask(post(target, body))
    }

    /// The ids of the instances there were, oldest first.
    fn instances(&self) -> Vec<String> {
        let lines = self.log.all();
        let made = lines.iter().filter_map(|line| line.split("fc:Instance:Creating ").nth(1));
        made.map(str::to_owned).collect()
    }

    /// The processes of its instances, with the state of each.
    fn processes(&self) -> Vec<(u32, char)> {
        let is_ours = |pid: u32| {
            let env = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            env.split(|&byte| byte == 0).any(|pair| pair == self.mark.as_bytes())
        };
        let found = processes().into_iter().filter(|it| it.state != 'Z' && is_ours(it.pid));
        found.map(|it| (it.pid, it.state)).collect()
    }

    fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for its end: the exit code, or 128 + the signal that killed it.
    fn wait_exit(&mut self) -> i32 {
        let status = eventually("the exit", || self.child.try_wait().expect("our child"));
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
    }
}

impl Drop for Emulation {
    fn drop(&mut self) {
        for _ in 0..2 {
            if matches!(self.child.try_wait(), Ok(None)) {
                self.signal("TERM");
            }
        }
        let began = std::time::Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if began.elapsed() > crate::support::GUARD {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            std::thread::yield_now();
        }
        let left = self.processes();
        for (pid, _) in &left {
            signal(*pid, "KILL");
        }
        if std::thread::panicking() {
            eprintln!("--- log ---\n{}", self.log.all().join("\n"));
            eprintln!("--- stderr ---\n{}", self.stderr.all().join("\n"));
        } else {
            assert!(left.is_empty(), "left behind: {left:?}");
        }
    }
}

/// A POST with a length.
fn post(target: &str, body: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The id that an answer carries.
fn id_of(answer: &Response) -> &str {
    answer.field("X-Fc-Request-Id").expect("every answer has one")
}

/// The start of an error of the platform's, with its code.
fn platform_error(answer: &Response, code: &str, message: &str) -> String {
    let id = id_of(answer);
    format!("{{\"RequestId\":\"{id}\",\"Code\":\"{code}\",\"Message\":\"{message}\"}}")
}
