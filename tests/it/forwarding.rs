//! What travels, travels unchanged; what speaks about one connection ends there.

use std::io::Write;

use crate::support::{Client, Connection, End, ID, Response, Setup, Sidecar, Worker, get, ok, post};

/// One worker, one client, both in the test's hands.
fn pair() -> (Sidecar, Worker, Client) {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let client = sidecar.client();
    (sidecar, worker, client)
}

/// The answer to `request` when the worker says exactly `answer`, and the connection it said it on.
fn exchange(
    worker: &Worker,
    client: &mut Client,
    request: &str,
    answer: &str,
) -> (Connection, String, Response) {
    client.send(request);
    let mut connection = worker.accept();
    let received = connection.request();
    connection.send(answer);
    (connection, received.head, client.response())
}

#[test]
fn fc11_a_request_head_arrives_byte_for_byte() {
    let (_sidecar, worker, mut client) = pair();
    let head = format!(
        "PATCH /a?b=c&b=d HTTP/1.1\r\nhOsT: Example.com:80\r\nX-fc-REQUEST-id: {ID}\r\nX-Empty:\r\nX-Space:   two  words\t \r\n\
         Accept: a\r\naccept: b\r\nACCEPT:c\r\nX-Fc-Access-Key-Id: k\r\nX-Forwarded-For: 1.2.3.4, 5.6.7.8\r\n\
         X-Forwarded-Proto: https,http\r\ntraceparent: 00-ab-cd-01\r\nX-High: \u{e9}\r\nCookie: a=1; b=2\r\nCookie: c=3\r\n\
         User-Agent: it\r\nContent-Length: 5\r\n\r\n"
    );
    let (_, received, _) = exchange(&worker, &mut client, &format!("{head}hello"), &ok(""));
    assert_eq!(received, head);
}

#[test]
fn an_answer_arrives_byte_for_byte() {
    let (_sidecar, worker, mut client) = pair();
    let answer = "HTTP/1.1 299 Odd  Phrase\r\nSERVER: x\r\nsEt-CoOkIe: a=1\r\nX-Empty:\r\nX-Space:  two  words \t\r\n\
                  Set-Cookie: b=2\r\nContent-Type: text/plain;  charset=x\r\ncontent-LENGTH: 5\r\nX-High: \u{e9}\r\n\r\n";
    client.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    connection.send(format!("{answer}hello"));
    assert_eq!(client.take(answer.len() + 5), format!("{answer}hello").as_bytes());
    assert!(client.is_silent());
}

#[test]
fn an_answer_without_a_phrase_is_passed_on() {
    let (_sidecar, worker, mut client) = pair();
    let answer = "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n";
    let (_, _, response) = exchange(&worker, &mut client, &get("/"), answer);
    assert_eq!(response.head, answer);
}

#[test]
fn fc11_the_raw_target_is_untouched() {
    let (_sidecar, worker, mut client) = pair();
    let long = format!("/{}?{}", "p".repeat(6000), "q".repeat(6000));
    let mut connection: Option<Connection> = None;
    for target in [
        "/",
        "*",
        "//double//slash/",
        "/a/../b/./c/..",
        "/%2e%2E/%2F%00%zz/%",
        "/2016-08-15/proxy/svc/fn/path",
        "/a;b=c,d!$&'()*+:@~_-.",
        "/?",
        "/?a=%20+%2B&&=&?x=/../",
        "/[brackets]|^`{}\"<>\\",
        "/t%C3%A9",
        &long,
    ] {
        let request = get(target).replacen("GET", "OPTIONS", 1);
        client.send(&request);
        let connection = connection.get_or_insert_with(|| worker.accept());
        assert_eq!(connection.head(), request, "{target}");
        connection.send(ok(""));
        assert_eq!(client.response().status(), 200, "{target}");
    }
}

#[test]
fn fc31_hop_by_hop_request_fields_and_what_connection_names_end_here() {
    let (_sidecar, worker, mut client) = pair();
    let request = format!(
        "GET / HTTP/1.1\r\nConnection: X-Own, keep-alive\r\nHost: a\r\nKeep-Alive: timeout=5\r\nA: 1\r\nx-OWN: 2\r\n\
         Proxy-Connection: keep-alive\r\nUpgrade: h2c\r\nTE: gzip\r\nB: 2\r\nconnection: Other\r\nX-Own: 3\r\n\
         x-fc-request-id: {ID}\r\nother: 4\r\nC: 3\r\n\r\n"
    );
    let (_, received, _) = exchange(&worker, &mut client, &request, &ok(""));
    let expected =
        format!("GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nx-fc-request-id: {ID}\r\nC: 3\r\n\r\n");
    assert_eq!(received, expected);
}

