//! The Function Compute contract, each test named after its requirement (docs/fc.md has the table).

mod bootstrap;
mod events;
mod health;
mod hooks;
mod kernel;
mod limits;
mod markers;
mod replay;
mod secrets;
mod thaw;

use std::io::ErrorKind;
use std::path::Path;

use crate::support::{Client, ID, Setup};

/// A hook as the platform's second version and its emulators send it.
fn hook(path: &str) -> String {
    let method = if path == "/initialize" { "POST" } else { "GET" };
    let length = if path == "/initialize" { "Content-Length: 0\r\n" } else { "" };
    format!("{method} {path} HTTP/1.1\r\nHost: 21.0.3.2\r\nx-fc-request-id: {ID}\r\n{length}\r\n")
}

/// A request under the control path `path`.
fn under(path: &str, method: &str, target: &str, body: &str) -> String {
    format!(
        "{method} {target} HTTP/1.1\r\nHost: a\r\nX-Fc-Request-Id: {ID}\r\nX-Fc-Control-Path: {path}\r\nContent-Length: \
         {}\r\n\r\n{body}",
        body.len()
    )
}

/// Whether nothing has come for `client` so far.
fn is_waiting(client: &Client) -> bool {
    let peeked = {
        client.stream.set_nonblocking(true).expect("a socket");
        client.stream.peek(&mut [0])
    };
    client.stream.set_nonblocking(false).expect("a socket");
    matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// A Node worker of these lines; `server` is listening on its socket, `log` writes to stdout.
fn node(dir: &Path, lines: &str) -> Vec<String> {
    let file = dir.join("worker.js");
    let code = format!(
        "const http = require('http');\n\
         const body = (q) => new Promise((r) => {{ let b = ''; q.on('data', (d) => b += d); q.on('end', () => r(b)); }});\n\
         const log = (text) => process.stdout.write(text + '\\n');\n\
         {lines}\n\
         server.keepAliveTimeout = 0;\n\
         server.listen(process.env.FC_SERVER_PORT);\n"
    );
    std::fs::write(&file, code).expect("written");
    vec!["node".to_owned(), file.to_str().expect("UTF-8").to_owned()]
}

/// In front of Node workers of these lines.
fn run_node(lines: &str) -> Setup {
    let setup = Setup::new();
    let command = node(setup.dir(), lines);
    setup.worker(command)
}
