//! Workers that speak HTTP/2: what they get of HTTP/1.1 and HTTP/2 clients, and when a request
//! that one of them refused is asked again.
//!
//! The worker is played in raw frames. Its answers are spelt out; what it is asked is read with the
//! `h2` package's server where a test wants to know.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::support::h2::{Frame, Http2, PREFACE, block, flag, frame, kind, request};
use crate::support::{Connection, GUARD, ID, Setup, Sidecar, Worker, get, ok, post};

fn pair(protocol: &str) -> (Sidecar, Worker) {
    let worker = Worker::listen();
    let sidecar =
        Setup::forward(&[worker.path()]).set("workers.protocol", protocol).flag("--concurrency", "4").start();
    (sidecar, worker)
}

// === a worker in raw frames ===

/// Reads the preface and says SETTINGS.
fn greet(connection: &mut Connection) {
    assert_eq!(connection.take(PREFACE.len()), PREFACE);
    connection.send(frame(kind::SETTINGS, flag::NONE, 0, b""));
}

/// The next stream that is opened.
fn opened(connection: &mut Connection) -> Frame {
    connection.frame_of(kind::HEADERS)
}

/// Answers a stream with fields and, if there is one, a body.
fn answer(connection: &mut Connection, stream: u32, fields: &[(&str, &str)], body: &str) {
    let end = if body.is_empty() { flag::END_STREAM } else { flag::NONE };
    connection.send(frame(kind::HEADERS, flag::END_HEADERS | end, stream, &block(fields)));
    if !body.is_empty() {
        connection.send(frame(kind::DATA, flag::END_STREAM, stream, body.as_bytes()));
    }
}

// === a worker that understands ===

/// Serves one connection on a thread of its own and hands its streams to the test.
struct Understanding {
    runtime: Runtime,
    streams: Receiver<Stream>,
    /// Its drop ends the connection.
    _connection: Connection,
}

struct Stream {
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
}

impl Understanding {
    fn accept(worker: &Worker) -> Self {
        let connection = worker.accept();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (sender, streams): (Sender<Stream>, _) = channel();
        let raw = connection.stream.try_clone().expect("a handle");
        let first = connection.received().to_vec();
        runtime.spawn(async move {
            raw.set_nonblocking(true).expect("non-blocking");
            let stream = UnixStream::from_std(raw).expect("a socket");
            let (reading, writing) = stream.into_split();
            let stream = tokio::io::join(
                tokio::io::AsyncReadExt::chain(std::io::Cursor::new(first), reading),
                writing,
            );
            let mut connection = h2::server::handshake(stream).await.expect("a handshake");
            while let Some(Ok((request, respond))) = connection.accept().await {
                if sender.send(Stream { request, respond }).is_err() {
                    return;
                }
            }
        });
        Self { runtime, streams, _connection: connection }
    }

    fn next(&self) -> Stream {
        self.streams.recv_timeout(GUARD).expect("a stream")
    }

    /// The whole body and the trailers of a request.
    fn body(&self, stream: &mut Stream) -> (Vec<u8>, Option<HeaderMap>) {
        let body = stream.request.body_mut();
        let read = async {
            let mut bytes = Vec::new();
            while let Some(data) = body.data().await {
                let data = data.expect("no reset");
                body.flow_control().release_capacity(data.len()).expect("received");
                bytes.extend_from_slice(&data);
            }
            (bytes, body.trailers().await.expect("no reset"))
        };
        self.runtime.block_on(async { timeout(GUARD, read).await }).expect("the body in time")
    }

    fn reset_of(&self, stream: &mut Stream) -> Reason {
        let reset = std::future::poll_fn(|cx| stream.respond.poll_reset(cx));
        self.runtime
            .block_on(async { timeout(GUARD, reset).await })
            .expect("a reset in time")
            .expect("a reset")
    }
}

impl Stream {
    fn fields(&self) -> Vec<(&str, &str)> {
        self.request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().expect("text")))
            .collect()
    }

    fn reply(&mut self, answer: Response<()>, body: &'static str) {
        let mut send = self.respond.send_response(answer, body.is_empty()).expect("sent");
        if !body.is_empty() {
            send.send_data(Bytes::from_static(body.as_bytes()), true).expect("sent");
        }
    }
}

// === what it is asked ===

