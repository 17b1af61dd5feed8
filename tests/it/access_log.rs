//! One line per request on stdout: who asked, who answered, how long it took.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::time::Instant;

use serde_json::Value;
use socket2::SockRef;

use crate::support::freeze::Freezer;
use crate::support::{Client, Connection, GUARD, ID, Setup, Sidecar, Worker, eventually, get, ok, post};

/// A sidecar that writes its access log as `format`, its worker and a client.
fn pair(format: &str) -> (Sidecar, Worker, Client) {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).flag("--access-log", format).start();
    let client = sidecar.client();
    (sidecar, worker, client)
}

fn serve(worker: &Worker, client: &mut Client, request: &str, answer: &str) {
    client.send(request);
    let mut connection = worker.accept();
    connection.request();
    connection.send(answer);
    client.response();
}

/// `2026-11-20T15:11:00.123Z`.
fn is_utc_date(word: &str) -> bool {
    let shape: String = word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00.000Z"
}

/// The value of `name=` in a text line.
fn value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

#[test]
fn fc34_a_text_line_says_who_what_and_how_long() {
    let (sidecar, worker, mut client) = pair("text");
    let (request, answer) = (post("/a%20b?c=d", "hello"), ok("hi"));
    serve(&worker, &mut client, &request, &answer);
    let line = sidecar.stdout.wait_for(ID);
    let words: Vec<&str> = line.split(' ').collect();
    assert!(is_utc_date(words[0]), "{line}");
    assert_eq!(words[1..5], [ID, "[INFO]", "POST", "/a%20b?c=d"], "{line}");
    assert_eq!(value(&line, "status"), Some("200"));
    assert_eq!(value(&line, "in"), Some(request.len().to_string().as_str()));
    assert_eq!(value(&line, "out"), Some(answer.len().to_string().as_str()));
    assert_eq!((value(&line, "worker"), value(&line, "start")), (Some("1"), Some("warm")));
    assert_eq!(value(&line, "outcome"), Some("served"));
    let time =
        |name| value(&line, name).and_then(|it| it.parse::<f64>().ok()).unwrap_or_else(|| panic!("{line}"));
    let times = ["queue_ms", "connect_ms", "first_byte_ms", "total_ms"].map(time);
    assert!(times.iter().all(|&it| (0.0..10_000.0).contains(&it)) && times[2] <= times[3], "{line}");
}

#[test]
fn a_json_line_is_one_object_behind_the_date() {
    let (sidecar, worker, mut client) = pair("json");
    serve(&worker, &mut client, &get("/a\"b"), "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    let line = sidecar.stdout.wait_for(ID);
    let (date, json) = line.split_once(' ').expect("two parts");
    assert!(is_utc_date(date), "{line}");
    let record: Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(record["id"], ID);
    assert_eq!((&record["method"], &record["target"]), (&"GET".into(), &"/a\\x22b".into()));
    assert_eq!((&record["status"], &record["worker"]), (&404.into(), &1.into()));
    assert_eq!((&record["start"], &record["outcome"]), (&"warm".into(), &"served".into()));
    for name in ["queue_ms", "connect_ms", "first_byte_ms", "total_ms"] {
        assert!(record[name].is_number(), "{name}: {line}");
    }
}

#[test]
fn a_request_that_waited_for_the_first_worker_is_cold_and_the_next_one_warm() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("late.sock");
    let sidecar = Setup::forward(&[&path]).start_cold();
    let mut client = sidecar.client();
    client.send(get("/first"));
    sidecar.fence(1);
    let worker = Worker::listen_at(&path).echo_targets();
    client.response();
    client.ask(get("/second"));
    assert_eq!(value(&sidecar.stdout.wait_for("/first"), "start"), Some("cold"));
    assert_eq!(value(&sidecar.stdout.wait_for("/second"), "start"), Some("warm"));
    assert_eq!(worker.connections(), 1);
}

#[test]
fn fc34_the_line_is_written_before_the_last_byte_of_the_answer_leaves() {
    let (sidecar, worker, mut client) = pair("text");
    client.send(get("/"));
    let mut connection = worker.accept();
    for number in 0..50 {
        connection.request();
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n");
        client.head();
        client.chunk();
        connection.send("0\r\n\r\n");
        client.chunks();
        // Frozen right here, as the platform may do.
        sidecar.signal("STOP");
        sidecar.stdout.wait_for_count("outcome=served", number + 1);
        sidecar.signal("CONT");
        client.send(get("/"));
    }
}

/// So many requests that `worker` has and did not answer yet.
fn in_flight(sidecar: &Sidecar, worker: &Worker, count: usize) -> (Vec<Client>, Vec<Connection>) {
    let ask = |number| {
        let mut client = sidecar.client();
        client.send(get(&format!("/{number}")));
        let mut connection = worker.accept();
        connection.request();
        (client, connection)
    };
    (0..count).map(ask).unzip()
}

