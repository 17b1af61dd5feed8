//! The path that the platform's custom health check asks.

use std::time::{Duration, Instant};

use super::hook;
use crate::support::{Setup, Worker, get, ok};

const CHECK: &str = "GET /_warmfront/health HTTP/1.1\r\nHost: 21.0.3.2\r\n\r\n";

#[test]
fn fc16_a_health_check_tells_the_state_of_the_pool() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("w.sock");
    let sidecar = Setup::forward(&[&path]).start_cold();
    let mut client = sidecar.client();
    let answer = client.ask(CHECK);
    assert_eq!(answer.status(), 503);
    assert!(answer.text().contains("0 of 1 workers are ready"), "{}", answer.text());
    let worker = Worker::listen_at(&path);
    sidecar.stderr.wait_for("warm after");
    let answer = client.ask(CHECK);
    assert_eq!(answer.status(), 200);
    assert!(answer.text().contains("1 of 1 workers are ready"), "{}", answer.text());
    client.send("HEAD /_warmfront/health?x=y HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    // The stop takes the instance out of the platform's rotation.
    let mut client = sidecar.client();
    assert_eq!(client.ask(hook("/pre-stop")).status(), 200);
    let answer = client.ask(CHECK);
    assert_eq!(answer.status(), 503);
    assert!(answer.text().contains("the instance is stopping"), "{}", answer.text());
    assert!(worker.is_untouched(), "no check is a request of the application");
    assert!(sidecar.stdout.all().iter().all(|line| !line.contains("health")), "{:?}", sidecar.stdout.all());
}

#[test]
fn fc16_the_health_path_can_be_moved_and_switched_off() {
    let worker = Worker::listen().echo_targets();
    let sidecar = Setup::forward(&[worker.path()]).set("health.path", "/healthz").start();
    let mut client = sidecar.client();
    assert!(client.ask(get("/healthz")).text().contains("1 of 1"));
    assert_eq!(client.ask(CHECK).text(), "/_warmfront/health");
    assert_eq!(
        client.ask("POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").text(),
        "/healthz"
    );
    let sidecar = Setup::forward(&[worker.path()]).set("health.path", "").start();
    assert_eq!(sidecar.client().ask(CHECK).text(), "/_warmfront/health");
}

#[test]
fn fc25_a_cancel_frees_its_slot_and_leaves_all_others_alone() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).flag("--concurrency", "2").start();
    let (mut leaves, mut stays, mut waits) = (sidecar.client(), sidecar.client(), sidecar.client());
    leaves.send(get("/leaves"));
    let mut canceled = worker.accept();
    canceled.request();
    stays.send(get("/stays"));
    let mut kept = worker.accept();
    kept.request();
    waits.send(get("/waits"));
    sidecar.fence(1);
    let began = Instant::now();
    drop(leaves);
    assert!(canceled.fill().is_err(), "nothing more was asked");
    assert!(
        began.elapsed() < Duration::from_millis(100),
        "its worker learnt of it after {:?}",
        began.elapsed()
    );
    let mut next = worker.accept();
    assert_eq!(next.request().target(), "/waits", "the slot is free");
    next.send(ok("waited"));
    assert_eq!(waits.response().text(), "waited");
    kept.send(ok("stayed"));
    assert_eq!(stays.response().text(), "stayed");
    assert_eq!(stays.ask(CHECK).status(), 200, "the platform has no reason to replace the instance");
    let line = sidecar.stdout.wait_for("GET /leaves");
    assert!(line.contains("outcome=client_gone"), "{line}");
}
