//! Bytes that two readers could read differently stop here, in both directions.

use crate::support::{End, ID, Setup, Worker, get, ok};

/// Each with the status that says what is wrong with it.
fn bad_requests() -> Vec<(String, u16)> {
    let mut table: Vec<(String, u16)> = [
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\nx", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 1\r\n\r\nx", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n folded\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n folded: b\r\nHost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nA b: c\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nNo colon\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n: no name\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\0c\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET / a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /\r\n\r\n", 400),
        ("\x16\x03\x01\x02\x00\x01\x00", 400),
        ("hello\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    ]
    .into_iter()
    .map(|(request, status)| (request.to_owned(), status))
    .collect();
    let long = |bytes: usize| "x".repeat(bytes);
    table.push((format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", long(20 << 10)), 414));
    table.push((format!("GET /{}", long(20 << 10)), 414));
    table.push((format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", long(82 << 10)), 431));
    table.push((format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}", long(82 << 10)), 431));
    table.push((format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(300)), 431));
    table
}

#[test]
fn a_bad_request_gets_its_status_and_the_end_and_no_worker_hears_of_it() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    for (request, status) in bad_requests() {
        let shown = &request[..request.len().min(90)];
        let mut client = sidecar.client();
        client.send(&request);
        let response = client.response();
        assert_eq!(response.status(), status, "{shown:?}: {response:?}");
        assert_eq!(response.field("connection"), Some("close"), "{shown:?}");
        assert!(response.field("x-fc-request-id").is_some() && !response.body.is_empty(), "{response:?}");
        assert_eq!(client.end(), End::Clean, "{shown:?}: the answer must not be lost to a reset");
    }
    assert!(worker.is_untouched());
    let mut client = sidecar.client();
    client.send(get("/health"));
    let mut connection = worker.accept();
    assert_eq!(connection.request().head, get("/health"));
    connection.send(ok("well"));
    assert_eq!(client.response().text(), "well");
}

#[test]
fn nothing_behind_a_bad_request_is_served() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    let bad =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    client.send(format!("{bad}{}", get("/smuggled")));
    assert_eq!(client.response().status(), 400);
    assert_eq!(client.end(), End::Clean);
    assert!(worker.is_untouched());
}

#[test]
fn a_chunk_that_breaks_later_ends_the_request_without_a_whole_body_for_the_worker() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    let mut connection = worker.accept();
    connection.head();
    assert_eq!(connection.take(10), b"5\r\nhello\r\n");
    client.send("oops\r\n0\r\n\r\n");
    let (rest, _) = connection.rest();
    assert_eq!(rest, b"", "not one unverified byte");
    assert_eq!(client.response().status(), 400);
    assert_eq!(client.end(), End::Clean);
}

#[test]
fn an_answer_that_cannot_be_trusted_becomes_a_502_and_the_clients_connection_stays() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    let huge = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(82 << 10));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(300));
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 1\n\nx",
        "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA : b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "garbage that is not HTTP at all\r\n\r\n",
        // Broken right behind the head: as long as nothing has left, it is still a 502.
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
        "\x15\x03\x01\x00\x02\x02\x0a",
        &huge,
        &many,
    ] {
        let shown = &answer[..answer.len().min(90)];
        client.send(get("/"));
        let mut connection = worker.accept();
        connection.request();
        connection.send(answer);
        let response = client.response();
        assert_eq!(response.status(), 502, "{shown:?}");
        assert_eq!(response.field("x-warmfront-reason"), Some("worker-response"), "{shown:?}");
        assert_eq!(response.field("x-fc-request-id"), Some(ID), "{shown:?}");
        assert_eq!(response.field("connection"), None, "{shown:?}");
        connection.rest();
    }
    client.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    connection.send(ok("well"));
    assert_eq!(client.response().text(), "well");
}

#[test]
fn a_worker_that_closes_without_an_answer_is_a_502() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    for part in ["", "HTTP/1.1 200 OK\r\nContent-Le"] {
        client.send(get("/"));
        let mut connection = worker.accept();
        connection.request();
        connection.send(part);
        drop(connection);
        let response = client.response();
        assert_eq!(response.status(), 502, "{part:?}");
        assert_eq!(response.field("x-warmfront-reason"), Some("worker-closed"), "{part:?}");
    }
    assert!(worker.is_untouched(), "nothing that a worker read is sent again");
}

#[test]
fn a_truncated_answer_never_looks_whole() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    for (answer, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", "hello"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "5\r\nhello\r\n"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "5\r\nhel"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", "5\r\nhello\r\n0\r\n"),
    ] {
        let mut client = sidecar.client();
        client.send(get("/"));
        let mut connection = worker.accept();
        connection.request();
        connection.send(answer);
        drop(connection);
        client.head();
        let (rest, _) = client.rest();
        let rest = String::from_utf8_lossy(&rest);
        assert!(body.starts_with(&*rest), "{answer:?}: {rest:?}");
        assert!(!rest.ends_with("0\r\n\r\n"), "{answer:?} was made to look whole");
    }
}

#[test]
fn chunks_that_break_later_cut_the_answer_off() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    client.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    client.head();
    assert_eq!(client.chunk(), b"hello");
    connection.send("zz\r\n0\r\n\r\n");
    client.end();
    connection.rest();
}

#[test]
fn a_truncated_answer_to_an_http_1_0_client_ends_with_a_reset() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let mut connection = worker.accept();
    connection.request();
    connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    client.head();
    assert_eq!(client.take(5), b"hello");
    drop(connection);
    assert_eq!(client.end(), End::Reset, "a clean end would say that the answer is whole");
}

#[test]
fn bytes_behind_an_answer_reach_nobody_and_end_the_workers_connection() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    let stray = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen";
    for answer in [
        ok("mine"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmine\r\n0\r\n\r\n".to_owned(),
        "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
    ] {
        client.send(get("/"));
        let mut connection = worker.accept();
        connection.request();
        connection.send(format!("{answer}{stray}"));
        assert_ne!(client.response().body, b"stolen");
        connection.end();
    }
    // The same, with the stray bytes a moment later: the connection is idle by then.
    client.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    connection.send(ok("mine"));
    assert_eq!(client.response().text(), "mine");
    connection.send(stray);
    client.send(get("/"));
    let mut fresh = worker.accept();
    fresh.request();
    fresh.send(ok("mine as well"));
    assert_eq!(client.response().text(), "mine as well");
}
