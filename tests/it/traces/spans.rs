//! Spans of requests and hooks: whose children they are, what they say, and in which order things happened.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use crate::support::collector::{Collector, Span, only};
use crate::support::freeze::{Freezer, sit_out};
use crate::support::h2::{Http2, request};
use crate::support::{ID, Setup, Sidecar, Worker, get, ok};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn traced() -> (Collector, Worker, Sidecar) {
    let (collector, worker) = (Collector::listen(), Worker::listen());
    let sidecar = Setup::forward(&[worker.path()]).with_spans(&collector).start();
    (collector, worker, sidecar)
}

fn with(fields: &str) -> String {
    format!("GET /a%20b/c?token=hush HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {ID}\r\n{fields}\r\n")
}

fn hook(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {ID}\r\n\r\n")
}

fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("behind 1970");
    since.as_nanos().try_into().expect("before 2554")
}

/// Asserts that `below` lies in `above`.
fn assert_within(below: &Span, above: &Span) {
    let ((from, to), (begins, ends)) = (below.times(), above.times());
    assert!(begins <= from && from <= to && to <= ends, "{below:#?} is not within {above:#?}");
}

#[test]
fn a_request_is_a_child_of_its_caller_and_has_children_for_its_steps() {
    let (collector, worker, sidecar) = traced();
    let (before, mut client) = (unix_nanos(), sidecar.client());
    client.send(with(&format!("traceparent: 00-{TRACE}-{SPAN}-01\r\n")));
    let mut connection = worker.accept();
    connection.request();
    connection.send("HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\nfi");
    client.head();
    connection.send("ne");
    assert_eq!(client.take(4), b"fine");
    let spans = collector.spans(3);
    let after = unix_nanos();
    let (server, connect, work) = (only(&spans, "GET"), only(&spans, "connect"), only(&spans, "worker"));
    assert_eq!(spans.len(), 3, "nobody had to queue");
    assert!(spans.iter().all(|span| span.trace() == TRACE), "{spans:#?}");
    assert_eq!(server.parent(), SPAN);
    for step in [connect, work] {
        assert_eq!(step.parent(), server.id());
        assert_within(step, server);
        assert_eq!(step.get("warmfront.worker"), Some("1"));
    }
    assert!(connect.times().1 <= work.times().0);
    assert!(before <= server.times().0 && server.times().1 <= after);
    let answer = &work.span.events[0];
    assert_eq!((answer.name.as_str(), work.span.events.len()), ("answer", 1));
    assert!(work.times().0 <= answer.time_unix_nano && answer.time_unix_nano <= work.times().1);
    assert_eq!(
        [server, connect, work].map(|span| span.span.kind()),
        [SpanKind::Server, SpanKind::Internal, SpanKind::Client]
    );
    for (name, value) in [
        ("http.request.method", "GET"),
        ("url.path", "/a%20b/c"),
        ("url.scheme", "http"),
        ("network.protocol.version", "1.1"),
        ("http.response.status_code", "201"),
        ("faas.coldstart", "false"),
        ("faas.trigger", "http"),
        ("faas.invocation_id", ID),
        ("fc.request_id", ID),
        ("warmfront.start", "warm"),
        ("warmfront.outcome", "served"),
    ] {
        assert_eq!(server.get(name), Some(value), "{name}");
    }
    assert!(!spans.iter().any(Span::has_failed));
    assert_eq!(server.resource["service.name"], "warmfront");
    let line = sidecar.stdout.wait_for(ID);
    assert!(line.ends_with(&format!(" trace={TRACE}")), "{line}");
    // The next one finds a connection.
    client.send(with(""));
    connection.request();
    connection.send(ok(""));
    client.response();
    let spans = collector.spans(5).split_off(3);
    assert_eq!(spans.len(), 2);
    let server = only(&spans, "GET");
    assert_eq!((server.parent(), only(&spans, "worker").parent()), (String::new(), server.id()));
    assert!(server.trace() != TRACE && server.trace().len() == 32);
}

#[test]
fn whoever_had_to_wait_has_a_span_for_the_queue() {
    let (collector, worker, sidecar) = traced();
    let (mut served, mut waits) = (sidecar.client(), sidecar.client());
    served.send(get("/first"));
    let mut connection = worker.accept();
    connection.request();
    waits.send(get("/second"));
    sidecar.fence(1);
    connection.send(ok("one"));
    served.response();
    connection.request();
    connection.send(ok("two"));
    assert_eq!(waits.response().text(), "two");
    let spans = collector.spans(6);
    let queue = only(&spans, "queue");
    let server = spans.iter().find(|span| span.id() == queue.parent()).expect("its parent");
    assert_eq!(server.get("url.path"), Some("/second"));
    assert_within(queue, server);
    let work = spans.iter().find(|span| span.name() == "worker" && span.parent() == server.id()).unwrap();
    assert!(queue.times().1 <= work.times().0);
    assert!(queue.times().0 < queue.times().1);
}

