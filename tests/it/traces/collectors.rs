//! Collectors that are well, slow, busy or dead: requests do not notice, and nothing is lost in silence.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::support::collector::{Collector, Verdict, only};
use crate::support::freeze::{Freezer, sit_out};
use crate::support::{ID, Setup, Worker, get};

const EXPORTED: &str = "warmfront_spans_total{result=\"exported\"}";
const LOST: &str = "warmfront_spans_total{result=\"lost\"}";

fn pre_freeze() -> String {
    format!("GET /pre-freeze HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {ID}\r\n\r\n")
}

/// A port at which nobody listens, for as long as it is held.
fn nobody() -> (TcpListener, u16) {
    // Bound and never accepting would take connections; this one refuses them.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().expect("an address").into()).expect("a port");
    let port = socket.local_addr().expect("bound").as_socket().expect("TCP").port();
    (socket.into(), port)
}

#[test]
fn everything_is_sent_before_pre_freeze_is_answered() {
    let (collector, worker) = (Collector::listen(), Worker::listen().echo_targets());
    let sidecar = Setup::forward(&[worker.path()]).with_spans(&collector).start();
    let mut client = sidecar.client();
    for round in 1..=5 {
        client.ask(get("/"));
        assert_eq!(client.ask(pre_freeze()).status(), 200);
        // Frozen right here: whatever was not sent by now is not sent.
        let freezer = Freezer::signals(&[sidecar.pid()]);
        freezer.freeze();
        let spans = collector.now();
        freezer.thaw();
        let count = |name: &str| spans.iter().filter(|span| span.name() == name).count();
        assert_eq!((count("GET"), count("worker"), count("pre-freeze")), (round, round, round));
    }
}

#[test]
fn everything_is_sent_before_the_process_ends() {
    let (collector, worker) = (Collector::listen(), Worker::listen().echo_targets());
    let mut sidecar = Setup::forward(&[worker.path()]).with_spans(&collector).start();
    let mut client = sidecar.client();
    // More than fit into one batch.
    for _ in 0..700 {
        client.ask(get("/"));
    }
    drop(client);
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait_exit(), 0);
    let spans = collector.now();
    assert_eq!(spans.iter().filter(|span| span.name() == "GET").count(), 700);
    let counted = sidecar.stderr.wait_for("counted: ");
    assert!(counted.contains(&format!(" spans_exported={}", spans.len())), "{counted}");
    assert!(!counted.contains("spans_lost"), "{counted}");
}

#[test]
fn a_dead_collector_delays_nobody_and_is_said_once() {
    let (_held, port) = nobody();
    let worker = Worker::listen().echo_targets();
    let setup = Setup::forward(&[worker.path()]).with_admin();
    let mut sidecar = setup.set("trace.otlp", &format!("http://127.0.0.1:{port}")).start();
    let mut client = sidecar.client();
    for _ in 0..3 {
        assert_eq!(client.ask(get("/x")).text(), "/x");
        let began = Instant::now();
        assert_eq!(client.ask(pre_freeze()).status(), 200);
        assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    }
    let said = sidecar.stderr.wait_for("spans cannot be sent");
    assert!(
        said.contains(&format!("http://127.0.0.1:{port}/v1/traces")) && said.contains("refused"),
        "{said}"
    );
    assert_eq!(
        (sidecar.admin().scrape().get(EXPORTED), sidecar.admin().scrape().get(LOST)),
        (0.0, 0.0),
        "kept"
    );
    drop(client);
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait_exit(), 0);
    // Three hooks, three requests with their workers, each over a connection of its own.
    assert!(sidecar.stderr.wait_for("counted: ").contains(" spans_lost=12"), "{:?}", sidecar.stderr.all());
    assert_eq!(sidecar.stderr.wait_for_count("spans cannot be sent", 1).len(), 1);
}

#[test]
fn a_collector_that_never_answers_delays_no_request_and_hooks_by_a_second_at_most() {
    let collector = Collector::that(&[], Some(Verdict::Keeps));
    let worker = Worker::listen().echo_targets();
    let mut sidecar = Setup::forward(&[worker.path()]).with_spans(&collector).start();
    let mut client = sidecar.client();
    client.ask(get("/first"));
    let began = Instant::now();
    assert_eq!(client.ask(pre_freeze()).status(), 200);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    collector.wait_asked(1);
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(client.ask(get("/x")).text(), "/x");
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    drop(client);
    sidecar.signal("TERM");
    let began = Instant::now();
    assert_eq!(sidecar.wait_exit(), 0);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(sidecar.stderr.wait_for("counted: ").contains(" spans_lost="));
}

#[test]
fn what_a_busy_collector_turns_away_comes_again_and_once() {
    let collector = Collector::that(&[Verdict::Refuses(503), Verdict::Refuses(429)], None);
    let worker = Worker::listen().echo_targets();
    let sidecar = Setup::forward(&[worker.path()]).with_spans(&collector).with_admin().start();
    let mut client = sidecar.client();
    client.ask(get("/x"));
    let spans = collector.spans(3);
    assert_eq!((spans.len(), only(&spans, "GET").get("url.path")), (3, Some("/x")));
    assert_eq!(collector.requests().len(), 3);
    assert!(sidecar.stderr.wait_for("spans cannot be sent").contains("it answered 503"));
    let scrape = sidecar.admin().scrape_when(EXPORTED, 3.0);
    assert_eq!(scrape.get(LOST), 0.0);
}

#[test]
fn what_a_collector_refuses_for_good_is_lost_and_counted() {
    let collector = Collector::that(&[Verdict::Refuses(400)], None);
    let worker = Worker::listen().echo_targets();
    let sidecar = Setup::forward(&[worker.path()]).with_spans(&collector).with_admin().start();
    let mut client = sidecar.client();
    client.ask(get("/refused"));
    sidecar.admin().scrape_when(LOST, 3.0);
    assert!(sidecar.stderr.wait_for("3 spans were lost").contains("it answered 400"));
    client.ask(get("/taken"));
    let spans = collector.spans(2);
    assert_eq!(only(&spans, "GET").get("url.path"), Some("/taken"));
    sidecar.admin().scrape_when(EXPORTED, 2.0);
}

#[test]
fn a_batch_that_a_freeze_has_caught_on_its_way_comes_again() {
    let collector = Collector::that(&[Verdict::Keeps], None);
    let worker = Worker::listen().echo_targets();
    let sidecar = Setup::forward(&[worker.path()]).with_spans(&collector).start();
    sidecar.client().ask(get("/x"));
    collector.wait_asked(1);
    let freezer = Freezer::signals(&[sidecar.pid()]);
    freezer.freeze();
    sit_out(Duration::from_millis(1500));
    freezer.thaw();
    // Its patience goes on where it stood; then it is sent over a new connection.
    assert_eq!(only(&collector.spans(3), "GET").get("url.path"), Some("/x"));
}

#[test]
fn a_collector_that_wants_a_token_gets_it_from_the_variable_that_everybody_uses() {
    let (collector, worker) = (Collector::listen(), Worker::listen().echo_targets());
    let setup = Setup::forward(&[worker.path()]).with_spans(&collector);
    let sidecar = setup.variable("OTEL_EXPORTER_OTLP_HEADERS", "Authentication=abc%20d,x-b=c").start();
    sidecar.client().ask(get("/x"));
    collector.spans(3);
    let (head, _) = &collector.requests()[0];
    assert!(head.contains("authentication: abc d\r\n") && head.contains("x-b: c\r\n"), "{head}");
    assert!(head.contains(&format!("host: 127.0.0.1:{}\r\n", collector.port)), "{head}");
}
