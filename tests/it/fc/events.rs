//! Events: where they go, and how a failed one is reported.

use super::under;
use crate::support::{ID, Response, Setup, Worker, get, ok, post};

fn status(response: &Response) -> Option<&str> {
    response.field("x-fc-status")
}

#[test]
fn events_go_to_the_path_that_workers_know_and_all_else_of_them_is_unchanged() {
    let worker = Worker::listen();
    let sidecar =
        Setup::forward(&[worker.path()]).set("events.path", "/a/rather/long/path/for/events").start();
    let mut client = sidecar.client();
    let fields =
        format!("Host: a\r\nX-Fc-Request-Id: {ID}\r\nX-Fc-Control-Path: /invoke\r\nContent-Length: 5\r\n");
    client.send(format!("POST /invoke HTTP/1.1\r\n{fields}Connection: keep-alive\r\n\r\nevent"));
    let mut connection = worker.accept();
    let seen = connection.request();
    assert_eq!(seen.head, format!("POST /a/rather/long/path/for/events HTTP/1.1\r\n{fields}\r\n"));
    assert_eq!(seen.body, b"event");
    connection.send(ok("done"));
    assert_eq!(client.response().text(), "done");
    // An absolute target, a query, another method: the path is the one that was configured.
    client.send(format!("PUT http://a/invoke?x=y HTTP/1.1\r\n{fields}\r\nevent"));
    let seen = connection.request();
    assert_eq!(seen.head, format!("PUT /a/rather/long/path/for/events HTTP/1.1\r\n{fields}\r\n"));
    connection.send(ok(""));
    client.response();
    // The application's own requests keep theirs.
    client.send(under("/http-invoke", "POST", "/invoke", ""));
    assert_eq!(connection.request().target(), "/invoke");
    connection.send(ok(""));
    client.response();
}

#[test]
fn by_default_an_event_reaches_the_worker_byte_for_byte() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    let event = under("/invoke", "POST", "/invoke", "event");
    client.send(&event);
    let mut connection = worker.accept();
    let seen = connection.request();
    assert_eq!(seen.head + std::str::from_utf8(&seen.body).expect("text"), event);
    connection.send(ok(""));
    client.response();
}

#[test]
fn fc27_our_own_errors_are_failed_invocations_and_workers_answers_are_not_touched() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    client.send(under("/invoke", "POST", "/invoke", "event"));
    let mut connection = worker.accept();
    connection.request();
    drop(connection);
    let answer = client.response();
    assert_eq!((answer.status(), status(&answer)), (502, Some("404")));
    client.send(under("/invoke", "POST", "/invoke", "event"));
    let mut connection = worker.accept();
    for answer in [
        "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 Ok\r\nX-Fc-Status: 404\r\nContent-Length: 0\r\n\r\n",
    ] {
        connection.request();
        connection.send(answer);
        assert_eq!(client.response().head, answer, "as the worker said it");
        client.send(under("/invoke", "POST", "/invoke", "event"));
    }
}

#[test]
fn fc27_chosen_statuses_of_workers_make_an_event_fail_unless_the_worker_has_said_otherwise() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).set("events.failed", "5xx 429").start();
    let mut client = sidecar.client();
    client.send(under("/invoke", "POST", "/invoke", "event"));
    let mut connection = worker.accept();
    for (answer, expected) in [
        ("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", Some("404")),
        ("HTTP/1.1 429 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Some("404")),
        ("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", None),
        ("HTTP/1.1 200 Ok\r\nContent-Length: 0\r\n\r\n", None),
        ("HTTP/1.1 500 No\r\nx-fc-status: 200\r\nContent-Length: 0\r\n\r\n", Some("200")),
    ] {
        connection.request();
        connection.send(answer);
        assert_eq!(status(&client.response()), expected, "{answer}");
        client.send(under("/invoke", "POST", "/invoke", "event"));
    }
    connection.request();
    connection.send(ok(""));
    client.response();
    // HTTP has a status of its own.
    for request in [get("/"), post("/invoke2", ""), under("/http-invoke", "POST", "/invoke", "")] {
        client.send(request);
        connection.request();
        connection.send("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(status(&client.response()), None);
    }
}

#[test]
fn fc26_a_worker_that_dies_under_an_event_is_a_failed_invocation_and_costs_no_connection() {
    let sidecar = super::run_node(
        "const server = http.createServer(async (q, s) => { const b = await body(q); if (b === 'die') process.exit(9); s.end(b); });",
    )
    .start();
    let mut client = sidecar.client();
    let answer = client.ask(under("/invoke", "POST", "/invoke", "die"));
    assert_eq!((answer.status(), status(&answer)), (502, Some("404")));
    assert!(answer.text().contains(ID), "{}", answer.text());
    assert_eq!(client.ask(under("/invoke", "POST", "/invoke", "live")).text(), "live");
}

#[test]
fn fc28_an_answer_with_a_large_head_is_warned_of_with_its_request_and_passed_on() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    client.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    let large = format!("HTTP/1.1 200 Ok\r\nSet-Cookie: {}\r\nContent-Length: 0\r\n\r\n", "c".repeat(9_000));
    connection.send(&large);
    assert_eq!(client.response().head, large);
    let line = sidecar.stderr.wait_for("the platform allows 8 KiB");
    assert!(line.contains(ID) && line.contains(&format!("{} bytes", large.len())), "{line}");
    // One that the platform did not send, or that is small enough, is nobody's worry.
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    connection.request();
    connection.send(&large);
    client.response();
    client.send(get("/small"));
    connection.request();
    connection.send(format!("HTTP/1.1 200 Ok\r\nA: {}\r\nContent-Length: 0\r\n\r\n", "c".repeat(8_000)));
    client.response();
    sidecar.signal("USR1");
    assert!(sidecar.stderr.wait_for("counted so far").contains("large_heads=1"));
    assert_eq!(sidecar.stderr.wait_for_count("the platform allows", 1).len(), 1);
}