#[test]
fn an_http_1_1_request_becomes_exactly_this_http2_request() {
    let (sidecar, worker) = pair("h2");
    let mut client = sidecar.client();
    client.send(format!(
        "POST /a/%2e?b=<c> HTTP/1.1\r\nHost: x:80\r\nx-fc-request-id: {ID}\r\nX-Fc-Empty:\r\nTE: trailers, gzip\r\n\
         Connection: Upgrade, x-hop, TE\r\nUpgrade: websocket\r\nX-Hop: 1\r\nCookie: a=1\r\nX-Two: 1\r\nX-Two: 2\r\n\
         Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 1\r\n\r\n"
    ));
    let worker = Understanding::accept(&worker);
    let mut stream = worker.next();
    assert_eq!(stream.request.method(), "POST");
    assert_eq!(stream.request.uri().to_string(), "http://x:80/a/%2e?b=%3Cc%3E");
    assert_eq!(
        stream.fields(),
        [
            ("x-fc-request-id", ID),
            ("x-fc-empty", ""),
            ("cookie", "a=1"),
            ("x-two", "1"),
            ("x-two", "2"),
            ("te", "trailers"),
        ]
    );
    let (body, trailers) = worker.body(&mut stream);
    assert_eq!(body, b"body");
    assert_eq!(trailers.unwrap()["x-sum"], "1");
    let mut fine = Response::builder().header("x-answer", "1").body(()).unwrap();
    fine.headers_mut().append("set-cookie", HeaderValue::from_static("a"));
    fine.headers_mut().append("set-cookie", HeaderValue::from_static("b"));
    stream.reply(fine, "fine");
    let response = client.response();
    assert_eq!(
        response.head,
        "HTTP/1.1 200 OK\r\nx-answer: 1\r\nset-cookie: a\r\nset-cookie: b\r\ntransfer-encoding: chunked\r\n\
         Connection: close\r\n\r\n"
    );
    assert_eq!(response.text(), "fine");
}

#[test]
fn a_request_without_a_body_ends_with_its_head_and_one_with_a_length_keeps_it() {
    let (sidecar, worker) = pair("h2");
    let mut client = sidecar.client();
    client.send(get("/"));
    let worker = Understanding::accept(&worker);
    let mut stream = worker.next();
    assert!(stream.request.body().is_end_stream());
    stream.reply(Response::new(()), "");
    let response = client.response();
    assert_eq!((response.status(), response.field("content-length")), (200, Some("0")));
    client.send(post("/", "body"));
    let mut stream = worker.next();
    assert!(stream.fields().contains(&("content-length", "4")));
    assert_eq!(worker.body(&mut stream).0, b"body");
    stream.reply(Response::builder().header("content-length", "4").body(()).unwrap(), "fine");
    let response = client.response();
    assert_eq!((response.text(), response.field("content-length")), ("fine", Some("4")));
    assert_eq!(response.field("transfer-encoding"), None);
}

#[test]
fn an_expectation_is_the_http2_workers_to_answer() {
    let (sidecar, worker) = pair("h2");
    let mut client = sidecar.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    let worker = Understanding::accept(&worker);
    let mut stream = worker.next();
    let interim = |status| Response::builder().status(status).header("x-early", "1").body(()).unwrap();
    stream.respond.send_informational(interim(100)).unwrap();
    stream.respond.send_informational(interim(103)).unwrap();
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\nx-early: 1\r\n\r\n");
    assert_eq!(client.head(), "HTTP/1.1 103 Early Hints\r\nx-early: 1\r\n\r\n");
    client.send("body");
    assert_eq!(worker.body(&mut stream).0, b"body");
    stream.reply(Response::new(()), "fine");
    assert_eq!(client.response().text(), "fine");
}

#[test]
fn trailers_and_trailers_alone_reach_http_1_1_and_http2_clients() {
    let (sidecar, worker) = pair("h2");
    let (mut old, mut new) = (sidecar.client(), Http2::connect(sidecar.port));
    old.send(get("/"));
    let worker = Understanding::accept(&worker);
    let trailers = || HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("5"))]);
    let with_trailers = |stream: &mut Stream| {
        let mut send = stream.respond.send_response(Response::new(()), false).unwrap();
        send.send_data(Bytes::from_static(b"body"), false).unwrap();
        send.send_trailers(trailers()).unwrap();
    };
    with_trailers(&mut worker.next());
    let response = old.response();
    assert_eq!((response.text(), response.trailers.as_str()), ("body", "grpc-status: 5\r\n"));
    let mut asked = new.open(request("GET", "/"), true);
    with_trailers(&mut worker.next());
    let response = new.answer(&mut asked);
    assert_eq!((response.text(), &response.trailers), ("body", &Some(trailers())));

    let mut asked = new.open(request("GET", "/"), true);
    worker.next().reply(Response::builder().header("grpc-status", "7").body(()).unwrap(), "");
    let head = new.head(&mut asked).unwrap();
    assert_eq!(head.headers()["grpc-status"], "7");
    assert!(new.data(&mut asked).is_none(), "the head was the end");
}

