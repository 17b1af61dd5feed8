//! `warmfront doctor`: a command is tried once, and told what to change.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// The findings about `command`, run in `dir`.
fn doctor(dir: &Path, flags: &[&str], command: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_warmfront"))
        .arg("doctor")
        .args(flags)
        .arg("--")
        .args(command)
        .current_dir(dir)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("TMPDIR", dir)
        .output()
        .expect("our own binary")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// What was found about `about`: its weight, and the sentence.
fn finding(paper: &Value, about: &str) -> (String, String) {
    let findings = paper["findings"].as_array().expect("a list");
    let found = findings.iter().find(|finding| finding["about"] == about);
    let found = found.unwrap_or_else(|| panic!("nothing about {about}: {paper:#}"));
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    (text("weight"), text("what"))
}

#[test]
fn a_good_server_is_told_so_with_its_phases_and_nothing_is_left_running() {
    let dir = tempfile::tempdir().unwrap();
    let server = "require('http').createServer((request, response) => {\n\
                    let bytes = 0;\n\
                    request.on('data', (part) => { bytes += part.length; });\n\
                    request.on('end', () => response.end(`${bytes}`));\n\
                  }).listen(9000, () => console.log('up'));\n";
    std::fs::write(dir.path().join("server.js"), server).unwrap();
    let output = doctor(dir.path(), &["--json"], &["node", "server.js"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let paper = json(&output);
    assert_eq!((&paper["served"], &paper["transport"]), (&true.into(), &"shim".into()), "{paper:#}");
    let (first, ready) = (paper["first_output_ms"].as_u64().unwrap(), paper["ready_ms"].as_u64().unwrap());
    assert!(first <= ready + 50, "{paper:#}");
    for about in ["start", "answer", "keep-alive", "http10", "head", "chunked", "expect"] {
        assert_eq!(finding(&paper, about).0, "ok", "{about}: {paper:#}");
    }
    // Node has no handler of its own for TERM.
    assert!(finding(&paper, "term").1.contains("after SIGTERM"), "{paper:#}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("[w1] up"), "the app's own lines are on stderr");
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["server.js"], "its sockets are gone");
}

#[test]
fn a_server_of_http10_that_ignores_term_and_chunks_is_told_what_to_change() {
    let dir = tempfile::tempdir().unwrap();
    let server = "import signal\n\
                  from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer\n\
                  signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
                  class Handler(BaseHTTPRequestHandler):\n\
                  \x20   def do_GET(self):\n\
                  \x20       self.send_response(200)\n\
                  \x20       self.end_headers()\n\
                  \x20       self.wfile.write(b'ok')\n\
                  \x20   def do_HEAD(self):\n\
                  \x20       self.send_response(200)\n\
                  \x20       self.end_headers()\n\
                  \x20   def do_POST(self):\n\
                  \x20       if 'chunked' in self.headers.get('Transfer-Encoding', ''):\n\
                  \x20           self.send_error(411)\n\
                  \x20           return\n\
                  \x20       self.rfile.read(int(self.headers['Content-Length']))\n\
                  \x20       self.do_GET()\n\
                  ThreadingHTTPServer(('', 9000), Handler).serve_forever()\n";
    std::fs::write(dir.path().join("server.py"), server).unwrap();
    std::fs::write(dir.path().join("warmfront.toml"), "[workers]\ngrace = \"300ms\"\n").unwrap();
    let output = doctor(dir.path(), &[], &["python3", "server.py"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for said in [
        "note  keep-alive It closes the connection behind each answer.",
        "warning  chunked    A POST in chunks is answered 411, and 200 with a length.",
        "of SIGTERM and was killed.",
        "It can be served; some requests will suffer.",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[test]
fn an_idle_timeout_is_measured() {
    let dir = tempfile::tempdir().unwrap();
    let server = "const server = require('http').createServer((request, response) => response.end('x'));\n\
                  server.keepAliveTimeout = 1500;\n\
                  server.listen(9000);\n";
    std::fs::write(dir.path().join("server.js"), server).unwrap();
    let paper = json(&doctor(dir.path(), &["--json"], &["node", "server.js"]));
    let (weight, what) = finding(&paper, "keep-alive");
    assert_eq!(weight, "note");
    assert!(what.contains("It closes a connection that has rested for "), "{what}");
}

#[test]
fn a_broken_bootstrap_is_explained_before_anything_runs() {
    let dir = tempfile::tempdir().unwrap();
    let bootstrap = dir.path().join("bootstrap");
    let told = |content: &[u8], mode: u32| {
        std::fs::write(&bootstrap, content).unwrap();
        std::fs::set_permissions(&bootstrap, std::fs::Permissions::from_mode(mode)).unwrap();
        let output = doctor(dir.path(), &["--json"], &["./bootstrap"]);
        assert_eq!(output.status.code(), Some(69), "{output:?}");
        finding(&json(&output), "start").1
    };
    let mut foreign = b"\x7fELF\x02\x01\x01".to_vec();
    foreign.resize(64, 0);
    foreign[18] = if cfg!(target_arch = "x86_64") { 183 } else { 62 };
    for (content, mode, said) in [
        (&b"#!/bin/sh\n"[..], 0o644, "it has no execute bit"),
        (b"#!/bin/sh\r\nexec node x.js\r\n", 0o755, "its first line ends in CR LF"),
        (b"#!/no/such/interpreter\n", 0o755, "its interpreter `/no/such/interpreter` does not exist"),
        (b"node server.js\n", 0o755, "it has no `#!` line and is no binary"),
        (&foreign, 0o755, "it is a program for "),
    ] {
        let what = told(content, mode);
        assert!(what.contains(said), "{said}: {what}");
    }
}

#[test]
fn one_that_ends_at_its_start_is_a_problem_with_its_last_words() {
    let dir = tempfile::tempdir().unwrap();
    let output = doctor(dir.path(), &[], &["sh", "-c", "echo no module named app >&2; exit 3"]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("problem  start") && text.contains("no module named app"), "{text}");
    assert!(text.contains("It cannot be served as it is."), "{text}");
}
