//! One line per request on stdout: who asked, who answered, how long it took.

use serde_json::Value;

use crate::support::{Client, ID, Setup, Sidecar, Worker, get, ok, post};

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