#[test]
fn the_platforms_own_context_counts_where_w3cs_is_missing() {
    let (collector, worker) = (Collector::listen(), Worker::listen().echo_targets());
    let sidecar = Setup::forward(&[worker.path()]).with_spans(&collector).start();
    let mut client = sidecar.client();
    let fc = "X-Fc-Tracing-Opentracing-Span-Context: 124ed43254b54966:124ed43254b54967:0:1\r\n";
    let (uber, w3c) = ("uber-trace-id: 1%3A2%3A0%3A3\r\n", format!("Traceparent: 00-{TRACE}-{SPAN}-03\r\n"));
    let empty = "X-Fc-Tracing-Opentracing-Span-Context:\r\n";
    for (fields, trace, parent) in [
        (format!("{uber}{fc}{w3c}"), TRACE, SPAN),
        (format!("{uber}{fc}"), "0000000000000000124ed43254b54966", "124ed43254b54967"),
        (
            format!("{uber}{empty}traceparent: nonsense\r\n"),
            "00000000000000000000000000000001",
            "0000000000000002",
        ),
    ] {
        let known = collector.now().len();
        client.ask(with(&fields));
        // Everything is sent before this is answered.
        assert_eq!(client.ask(hook("/pre-freeze")).status(), 200);
        let spans = collector.now().split_off(known);
        let server = only(&spans, "GET");
        assert_eq!((server.trace().as_str(), server.parent().as_str()), (trace, parent), "{fields}");
    }
}

#[test]
fn a_caller_that_does_not_record_its_trace_is_obeyed() {
    let (collector, worker) = (Collector::listen(), Worker::listen().echo_targets());
    let mut sidecar =
        Setup::forward(&[worker.path()]).with_spans(&collector).set("trace.sample", "0").start();
    let mut client = sidecar.client();
    for fields in [
        format!("traceparent: 00-{TRACE}-{SPAN}-00\r\n"),
        "X-Fc-Tracing-Opentracing-Span-Context: 1:2:0:0\r\n".to_owned(),
        "traceparent: nonsense\r\n".to_owned(),
        String::new(),
        format!("traceparent: 00-{TRACE}-{SPAN}-01\r\n"),
        format!("traceparent: 00-{TRACE}-{SPAN}-00\r\nuber-trace-id: 1:2:0:1\r\n"),
    ] {
        client.ask(with(&fields));
    }
    drop(client);
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait_exit(), 0);
    let spans = collector.now();
    let servers: Vec<_> = spans.iter().filter(|span| span.name() == "GET").collect();
    assert_eq!(servers.len(), 1, "{spans:#?}");
    assert_eq!((servers[0].trace().as_str(), servers[0].parent().as_str()), (TRACE, SPAN));
    assert_eq!(sidecar.stdout.all().iter().filter(|line| line.contains("trace=")).count(), 1);
}

#[test]
fn of_many_requests_without_a_caller_as_many_as_configured_are_traced() {
    let (collector, worker) = (Collector::listen(), Worker::listen().echo_targets());
    let mut sidecar =
        Setup::forward(&[worker.path()]).with_spans(&collector).set("trace.sample", "4").start();
    let mut client = sidecar.client();
    for _ in 0..400 {
        client.ask(get("/"));
    }
    drop(client);
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait_exit(), 0);
    let traced = collector.now().iter().filter(|span| span.name() == "GET").count();
    // Eight standard deviations around a hundred.
    assert!((31..=169).contains(&traced), "{traced}");
}