#[test]
fn answers_of_an_http2_worker_without_a_body_have_none() {
    let (sidecar, worker) = pair("h2");
    let mut client = sidecar.client();
    client.send(get("/").replacen("GET", "HEAD", 1));
    let worker = Understanding::accept(&worker);
    worker.next().reply(Response::builder().header("content-length", "9").body(()).unwrap(), "");
    assert_eq!(client.head(), "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n");
    for status in [204, 304] {
        client.send(get("/"));
        worker.next().reply(Response::builder().status(status).body(()).unwrap(), "");
        let head = client.head();
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")) && !head.contains("content-length"),
            "{head}"
        );
    }
    client.send(get("/"));
    worker.next().reply(Response::new(()), "next");
    assert_eq!(client.response().text(), "next");
}

// === one connection ===

#[test]
fn all_requests_to_one_http2_worker_share_a_connection_and_no_more_than_its_slots_run() {
    let (sidecar, worker) = pair("h2");
    let mut client = Http2::connect(sidecar.port);
    let mut asked: Vec<_> =
        (0..8).map(|number| client.open(request("GET", &format!("/{number}")), true)).collect();
    let understanding = Understanding::accept(&worker);
    let mut running: Vec<Stream> = (0..4).map(|_| understanding.next()).collect();
    assert!(understanding.streams.try_recv().is_err(), "a fifth stream");
    for round in 0..2 {
        for stream in &mut running {
            stream.reply(Response::new(()), "fine");
        }
        if round == 0 {
            running = (0..4).map(|_| understanding.next()).collect();
        }
    }
    for stream in &mut asked {
        assert_eq!(client.answer(stream).text(), "fine");
    }
    assert!(worker.is_untouched(), "a second connection");
}

#[test]
fn a_connection_that_ended_while_idle_is_replaced_before_a_request_is_lost() {
    let (sidecar, worker) = pair("h2");
    let mut client = sidecar.client();
    for _ in 0..3 {
        // POST: were it sent down the dead connection, it could not be repeated.
        client.send(post("/", "body"));
        let mut connection = worker.accept();
        greet(&mut connection);
        let stream = opened(&mut connection).stream;
        answer(&mut connection, stream, &[(":status", "200")], "fine");
        assert_eq!(client.response().text(), "fine");
    }
}

#[test]
fn a_worker_that_says_goaway_gets_its_next_request_on_a_new_connection() {
    let (sidecar, worker) = pair("h2");
    let mut client = sidecar.client();
    client.send(get("/first"));
    let mut connection = worker.accept();
    greet(&mut connection);
    let stream = opened(&mut connection).stream;
    // Stream 1 is covered: it finishes.
    connection.send(frame(kind::GOAWAY, flag::NONE, 0, &[0, 0, 0, 1, 0, 0, 0, 0]));
    let mut other = sidecar.client();
    other.send(get("/second"));
    let mut next = worker.accept();
    greet(&mut next);
    let second = opened(&mut next).stream;
    answer(&mut next, second, &[(":status", "200")], "second");
    assert_eq!(other.response().text(), "second");
    answer(&mut connection, stream, &[(":status", "200")], "first");
    assert_eq!(client.response().text(), "first");
}

#[test]
fn a_burst_of_small_messages_from_a_worker_is_no_flood() {
    let (sidecar, worker) = pair("h2");
    let mut client = sidecar.client();
    for _ in 0..2 {
        client.send(get("/"));
    }
    let mut connection = worker.accept();
    greet(&mut connection);
    let stream = opened(&mut connection).stream;
    let head = frame(kind::HEADERS, flag::END_HEADERS, stream, &block(&[(":status", "200")]));
    let messages = frame(kind::DATA, flag::NONE, stream, b"tiny").repeat(10_000);
    connection.send([head, messages, frame(kind::DATA, flag::END_STREAM, stream, b"")].concat());
    assert_eq!(client.response().body, b"tiny".repeat(10_000));
    // The connection lives.
    let stream = opened(&mut connection).stream;
    answer(&mut connection, stream, &[(":status", "200")], "next");
    assert_eq!(client.response().text(), "next");
}

