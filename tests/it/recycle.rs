//! Workers that have served or grown enough are started again, and nobody notices.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Setup, get};

#[test]
fn a_worker_that_has_served_enough_is_started_again_one_at_a_time_and_no_request_is_lost() {
    let setup = Setup::new().flag("--workers", "2").flag("--concurrency", "2");
    let sidecar = setup.set("workers.max_requests", "50").start_ready();
    sidecar.stderr.wait_for("2 workers are warm");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = sidecar.client();
                    let asked = std::iter::repeat_with(|| client.ask(get("/slow?ms=5")).status());
                    asked
                        .take_while(|_| !is_over.load(Ordering::Relaxed))
                        .filter(|&status| status != 200)
                        .count()
                })
            })
            .collect();
        let lines = sidecar.stderr.wait_for_count("is started again: it has served ", 4);
        is_over.store(true, Ordering::Relaxed);
        let failed: usize = clients.into_iter().map(|client| client.join().expect("no panic")).sum();
        assert_eq!(failed, 0);
        assert!(lines[0].ends_with("(workers.max_requests = 50)"), "{}", lines[0]);
    });
    // Each is ready before the next one goes.
    let is_told = |line: &&String| line.contains("is started again: ") || line.contains(" is ready after ");
    let all = sidecar.stderr.all();
    let told: Vec<&String> = all.iter().filter(is_told).skip(2).collect();
    for pair in told.chunks_exact(2) {
        let number = |line: &str| {
            line.split("worker ").nth(1).and_then(|rest| rest.split(' ').next()).map(str::to_owned)
        };
        assert!(pair[0].contains("is started again") && pair[1].contains("is ready after"), "{told:#?}");
        assert_eq!(number(pair[0]), number(pair[1]), "{told:#?}");
    }
}

#[test]
fn a_worker_that_has_grown_is_started_again_and_what_it_shares_with_its_children_counts_once() {
    // The children share what they do not change: 40 MiB together, which a sum of resident sizes takes for 160.
    const APP: &str = "
import http.server, os, socketserver
held = [b'x' * (40 << 20)]
# A child reads until nobody can write any more: it ends with the first process, however that ends.
reads, writes = os.pipe()
for _ in range(3):
    if os.fork() == 0:
        os.close(writes)
        os.read(reads, 1)
        os._exit(0)
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        if self.path == '/grow':
            held.append(b'y' * (150 << 20))
        text = str(os.getpid()).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def address_string(self):
        return ''
    def log_message(self, *words):
        pass
class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
Server(os.environ['WARMFRONT_SOCKET'], Handler).serve_forever()
";
    let setup = Setup::run(["python3", "app.py"]).file("app.py", APP);
    let sidecar = setup.flag("--workers", "1").set("workers.max_memory", "128MiB").with_admin().start();
    let mut client = sidecar.client();
    let first = client.ask(get("/")).text().to_owned();
    // Looked at each second: what has taken several looks has been looked at.
    let admin = sidecar.admin();
    let shared = crate::support::eventually("three looks", || {
        let worker = admin.json("/workers")["workers"][0].clone();
        (worker["uptime_ms"].as_u64() > Some(3500)).then_some(worker)
    });
    assert!(shared["usage"]["resident_bytes"].as_u64() > Some(128 << 20), "{shared}");
    assert_eq!(client.ask(get("/")).text(), first, "{shared}");
    assert_eq!(client.ask(get("/grow")).status(), 200);
    let line = sidecar.stderr.wait_for("is started again: it takes ");
    assert!(line.ends_with("(workers.max_memory = 128 MiB)"), "{line}");
    assert_ne!(client.ask(get("/")).text(), first);
}
