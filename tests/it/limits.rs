//! What one client may cost where anybody can connect: the limits of `configs/edge.toml`.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::support::{End, ID, Setup, Sidecar, Worker, eventually, get, noise, ok, post, settled};

const SOON: Duration = Duration::from_millis(300);

fn limited(worker: &Worker, limits: &[(&str, &str)]) -> Sidecar {
    limits.iter().fold(Setup::forward(&[worker.path()]), |setup, (key, value)| setup.set(key, value)).start()
}

#[test]
fn a_head_that_does_not_come_to_an_end_is_told_so_in_time() {
    let worker = Worker::listen();
    let sidecar = limited(&worker, &[("limits.head_timeout", "300ms")]);
    let (mut client, began) = (sidecar.client(), Instant::now());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n");
    let response = client.response();
    assert!(began.elapsed() >= SOON, "{:?}", began.elapsed());
    assert_eq!(response.status(), 408);
    assert_eq!(response.field("x-warmfront-reason"), Some("limits.head_timeout=300ms"));
    assert_eq!(client.end(), End::Clean);
    assert!(worker.is_untouched());
}

#[test]
fn a_slow_body_takes_no_slot_before_it_is_here() {
    let worker = Worker::listen();
    let limits = [("limits.collect_requests", "true"), ("queue.depth", "0"), ("workers.concurrency", "1")];
    let sidecar = limited(&worker, &limits);
    let mut slow: Vec<_> = (0..20).map(|_| sidecar.client()).collect();
    for client in &mut slow {
        client.send(post("/slow", "body").strip_suffix("dy").unwrap());
    }
    sidecar.fence(1);
    // The only slot is free.
    let mut client = sidecar.client();
    client.send(get("/quick"));
    let mut connection = worker.accept();
    assert_eq!(connection.request().target(), "/quick");
    connection.send(ok("quick"));
    assert_eq!(client.response().text(), "quick");
    for client in &mut slow {
        client.send("dy");
        assert_eq!(connection.request().body, b"body");
        connection.send(ok("slow"));
        assert_eq!(client.response().text(), "slow");
    }
}

#[test]
fn of_a_large_body_one_buffer_is_collected_and_the_rest_streams() {
    let worker = Worker::listen();
    let sidecar = limited(&worker, &[("limits.collect_requests", "true")]);
    let body = noise(3 << 20);
    let mut client = sidecar.client();
    let head = format!(
        "POST /up HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {ID}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let (first, rest) = body.split_at(1 << 20);
    client.send(&head);
    client.send(format!("{:x}\r\n", first.len()));
    client.send(first);
    // The worker has it although the end is not here.
    let mut connection = worker.accept();
    assert_eq!(connection.head(), head);
    client.send(format!("\r\n{:x}\r\n", rest.len()));
    let mut stream = client.stream.try_clone().unwrap();
    let sender = std::thread::spawn({
        let rest = rest.to_vec();
        move || stream.write_all(&rest).and_then(|()| stream.write_all(b"\r\n0\r\n\r\n")).unwrap()
    });
    assert!(connection.chunks().0 == body);
    sender.join().unwrap();
    connection.send(ok("whole"));
    assert_eq!(client.response().text(), "whole");
}

#[test]
fn a_client_that_expects_continue_hears_it_from_us_where_no_worker_is_asked_yet() {
    let worker = Worker::listen();
    let sidecar = limited(&worker, &[("limits.collect_requests", "true")]);
    let mut client = sidecar.client();
    client.send(
        post("/", "body")
            .strip_suffix("body")
            .unwrap()
            .replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n"),
    );
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    let mut connection = worker.accept();
    assert_eq!(connection.request().body, b"body");
    connection.send(ok("fine"));
    let response = client.response();
    assert_eq!((response.text(), response.field("connection")), ("fine", None));
}

#[test]
fn a_trickling_body_is_ended_with_408_before_and_while_a_worker_has_it() {
    for collect in ["true", "false"] {
        let worker = Worker::listen();
        let limits = [("limits.collect_requests", collect), ("limits.body_timeout", "300ms")];
        let sidecar = limited(&worker, &limits);
        let mut client = sidecar.client();
        client.send(&post("/", &"x".repeat(5000))[..200]);
        let response = client.response();
        assert_eq!(response.status(), 408, "{collect}");
        assert_eq!(response.field("x-warmfront-reason"), Some("limits.body_timeout=300ms"));
        assert_eq!(client.end(), End::Clean);
        if collect == "true" {
            assert!(worker.is_untouched());
        } else {
            assert_ne!(worker.accept().rest().0.len(), 0, "and hung up");
        }
    }
}

#[test]
fn a_client_that_reads_nothing_frees_its_worker_in_time() {
    let worker = Worker::listen();
    let limits = [("limits.write_timeout", "300ms"), ("workers.concurrency", "1")];
    let sidecar = limited(&worker, &limits);
    let mut client = sidecar.client();
    client.send(get("/large"));
    let mut connection = worker.accept();
    connection.request();
    let body = noise(64 << 20);
    let mut stream = connection.stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body))
    });
    // The worker's writing fails because the sidecar hangs up, not because all was taken.
    assert!(sender.join().unwrap().is_err());
    let line = sidecar.stdout.wait_for("/large");
    assert!(line.contains("limits.write_timeout=300ms") && line.contains("client_gone"), "{line}");
    assert_eq!(client.rest().1, End::Reset);
    let mut other = sidecar.client();
    other.send(get("/next"));
    let mut connection = worker.accept();
    assert_eq!(connection.request().target(), "/next");
}