#[test]
fn a_cold_start_is_told_and_the_functions_name_is_the_services() {
    let collector = Collector::listen();
    let setup = Setup::new().with_spans(&collector).with_admin();
    let setup = setup.variable("FC_FUNCTION_NAME", "thumbs").variable("FC_REGION", "cn-hangzhou");
    let path = setup.dir().join("late.sock");
    let sidecar = setup.set("workers.sockets", path.to_str().unwrap()).start_cold();
    let mut client = sidecar.client();
    client.send(get("/"));
    sidecar.admin().scrape_when("warmfront_queue_depth", 1.0);
    let worker = Worker::listen_at(&path);
    let mut connection = worker.accept();
    connection.request();
    connection.send(ok("late"));
    client.response();
    let spans = collector.spans(4);
    let server = only(&spans, "GET");
    assert_eq!((server.get("faas.coldstart"), server.get("warmfront.start")), (Some("true"), Some("cold")));
    for (name, value) in
        [("service.name", "thumbs"), ("faas.name", "thumbs"), ("cloud.region", "cn-hangzhou")]
    {
        assert_eq!(server.resource.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_within(only(&spans, "queue"), server);
    let scrape = sidecar.admin().scrape_when("warmfront_spans_total{result=\"exported\"}", 4.0);
    assert_eq!(scrape.get("warmfront_spans_total{result=\"lost\"}"), 0.0);
}

#[test]
fn what_fails_is_told_where_it_failed() {
    let collector = Collector::listen();
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).with_spans(&collector).start();
    // The worker's own 503.
    let mut client = sidecar.client();
    client.send(get("/broken"));
    let mut connection = worker.accept();
    connection.request();
    connection.send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    client.response();
    let spans = collector.spans(3);
    let server = only(&spans, "GET");
    assert!(server.has_failed() && !only(&spans, "worker").has_failed());
    assert_eq!(
        (server.get("error.type"), server.get("http.response.status_code")),
        (Some("503"), Some("503"))
    );
    assert_eq!(server.get("warmfront.outcome"), Some("served"));
    // One whose worker hangs up: twice, since it may be asked again.
    client.send(get("/lost"));
    connection.request();
    drop(connection);
    let mut connection = worker.accept();
    connection.request();
    drop(connection);
    assert_eq!(client.response().status(), 502);
    let spans = collector.spans(7).split_off(3);
    let server = only(&spans, "GET");
    assert!(server.has_failed());
    assert_eq!(
        (server.get("warmfront.outcome"), server.get("warmfront.reason")),
        (Some("local"), Some("worker-closed"))
    );
    assert_eq!(server.get("warmfront.replays"), Some("1"));
    let tries: Vec<_> = spans.iter().filter(|span| span.name() == "worker").collect();
    assert_eq!(tries.len(), 2);
    assert!(tries.iter().all(|it| it.has_failed() && it.parent() == server.id()));
    assert!(tries[0].times().1 <= tries[1].times().0, "one behind the other");
    // One that its client gives up.
    client.send(get("/left"));
    let mut connection = worker.accept();
    connection.request();
    drop(client);
    let spans = collector.spans(10).split_off(7);
    let server = only(&spans, "GET");
    assert_eq!(
        (server.get("warmfront.outcome"), server.get("http.response.status_code")),
        (Some("client_gone"), None)
    );
    assert!(!server.has_failed());
    drop(connection);
}

#[test]
fn each_hook_is_a_span() {
    let (collector, worker) = (Collector::listen(), Worker::listen().echo_targets());
    let sidecar = Setup::forward(&[worker.path()]).with_spans(&collector).start();
    let mut client = sidecar.client();
    let initialize =
        format!("POST /initialize HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {ID}\r\nContent-Length: 0\r\n\r\n");
    for (request, name) in
        [(initialize, "initialize"), (hook("/pre-freeze"), "pre-freeze"), (hook("/pre-stop"), "pre-stop")]
    {
        assert_eq!(client.ask(&request).status(), 200);
        let known = if name == "initialize" { collector.spans(1) } else { collector.now() };
        let span = only(&known, name);
        assert_eq!(
            (span.get("http.response.status_code"), span.get("faas.trigger")),
            (Some("200"), Some("other"))
        );
        assert_eq!((span.span.kind(), span.parent().as_str()), (SpanKind::Server, ""));
    }
    assert_eq!(collector.now().len(), 3, "a hook takes no worker by default");
}

#[test]
fn frozen_time_is_in_no_span() {
    let (collector, worker, sidecar) = traced();
    let mut client = sidecar.client();
    client.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    let freezer = Freezer::signals(&[sidecar.pid()]);
    freezer.freeze();
    sit_out(Duration::from_secs(3));
    freezer.thaw();
    sidecar.stderr.wait_for("thawed after");
    connection.send(ok("late"));
    assert_eq!(client.response().text(), "late");
    let spans = collector.spans(3);
    let (begins, ends) = only(&spans, "GET").times();
    assert!(ends - begins < 2_500_000_000, "{} ms", (ends - begins) / 1_000_000);
}

#[test]
fn an_http2_client_is_told_apart() {
    let (collector, worker, sidecar) = traced();
    let mut client = Http2::connect(sidecar.port);
    let mut head = request("DELETE", "/x?y");
    head.headers_mut().append("traceparent", format!("00-{TRACE}-{SPAN}-01").parse().unwrap());
    let mut stream = client.open(head, true);
    let mut connection = worker.accept();
    connection.request();
    connection.send(ok("fine"));
    assert_eq!(client.answer(&mut stream).text(), "fine");
    let spans = collector.spans(3);
    let server = only(&spans, "DELETE");
    assert_eq!((server.parent().as_str(), server.get("network.protocol.version")), (SPAN, Some("2")));
    assert_eq!(server.get("url.path"), Some("/x"));
}

#[test]
fn neither_queries_nor_fields_nor_strange_methods_are_told() {
    let (collector, worker) = (Collector::listen(), Worker::listen().echo_targets());
    let sidecar = Setup::forward(&[worker.path()]).with_spans(&collector).start();
    let mut client = sidecar.client();
    client.ask(format!(
        "HUSH http://me.example/a?token=hush1 HTTP/1.1\r\nHost: me.example\r\nAuthorization: Bearer hush2\r\nCookie: hush3\r\n\
         X-Fc-Security-Token: hush4\r\nbaggage: a=hush5\r\nx-fc-request-id: {ID}\r\n\r\n"
    ));
    let spans = collector.spans(3);
    let server = only(&spans, "HTTP");
    assert_eq!(server.get("http.request.method"), Some("_OTHER"));
    assert_eq!(
        (server.get("http.request.method_original"), server.get("url.path")),
        (Some("HUSH"), Some("/a"))
    );
    for (head, body) in collector.requests() {
        let text = head + &String::from_utf8_lossy(&body);
        assert!(!text.contains("hush") && !text.contains("me.example"), "{text}");
    }
}
