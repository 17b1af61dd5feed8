//! Connections outlive requests, on both sides, and end only for a reason.

use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::support::{Client, Connection, End, Setup, Sidecar, Worker, eventually, get, ok, post};

/// How soon a worker must learn that its client left.
const CANCEL_MAX: Duration = Duration::from_millis(100);

#[test]
fn fc07_many_requests_on_one_connection_use_one_worker_connection() {
    thousand_requests(1_000);
}

#[test]
#[ignore = "own command: cargo test --release -- --ignored one_million"]
fn fc07_one_million_requests_on_one_connection_use_one_worker_connection() {
    thousand_requests(1_000_000);
}

fn thousand_requests(count: usize) {
    let worker = Worker::listen().echo_targets();
    let sidecar = Setup::forward(&[worker.path()]).flag("--access-log", "off").start();
    let mut client = sidecar.client();
    let (mut before, first) = (0, get("/0"));
    client.ask(&first);
    for number in 1..count {
        let target = format!("/{number}");
        let response = client.ask(if number % 2 == 0 { get(&target) } else { post(&target, "body") });
        assert_eq!(response.text(), target);
        assert_eq!(response.field("connection"), None);
        if number == count / 2 {
            before = sidecar.fds();
        }
    }
    assert_eq!(worker.connections(), 1);
    assert_eq!(sidecar.fds(), before);
}

#[test]
fn requests_of_different_clients_share_one_idle_worker_connection() {
    let worker = Worker::listen().echo_targets();
    let sidecar = Setup::forward(&[worker.path()]).flag("--concurrency", "4").start();
    for _ in 0..50 {
        assert_eq!(sidecar.client().ask(get("/x")).text(), "/x");
    }
    assert_eq!(worker.connections(), 1);
}

#[test]
fn the_newest_idle_worker_connection_is_used_first() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).flag("--concurrency", "2").start();
    let (mut one, mut two) = (sidecar.client(), sidecar.client());
    one.send(get("/one"));
    let mut first = worker.accept();
    first.request();
    two.send(get("/two"));
    let mut second = worker.accept();
    second.request();
    second.send(ok(""));
    two.response();
    first.send(ok(""));
    one.response();
    for number in 0..3 {
        one.send(get("/again"));
        assert_eq!(first.request().target(), "/again", "round {number}");
        first.send(ok(""));
        one.response();
    }
    assert!(second.is_silent());
}

#[test]
fn a_worker_that_closes_its_idle_connection_costs_no_post() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    for number in 0..100 {
        let request = post("/", &format!("body {number}"));
        client.send(&request);
        let mut connection = worker.accept();
        let received = connection.request();
        assert_eq!(received.body, format!("body {number}").as_bytes());
        connection.send(ok("done"));
        assert_eq!(client.response().text(), "done", "request {number}");
        // Closed before the next request is sent, and nobody was told.
        drop(connection);
    }
}

#[test]
fn a_worker_that_closes_its_idle_connection_costs_no_large_post() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    for number in 0..20 {
        // One passes through a pipe, the other does not.
        let body = "b".repeat(if number % 2 == 0 { 1 << 20 } else { 100 << 10 });
        let mut sender = client.stream.try_clone().expect("a second handle");
        let request = post("/", &body);
        let sending = thread::spawn(move || std::io::Write::write_all(&mut sender, request.as_bytes()));
        let mut connection = worker.accept();
        assert!(connection.request().body == body.as_bytes(), "request {number}");
        sending.join().expect("no panic").expect("sent");
        connection.send(ok("done"));
        assert_eq!(client.response().text(), "done", "request {number}");
    }
}

#[test]
fn a_worker_that_closes_many_idle_connections_at_once_costs_no_post() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).flag("--concurrency", "16").start();
    for _ in 0..5 {
        let mut pairs: Vec<(Client, Connection)> = Vec::new();
        for _ in 0..16 {
            let mut client = sidecar.client();
            client.send(post("/", "x"));
            let mut connection = worker.accept();
            connection.request();
            pairs.push((client, connection));
        }
        for (client, connection) in &mut pairs {
            connection.send(ok(""));
            assert_eq!(client.response().status(), 200);
        }
        // All sixteen close here; the next request meets every one of them.
    }
}

