//! The port remap: programs that no library reaches, two copies of each.

use std::ffi::OsString;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;
use std::{env, fs, thread};

use serde_json::Value;
use warmfront::sys;
use warmfront::worker::program::{Linkage, reach};
use warmfront::worker::remap::{self, Remapped};

use super::{Client, GUARD, PORT, end_group, sample};

struct Copy {
    child: Child,
    remapped: Receiver<Remapped>,
}

impl Drop for Copy {
    fn drop(&mut self) {
        end_group(self.child.id());
        let _ = self.child.wait();
    }
}

fn start(words: &[&str]) -> Copy {
    let program = sys::Program {
        path: words[0].into(),
        argv: words.iter().map(OsString::from).collect(),
        env: env::vars_os().collect(),
        cwd: None,
        inherits: None,
    };
    let (sender, remapped) = channel();
    let report = move |bound| _ = sender.send(bound);
    let child = loop {
        match remap::start(&program, vec![PORT], report.clone()) {
            // Another test that forks right now holds the fresh program open for writing for a moment.
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => thread::yield_now(),
            other => break other.expect("the program starts"),
        }
    };
    Copy { child, remapped }
}

/// Connects as soon as the program listens.
fn connect(at: SocketAddr) -> TcpStream {
    let deadline = Instant::now() + GUARD;
    loop {
        match TcpStream::connect(at) {
            Ok(stream) => return stream,
            Err(error) => assert!(Instant::now() < deadline, "{at}: {error}"),
        }
        thread::yield_now();
    }
}

fn side_by_side(words: &[&str]) {
    let copies = [start(words), start(words)];
    let bound = copies.each_ref().map(|copy| copy.remapped.recv_timeout(GUARD).expect("a report"));
    let mut pids = Vec::new();
    for remapped in bound {
        assert_eq!(remapped.asked, PORT);
        let at = SocketAddr::new(remapped.bound.ip().to_canonical(), remapped.bound.port());
        assert!(at.ip().is_loopback() && at.port() != PORT, "{at}");
        let said: Value = serde_json::from_slice(&Client::new(connect(at)).ask(true).0).expect("JSON");
        pids.push(said["pid"].as_u64().expect("a pid"));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut client = Client::new(connect(at));
                    (0..125).for_each(|_| assert!(client.ask(false).1, "kept alive"));
                });
            }
        });
        (0..80).for_each(|_| _ = Client::new(connect(at)).ask(true));
    }
    assert_ne!(bound[0].bound.port(), bound[1].bound.port());
    let children = copies.each_ref().map(|copy| u64::from(copy.child.id()));
    assert_eq!(pids, children, "each port leads to its own copy");
}

#[test]
fn the_system_under_test_can_remap() {
    remap::is_possible().unwrap();
}

#[test]
fn go_runs_twice_on_one_port_with_a_loader_or_without() {
    for cgo in ["0", "1"] {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        let mut go = Command::new("go");
        go.env("CGO_ENABLED", cgo).args(["build", "-buildvcs=false", "-o"]).arg(&program).arg("server.go");
        assert!(go.current_dir(sample("")).status().unwrap().success());
        let judged = reach(&[program.clone().into_os_string()], None, None);
        assert_eq!((judged.linkage, &judged.program), (Linkage::Go, &program), "CGO_ENABLED={cgo}");
        side_by_side(&[program.to_str().unwrap()]);
    }
}

#[test]
fn node_runs_twice_on_one_port_without_the_shim() {
    let node = warmfront::worker::diagnose::exec::find_program(
        "node".as_ref(),
        None,
        env::var_os("PATH").as_deref(),
    );
    side_by_side(&[node.unwrap().to_str().unwrap(), &sample("http.js")]);
}

#[test]
fn what_binds_something_else_is_let_through() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("bind");
    let text = "#!/usr/bin/env python3
import os, socket, tempfile
chosen = socket.create_server(('127.0.0.1', 0))
assert chosen.getsockname()[0] == '127.0.0.1'
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(('127.0.0.2', 9000))
assert datagrams.getsockname() == ('127.0.0.2', 9000)
with tempfile.TemporaryDirectory() as directory:
    socket.socket(socket.AF_UNIX).bind(os.path.join(directory, 's'))
try:
    socket.socket().bind(('192.0.2.1', 1))
    raise AssertionError('an address that is not here')
except OSError as error:
    assert error.errno == 99, error
alone = socket.socket(socket.AF_INET6)
alone.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
alone.bind(('::', 9000))
assert alone.getsockname()[0] == '::1' and alone.getsockname()[1] != 9000
";
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut copy = start(&[script.to_str().unwrap()]);
    let status = copy.child.wait().unwrap();
    assert!(status.success(), "{status}");
    let bound: Vec<_> = copy.remapped.iter().collect();
    assert_eq!(bound.len(), 1, "only what asked for the port: {bound:?}");
    assert_eq!(bound[0].bound.ip().to_string(), "::1");
}
