//! The platform's markers on stdout.

use super::{hook, run_node, under};
use crate::support::{Client, ID, Setup, Sidecar, Worker, get, ok};

/// The marker lines so far, in order, once there are `count`.
fn markers(sidecar: &Sidecar, count: usize) -> Vec<String> {
    sidecar.stdout.wait_for_count("FC ", count).into_iter().filter(|line| line.starts_with("FC ")).collect()
}

fn named(service: &str) -> String {
    format!("GET /x HTTP/1.1\r\nHost: a\r\nx-fc-request-id: 1-v2\r\nX-Fc-Service-Name: {service}\r\n\r\n")
}

#[test]
fn fc35_markers_stand_around_every_request_and_hook_byte_for_byte() {
    let worker = Worker::listen().echo_targets();
    let sidecar = Setup::forward(&[worker.path()]).set("log.markers", "on").start();
    let mut client = sidecar.client();
    client.ask(get("/x"));
    client.ask(under("/invoke", "POST", "/invoke", "event"));
    for path in ["/initialize", "/pre-freeze", "/pre-stop"] {
        client.ask(hook(path));
    }
    client.ask(get("/_warmfront/health"));
    let words = ["Invoke", "Invoke", "Initialize", "PreFreeze", "PreStop"];
    let expected: Vec<String> = words
        .iter()
        .flat_map(|word| {
            [format!("FC {word} Start RequestId: {ID}"), format!("FC {word} End RequestId: {ID}")]
        })
        .collect();
    assert_eq!(markers(&sidecar, 10), expected);
}

#[test]
fn fc35_by_default_markers_are_written_only_where_the_platform_does_not() {
    let worker = Worker::listen().echo_targets();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    client.ask(get("/third-version"));
    client.ask(named(""));
    client.ask(named("my-service"));
    client.ask(get("/third-version"));
    assert_eq!(markers(&sidecar, 2), ["FC Invoke Start RequestId: 1-v2", "FC Invoke End RequestId: 1-v2"]);
    let sidecar = Setup::forward(&[worker.path()]).set("log.markers", "off").start();
    sidecar.client().ask(named("my-service"));
    sidecar.stdout.wait_for("GET /x");
    assert_eq!(sidecar.stdout.all().len(), 1);
}

#[test]
fn fc35_an_end_marker_says_how_it_ended_also_without_an_access_log() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()])
        .set("log.markers", "on")
        .set("events.failed", "5xx")
        .set("queue.timeout", "0s")
        .flag("--access-log", "off")
        .start();
    let mut client = sidecar.client();
    let last = |count: usize| markers(&sidecar, count).remove(count - 1);
    client.send(under("/invoke", "POST", "/invoke", "event"));
    let mut connection = worker.accept();
    connection.request();
    connection.send("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    client.response();
    assert!(last(2).ends_with(", Error: Handled function error"));
    client.send(under("/invoke", "POST", "/invoke", "event"));
    connection.request();
    let refused = sidecar.client().ask(get("/"));
    assert_eq!(refused.status(), 503);
    assert!(last(5).ends_with(", Error: Unhandled function error"), "{:?}", sidecar.stdout.all());
    drop(connection);
    client.response();
    let line = last(6);
    assert!(
        line.contains(", Error: Process exited unexpectedly before completing request (duration: "),
        "{line}"
    );
    assert!(line.ends_with("ms, maxMemoryUsage: 0.00MB)"), "{line}");
    let mut leaves = sidecar.client();
    leaves.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    drop(leaves);
    let line = sidecar.stdout.wait_for("Invocation canceled by client (duration: ");
    assert!(line.starts_with(&format!("FC Invoke End RequestId: {ID}, Error: ")), "{line}");
}

#[test]
fn fc35_the_end_marker_is_out_before_the_last_byte_of_the_answer() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).set("log.markers", "on").start();
    let mut client = sidecar.client();
    client.send(get("/"));
    let mut connection = worker.accept();
    for round in 1..=30 {
        connection.request();
        connection.send(ok("done"));
        client.response();
        // Frozen right here, as the platform may do.
        sidecar.signal("STOP");
        sidecar.stdout.wait_for_count("FC Invoke End", round);
        sidecar.signal("CONT");
        client.send(get("/"));
    }
}

#[test]
fn fc35_no_worker_and_no_request_can_forge_a_marker() {
    let sidecar = run_node(
        "const server = http.createServer((q, s) => { log('FC Invoke Start RequestId: forged'); s.end('x'); });",
    )
    .set("log.markers", "on")
    .start();
    let mut client: Client = sidecar.client();
    client.ask("GET / HTTP/1.1\r\nHost: a\r\nx-fc-request-id: 1\tFC\r\n\r\n");
    client.ask(hook("/pre-freeze"));
    sidecar.stdout.wait_for("forged");
    for line in sidecar.stdout.all() {
        assert!(!line.starts_with("FC ") || !line.contains("forged"), "{line}");
        assert!(!line.contains('\t'), "{line}");
    }
}
