//! Programs that bind a fixed port, unchanged and side by side: what `docs/shim.md` promises.
//!
//! Real programs and real sockets, without the sidecar. Every program binds port 9000, or the one it is told.
#![cfg(all(warmfront_shim, target_os = "linux"))]

mod library;
mod programs;
mod remapped;
mod words;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};
use tempfile::TempDir;
use warmfront::worker::shim::{self, Shim};

/// A JVM on a busy machine takes its time.
const GUARD: Duration = Duration::from_secs(60);

/// The port that the samples bind.
const PORT: u16 = 9000;

fn sample(name: &str) -> String {
    format!("{}/tests/shim/apps/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A private directory with the library in it.
struct Room {
    dir: TempDir,
    shim: Shim,
}

impl Room {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let shim = shim::install(dir.path()).expect("a place for the library");
        Self { dir, shim }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A program whose descriptor 3 is a Unix socket bound to `name`, preloaded.
    fn command(&self, name: &str, port: u16, words: &[&str]) -> Command {
        let path = self.path(name);
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        socket.bind(&SockAddr::unix(&path).expect("a short path")).expect("a new name");
        // A shell moves the descriptor: what is inherited on purpose leaks into nobody else this way.
        let mut command = Command::new("sh");
        command.args(["-c", r#"exec 3<&0 0</dev/null; exec "$@""#, "sh"]).args(words);
        command.stdin(OwnedFd::from(socket)).process_group(0);
        command.envs(self.shim.environment(3, &[port], &path, None).expect("one port"));
        command
    }

    fn start(&self, name: &str, words: &[&str]) -> Copy {
        let child =
            self.command(name, PORT, words).stdout(Stdio::null()).spawn().expect("the program starts");
        Copy { child, path: self.path(name) }
    }
}

/// A running program; its whole group ends with it.
struct Copy {
    child: Child,
    path: PathBuf,
}

impl Drop for Copy {
    fn drop(&mut self) {
        end_group(self.child.id());
        let _ = self.child.wait();
    }
}

fn end_group(leader: u32) {
    let _ = Command::new("kill").args(["-KILL", "--", &format!("-{leader}")]).stderr(Stdio::null()).status();
}

impl Copy {
    /// Waits until the program listens: the kernel refuses before.
    fn wait(&mut self) {
        let deadline = Instant::now() + GUARD;
        while UnixStream::connect(&self.path).is_err() {
            assert!(self.child.try_wait().expect("our child").is_none(), "the program has ended");
            assert!(Instant::now() < deadline, "the program does not listen");
            thread::yield_now();
        }
    }

    /// What the program says of one connection.
    fn ask(&self) -> Value {
        serde_json::from_slice(&Client::new(connect(&self.path)).ask(true).0).expect("JSON")
    }

    /// 1,000 requests on 8 connections (more, if the program closes them), and 80 on connections of their own.
    fn load(&self) {
        let answered = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut client = Client::new(connect(&self.path));
                    for _ in 0..125 {
                        if !client.ask(false).1 {
                            client = Client::new(connect(&self.path));
                        }
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        for _ in 0..80 {
            Client::new(connect(&self.path)).ask(true);
            answered.fetch_add(1, Ordering::Relaxed);
        }
        assert_eq!(answered.into_inner(), 1080);
    }
}

fn connect(path: &Path) -> UnixStream {
    UnixStream::connect(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A client of HTTP/1.1 that knows lengths and ends.
struct Client<S: Read + Write>(BufReader<S>);

impl<S: Read + Write> Client<S> {
    fn new(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    /// The body of a 200, and whether the connection can be used again.
    fn ask(&mut self, is_last: bool) -> (Vec<u8>, bool) {
        let close = if is_last { "Connection: close\r\n" } else { "" };
        // In one piece: a simple server reads once.
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{close}\r\n");
        self.0.get_mut().write_all(request.as_bytes()).expect("the program reads");
        let (mut length, mut is_kept, mut line) = (None, !is_last, String::new());
        self.line(&mut line).expect("a status line");
        assert!(line.contains(" 200 "), "{line}");
        while self.line(&mut line).expect("a field") && !line.is_empty() {
            let field = line.to_ascii_lowercase();
            length = field
                .strip_prefix("content-length:")
                .map(|text| text.trim().parse().expect("a number"))
                .or(length);
            is_kept &= field != "connection: close";
        }
        let mut body = Vec::new();
        match length {
            Some(length) => {
                body.resize(length, 0);
                self.0.read_exact(&mut body).expect("the whole body");
            }
            None => {
                self.0.read_to_end(&mut body).expect("the whole body");
                is_kept = false;
            }
        }
        (body, is_kept)
    }

    fn line(&mut self, line: &mut String) -> io::Result<bool> {
        line.clear();
        let count = self.0.read_line(line)?;
        line.truncate(line.trim_end().len());
        Ok(count > 0)
    }
}

/// Whether a process of this group has a listening socket of TCP.
fn group_listens_on_tcp(leader: u32) -> bool {
    let listening: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .flat_map(|table| {
            fs::read_to_string(table)
                .expect("tables of sockets")
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .filter(|line| line.split_ascii_whitespace().nth(3) == Some("0A"))
        .filter_map(|line| Some(format!("socket:[{}]", line.split_ascii_whitespace().nth(9)?)))
        .collect();
    fs::read_dir("/proc").expect("/proc").flatten().any(|process| {
        let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        // Behind the name, which may hold anything: state, parent, group.
        let group = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(2));
        group == Some(&leader.to_string())
            && fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten().any(|fd| {
                let target = fs::read_link(fd.path()).unwrap_or_default();
                listening.iter().any(|socket| target == Path::new(socket))
            })
    })
}
