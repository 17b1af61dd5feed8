//! Bodies pass as they come, whole, and never pile up.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::support::{End, ID, Setup, Worker, get, noise, ok, settled};

const MIB: usize = 1 << 20;
/// What one exchange may hold: two relay buffers, and what the allocator rounds up.
const GROWTH_MAX: u64 = 8 << 20;

#[test]
fn fc22_each_chunk_leaves_before_the_next_one_comes() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    for head in ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n"] {
        client.send(get("/events"));
        let mut connection = worker.accept();
        connection.request();
        connection.send(head);
        client.head();
        for number in 0..50 {
            let event = format!("data: {number}\n\n");
            connection.send(match head.contains("chunked") {
                true => format!("{:x}\r\n{event}\r\n", event.len()),
                false => event.clone(),
            });
            assert_eq!(client.chunk(), event.as_bytes());
        }
        if head.contains("chunked") {
            connection.send("0\r\n\r\n");
        }
        drop(connection);
        assert_eq!(client.chunks().0, b"");
    }
}

#[test]
fn the_answers_head_leaves_before_its_body_comes() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    client.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
    client.head();
    connection.send("1");
    assert_eq!(client.take(1), b"1");
    connection.send("234");
    assert_eq!(client.take(3), b"234");
}

/// Frames `body` in chunks of many sizes.
fn in_chunks(body: &[u8]) -> Vec<u8> {
    let (mut framed, mut rest, mut size) = (Vec::with_capacity(body.len() + body.len() / 64), body, 1);
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(rest.len().min(size));
        framed.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
        rest = behind;
        size = size * 3 % 100_003;
    }
    framed.extend_from_slice(b"0\r\n\r\n");
    framed
}

fn thirty_two_mib_both_ways(framing: &str, frame: fn(&[u8]) -> Vec<u8>) {
    let worker = Worker::listen();
    let body = noise(32 * MIB);
    let head = |start: &str| format!("{start}\r\n{framing}\r\n\r\n");
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    let (upload, answer) = (frame(&body), head("HTTP/1.1 200 OK").into_bytes());
    let mut sender = client.stream.try_clone().expect("a second handle");
    let request = head(&format!("POST / HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {ID}"));
    let (upload, answer, request, body) = (&upload, &answer, &request, &body);
    thread::scope(|scope| {
        scope.spawn(move || {
            sender.write_all(request.as_bytes()).expect("sent");
            sender.write_all(upload).expect("sent");
        });
        scope.spawn(move || {
            let mut connection = worker.accept();
            let received = connection.request();
            assert_eq!(received.head, *request);
            assert!(received.body == *body, "the upload arrived changed");
            connection.send(answer);
            connection.send(upload);
            connection.end();
        });
        let response = client.response();
        assert!(response.body == *body, "the download arrived changed");
        drop(sidecar);
    });
}

#[test]
fn fc12_thirty_two_mib_with_a_length_arrive_whole_both_ways() {
    thirty_two_mib_both_ways("Content-Length: 33554432", <[u8]>::to_vec);
}

#[test]
fn fc12_thirty_two_mib_in_chunks_arrive_whole_both_ways() {
    thirty_two_mib_both_ways("Transfer-Encoding: chunked", in_chunks);
}

#[test]
fn thirty_two_mib_until_close_arrive_whole_in_chunks() {
    let (worker, body) = (Worker::listen(), noise(32 * MIB));
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    client.send(get("/"));
    thread::scope(|scope| {
        let body = &body;
        scope.spawn(move || {
            let mut connection = worker.accept();
            connection.request();
            connection.send("HTTP/1.0 200 OK\r\n\r\n");
            connection.send(body);
        });
        assert!(client.response().body == *body, "the download arrived changed");
    });
}

#[test]
fn thirty_two_mib_of_chunks_arrive_whole_at_an_http_1_0_client() {
    let (worker, body) = (Worker::listen(), noise(32 * MIB));
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    client.send("GET / HTTP/1.0\r\n\r\n");
    thread::scope(|scope| {
        let body = &body;
        scope.spawn(move || {
            let mut connection = worker.accept();
            connection.request();
            connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            connection.send(in_chunks(body));
            connection.end();
        });
        client.head();
        assert!(client.rest() == (body.clone(), End::Clean), "the download arrived changed");
        drop(sidecar);
    });
}

#[test]
fn a_worker_may_answer_while_it_reads() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    client.send(format!(
        "POST /echo HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {ID}\r\nTransfer-Encoding: chunked\r\n\r\n"
    ));
    let mut connection = worker.accept();
    connection.head();
    connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.head();
    for size in [1, 10, 1000, 70_000, 3] {
        let chunk = format!("{size:x}\r\n{}\r\n", "e".repeat(size));
        client.send(&chunk);
        let echoed = connection.take(chunk.len());
        connection.send(echoed);
        assert_eq!(client.chunk().len(), size);
    }
    client.send("0\r\n\r\n");
    assert_eq!(connection.take(5), b"0\r\n\r\n");
    connection.send("0\r\n\r\n");
    assert_eq!(client.chunks().0, b"");
    client.send(get("/next"));
    assert_eq!(connection.request().target(), "/next");
    connection.send(ok(""));
    assert_eq!(client.response().status(), 200);
}

#[test]
fn fc12_a_reader_that_stops_stops_the_worker_and_costs_no_memory() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let before = sidecar.rss();
    let mut client = sidecar.client();
    client.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 268435456\r\n\r\n");
    client.head();
    let written = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&written);
    let writing = thread::spawn(move || {
        let block = [b'x'; 64 << 10];
        while let Ok(count) = connection.stream.write(&block) {
            counter.fetch_add(count as u64, Ordering::SeqCst);
        }
    });
    let stuck = settled("the worker stops", || written.load(Ordering::SeqCst));
    assert!(stuck < 64 << 20, "{stuck} bytes were taken from the worker for a reader that reads nothing");
    let growth = sidecar.rss().saturating_sub(before);
    assert!(growth < GROWTH_MAX, "grew by {growth} bytes");
    // It goes on where it stopped.
    assert!(client.take(16 * MIB).iter().all(|&byte| byte == b'x'));
    assert!(settled("the worker stops again", || written.load(Ordering::SeqCst)) > stuck);
    drop(sidecar);
    writing.join().expect("no panic");
}

#[test]
fn a_worker_that_stops_reading_stops_the_client_and_costs_no_memory() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let before = sidecar.rss();
    let mut client = sidecar.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 268435456\r\n\r\n");
    let mut connection = worker.accept();
    connection.head();
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    let mut sender = client.stream.try_clone().expect("a second handle");
    let sending = thread::spawn(move || {
        let block = [b'x'; 64 << 10];
        while let Ok(count) = sender.write(&block) {
            counter.fetch_add(count as u64, Ordering::SeqCst);
        }
    });
    let stuck = settled("the client stops", || sent.load(Ordering::SeqCst));
    assert!(stuck < 64 << 20, "{stuck} bytes were taken for a worker that reads nothing");
    let growth = sidecar.rss().saturating_sub(before);
    assert!(growth < GROWTH_MAX, "grew by {growth} bytes");
    let mut block = vec![0; 16 * MIB];
    connection.stream.read_exact(&mut block[..1]).expect("bytes");
    connection.stream.read_exact(&mut block).expect("bytes");
    assert!(settled("the client stops again", || sent.load(Ordering::SeqCst)) > stuck);
    drop(sidecar);
    sending.join().expect("no panic");
}