#[test]
fn fc31_connection_cannot_strip_framing_host_or_the_platforms_fields() {
    let (_sidecar, worker, mut client) = pair();
    let connection = "Connection: Content-Length, Host, X-Fc-Request-Id, X-Forwarded-For, Authorization\r\n";
    let rest = format!(
        "Host: a\r\nX-Fc-Request-Id: {ID}\r\nX-Forwarded-For: 1.2.3.4\r\nAuthorization: b\r\nContent-Length: 2\r\n\r\n"
    );
    let request = format!("POST / HTTP/1.1\r\n{connection}{rest}hi");
    let (_, received, _) = exchange(&worker, &mut client, &request, &ok(""));
    assert_eq!(received, format!("POST / HTTP/1.1\r\n{rest}"));
}

#[test]
fn fc31_hop_by_hop_response_fields_and_what_connection_names_end_here() {
    let (_sidecar, worker, mut client) = pair();
    let answer = "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Own\r\nKeep-Alive: timeout=5\r\nA: 1\r\nX-OWN: 2\r\n\
                  Proxy-Connection: x\r\nUpgrade: h2c\r\nContent-Length: 2\r\nB: 2\r\n\r\nhi";
    let (_, _, response) = exchange(&worker, &mut client, &get("/"), answer);
    assert_eq!(response.head, "HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 2\r\nB: 2\r\n\r\n");
    assert_eq!(response.text(), "hi");
}

#[test]
fn a_workers_connection_close_does_not_close_the_clients_connection() {
    let (_sidecar, worker, mut client) = pair();
    for _ in 0..3 {
        let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
        let (_, _, response) = exchange(&worker, &mut client, &get("/"), answer);
        assert_eq!(response.head, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    }
}

#[test]
fn fc32_a_request_id_is_made_in_the_platforms_shape_when_there_is_none() {
    let (_sidecar, worker, mut client) = pair();
    for field in ["", "x-fc-request-id:\r\n"] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{field}A: b\r\n\r\n");
        let (_, received, _) = exchange(
            &worker,
            &mut client,
            &request,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        );
        let lines = received.trim_end().rsplit("\r\n").next().expect("a last line");
        let id = lines.strip_prefix("x-fc-request-id: ").unwrap_or_else(|| panic!("{received}"));
        let parts: Vec<&str> = id.split('-').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [1, 8, 8, 12], "{id}");
        assert_eq!(parts[0], "1");
        assert!(parts.concat().bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{id}");
    }
}