// === what may be asked again ===

#[test]
fn a_refused_stream_is_asked_again_whatever_its_method() {
    let (sidecar, worker) = pair("h2");
    let mut client = sidecar.client();
    client.send(post("/", "body"));
    let mut connection = worker.accept();
    greet(&mut connection);
    let first = opened(&mut connection).stream;
    connection.send(frame(kind::RST_STREAM, flag::NONE, first, &7_u32.to_be_bytes()));
    let second = opened(&mut connection).stream;
    assert_eq!(connection.frame_of(kind::DATA).payload, b"body");
    answer(&mut connection, second, &[(":status", "200")], "fine");
    assert_eq!(client.response().text(), "fine");
}

#[test]
fn a_stream_that_a_goaway_does_not_cover_is_asked_again_whatever_its_method() {
    let (sidecar, worker) = pair("h2");
    let mut client = sidecar.client();
    client.send(post("/", "body"));
    let mut connection = worker.accept();
    greet(&mut connection);
    opened(&mut connection);
    connection.send(frame(kind::GOAWAY, flag::NONE, 0, &[0; 8]));
    drop(connection);
    let mut connection = worker.accept();
    greet(&mut connection);
    let stream = opened(&mut connection).stream;
    answer(&mut connection, stream, &[(":status", "200")], "fine");
    assert_eq!(client.response().text(), "fine");
}

#[test]
fn a_worker_that_refuses_every_stream_is_given_up() {
    let (sidecar, worker) = pair("h2");
    let mut client = sidecar.client();
    client.send(get("/"));
    let mut connection = worker.accept();
    greet(&mut connection);
    for _ in 0..5 {
        let stream = opened(&mut connection).stream;
        connection.send(frame(kind::RST_STREAM, flag::NONE, stream, &7_u32.to_be_bytes()));
    }
    let response = client.response();
    assert_eq!((response.status(), response.field("x-warmfront-reason")), (502, Some("worker-closed")));
}

#[test]
fn a_refused_upload_of_which_a_part_is_gone_is_not_asked_again() {
    let (sidecar, worker) = pair("h2");
    let mut client = sidecar.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    let mut connection = worker.accept();
    greet(&mut connection);
    let stream = opened(&mut connection).stream;
    client.send("a part of it");
    connection.frame_of(kind::DATA);
    connection.send(frame(kind::RST_STREAM, flag::NONE, stream, &7_u32.to_be_bytes()));
    let response = client.response();
    assert_eq!((response.status(), response.field("x-warmfront-reason")), (502, Some("worker-closed")));
}

#[test]
fn a_reset_without_a_promise_is_a_502_and_not_asked_again() {
    let (sidecar, worker) = pair("h2");
    let mut client = sidecar.client();
    for reason in [Reason::INTERNAL_ERROR, Reason::CANCEL, Reason::NO_ERROR] {
        client.send(get("/"));
        let mut connection = worker.accept();
        greet(&mut connection);
        let stream = opened(&mut connection).stream;
        connection.send(frame(kind::RST_STREAM, flag::NONE, stream, &u32::from(reason).to_be_bytes()));
        let response = client.response();
        assert_eq!(response.status(), 502, "{reason:?}: {}", response.text());
        connection.send(frame(kind::GOAWAY, flag::NONE, 0, &[0, 0, 0, 1, 0, 0, 0, 0]));
    }
}

#[test]
fn an_answer_that_an_http2_worker_cuts_is_cut() {
    let (sidecar, worker) = pair("h2");
    for ending in ["reset", "lost connection"] {
        let mut client = sidecar.client();
        client.send(get("/"));
        let mut connection = worker.accept();
        greet(&mut connection);
        let stream = opened(&mut connection).stream;
        connection.send(frame(kind::HEADERS, flag::END_HEADERS, stream, &block(&[(":status", "200")])));
        connection.send(frame(kind::DATA, flag::NONE, stream, b"half"));
        client.head();
        assert_eq!(client.chunk(), b"half");
        if ending == "reset" {
            connection.send(frame(kind::RST_STREAM, flag::NONE, stream, &2_u32.to_be_bytes()));
        }
        drop(connection);
        assert_eq!(client.rest().0, b"", "{ending}: no last chunk");
    }
    sidecar.stdout.wait_for_count("outcome=aborted", 2);
}