#[test]
fn an_answer_within_the_send_buffer_frees_its_worker_at_once() {
    let worker = Worker::listen();
    let limits = [
        ("listen.send_buffer", "128KiB"),
        ("workers.concurrency", "1"),
        ("limits.buffer_bytes", "64KiB"),
        ("limits.head_bytes", "64KiB"),
    ];
    let sidecar = limited(&worker, &limits);
    let answer = ok(&"x".repeat(100 << 10));
    let mut readers = Vec::new();
    let mut connection = None;
    for _ in 0..20 {
        // Nobody reads, and yet the one slot comes back each time.
        let mut client = sidecar.client();
        client.send(get("/"));
        let connection = connection.get_or_insert_with(|| worker.accept());
        connection.request();
        connection.send(&answer);
        readers.push(client);
    }
    for mut client in readers {
        assert_eq!(client.response().body.len(), 100 << 10);
    }
}

#[test]
fn an_idle_connection_is_closed_only_when_told_to() {
    let worker = Worker::listen();
    let sidecar = limited(&worker, &[("limits.idle_timeout", "300ms")]);
    let (mut silent, mut client) = (sidecar.client(), sidecar.client());
    client.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    connection.send(ok("one"));
    client.response();
    assert_eq!((client.end(), silent.end()), (End::Clean, End::Clean));
}

#[test]
fn connections_beyond_the_limit_wait_for_a_place_without_a_spin() {
    let worker = Worker::listen();
    let sidecar = limited(&worker, &[("limits.connections", "3")]);
    let mut held: Vec<_> = (0..3).map(|_| sidecar.client()).collect();
    let mut connection = None;
    for client in &mut held {
        client.send(get("/"));
        let connection = connection.get_or_insert_with(|| worker.accept());
        connection.request();
        connection.send(ok("held"));
        client.response();
    }
    let mut late = sidecar.client();
    late.send(get("/late"));
    sidecar.stderr.wait_for("limits.connections=3 is reached; new connections wait until others end");
    let before = sidecar.cpu();
    settled("nothing happens", || u64::from(sidecar.fds() as u32));
    assert!(sidecar.cpu() - before <= 2, "{} ticks while waiting", sidecar.cpu() - before);
    held.pop();
    let connection = connection.as_mut().unwrap();
    assert_eq!(connection.request().target(), "/late");
    connection.send(ok("served"));
    assert_eq!(late.response().text(), "served");
}

#[test]
fn without_descriptors_connections_wait_and_requests_in_flight_go_on() {
    let worker = Worker::listen();
    // Half of the descriptors stay for everything else, workers' connections first.
    let setup = Setup::wrapped(&["prlimit", "--nofile=200:200"]);
    let sidecar = setup.flag("--socket", worker.path().to_str().unwrap()).start_ready();
    let mut clients: Vec<_> = (0..250).map(|_| sidecar.client()).collect();
    clients[0].send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    connection.send(ok("served"));
    assert_eq!(clients[0].response().text(), "served");
    sidecar.stderr.wait_for("is reached; new connections wait");
    let last = clients.len() - 1;
    clients[last].send(get("/last"));
    let mut last = clients.pop().unwrap();
    clients.clear();
    assert_eq!(connection.request().target(), "/last");
    connection.send(ok("last"));
    assert_eq!(last.response().text(), "last");
    eventually("the descriptors are free again", || (sidecar.fds() < 40).then_some(()));
}

#[test]
fn a_body_that_is_announced_too_long_reaches_no_worker() {
    let worker = Worker::listen();
    let sidecar = limited(&worker, &[("limits.body_bytes", "1KiB")]);
    let mut client = sidecar.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n");
    let response = client.response();
    assert_eq!(
        (response.status(), response.field("x-warmfront-reason")),
        (413, Some("limits.body_bytes=1KiB"))
    );
    client.send([b'x'; 1025]);
    assert_eq!(client.end(), End::Clean);
    assert!(worker.is_untouched());

    let mut client = sidecar.client();
    client.send(post("/", &"x".repeat(1024)));
    let mut connection = worker.accept();
    assert_eq!(connection.request().body.len(), 1024);
    connection.send(ok("fits"));
    assert_eq!(client.response().text(), "fits");
}

#[test]
fn chunks_that_become_too_many_are_answered_and_cut_off_at_the_worker() {
    let worker = Worker::listen();
    let sidecar = limited(&worker, &[("limits.body_bytes", "1KiB")]);
    let mut client = sidecar.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n200\r\n");
    client.send([b'x'; 512]);
    let mut connection = worker.accept();
    connection.take_until("xxxx");
    client.send("\r\n300\r\n");
    client.send([b'x'; 768]);
    let response = client.response();
    assert_eq!(
        (response.status(), response.field("x-warmfront-reason")),
        (413, Some("limits.body_bytes=1KiB"))
    );
    let (rest, _) = connection.rest();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "a part must not look whole");
}