#[test]
fn fc10_head_204_and_304_have_no_body_and_the_connection_goes_on() {
    let (_sidecar, worker, mut client) = pair();
    let head = get("/").replacen("GET", "HEAD", 1);
    let (mut connection, received, _) = {
        client.send(&head);
        let mut connection = worker.accept();
        let received = connection.request().head;
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
        (connection, received, client.head())
    };
    assert_eq!(received, head);
    for (request, answer) in [
        (&head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (&head, "HTTP/1.1 200 OK\r\n\r\n"),
        (&get("/"), "HTTP/1.1 204 No Content\r\n\r\n"),
        (&get("/"), "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"x\"\r\n\r\n"),
        (&get("/"), "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"),
    ] {
        client.send(request);
        assert_eq!(connection.request().head, **request);
        connection.send(answer);
        assert_eq!(client.head(), answer);
    }
    client.send(get("/last"));
    connection.request();
    connection.send(ok("last"));
    assert_eq!(client.response().text(), "last");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let worker = Worker::listen().echo_targets();
    let sidecar = Setup::forward(&[worker.path()]).flag("--concurrency", "8").start();
    let mut client = sidecar.client();
    let mut requests = String::new();
    for number in 0..50 {
        requests.push_str(&if number % 3 == 0 {
            post(&format!("/{number}"), "GET / HTTP/1.1\r\nHost: not-a-request\r\n\r\n")
        } else {
            get(&format!("/{number}"))
        });
    }
    client.send(requests);
    for number in 0..50 {
        assert_eq!(client.response().text(), format!("/{number}"));
    }
}

#[test]
fn more_pipelined_requests_than_a_buffer_holds_are_all_answered() {
    let worker = Worker::listen().echo_targets();
    let sidecar = Setup::forward(&[worker.path()]).flag("--access-log", "off").start();
    let mut client = sidecar.client();
    let requests: String =
        (0..3000).map(|number| post(&format!("/{number}"), &"b".repeat(number % 300))).collect();
    assert!(requests.len() > 5 * (128 << 10));
    let mut sender = client.stream.try_clone().expect("a second handle");
    let sending = std::thread::spawn(move || sender.write_all(requests.as_bytes()));
    for number in 0..3000 {
        assert_eq!(client.response().text(), format!("/{number}"));
    }
    sending.join().expect("no panic").expect("all taken");
}

#[test]
fn an_http_1_0_client_gets_its_answer_and_the_end() {
    let (_sidecar, worker, mut client) = pair();
    client.send(format!("GET / HTTP/1.0\r\nx-fc-request-id: {ID}\r\n\r\n"));
    let mut connection = worker.accept();
    let expected = format!("GET / HTTP/1.1\r\nx-fc-request-id: {ID}\r\nHost: localhost\r\n\r\n");
    assert_eq!(connection.request().head, expected);
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    let (rest, end) = client.rest();
    assert_eq!(
        String::from_utf8_lossy(&rest),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
    );
    assert_eq!(end, End::Clean);
}

#[test]
fn fc10_an_http_1_0_client_may_keep_its_connection_alive() {
    let (_sidecar, worker, mut client) = pair();
    let request =
        format!("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nx-fc-request-id: {ID}\r\n\r\n");
    client.send(&request);
    let mut connection = worker.accept();
    for _ in 0..3 {
        connection.request();
        connection.send(ok("hi"));
        let response = client.response();
        assert_eq!(response.field("connection"), Some("keep-alive"));
        client.send(&request);
    }
}

#[test]
fn an_http_1_0_client_gets_chunks_without_their_framing() {
    let (_sidecar, worker, mut client) = pair();
    client.send(format!(
        "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nx-fc-request-id: {ID}\r\n\r\n"
    ));
    let mut connection = worker.accept();
    connection.request();
    connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n5;x=y\r\nhello\r\n1\r\n");
    let head = client.head();
    assert_eq!(head, "HTTP/1.1 200 OK\r\nA: b\r\nConnection: close\r\n\r\n");
    assert_eq!(client.take(5), b"hello");
    connection.send(" \r\n6\r\nwor");
    assert_eq!(client.take(4), b" wor");
    connection.send("ld!\r\n0\r\nX-Sum: 1\r\n\r\n");
    let (rest, end) = client.rest();
    assert_eq!((rest.as_slice(), end), (&b"ld!"[..], End::Clean));
}

#[test]
fn fc22_an_answer_that_lasts_until_close_becomes_chunks() {
    let (_sidecar, worker, mut client) = pair();
    for version in ["1.0", "1.1"] {
        client.send(get("/"));
        let mut connection = worker.accept();
        connection.request();
        connection.send(format!("HTTP/{version} 200 OK\r\nA: b\r\n\r\nfirst"));
        assert_eq!(client.head(), "HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(client.chunk(), b"first");
        connection.send("second");
        assert_eq!(client.chunk(), b"second");
        drop(connection);
        assert_eq!(client.chunks(), (Vec::new(), String::new()));
    }
}

#[test]
fn an_empty_answer_that_lasts_until_close_is_an_empty_chunked_body() {
    let (_sidecar, worker, mut client) = pair();
    client.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    connection.send("HTTP/1.0 200 OK\r\n\r\n");
    drop(connection);
    assert_eq!(client.response().body, b"");
    let (_, _, response) = exchange(&worker, &mut client, &get("/"), &ok("next"));
    assert_eq!(response.text(), "next");
}

#[test]
fn a_keep_alive_http_1_0_worker_with_a_length_is_asked_again() {
    let (_sidecar, worker, mut client) = pair();
    client.send(get("/"));
    let mut connection = worker.accept();
    for _ in 0..3 {
        connection.request();
        connection.send("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!(client.response().head, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
        client.send(get("/"));
    }
}

#[test]
fn fc21_an_early_answer_arrives_while_the_request_body_is_still_coming() {
    let (_sidecar, worker, mut client) = pair();
    let head =
        format!("POST / HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {ID}\r\nContent-Length: 100000\r\n\r\n");
    client.send(format!("{head}{}", "x".repeat(1000)));
    let mut connection = worker.accept();
    assert_eq!(connection.head(), head);
    connection.send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
    let response = client.response();
    assert_eq!((response.status(), response.text()), (413, "big"));
    assert_eq!(response.field("connection"), None, "the connection stays usable");
    // The rest of the body goes nowhere, and the next request is found behind it.
    client.send("x".repeat(99_000) + &get("/next"));
    let (_, received, response) = exchange(&worker, &mut client, "", &ok("next"));
    assert_eq!((received, response.text()), (get("/next"), "next"));
    let (rest, _) = connection.rest();
    assert!(rest.len() <= 1000, "{} bytes were sent to a worker that had answered", rest.len());
}

#[test]
fn fc09_an_early_answer_to_a_chunked_request_leaves_the_connection_usable() {
    let (_sidecar, worker, mut client) = pair();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    let mut connection = worker.accept();
    connection.head();
    connection.send(ok("early"));
    assert_eq!(client.response().text(), "early");
    client.send("5\r\nGET /\r\n0\r\nTrailer: x\r\n\r\n".to_owned() + &get("/next"));
    let (_, received, response) = exchange(&worker, &mut client, "", &ok("next"));
    assert_eq!((received, response.text()), (get("/next"), "next"));
}

#[test]
fn fc21_an_early_answer_survives_a_worker_that_closes_with_the_body_unread() {
    let (_sidecar, worker, mut client) = pair();
    for round in 0..10 {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n");
        let mut body = client.stream.try_clone().expect("a second handle");
        let sending = std::thread::spawn(move || body.write_all(&vec![b'x'; 3_000_000]));
        let mut connection = worker.accept();
        connection.head();
        connection.take(1000);
        connection.send("HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig");
        drop(connection);
        let response = client.response();
        assert_eq!((response.status(), response.text()), (413, "big"), "round {round}");
        sending.join().expect("no panic").expect("all of the body is taken, and thrown away");
    }
}

#[test]
fn a_body_beyond_what_is_thrown_away_ends_the_connection_after_the_answer() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).set("limits.discard_bytes", "10000").start();
    let mut client = sidecar.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\nx");
    let mut connection = worker.accept();
    connection.head();
    connection.send(ok("early"));
    assert_eq!(client.response().text(), "early");
    client.send(vec![b'x'; 500_000]);
    assert_eq!(client.end(), End::Clean);
}

#[test]
fn interim_answers_in_any_pieces_are_passed_on() {
    let (_sidecar, worker, mut client) = pair();
    client.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    let hints = "HTTP/1.1 103 Early Hints\r\nConnection: x\r\nLink: <a>\r\n\r\n";
    connection.send_singly(format!("{hints}{hints}"));
    connection.send(format!("{hints}HTTP/1.1 200 OK\r\nConte"));
    for _ in 0..3 {
        assert_eq!(client.head(), "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n");
    }
    connection.send("nt-Length: 2\r\n\r\nhi");
    assert_eq!(client.response().text(), "hi");
}

#[test]
fn many_interim_answers_need_no_more_room_than_one() {
    let (_sidecar, worker, mut client) = pair();
    client.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    let hints = format!("HTTP/1.1 103 Early Hints\r\nA: {}\r\n\r\n", "x".repeat(30_000));
    for _ in 0..20 {
        connection.send(&hints);
        assert_eq!(client.head(), hints);
    }
    connection.send(ok("final"));
    assert_eq!(client.response().text(), "final");
}

#[test]
fn a_response_head_in_single_bytes_is_one_head() {
    let (_sidecar, worker, mut client) = pair();
    client.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    connection.send_singly(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
    );
    let response = client.response();
    assert_eq!(response.head, "HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!((response.text(), response.trailers.as_str()), ("hello", "X: y\r\n"));
}

#[test]
fn a_request_in_single_bytes_is_one_request() {
    let (_sidecar, worker, mut client) = pair();
    client.send_singly("\r\n".to_owned() + &post("/", "hello"));
    let mut connection = worker.accept();
    let request = connection.request();
    assert_eq!(request.head.trim_start().to_owned() + "hello", post("/", "hello"));
    assert_eq!(request.body, b"hello");
    connection.send(ok(""));
    assert_eq!(client.response().status(), 200);
}

#[test]
fn empty_lines_before_a_request_do_not_reach_the_worker() {
    let (_sidecar, worker, mut client) = pair();
    let (_, received, _) = exchange(&worker, &mut client, &format!("\r\n\r\n{}", get("/")), &ok(""));
    assert_eq!(received, get("/"));
}

#[test]
fn heads_of_sixty_kib_pass_both_ways() {
    let (_sidecar, worker, mut client) = pair();
    let fields: String =
        (0..60).map(|number| format!("X-Field-{number}: {}\r\n", "v".repeat(1000))).collect();
    let request =
        get("/").replacen("Host: a\r\n", &format!("Host: a\r\nConnection: gone\r\ngone: x\r\n{fields}"), 1);
    let answer =
        format!("HTTP/1.1 200 OK\r\nConnection: gone\r\nGone: x\r\n{fields}Content-Length: 2\r\n\r\nhi");
    let (_, received, response) = exchange(&worker, &mut client, &request, &answer);
    assert_eq!(received, get("/").replacen("Host: a\r\n", &format!("Host: a\r\n{fields}"), 1));
    assert_eq!(response.head, format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\n"));
    assert_eq!(response.text(), "hi");
}

#[test]
fn fc10_trailers_pass_both_ways() {
    let (_sidecar, worker, mut client) = pair();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTrailer: X-Sum\r\nx-fc-request-id: {ID}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    client.send(head.replacen("Host: a\r\n", "Host: a\r\nConnection: TE\r\nTE: trailers\r\n", 1));
    let body = "3;ext=\"v\"\r\nabc\r\n00002\r\nde\r\n0\r\nX-Sum: 5\r\nx-empty:\r\n\r\n";
    client.send(body);
    let mut connection = worker.accept();
    assert_eq!(connection.head(), head.replacen("\r\n\r\n", "\r\nTE: trailers\r\nConnection: TE\r\n\r\n", 1));
    assert_eq!(
        String::from_utf8(connection.take(body.len())).expect("text"),
        body,
        "chunks pass as they are"
    );
    let answer = "HTTP/1.1 200 OK\r\nTrailer: grpc-status\r\nTransfer-Encoding: chunked\r\n\r\n";
    connection.send(format!("{answer}2\r\nhi\r\n0\r\ngrpc-status: 0\r\nGrpc-Message: \r\n\r\n"));
    let response = client.response();
    assert_eq!(response.head, answer);
    assert_eq!((response.text(), response.trailers.as_str()), ("hi", "grpc-status: 0\r\nGrpc-Message: \r\n"));
}

#[test]
fn fc10_interim_answers_pass_before_the_final_one() {
    let (_sidecar, worker, mut client) = pair();
    client.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    connection.send(hints);
    assert_eq!(client.head(), hints);
    connection.send(format!("{hints}HTTP/1.1 100 Continue\r\n\r\n{hints}{}", ok("final")));
    for expected in [hints, "HTTP/1.1 100 Continue\r\n\r\n", hints] {
        assert_eq!(client.head(), expected);
    }
    assert_eq!(client.response().text(), "final");
    client.send(get("/next"));
    assert_eq!(connection.request().target(), "/next");
    connection.send(ok("next"));
    assert_eq!(client.response().text(), "next");
}

#[test]
fn an_http_1_0_client_gets_no_interim_answers() {
    let (_sidecar, worker, mut client) = pair();
    client.send("GET / HTTP/1.0\r\n\r\n");
    let mut connection = worker.accept();
    connection.request();
    connection.send(format!(
        "HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n{}",
        ok("final")
    ));
    assert_eq!(client.response().text(), "final");
}

#[test]
fn fc10_expect_continue_is_the_workers_to_answer() {
    let (_sidecar, worker, mut client) = pair();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nx-fc-request-id: {ID}\r\nContent-Length: 5\r\n\r\n"
    );
    client.send(&head);
    let mut connection = worker.accept();
    assert_eq!(connection.head(), head);
    connection.send("HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello");
    assert_eq!(connection.take(5), b"hello");
    connection.send(ok("done"));
    let response = client.response();
    assert_eq!((response.text(), response.field("connection")), ("done", None));
}

#[test]
fn a_refused_expectation_closes_because_the_body_is_in_doubt() {
    let (_sidecar, worker, mut client) = pair();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let mut connection = worker.accept();
    connection.head();
    connection.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status(), response.field("connection")), (417, Some("close")));
    assert_eq!(client.end(), End::Clean);
}
