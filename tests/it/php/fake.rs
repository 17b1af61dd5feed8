//! What php-fpm never does, and something else that listens at its socket may.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use tempfile::TempDir;

use crate::support::{GUARD, ID, Setup, Sidecar, get, post};

/// Something that listens where php-fpm should, played by the test itself.
struct Fake {
    listener: UnixListener,
    dir: TempDir,
}

impl Fake {
    fn start() -> (Self, Sidecar) {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("index.php"), "<?php").expect("written");
        let path = dir.path().join("fake.sock");
        let fake = Self { listener: UnixListener::bind(&path).expect("a socket"), dir };
        let setup = Setup::forward(&[&path]).set("workers.protocol", "fastcgi");
        let sidecar = setup.set("php.root", fake.dir.path().to_str().expect("UTF-8")).start();
        (fake, sidecar)
    }

    /// The next connection with a request on it, which is read to its end; probes hang up.
    fn accept(&self) -> (UnixStream, Vec<u8>) {
        loop {
            let (mut stream, _) = self.listener.accept().expect("a connection");
            stream.set_read_timeout(Some(GUARD)).expect("a timeout");
            if let Some(body) = next(&mut stream) {
                return (stream, body);
            }
        }
    }
}

/// The body of the next request on `stream`; `None` at its end.
fn next(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut head = [0; 8];
        stream.read_exact(&mut head).ok()?;
        let mut content = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]])) + usize::from(head[6])];
        stream.read_exact(&mut content).expect("the content");
        match (head[1], content.is_empty()) {
            (5, true) => return Some(body),
            (5, false) => body.append(&mut content),
            _ => {}
        }
    }
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = (content.len() as u16).to_be_bytes();
    // With padding, which php-fpm adds too.
    [&[1, kind, 0, 1, high, low, 3, 0], content, &[0; 3]].concat()
}

fn out(text: &str) -> Vec<u8> {
    record(6, text.as_bytes())
}

fn end(status: u8) -> Vec<u8> {
    record(3, &[0, 0, 0, 0, status, 0, 0, 0])
}

#[test]
fn an_answer_in_single_bytes_is_the_same_answer() {
    let (fake, sidecar) = Fake::start();
    let mut client = sidecar.client();
    client.send(post("/a", "body"));
    let (mut stream, body) = fake.accept();
    assert_eq!(body, b"body");
    let answer =
        [out("Status: 201 Made\r\nA: b\r"), out("\n\r\nhel"), record(7, b"careful"), out("lo"), end(0)]
            .concat();
    for byte in answer {
        stream.write_all(&[byte]).unwrap();
    }
    let answer = client.response();
    assert_eq!((answer.status(), answer.text(), answer.field("a")), (201, "hello", Some("b")));
    let line = sidecar.stderr.wait_for("careful");
    assert!(line.contains(&format!("{ID} [w1] careful")), "{line}");
    // And the connection goes on.
    client.send(get("/b"));
    assert_eq!(next(&mut stream), Some(Vec::new()));
    stream.write_all(&[out("\r\nsecond"), end(0)].concat()).unwrap();
    let second = client.response();
    assert_eq!((second.text(), second.field("content-length")), ("second", Some("6")), "its length is known");
}

#[test]
fn what_is_no_answer_is_said_to_be_none() {
    for (said, status, reason) in [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), 502, "php-record"),
        (record(1, b"x"), 502, "php-record"),
        (end(0), 502, "php-head"),
        ([out("A: b\r\n"), end(0)].concat(), 502, "php-head"),
        ([out("no field\r\n\r\n"), end(0)].concat(), 502, "php-head"),
        ([out("Status: 200\r\nStatus: 404\r\n\r\n"), end(0)].concat(), 502, "php-head"),
        (out(&format!("A: {}\r\n", "x".repeat(60_000))).repeat(2), 502, "php-head"),
        (end(3), 502, "php-role"),
        ([out("Content-Length: 9\r\n\r\nhello"), end(0)].concat(), 502, "php-length"),
    ] {
        let (fake, sidecar) = Fake::start();
        let mut client = sidecar.client();
        client.send(post("/", "x"));
        let (mut stream, _) = fake.accept();
        stream.write_all(&said).unwrap();
        match client.outcome() {
            Ok(answer) => {
                assert_eq!(
                    (answer.status(), answer.field("x-warmfront-reason")),
                    (status, Some(reason)),
                    "{said:?}"
                );
            }
            // Its head was good, and had left.
            Err(_) => assert_eq!(reason, "php-length"),
        }
    }
}

#[test]
fn a_connection_that_ends_before_its_answer_is_a_worker_that_closed() {
    let (fake, sidecar) = Fake::start();
    let mut client = sidecar.client();
    client.send(post("/", "x"));
    let (mut stream, _) = fake.accept();
    stream.write_all(&out("Status: 200 OK\r\n")).unwrap();
    drop(stream);
    let answer = client.response();
    assert_eq!((answer.status(), answer.field("x-warmfront-reason")), (502, Some("worker-closed")));
}

#[test]
fn an_answer_that_is_cut_looks_cut() {
    let (fake, sidecar) = Fake::start();
    let mut client = sidecar.client();
    client.send(get("/"));
    let (mut stream, _) = fake.accept();
    stream.write_all(&out("A: b\r\n\r\nhello")).unwrap();
    client.head();
    assert_eq!(client.chunk(), b"hello");
    drop(stream);
    client.end();
    sidecar.stdout.wait_for("outcome=aborted");
}

#[test]
fn a_request_that_was_turned_away_is_sent_again() {
    let (fake, sidecar) = Fake::start();
    let mut client = sidecar.client();
    client.send(post("/", "body"));
    for _ in 0..2 {
        let (mut stream, body) = fake.accept();
        assert_eq!(body, b"body");
        stream.write_all(&end(2)).unwrap();
    }
    let (mut stream, body) = fake.accept();
    assert_eq!(body, b"body");
    stream.write_all(&[out("\r\nat last"), end(0)].concat()).unwrap();
    assert_eq!(client.response().text(), "at last");
}

#[test]
fn whoever_never_has_room_is_overloaded() {
    let (fake, sidecar) = Fake::start();
    let mut client = sidecar.client();
    client.send(post("/", "body"));
    for _ in 0..5 {
        fake.accept().0.write_all(&end(2)).unwrap();
    }
    let answer = client.response();
    assert_eq!((answer.status(), answer.field("x-warmfront-reason")), (503, Some("php-overloaded")));
}

#[test]
fn a_connection_whose_answer_has_not_ended_carries_no_other_request() {
    let (fake, sidecar) = Fake::start();
    let mut client = sidecar.client();
    client.send(get("/"));
    let (mut stream, _) = fake.accept();
    stream.write_all(&out("Content-Length: 5\r\n\r\nhello")).unwrap();
    assert_eq!(client.response().text(), "hello", "its end is not waited for");
    client.send(get("/"));
    let (mut other, _) = fake.accept();
    assert_eq!(next(&mut stream), None, "it was given up");
    other.write_all(&[out("\r\n"), end(0)].concat()).unwrap();
    assert_eq!(client.response().text(), "");
}
