//! Forms of the target, the host, and how far a request may go.

use crate::support::{ID, Setup, Worker, get, ok};

#[test]
fn an_absolute_target_reaches_the_worker_as_a_path() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    let mut connection = None;
    let lines = format!("x-fc-request-id: {ID}\r\n\r\n");
    for (asked, sent) in [
        (
            format!("GET http://a/x?y HTTP/1.1\r\nHost: a\r\n{lines}"),
            format!("GET /x?y HTTP/1.1\r\nHost: a\r\n{lines}"),
        ),
        (
            format!("GET http://a:80 HTTP/1.1\r\nHost: A\r\n{lines}"),
            format!("GET / HTTP/1.1\r\nHost: A\r\n{lines}"),
        ),
        (
            format!("GET HTTPS://a?q HTTP/1.1\r\nHost: a:443\r\n{lines}"),
            format!("GET /?q HTTP/1.1\r\nHost: a:443\r\n{lines}"),
        ),
        (
            format!("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n{lines}"),
            format!("OPTIONS * HTTP/1.1\r\nHost: a\r\n{lines}"),
        ),
        (
            format!("OPTIONS * HTTP/1.1\r\nHost: a\r\n{lines}"),
            format!("OPTIONS * HTTP/1.1\r\nHost: a\r\n{lines}"),
        ),
        (
            format!("GET http://b:81/x HTTP/1.0\r\nConnection: keep-alive\r\n{lines}"),
            format!("GET /x HTTP/1.1\r\nx-fc-request-id: {ID}\r\nHost: b:81\r\n\r\n"),
        ),
    ] {
        client.send(&asked);
        let connection = connection.get_or_insert_with(|| worker.accept());
        assert_eq!(connection.request().head, sent, "{asked}");
        connection.send(ok("fine"));
        assert_eq!(client.response().text(), "fine");
    }
}

#[test]
fn a_target_or_host_that_two_readers_would_route_to_two_places_is_refused() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    for (line, host, why) in [
        ("GET http://a/ HTTP/1.1", "b", "name different hosts"),
        ("GET http://a:81/ HTTP/1.1", "a", "name different hosts"),
        ("GET http://b@a/ HTTP/1.1", "a", "is not host[:port]"),
        ("GET ftp://a/ HTTP/1.1", "a", "neither a path nor an http URL"),
        ("GET a HTTP/1.1", "a", "neither a path nor an http URL"),
        ("GET * HTTP/1.1", "a", "neither a path nor an http URL"),
        ("GET /a#b HTTP/1.1", "a", "fragment"),
        ("GET / HTTP/1.1", "a, b", "Host field is not host[:port]"),
        ("GET / HTTP/1.1", "a/b", "Host field is not host[:port]"),
        ("GET / HTTP/1.1", "a@b", "Host field is not host[:port]"),
        ("GET / HTTP/1.1", "a:b", "Host field is not host[:port]"),
    ] {
        let mut client = sidecar.client();
        let response = client.ask(format!("{line}\r\nHost: {host}\r\n\r\n"));
        assert_eq!(response.status(), 400, "{line} {host}");
        assert!(response.text().contains(why), "{line} {host}: {}", response.text());
        client.end();
    }
    assert!(worker.is_untouched());
}

#[test]
fn max_forwards_counts_down_and_ends_here_at_zero() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    let ask = |method: &str, hops: &str| {
        format!("{method} /x HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {ID}\r\nMax-Forwards: {hops}\r\n\r\n")
    };
    client.send(ask("OPTIONS", "1"));
    let mut connection = worker.accept();
    assert_eq!(connection.request().head, ask("OPTIONS", "0"));
    connection.send(ok("counted"));
    assert_eq!(client.response().text(), "counted");
    for (method, hops, left) in [("TRACE", "100", "099"), ("GET", "0", "0"), ("OPTIONS", "many", "many")] {
        client.send(ask(method, hops));
        assert_eq!(connection.request().head, ask(method, left));
        connection.send(ok(""));
        client.response();
    }
    let trace = ask("TRACE", "0").replace("\r\n\r\n", "\r\nCookie: secret\r\nx-fc-security-token: s\r\n\r\n");
    let response = client.ask(&trace);
    assert_eq!(response.field("content-type"), Some("message/http"));
    assert_eq!(response.text(), "TRACE /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n");
    let response = client.ask(ask("OPTIONS", "00"));
    assert_eq!((response.status(), response.field("x-warmfront-reason")), (200, Some("max-forwards")));
    // The connection goes on, and the worker saw none of the two.
    client.send(get("/after"));
    assert_eq!(connection.request().target(), "/after");
}

#[test]
fn a_worker_that_cannot_say_continue_is_spared_the_question() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    client.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    connection.send("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n");
    client.response();
    drop(connection);
    // It is known as HTTP/1.0 now: it would wait for the body without a word.
    client.send(format!(
        "POST /x HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {ID}\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
    ));
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    let mut connection = worker.accept();
    assert_eq!(connection.request().body, b"body");
    connection.send("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let response = client.response();
    // It knew what to do with the body: the connection is not in doubt.
    assert_eq!((response.text(), response.field("connection")), ("ok", None));
}
