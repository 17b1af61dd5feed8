//! Frozen time is no time: no deadline counts it, and nothing from before it is trusted.

use std::time::{Duration, Instant};

use super::{hook, is_waiting, run_node};
use crate::support::freeze::{Freezer, sit_out};
use crate::support::{Setup, Sidecar, Worker, eventually, get, ok, post};

/// Freezes `sidecar` for `time`, with its workers if they are its children.
fn freeze(sidecar: &Sidecar, time: Duration) {
    let workers = sidecar.children().into_iter().map(|(pid, _)| pid);
    let freezer = Freezer::signals(&std::iter::once(sidecar.pid()).chain(workers).collect::<Vec<_>>());
    freezer.freeze();
    sit_out(time);
    freezer.thaw();
}

#[test]
fn fc20_a_request_that_waits_for_a_slot_is_not_refused_because_of_a_freeze() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).set("queue.timeout", "2s").start();
    let (mut running, mut waiting) = (sidecar.client(), sidecar.client());
    running.send(get("/running"));
    let mut connection = worker.accept();
    connection.request();
    waiting.send(get("/waiting"));
    sidecar.fence(1);
    freeze(&sidecar, Duration::from_secs(4));
    sidecar.stderr.wait_for("thawed after");
    assert!(is_waiting(&waiting), "two seconds of patience outlast four that did not happen");
    connection.send(ok("one"));
    assert_eq!(running.response().text(), "one");
    assert_eq!(connection.request().target(), "/waiting");
    connection.send(ok("two"));
    assert_eq!(waiting.response().text(), "two");
    let line = sidecar.stdout.wait_for("/waiting");
    let waited: f64 =
        line.split("queue_ms=").nth(1).and_then(|it| it.split(' ').next()?.parse().ok()).expect("a time");
    assert!(waited < 2_000.0, "{line}");
}

#[test]
fn fc20_a_wait_that_is_too_long_is_still_refused_in_its_own_time_after_a_freeze() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).set("queue.timeout", "600ms").start();
    let (mut running, mut waiting) = (sidecar.client(), sidecar.client());
    running.send(get("/running"));
    let mut connection = worker.accept();
    connection.request();
    freeze(&sidecar, Duration::from_millis(1_500));
    sidecar.stderr.wait_for("thawed after");
    let began = Instant::now();
    assert_eq!(waiting.ask(get("/waiting")).status(), 503);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(600), "{took:?}");
    connection.send(ok(""));
}

#[test]
fn fc20_neither_a_drain_nor_a_workers_grace_is_over_because_of_a_freeze() {
    let setup = run_node(
        "process.on('SIGTERM', () => setTimeout(() => process.exit(0), 300));\n\
         const server = http.createServer((q, s) => setTimeout(() => s.end('done'), 700));",
    );
    let mut sidecar = setup.set("drain.deadline", "2s").set("workers.grace", "2s").start_ready();
    let mut client = sidecar.client();
    client.send(get("/"));
    sidecar.fence(1);
    sidecar.signal("TERM");
    sidecar.stderr.wait_for("draining: 1 in flight");
    freeze(&sidecar, Duration::from_secs(3));
    assert_eq!(client.response().text(), "done", "it was not cut");
    assert_eq!(sidecar.wait_exit(), 0);
    assert!(
        sidecar.stderr.all().iter().all(|line| !line.contains("was killed")),
        "{:?}",
        sidecar.stderr.all()
    );
}

#[test]
fn fc20_a_start_is_not_given_up_because_of_a_freeze() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("late.sock");
    let sidecar = Setup::forward(&[&path]).set("start.deadline", "2s").start_cold();
    let (mut client, mut platform) = (sidecar.client(), sidecar.client());
    client.send(get("/held"));
    platform.send(hook("/initialize"));
    sidecar.fence(1);
    freeze(&sidecar, Duration::from_secs(3));
    sidecar.stderr.wait_for("thawed after");
    let _worker = Worker::listen_at(&path).echo_targets();
    assert_eq!(client.response().text(), "/held");
    assert_eq!(platform.response().status(), 200);
}

#[test]
fn fc18_a_thaw_is_said_with_its_length_and_counted_and_idle_connections_are_given_up() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    client.send(get("/before"));
    let mut before = worker.accept();
    before.request();
    before.send(ok(""));
    client.response();
    freeze(&sidecar, Duration::from_millis(1_600));
    // At once: whoever runs first at the thaw must know it already.
    client.send(post("/after", "x"));
    let mut after = worker.accept();
    assert_eq!(after.request().target(), "/after", "on a connection of its own");
    after.send(ok(""));
    client.response();
    assert_eq!(before.next_request(), None, "the one from before was closed");
    let line = sidecar.stderr.wait_for("thawed after ");
    let length: f64 =
        line.split("after ").nth(1).and_then(|it| it.split(' ').next()?.parse().ok()).expect("a length");
    // To within a tick, and whatever a busy machine adds.
    assert!((1.3..10.0).contains(&length) && line.contains("freeze 1,"), "{line}");
    let line = sidecar.stdout.wait_for("POST /after");
    assert!(line.contains(" start=thawed "), "{line}");
    client.send(get("/later"));
    after.request();
    after.send(ok(""));
    client.response();
    assert!(sidecar.stdout.wait_for("GET /later").contains(" start=warm "));
    sidecar.signal("USR1");
    let line = sidecar.stderr.wait_for("counted so far");
    assert!(line.contains("thaws=1") && line.contains("idle_given_up=1"), "{line}");
}

#[test]
fn workers_are_told_of_a_thaw_if_they_want_to_know() {
    let workers = [Worker::listen(), Worker::listen()];
    let sidecar = Setup::forward(&workers.each_ref().map(Worker::path)).set("thaw.path", "/thawed").start();
    freeze(&sidecar, Duration::from_millis(1_500));
    for worker in &workers {
        let mut connection = worker.accept();
        let told = connection.request();
        assert!(told.head.starts_with("POST /thawed HTTP/1.1\r\n"), "{}", told.head);
        let frozen: u64 = told
            .head
            .split("x-warmfront-frozen-ms: ")
            .nth(1)
            .and_then(|it| it.split("\r\n").next()?.parse().ok())
            .expect("a length");
        assert!((1_200..10_000).contains(&frozen), "{frozen}");
        connection.send("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
    }
    sidecar.stderr.wait_for_count("answered `POST /thawed HTTP/1.1` with 404", 2);
    eventually("the sidecar goes on", || {
        (sidecar.client().ask(super::hook("/pre-freeze")).status() == 200).then_some(())
    });
}