#[test]
fn fc34_the_last_one_in_flight_writes_the_lines_of_all_before_its_last_byte() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()])
        .flag("--threads", "2")
        .flag("--concurrency", "9")
        .flag("--access-log", "text")
        .start();
    let (mut clients, mut connections) = in_flight(&sidecar, &worker, 9);
    for round in 1..=30 {
        connections.iter_mut().for_each(|connection| connection.send(ok("done")));
        clients.iter_mut().for_each(|client| drop(client.response()));
        // Frozen right here, as the platform may do.
        sidecar.signal("STOP");
        sidecar.stdout.wait_for_count("outcome=served", 9 * round);
        sidecar.signal("CONT");
        clients.iter_mut().for_each(|client| client.send(get("/")));
        connections.iter_mut().for_each(|connection| drop(connection.request()));
    }
}

#[test]
fn a_line_waits_for_nobody_who_is_in_flight() {
    let worker = Worker::listen();
    let setup = Setup::forward(&[worker.path()]).flag("--concurrency", "2").flag("--access-log", "text");
    let sidecar = setup.start();
    let (_clients, mut connections) = in_flight(&sidecar, &worker, 2);
    connections[1].send(ok("done"));
    sidecar.stdout.wait_for("GET /1 ");
    assert!(sidecar.stdout.all().len() == 1, "the other one is in flight");
}

#[test]
fn lines_of_requests_that_end_together_leave_in_one_write() {
    let worker = Worker::listen();
    // Each datagram is one write.
    let (ours, theirs) = UnixDatagram::pair().expect("sockets");
    ours.set_read_timeout(Some(GUARD)).expect("a timeout");
    let sidecar = Setup::forward(&[worker.path()])
        .stdout(OwnedFd::from(theirs))
        .flag("--concurrency", "9")
        .flag("--threads", "1")
        .flag("--access-log", "text")
        .start();
    let (mut clients, mut connections) = in_flight(&sidecar, &worker, 9);
    let freezer = Freezer::signals(&[sidecar.pid()]);
    freezer.freeze();
    connections[1..].iter_mut().for_each(|connection| connection.send(ok("done")));
    freezer.thaw();
    let written = || {
        let mut buffer = [0; 64 << 10];
        let length = ours.recv(&mut buffer).expect("a write");
        String::from_utf8(buffer[..length].to_vec()).expect("text")
    };
    let lines = written();
    assert_eq!((lines.matches("outcome=served").count(), lines.lines().count()), (8, 8), "{lines}");
    assert!(lines.ends_with('\n') && lines.lines().all(|line| is_utc_date(&line[..24])), "{lines}");
    clients[1..].iter_mut().for_each(|client| drop(client.response()));
    // The last one leaves alone.
    connections[0].send(ok("done"));
    assert_eq!(written().lines().count(), 1);
    clients[0].response();
}

#[test]
fn requests_are_answered_while_nobody_takes_our_lines_and_the_loss_is_counted() {
    let worker = Worker::listen().echo_targets();
    let (_ours, theirs) = UnixDatagram::pair().expect("sockets");
    theirs.set_nonblocking(true).expect("non-blocking");
    SockRef::from(&theirs).set_send_buffer_size(4 << 10).expect("a small buffer");
    let sidecar =
        Setup::forward(&[worker.path()]).stdout(OwnedFd::from(theirs)).flag("--access-log", "text").start();
    let mut client = sidecar.client();
    (0..100).for_each(|_| assert_eq!(client.ask(get("/")).status(), 200));
    sidecar.signal("USR1");
    let counted = sidecar.stderr.wait_for("lines_lost=");
    assert_ne!(value(&counted, "lines_lost"), Some("0"), "{counted}");
}

/// Asks for `/0` to `/63`, each with an id of its own, and returns what stdout has of it in the end.
fn lines_of_64(settings: &[(&str, &str)]) -> Vec<String> {
    let worker = Worker::listen().echo_targets();
    let setup = Setup::forward(&[worker.path()]).flag("--access-log", "text");
    let mut sidecar = settings.iter().fold(setup, |setup, (key, value)| setup.set(key, value)).start();
    let mut client = sidecar.client();
    for number in 0..64 {
        client.ask(format!("GET /{number} HTTP/1.1\r\nHost: a\r\nx-fc-request-id: id-{number}\r\n\r\n"));
    }
    sidecar.fence(1);
    sidecar.signal("TERM");
    sidecar.wait_exit();
    sidecar.stdout.until_closed()
}