#[test]
fn fc02_ten_thousand_connects_that_say_nothing_leave_nothing() {
    let worker = Worker::listen().echo_targets();
    let sidecar = Setup::forward(&[worker.path()]).start();
    sidecar.client().ask(get("/"));
    let (before, said) = (sidecar.fds(), sidecar.stderr.all().len());
    for number in 0..10_000 {
        let stream = TcpStream::connect(("127.0.0.1", sidecar.port)).expect("the port accepts");
        if number % 2 == 0 {
            SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a reset on close");
        }
    }
    assert_eq!(sidecar.client().ask(get("/alive")).text(), "/alive");
    eventually("the descriptors are closed", || (sidecar.fds() <= before + 8).then_some(()));
    assert!(sidecar.fds() + 8 >= before);
    assert_eq!(sidecar.stderr.all()[said..], Vec::<String>::new());
    sidecar.stdout.wait_for("GET /alive ");
    assert_eq!(sidecar.stdout.all().len(), 2, "one access line per request");
}

#[test]
fn a_client_that_stops_in_the_middle_of_a_head_leaves_nothing() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    sidecar.fence(1);
    let (before, said) = (sidecar.fds(), sidecar.stderr.all().len());
    for part in ["G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\n", "\r\n"] {
        let mut client = sidecar.client();
        client.send(part);
        client.finish_speaking();
        assert_eq!(client.end(), End::Clean);
    }
    eventually("the descriptors are closed", || (sidecar.fds() <= before).then_some(()));
    assert_eq!(sidecar.stderr.all().len(), said);
    assert!(worker.is_untouched());
}

#[test]
fn idle_connections_hold_no_buffer_whether_they_have_spoken_or_not() {
    let worker = Worker::listen().echo_targets();
    let sidecar = Setup::forward(&[worker.path()]).start();
    sidecar.client().ask(get("/"));
    let before = sidecar.rss();
    let mut clients: Vec<Client> = (0..300).map(|_| sidecar.client()).collect();
    sidecar.fence(1);
    let silent = sidecar.rss().saturating_sub(before);
    assert!(silent < 6 << 20, "300 connections that said nothing cost {silent} bytes");
    for client in &mut clients {
        client.ask(get("/"));
        // Stray line ends are no request.
        client.send("\r\n");
    }
    sidecar.fence(1);
    let spoken = sidecar.rss().saturating_sub(before);
    assert!(spoken < 6 << 20, "300 connections that wait for their next request cost {spoken} bytes");
}

/// The next final answer; a client may be asked by `100 Continue` whether it is still there.
fn final_response(client: &mut Client) -> crate::support::Response {
    loop {
        let response = client.response();
        if response.status() >= 200 {
            return response;
        }
        assert_eq!(response.head, "HTTP/1.1 100 Continue\r\n\r\n");
    }
}

#[test]
fn a_half_closed_client_gets_its_answer_from_a_fast_worker() {
    let worker = Worker::listen().echo_targets();
    let sidecar = Setup::forward(&[worker.path()]).start();
    for number in 0..20 {
        let target = format!("/{number}");
        let mut client = sidecar.client();
        client.send(if number % 2 == 0 { get(&target) } else { post(&target, "x") });
        client.finish_speaking();
        assert_eq!(final_response(&mut client).text(), target);
        assert_eq!(client.end(), End::Clean);
    }
}

#[test]
fn a_half_closed_client_gets_its_answer_from_a_slow_worker() {
    let worker = Worker::listen().serve(|connection| {
        while let Some(request) = connection.next_request() {
            thread::sleep(Duration::from_millis(300));
            connection.send(ok(request.target()));
        }
    });
    let sidecar = Setup::forward(&[worker.path()]).flag("--concurrency", "4").start();
    let clients: Vec<Client> = [get("/a"), post("/b", "x"), "GET /c HTTP/1.0\r\n\r\n".to_owned()]
        .iter()
        .map(|request| {
            let mut client = sidecar.client();
            client.send(request);
            client.finish_speaking();
            client
        })
        .collect();
    for (mut client, target) in clients.into_iter().zip(["/a", "/b", "/c"]) {
        assert_eq!(final_response(&mut client).text(), target);
        assert_eq!(client.end(), End::Clean);
    }
}

