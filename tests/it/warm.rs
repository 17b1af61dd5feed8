//! `warmfront-bench warm` from end to end: scenarios, classes, the search, the ways in which it ends.
//!
//! Nothing here says how fast this machine is: servers are slow by their own clock, and counts are exact.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::sidecar::signal;
use crate::support::{GUARD, with_engine};

/// `warmfront-bench warm` with the words of `line`, and `warm.json` in `dir` as its report.
fn warm(dir: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warmfront-bench"));
    with_engine(&mut command).current_dir(dir).env("TMPDIR", dir);
    command.args(["warm", "--json", "warm.json"]).args(line.split_ascii_whitespace());
    command
}

fn report(dir: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join("warm.json")).expect("a report")).expect("JSON")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// `warmfront-bench serve`, ended on drop.
struct Serve {
    child: Child,
    socket: PathBuf,
    address: String,
}

impl Serve {
    fn start(dir: &Path) -> Self {
        let socket = dir.join("s");
        let address =
            TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_warmfront-bench"));
        let child = command.arg("serve").arg("--unix").arg(&socket).args(["--listen", &address]).spawn();
        let serve = Self { child: child.expect("it starts"), socket, address };
        let deadline = Instant::now() + GUARD;
        while TcpStream::connect(&serve.address).is_err() {
            assert!(Instant::now() < deadline, "serve does not listen");
            thread::yield_now();
        }
        serve
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server whose every answer is preceded by `before`; each connection has a thread of its own.
fn server(before: impl Fn() + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let before = Arc::new(before);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let before = Arc::clone(&before);
            thread::spawn(move || {
                let mut request = [0; 4096];
                while let Ok(1..) = stream.read(&mut request) {
                    before();
                    if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[test]
fn every_built_in_scenario_is_answered_in_full() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let serve = Serve::start(dir);
    let unix = format!("unix:{}", serve.socket.display());
    let count = |load: &Value, name: &str| load["latency"][name]["count"].as_u64().unwrap_or(0);
    for (scenario, requests, kinds) in [
        ("small-json", 40, vec![("read", 30), ("write", 10)]),
        ("large-download", 40, vec![("file", 36), ("large file", 4)]),
        ("upload", 40, vec![("with a length", 20), ("in chunks", 20)]),
        ("sse", 40, vec![("stream", 40), ("stream: event", 800)]),
        ("websocket-echo", 40, vec![("message", 40)]),
        ("burst-after-silence", 400, vec![("read", 400)]),
    ] {
        // One of the two families each, so that both are used.
        let target = if kinds.len() == 2 { &unix } else { &serve.address };
        let output = warm(dir, &format!("--target {target} --scenario {scenario} --rate 40 --seconds 1"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{scenario}: {}", said(&output));
        let load = &report(dir)["loads"][0];
        assert_eq!((&load["ok"], &load["failed"]), (&requests.into(), &0.into()), "{scenario}: {load}");
        for (kind, expected) in kinds {
            assert_eq!(count(load, kind), expected, "{scenario}: {kind}");
            assert_eq!(load["service"][kind]["count"], expected, "{scenario}: {kind}");
        }
        let slices = load["over_time"].as_array().unwrap();
        let in_slices: u64 = slices.iter().map(|slice| slice["count"].as_u64().unwrap()).sum();
        assert_eq!(
            (in_slices, &load["generator"]["late"]["count"]),
            (requests, &requests.into()),
            "{scenario}"
        );
        if scenario == "burst-after-silence" {
            let first = slices.iter().find(|slice| slice["count"] != 0).unwrap();
            assert_eq!(first["at_ms"].as_f64(), Some(6000.0), "silence came first");
        }
    }
}

#[test]
fn what_is_not_as_expected_fails_the_run_and_is_told_by_its_kind() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let serve = Serve::start(dir);
    let scenario = "name = \"wrong\"\n\
        [[request]]\nname = \"status\"\npath = \"/json\"\nstatus = 204\n\
        [[request]]\nname = \"length\"\npath = \"/download?bytes=9\"\nanswer_bytes = 10\n\
        [[request]]\nname = \"events\"\npath = \"/sse?events=2&every_ms=1\"\nkind = \"sse\"\nevents = 3\nevery = \"1ms\"\n\
        [[request]]\nname = \"socket\"\npath = \"/json\"\nkind = \"websocket\"\n";
    std::fs::write(dir.join("wrong.toml"), scenario).unwrap();
    let line = format!("--target {} --scenario wrong.toml --rate 40 --seconds 0.2", serve.address);
    let output = warm(dir, &line).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let load = &report(dir)["loads"][0];
    assert_eq!((&load["ok"], &load["failed"]), (&0.into(), &8.into()));
    let errors = &load["errors"];
    assert_eq!(errors["body_length"][0], 4, "{errors}");
    assert_eq!(errors["bad_response"][0], 4, "{errors}");
    assert_eq!(errors["body_length"][1], "length: 9 bytes, not 10");
    assert_eq!(errors["bad_response"][1], "status: status 200, not 204");
}

#[test]
fn a_broken_scenario_names_every_problem_with_its_line_and_sends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let text = "name = 3\n\n[[request]]\nname = \"a\"\npaht = \"/json\"\nweight = 0\n";
    std::fs::write(dir.path().join("broken.toml"), text).unwrap();
    let output = warm(dir.path(), "--target 127.0.0.1:1 --scenario broken.toml").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    for problem in [
        "broken.toml:1: `name` is a word",
        "broken.toml:3: `path` is missing here.",
        "broken.toml:5: there is no key `paht` here.",
        "broken.toml:6: `weight` is a whole number from 1 on, not `0`.",
    ] {
        assert!(said.contains(problem), "{problem}\n{said}");
    }
    assert!(!dir.path().join("warm.json").exists());
}

#[test]
fn an_interrupted_run_reports_what_came_until_then() {
    let dir = tempfile::tempdir().unwrap();
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let address = server(move || {
        // Nobody listens any more once the test has seen enough.
        let _ = tell.lock().unwrap().send(());
    });
    let line = format!("--target {address} --rate 100 --seconds 600");
    let mut child = warm(dir.path(), &line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    for _ in 0..10 {
        told.recv_timeout(GUARD).expect("requests");
    }
    signal(child.id(), "INT");
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let report = report(dir.path());
    assert_eq!(report["ended_early"], "a signal asked for the end");
    let load = &report["loads"][0];
    assert!(load["ok"].as_u64() >= Some(5) && load["failed"] == 0, "{load}");
    assert!(load["seconds"].as_f64().is_some_and(|seconds| seconds < 600.0), "{load}");
    assert_eq!(report["rounds"], serde_json::json!([1, 0]));
}

#[test]
fn the_rate_that_a_server_holds_is_found() {
    let dir = tempfile::tempdir().unwrap();
    // One at a time, 2 ms each and never less: 500 per second at the very most.
    let turn = Mutex::new(());
    let address = server(move || {
        let _turn = turn.lock().unwrap();
        thread::sleep(Duration::from_millis(2));
    });
    let mut command = warm(dir.path(), &format!("--target {address} --search --from 25 --seconds 0.7"));
    let output = command.args(["--limit", "p99 < 100ms"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let search = &report(dir.path())["searches"][0];
    let knee = search["knee"].as_f64().expect("a knee");
    // Above 571/s the last of 0.7 s waits longer than 100 ms, however fast the machine is.
    assert!((100.0..=572.0).contains(&knee), "{search}");
    let steps = search["steps"].as_array().unwrap();
    let rates = |holds: bool| {
        steps.iter().filter(move |step| step["holds"] == holds).filter_map(|step| step["rate"].as_f64())
    };
    assert!(rates(true).any(|rate| (rate - knee).abs() < 1.0), "{search}");
    assert!(rates(false).any(|rate| rate > knee), "{search}");
    assert!(search["condition"].as_str().is_some_and(|words| words.starts_with("p99 < 100ms, no failure")));
}

/// Python's own server, half a second late.
const PYTHON: &str = "import os,time,http.server as h\n\
time.sleep(0.5)\n\
class A(h.BaseHTTPRequestHandler):\n\
\x20protocol_version='HTTP/1.1'\n\
\x20def do_GET(s):\n\
\x20\x20s.send_response(200);s.send_header('Content-Length','2');s.end_headers();s.wfile.write(b'ok')\n\
\x20def log_message(s,*a):pass\n\
h.ThreadingHTTPServer(('127.0.0.1',int(os.environ['PORT'])),A).serve_forever()\n";

#[test]
fn an_app_is_measured_cold_warm_and_thawed() {
    let dir = tempfile::tempdir().unwrap();
    let line = "--class cold,warm,thawed --rate 20 --seconds 2 --warmup 1s --frozen 700ms --timeout 60s";
    let started = Instant::now();
    let output = warm(dir.path(), line).args(["--", "python3", "-c", PYTHON]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    // Two of them are warmed up for a second, and one of those stands still.
    assert!(started.elapsed() > Duration::from_millis(3 * 2000 + 2 * 1000 + 700));
    let report = report(dir.path());
    let loads = report["loads"].as_array().unwrap();
    let classes: Vec<_> = loads.iter().map(|load| load["class"].as_str().unwrap()).collect();
    assert_eq!(classes, ["cold", "warm", "thawed"]);
    for load in loads {
        assert_eq!((&load["ok"], &load["failed"]), (&40.into(), &0.into()), "{load}");
        assert_eq!(load["subject"], "direct");
    }
    // Those due at once waited for the half second and for Python; by its own count no request took that long.
    let longest = |load: &Value, way: &str| {
        load[way]["get"]["points"].as_array().unwrap().last().unwrap()[1].as_f64().unwrap() / 1e3
    };
    assert!(longest(&loads[0], "latency") >= 500.0, "{}", loads[0]);
    let first = &loads[0]["over_time"][0];
    assert!(first["max_us"].as_f64() >= Some(500_000.0), "{first}");
}

#[test]
fn an_app_that_ends_at_its_start_is_named_and_fails_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let script = "echo the database is away >&2; exit 3";
    for class in ["cold", "warm"] {
        let mut command = warm(dir.path(), &format!("--class {class} --seconds 5"));
        let output = command.args(["--", "sh", "-c", script]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        let reason = &report(dir.path())["not_measured"][0]["reason"];
        assert_eq!(reason, "ended with exit status: 3: the database is away", "{class}");
    }
}
