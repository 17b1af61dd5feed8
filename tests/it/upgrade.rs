//! A switch of protocols: asked for, agreed to, and then nobody's business but the two ends'.

use std::io::Write;
use std::net::Shutdown;
use std::path::Path;
use std::process::Command;
use std::thread;

use crate::support::{Client, Connection, End, ID, Setup, Sidecar, Worker, app, get, noise, ok, settled};

const MIB: usize = 1 << 20;

/// A request to switch to `protocol`.
fn upgrade(protocol: &str) -> String {
    format!(
        "GET /chat HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {ID}\r\nUpgrade: {protocol}\r\nConnection: Upgrade\r\n\r\n"
    )
}

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo/1\r\nConnection: Upgrade\r\n\r\n";

/// Client and worker at the two ends of a tunnel.
fn tunnel(sidecar: &Sidecar, worker: &Worker) -> (Client, Connection) {
    let mut client = sidecar.client();
    client.send(upgrade("echo/1"));
    let mut connection = worker.accept();
    connection.request();
    connection.send(SWITCH);
    assert_eq!(client.head(), SWITCH);
    (client, connection)
}

#[test]
fn fc23_a_switch_travels_as_asked_and_agreed_and_then_bytes_pass_both_ways() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    client.send(upgrade("echo/1, other"));
    let mut connection = worker.accept();
    assert_eq!(connection.request().head, upgrade("echo/1, other"));
    // The first bytes of the new protocol may come with the answer.
    connection.send(format!("{SWITCH}hello"));
    assert_eq!(client.head(), SWITCH);
    assert_eq!(client.take(5), b"hello");
    client.send(b"\x00GET / HTTP/1.1\r\n\r\n");
    assert_eq!(connection.take(19), b"\x00GET / HTTP/1.1\r\n\r\n");
    connection.send(b"HTTP/1.1 \xff");
    assert_eq!(client.take(10), b"HTTP/1.1 \xff");
}

#[test]
fn bytes_behind_the_request_wait_for_the_switch_and_then_come_first() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    client.send(upgrade("echo/1") + "early");
    let mut connection = worker.accept();
    connection.request();
    // They came with the request, and nothing stands behind it: they wait.
    assert!(connection.is_silent());
    connection.send(SWITCH);
    client.head();
    client.send(" and late");
    assert_eq!(connection.take(14), b"early and late");
}

#[test]
fn fc23_each_direction_of_a_tunnel_ends_by_itself() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let (mut client, mut connection) = tunnel(&sidecar, &worker);
    client.send("last words");
    client.finish_speaking();
    assert_eq!(connection.take(10), b"last words");
    assert_eq!(connection.end(), End::Clean);
    connection.send("still here");
    assert_eq!(client.take(10), b"still here");
    connection.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.end(), End::Clean);

    let (mut client, mut connection) = tunnel(&sidecar, &worker);
    connection.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.end(), End::Clean);
    client.send("a late word");
    assert_eq!(connection.take(11), b"a late word");
    client.finish_speaking();
    assert_eq!(connection.end(), End::Clean);
}

#[test]
fn a_tunnel_is_one_request_in_flight_until_it_ends_and_its_line_says_so() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()])
        .flag("--concurrency", "1")
        .set("queue.depth", "0")
        .flag("--access-log", "json")
        .start();
    let (client, mut connection) = tunnel(&sidecar, &worker);
    assert_eq!(sidecar.client().ask(get("/")).field("x-warmfront-reason"), Some("queue.depth=0"));
    drop(client);
    assert_eq!(connection.end(), End::Clean);
    drop(connection);
    let line = sidecar.stdout.wait_for("\"status\":101");
    assert!(line.contains("\"outcome\":\"served\"") && line.contains("/chat"), "{line}");
    let mut client = sidecar.client();
    client.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    connection.send(ok("free again"));
    assert_eq!(client.response().text(), "free again");
}

#[test]
fn a_worker_that_leaves_ends_its_tunnel_although_the_client_is_silent() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).flag("--concurrency", "1").start();
    let (mut client, connection) = tunnel(&sidecar, &worker);
    drop(connection);
    assert_eq!(client.end(), End::Clean);
    // The slot is free although this client still holds its side open.
    let mut other = sidecar.client();
    other.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    connection.send(ok("next"));
    assert_eq!(other.response().text(), "next");
}