#[test]
fn a_half_closed_client_gets_an_answer_that_comes_in_parts() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    client.send(get("/"));
    client.finish_speaking();
    let mut connection = worker.accept();
    connection.request();
    connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    let head = client.head();
    if head.starts_with("HTTP/1.1 100") {
        client.head();
    }
    for part in ["a", "b", "c"] {
        connection.send(format!("1\r\n{part}\r\n"));
        assert_eq!(client.chunk(), part.as_bytes());
    }
    connection.send("0\r\n\r\n");
    assert_eq!(client.chunks().0, b"");
    assert_eq!(client.end(), End::Clean);
}

/// How long after the client's close the worker sees the end. `begin` is what the worker
/// has said by then. Others must not notice.
fn cancel(sidecar: &Sidecar, worker: &Worker, begin: &str) -> Duration {
    let mut client = sidecar.client();
    client.send(get("/slow"));
    let mut connection = worker.accept();
    connection.request();
    if !begin.is_empty() {
        connection.send(begin);
        let head = client.head();
        assert!(begin.starts_with(&head));
        client.take(begin.len() - head.len());
    }
    let began = Instant::now();
    drop(client);
    connection.end();
    began.elapsed()
}

fn a_close_reaches_the_worker(begin: &str) {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).flag("--concurrency", "2").start();
    let mut other = sidecar.client();
    other.send(get("/other"));
    let mut busy = worker.accept();
    busy.request();
    // One slot is left: each round needs the slot of the round before.
    let mut times: Vec<Duration> = (0..5).map(|_| cancel(&sidecar, &worker, begin)).collect();
    times.sort();
    assert!(times[2] < CANCEL_MAX, "{times:?}");
    busy.send(ok("untouched"));
    assert_eq!(other.response().text(), "untouched");
    sidecar.stdout.wait_for_count("outcome=client_gone", 5);
}

#[test]
fn fc25_a_client_that_leaves_before_the_answer_ends_its_request_at_once() {
    a_close_reaches_the_worker("");
}

#[test]
fn fc25_a_client_that_leaves_a_stream_of_events_ends_its_request_at_once() {
    a_close_reaches_the_worker("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n");
}

#[test]
fn a_client_that_leaves_an_answer_with_a_length_ends_its_request_at_once() {
    a_close_reaches_the_worker("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
}

#[test]
fn a_client_that_leaves_a_flowing_answer_ends_its_request_at_once() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    client.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    let (sender, ended) = channel();
    thread::spawn(move || {
        use std::io::Write as _;
        connection.send("HTTP/1.1 200 OK\r\n\r\n");
        while connection.stream.write_all(&[b'x'; 4096]).is_ok() {}
        // The test may be over already.
        let _ = sender.send(Instant::now());
    });
    client.head();
    client.take(1 << 20);
    let began = Instant::now();
    drop(client);
    let end = ended.recv_timeout(crate::support::GUARD).expect("the worker learns of it");
    assert!(end.duration_since(began) < Duration::from_secs(1));
    let mut next = sidecar.client();
    next.send(get("/next"));
    let mut connection = worker.accept();
    connection.request();
    connection.send(ok("next"));
    assert_eq!(next.response().text(), "next");
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_body_ends_its_request() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhello");
    let mut connection = worker.accept();
    connection.head();
    assert_eq!(connection.take(5), b"hello");
    drop(client);
    connection.end();
    sidecar.stdout.wait_for("outcome=client_gone");
}

#[test]
fn what_is_read_of_a_body_for_one_try_is_there_for_the_next() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    // More than is read with a head, less than a kernel makes two packets of on loopback.
    let body = "b".repeat(24 << 10);
    for number in 0..10 {
        let mut client = sidecar.client();
        client.send(format!(
            "GET /{number} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        // A reset with bytes unread: nobody executed it, and a GET is asked again.
        worker.hang_up_unread();
        let mut connection = worker.accept();
        assert!(connection.request().body == body.as_bytes(), "request {number}");
        connection.send(ok("done"));
        assert_eq!(client.response().text(), "done", "request {number}");
    }
}
