//! What an instance allows one process, and what is counted for those who run it.

use std::fs;

use super::run_node;
use crate::support::{ID, Setup, Worker, get, ok};

/// Threads of a process.
fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).expect("alive").count()
}

#[test]
fn fc03_requests_wait_for_a_slow_worker_and_are_all_answered() {
    let setup = run_node("const server = http.createServer((q, s) => s.end(q.url));");
    let script = setup.dir().join("worker.js");
    // A slow start is a time, so it is slept.
    let command = format!("sleep 2; exec node {}", script.display());
    let sidecar = setup.worker(["sh", "-c", &command]).start_cold();
    let mut clients: Vec<_> = (0..20).map(|_| sidecar.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(get(&format!("/{number}")));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.response().text(), format!("/{number}"));
    }
}

#[test]
fn fc30_two_hundred_requests_at_once_need_few_threads_few_descriptors_and_little_memory() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).flag("--concurrency", "200").start();
    let (before, fds) = (threads(sidecar.pid()), sidecar.fds());
    let mut pairs: Vec<_> = (0..200)
        .map(|_| {
            let mut client = sidecar.client();
            client.send(get("/"));
            let mut connection = worker.accept();
            connection.request();
            (client, connection)
        })
        .collect();
    assert_eq!(threads(sidecar.pid()), before, "no thread per request");
    assert!(before <= 8, "{before} threads");
    assert!(sidecar.fds() <= fds + 400 + 8, "{} descriptors", sidecar.fds());
    let rss = sidecar.rss() >> 20;
    assert!(rss < 64, "{rss} MiB");
    for (client, connection) in &mut pairs {
        connection.send(ok("x"));
        assert_eq!(client.response().text(), "x");
    }
}

#[test]
fn fc37_what_was_counted_is_said_on_usr1_and_at_the_end_and_not_on_the_platforms_port() {
    let worker = Worker::listen().echo_targets();
    let mut sidecar = Setup::forward(&[worker.path()]).start();
    sidecar.client().ask(get("/"));
    sidecar.signal("USR1");
    let line = sidecar.stderr.wait_for("counted so far: ");
    for name in ["replays_undelivered=", "replays_refused=", "thaws=", "idle_given_up=", "client_closes="] {
        assert!(line.contains(name), "{line}");
    }
    for target in ["/metrics", "/_warmfront/metrics", "/_warmfront"] {
        assert_eq!(sidecar.client().ask(get(target)).text(), target, "the application's");
    }
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait_exit(), 0);
    sidecar.stderr.wait_for("counted: ");
}

#[test]
fn fc11_sixty_four_kib_of_fields_with_empty_and_repeated_ones_and_a_long_target_pass_unchanged() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    let large = "v".repeat(1_000);
    let fields: String = (0..66).map(|number| format!("X-Fc-Field-{number}: {large}\r\n")).collect();
    let request = format!(
        "GET /{}?q HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {ID}\r\nX-Fc-Empty:\r\nTwice: 1\r\nTwice: 2\r\n{fields}\r\n",
        "t".repeat(4_096)
    );
    assert!(fields.len() > 64 << 10);
    client.send(&request);
    let mut connection = worker.accept();
    assert_eq!(connection.request().head, request);
    connection.send(ok("x"));
    assert_eq!(client.response().text(), "x");
}