#[test]
fn a_slow_side_of_a_tunnel_stops_the_other_and_nothing_piles_up() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let (mut client, mut connection) = tunnel(&sidecar, &worker);
    let before = sidecar.rss();
    let bytes = noise(64 * MIB);
    thread::scope(|scope| {
        let mut stream = client.stream.try_clone().unwrap();
        let sender = &bytes;
        scope.spawn(move || stream.write_all(sender).unwrap());
        // Nobody reads: the sender must come to a halt with little in between.
        let rss = settled("the tunnel holds", || sidecar.rss());
        assert!(rss < before + (8 << 20), "{before} grew to {rss}");
        assert!(connection.take(64 * MIB) == bytes);
    });
    client.finish_speaking();
    assert_eq!(connection.end(), End::Clean);
    connection.send("whole");
    assert_eq!(client.take(5), b"whole");
}

#[test]
fn a_reset_of_one_side_of_a_tunnel_reaches_the_other() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let (client, mut connection) = tunnel(&sidecar, &worker);
    connection.send("unread bytes turn the close into a reset");
    client.stream.peek(&mut [0]).unwrap();
    drop(client);
    assert_eq!(connection.end(), End::Clean);
}

#[test]
fn a_refused_switch_is_an_ordinary_answer_and_nothing_behind_it_is_a_request() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    client.send(upgrade("echo/1") + &get("/smuggled"));
    let mut connection = worker.accept();
    connection.request();
    connection.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let response = client.response();
    assert_eq!((response.status(), response.field("connection")), (403, Some("close")));
    assert_eq!(client.end(), End::Clean);
    // The worker's connection is as good as before; the next request on it is the next request.
    let mut client = sidecar.client();
    client.send(get("/next"));
    assert_eq!(connection.request().target(), "/next");
    connection.send(ok("fine"));
    assert_eq!(client.response().text(), "fine");
}

#[test]
fn an_answer_that_requires_an_upgrade_says_to_what() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    client.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    let required = "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 0\r\nConnection: Upgrade\r\n\r\n";
    connection.send(required);
    assert_eq!(client.head(), required);
}

#[test]
fn a_switch_that_was_not_offered_or_not_meant_is_refused() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let body = format!(
        "POST /chat HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {ID}\r\nUpgrade: echo/1\r\nConnection: Upgrade\r\nContent-Length: 5\r\n\r\n123"
    );
    let no_option = upgrade("echo/1").replace("Connection: Upgrade\r\n", "");
    for (request, answer, why) in [
        (get("/"), SWITCH.to_owned(), "switched protocols unasked"),
        (upgrade("other"), SWITCH.to_owned(), "switched protocols unasked"),
        (no_option, SWITCH.to_owned(), "switched protocols unasked"),
        (upgrade("h2c"), SWITCH.replace("echo/1", "h2c"), "without a sound Upgrade field"),
        (upgrade("echo/1"), SWITCH.replace("Connection: Upgrade\r\n", ""), "without a sound Upgrade field"),
        (
            upgrade("echo/1"),
            SWITCH.replace("Connection", "Content-Length: 0\r\nConnection"),
            "without a sound Upgrade field",
        ),
        (body, SWITCH.to_owned(), "before it had got the whole request"),
    ] {
        let mut client = sidecar.client();
        client.send(&request);
        let mut connection = worker.accept();
        let head = connection.head();
        assert!(!head.contains("h2c"), "{head}");
        connection.send(format!("{answer}tunnel?"));
        let response = client.response();
        assert_eq!(response.field("x-warmfront-reason"), Some("worker-response"), "{request}");
        assert!(response.text().contains(why), "{request} {}", response.text());
        // No such connection is ever used again.
        assert_ne!(connection.rest().0, b"tunnel?");
    }
}

#[test]
fn no_tunnel_is_cut_before_the_drain_is_over() {
    let worker = Worker::listen();
    let mut sidecar = Setup::forward(&[worker.path()]).start();
    let (mut client, mut connection) = tunnel(&sidecar, &worker);
    sidecar.signal("TERM");
    sidecar.stderr.wait_for("drain");
    client.send("ping");
    assert_eq!(connection.take(4), b"ping");
    connection.send("pong");
    assert_eq!(client.take(4), b"pong");
    drop((client, connection));
    assert_eq!(sidecar.wait_exit(), 0);
}

fn websocket_client(sidecar: &Sidecar, path: &str) -> String {
    let url = format!("ws://127.0.0.1:{}{path}", sidecar.port);
    let output = Command::new("node").arg(app("websocket/client.js")).arg(url).output().expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn fc23_a_websocket_application_runs_unchanged() {
    let sidecar = Setup::run([Path::new("node"), &app("websocket/server.js")]).start();
    let said = websocket_client(&sidecar, "/");
    assert!(said.contains("pong are you there") && said.contains("8 echoes, closed 1000 done"), "{said}");
    assert!(websocket_client(&sidecar, "/no").contains("refused 403"));
    sidecar.stdout.wait_for("status=101");
}