#[test]
fn a_client_that_leaves_cancels_its_stream_within_100_ms_and_frees_the_slot() {
    let (sidecar, worker) = pair("h2");
    let (mut first, mut second) = (sidecar.client(), Http2::connect(sidecar.port));
    first.send(get("/first"));
    let worker = Understanding::accept(&worker);
    let mut stream = worker.next();
    drop(first);
    let began = Instant::now();
    assert_eq!(worker.reset_of(&mut stream), Reason::CANCEL);
    let mut asked = second.open(request("GET", "/second"), true);
    let mut stream = worker.next();
    let halfway = Instant::now();
    asked.send.send_reset(Reason::CANCEL);
    assert_eq!(worker.reset_of(&mut stream), Reason::CANCEL);
    assert!(halfway - began < Duration::from_millis(200) && halfway.elapsed() < Duration::from_millis(100));
    sidecar.stdout.wait_for_count("outcome=client_gone", 2);
}

// === which protocol it is ===

#[test]
fn a_worker_that_answers_with_settings_is_asked_again_in_http2() {
    let (sidecar, worker) = pair("auto");
    let mut client = sidecar.client();
    client.send(post("/", "body"));
    let mut connection = worker.accept();
    assert!(connection.head().starts_with("POST / HTTP/1.1\r\n"));
    // Byte by byte: it is no answer until it is a whole frame's head, and with that the connection is closed.
    let settings = frame(kind::SETTINGS, flag::NONE, 0, &[0, 3, 0, 0, 0, 100]);
    connection.send_singly(&settings[..settings.len() - 6]);
    let mut connection = worker.accept();
    greet(&mut connection);
    let stream = opened(&mut connection).stream;
    assert_eq!(connection.frame_of(kind::DATA).payload, b"body");
    answer(&mut connection, stream, &[(":status", "200")], "fine");
    assert_eq!(client.response().text(), "fine");
    sidecar.stderr.wait_for_count("worker 1 speaks HTTP/2", 1);
    // Known from now on.
    client.send(get("/"));
    let stream = opened(&mut connection).stream;
    answer(&mut connection, stream, &[(":status", "200")], "again");
    assert_eq!(client.response().text(), "again");
}

#[test]
fn an_upload_of_which_a_part_is_gone_when_the_worker_shows_its_protocol_is_a_502_that_says_so() {
    let (sidecar, worker) = pair("auto");
    let mut client = sidecar.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
    let mut connection = worker.accept();
    connection.head();
    client.send("a part of it");
    connection.take(12);
    connection.send(frame(kind::SETTINGS, flag::NONE, 0, b""));
    let response = client.response();
    assert_eq!((response.status(), response.field("x-warmfront-reason")), (502, Some("worker-protocol")));
    assert!(response.text().contains("the next one"), "{}", response.text());
}

#[test]
fn a_worker_that_speaks_the_other_http_than_configured_is_a_502_that_says_so() {
    let (sidecar, worker) = pair("http1");
    let mut client = sidecar.client();
    client.send(get("/"));
    worker.accept().send(frame(kind::SETTINGS, flag::NONE, 0, b""));
    let response = client.response();
    assert_eq!((response.status(), response.field("x-warmfront-reason")), (502, Some("worker-protocol")));
    assert!(response.text().contains("speaks HTTP/2"), "{}", response.text());

    let (sidecar, worker) = pair("h2");
    let mut client = sidecar.client();
    client.send(get("/"));
    worker.accept().send("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status(), response.field("x-warmfront-reason")), (502, Some("worker-protocol")));
    assert!(response.text().contains("speaks HTTP/1.1"), "{}", response.text());
}

#[test]
fn an_http_1_1_worker_is_never_taken_for_an_http2_one() {
    let (sidecar, worker) = pair("auto");
    let mut client = sidecar.client();
    let mut connection: Option<Connection> = None;
    for _ in 0..2 {
        client.send(get("/"));
        let connection = connection.get_or_insert_with(|| worker.accept());
        connection.request();
        connection.send(ok("old"));
        assert_eq!(client.response().text(), "old");
    }
    client.send(get("/"));
    let mut connection = connection.unwrap();
    connection.request();
    connection.send([0, 0, 0, 4, 1, 0, 0, 0, 0]);
    assert_eq!(client.response().field("x-warmfront-reason"), Some("worker-response"));
    thread::yield_now();
    assert!(!sidecar.stderr.all().iter().any(|line| line.contains("HTTP/2")));
}