#[test]
fn a_sample_has_the_same_requests_in_every_process_and_every_failure() {
    let targets = |lines: Vec<String>| -> Vec<String> {
        lines.iter().filter_map(|line| Some(line.split(' ').nth(4)?.to_owned())).collect()
    };
    let (once, again) = ([("log.sample", "8")], [("log.sample", "8"), ("threads", "2")]);
    let (once, again) = (targets(lines_of_64(&once)), targets(lines_of_64(&again)));
    assert_eq!(once, again);
    // Of the requests some, and the one that was malformed.
    assert!((2..32).contains(&once.len()) && once.last().is_some_and(|target| target == "-"), "{once:?}");
    assert_eq!(targets(lines_of_64(&[("log.sample", "0")])), ["-"]);
}

#[test]
fn told_what_is_slow_only_what_is_or_failed_has_a_line() {
    let lines = lines_of_64(&[("log.slow", "24h")]);
    assert!(lines.len() == 1 && lines[0].contains("status=400"), "{lines:?}");
    let worker = Worker::listen();
    let setup = Setup::forward(&[worker.path()]).flag("--access-log", "text").set("log.slow", "1ms");
    let sidecar = setup.start();
    let (mut clients, mut connections) = in_flight(&sidecar, &worker, 1);
    let began = Instant::now();
    eventually("the passing of two milliseconds", || (began.elapsed().as_millis() >= 2).then_some(()));
    connections[0].send(ok("done"));
    clients[0].response();
    let line = sidecar.stdout.wait_for("GET /0 ");
    assert!(value(&line, "total_ms").and_then(|ms| ms.parse::<f64>().ok()) >= Some(1.0), "{line}");
}

#[test]
fn every_ending_has_its_line() {
    let (sidecar, worker, mut client) = pair("text");
    client.send(get("/fails"));
    let mut connection = worker.accept();
    connection.request();
    drop(connection);
    client.response();
    let line = sidecar.stdout.wait_for("/fails");
    assert_eq!((value(&line, "status"), value(&line, "outcome")), (Some("502"), Some("local")));
    assert_eq!(value(&line, "reason"), Some("\"worker-closed\""));
    client.send(get("/cut"));
    let mut connection = worker.accept();
    connection.request();
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    client.head();
    drop(connection);
    client.rest();
    let line = sidecar.stdout.wait_for("/cut");
    assert_eq!((value(&line, "status"), value(&line, "outcome")), (Some("200"), Some("aborted")));
    let mut client = sidecar.client();
    client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n");
    let line = sidecar.stdout.wait_for("request-head");
    assert_eq!((value(&line, "status"), value(&line, "outcome")), (Some("400"), Some("local")));
}

#[test]
fn switched_off_nothing_is_printed() {
    let (mut sidecar, worker, mut client) = pair("off");
    serve(&worker, &mut client, &get("/"), &ok(""));
    client.ask("bad\r\n\r\n");
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait_exit(), 0);
    assert_eq!(sidecar.stdout.until_closed(), Vec::<String>::new());
}

#[test]
fn fc34_no_request_can_forge_a_line() {
    let (sidecar, worker, mut client) = pair("text");
    let forged =
        "GET /x%0d%0aFC HTTP/1.1\r\nHost: a\r\nx-fc-request-id: 1 FC\tInvoke\r\nConnection: close\r\n\r\n";
    serve(&worker, &mut client, forged, &ok(""));
    let line = sidecar.stdout.wait_for("/x%0d%0aFC");
    assert_eq!(line.split(' ').nth(1), Some("1?FC?Invoke"), "{line}");
}

#[test]
fn credentials_and_bodies_never_appear_in_any_line() {
    let worker = Worker::listen();
    let mut sidecar = Setup::forward(&[worker.path()]).set("queue.depth", "0").start();
    let secret = "hush-hush-hush";
    let fields = format!(
        "x-fc-access-key-id: {secret}\r\nx-fc-access-key-secret: {secret}\r\nx-fc-security-token: {secret}\r\n\
         Authorization: {secret}\r\nCookie: {secret}\r\nContent-Length: {}\r\n\r\n{secret}",
        secret.len()
    );
    let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}");
    let mut client = sidecar.client();
    serve(
        &worker,
        &mut client,
        &request,
        &format!("HTTP/1.1 200 OK\r\nSet-Cookie: {secret}\r\nContent-Length: 0\r\n\r\n"),
    );
    // A failure, a refusal and a malformed head as well.
    let mut client = sidecar.client();
    client.send(&request);
    let mut connection = worker.accept();
    connection.request();
    let mut refused = sidecar.client();
    assert_eq!(refused.ask(&request).status(), 503);
    drop(connection);
    client.response();
    sidecar.client().ask(format!("POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\n{fields}"));
    sidecar.stdout.wait_for_count("status=400", 1);
    sidecar.signal("TERM");
    sidecar.wait_exit();
    let said = [sidecar.stdout.until_closed(), sidecar.stderr.until_closed()].concat();
    assert!(said.iter().all(|line| !line.contains("hush")), "{said:#?}");
}
