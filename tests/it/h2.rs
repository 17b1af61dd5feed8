//! HTTP/2 clients in front of HTTP/1.1 workers: what each side gets of what the other says.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};

use crate::support::h2::{Http2, request};
use crate::support::{Connection, ID, Setup, Sidecar, Worker, eventually, get, noise, ok};

fn pair() -> (Sidecar, Worker, Http2) {
    pair_with(|setup| setup)
}

fn pair_with(more: impl FnOnce(Setup) -> Setup) -> (Sidecar, Worker, Http2) {
    let worker = Worker::listen();
    let sidecar = more(Setup::forward(&[worker.path()])).start();
    let client = Http2::connect(sidecar.port);
    (sidecar, worker, client)
}

/// curl that speaks HTTP/2 without asking; its words, the target last. Returns what it printed.
fn curl(sidecar: &Sidecar, words: &[&str], target: &str) -> String {
    let output = Command::new("curl")
        .args(["--http2-prior-knowledge", "--silent", "--show-error", "--max-time", "20"])
        .args(words)
        .arg(format!("http://127.0.0.1:{}{target}", sidecar.port))
        .output()
        .expect("curl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

// === what curl sees ===

#[test]
fn fc24_curl_gets_and_posts_over_http2() {
    let worker = Worker::listen().serve(|connection| {
        while let Some(request) = connection.next_request() {
            let body = String::from_utf8(request.body.clone()).unwrap();
            connection.send(ok(&format!("{} {body}", request.head.split(" HTTP").next().unwrap())));
        }
    });
    let sidecar = Setup::forward(&[worker.path()]).start();
    assert_eq!(curl(&sidecar, &[], "/a?b=c"), "GET /a?b=c ");
    assert_eq!(curl(&sidecar, &["--data", "x=1"], "/form"), "POST /form x=1");
    assert_eq!(curl(&sidecar, &["--write-out", "%{http_version} %{http_code}"], "/"), "GET / 2 200");
}

#[test]
fn curl_moves_thirty_two_mib_both_ways_over_http2() {
    let bytes = noise(32 << 20);
    let worker = Worker::listen().serve(|connection| {
        while let Some(request) = connection.next_request() {
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len()));
            connection.send(&request.body);
        }
    });
    let sidecar = Setup::forward(&[worker.path()]).start();
    let (up, down) = (sidecar.dir().join("up"), sidecar.dir().join("down"));
    fs::write(&up, &bytes).unwrap();
    let (up, down) = (up.display().to_string(), down.display().to_string());
    // A length once, chunks once: curl declares none for what it reads from a pipe.
    for upload in [format!("@{up}"), "@-".to_owned()] {
        let mut curl = Command::new("curl");
        curl.args(["--http2-prior-knowledge", "--silent", "--show-error", "--max-time", "60"])
            .args(["--header", "Expect:", "--output", &down])
            .args(if upload == "@-" { ["--upload-file", "-"] } else { ["--data-binary", &upload] })
            .arg(format!("http://127.0.0.1:{}/", sidecar.port))
            .stdin(fs::File::open(&up).unwrap());
        assert!(curl.status().unwrap().success());
        assert!(fs::read(&down).unwrap() == bytes, "{upload}: what came back is not what was sent");
    }
}

// === what the worker receives ===

#[test]
fn an_http2_request_becomes_exactly_this_http_1_1_request() {
    let (_sidecar, worker, mut client) = pair();
    let mut head = request("GET", "/a/%2e%2E?b=c&d=;,");
    for (name, value) in
        [("accept", "*/*"), ("x-fc-account-id", ""), ("te", "trailers"), ("x-two", "1"), ("x-two", "2")]
    {
        head.headers_mut().append(name, HeaderValue::from_static(value));
    }
    let mut stream = client.open(head, true);
    let mut connection = worker.accept();
    assert_eq!(
        connection.request().head,
        format!(
            "GET /a/%2e%2E?b=c&d=;, HTTP/1.1\r\nhost: a\r\nx-fc-request-id: {ID}\r\naccept: */*\r\n\
             x-fc-account-id: \r\nx-two: 1\r\nx-two: 2\r\nTE: trailers\r\nConnection: TE\r\n\r\n"
        )
    );
    connection.send(ok("fine"));
    assert_eq!(client.answer(&mut stream).text(), "fine");
}

#[test]
fn a_request_id_is_made_for_an_http2_request_that_has_none() {
    let (_sidecar, worker, mut client) = pair();
    let mut head = request("GET", "/");
    head.headers_mut().remove("x-fc-request-id");
    let _stream = client.open(head, true);
    let seen = worker.accept().request().head;
    assert!(seen.contains("\r\nx-fc-request-id: 1-"), "{seen}");
}

#[test]
fn cookie_crumbs_are_one_cookie_again() {
    let (_sidecar, worker, mut client) = pair();
    let mut head = request("GET", "/");
    for crumb in ["a=1", "b=2; c=3", "d=4"] {
        head.headers_mut().append("cookie", HeaderValue::from_static(crumb));
    }
    let _stream = client.open(head, true);
    let seen = worker.accept().request().head;
    assert!(seen.contains("\r\ncookie: a=1; b=2; c=3; d=4\r\n"), "{seen}");
}

#[test]
fn a_host_that_agrees_with_the_authority_is_said_once() {
    let (_sidecar, worker, mut client) = pair();
    let mut head = request("GET", "/");
    head.headers_mut().insert("host", HeaderValue::from_static("A"));
    let _stream = client.open(head, true);
    let seen = worker.accept().request().head;
    assert_eq!(seen.to_ascii_lowercase().matches("host:").count(), 1, "{seen}");
}

#[test]
fn what_the_judge_of_http_1_1_refuses_is_refused_over_http2_as_well() {
    let (sidecar, worker, mut client) = pair();
    let mut two_hosts = request("GET", "/");
    two_hosts.headers_mut().insert("host", HeaderValue::from_static("b"));
    let mut two_lengths = request("POST", "/");
    two_lengths.headers_mut().append("content-length", HeaderValue::from_static("1"));
    two_lengths.headers_mut().append("content-length", HeaderValue::from_static("1"));
    let connect = http::Request::builder().method("CONNECT").uri("a:80").body(()).unwrap();
    let long = request("GET", &format!("/{}", "x".repeat(20_000)));
    let mut many = request("GET", "/");
    for number in 0..300 {
        many.headers_mut().append("x", HeaderValue::from(number));
    }
    for (refused, status) in [(two_hosts, 400), (two_lengths, 400), (connect, 405), (long, 414), (many, 431)]
    {
        let mut stream = client.open(refused, false);
        let answer = client.answer(&mut stream);
        assert_eq!(answer.status, status);
        assert_eq!(answer.field("x-warmfront-reason"), Some("request-head"));
    }
    // No other stream is the worse for it.
    let mut stream = client.open(request("GET", "/fine"), true);
    let mut connection = worker.accept();
    assert_eq!(connection.request().target(), "/fine");
    connection.send(ok("fine"));
    assert_eq!(client.answer(&mut stream).text(), "fine");
    sidecar.stdout.wait_for_count("reason=\"request-head\"", 5);
}

#[test]
fn a_body_with_a_length_keeps_it_and_one_without_comes_in_chunks() {
    let (_sidecar, worker, mut client) = pair();
    let mut sized = request("POST", "/sized");
    sized.headers_mut().insert("content-length", HeaderValue::from_static("4"));
    let mut stream = client.open(sized, false);
    client.send(&mut stream, b"body", true);
    let mut connection = worker.accept();
    let seen = connection.request();
    assert!(seen.head.contains("\r\ncontent-length: 4\r\n"), "{}", seen.head);
    assert!(!seen.head.contains("transfer-encoding"), "{}", seen.head);
    assert_eq!(seen.body, b"body");
    connection.send(ok(""));
    assert_eq!(client.answer(&mut stream).status, 200);

    let mut stream = client.open(request("POST", "/open"), false);
    let head = connection.head();
    assert!(head.contains("\r\ntransfer-encoding: chunked\r\n"), "{head}");
    for part in ["one", "", "two"] {
        client.send(&mut stream, part.as_bytes(), false);
    }
    assert_eq!(connection.chunk(), b"one");
    assert_eq!(connection.chunk(), b"two");
    client.send(&mut stream, b"", true);
    assert_eq!(connection.chunks(), (Vec::new(), String::new()));
    connection.send(ok("got it"));
    assert_eq!(client.answer(&mut stream).text(), "got it");
}

#[test]
fn fc24_trailers_cross_between_http2_and_http_1_1_both_ways() {
    let (_sidecar, worker, mut client) = pair();
    let mut stream = client.open(request("POST", "/"), false);
    client.send(&mut stream, b"body", false);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    trailers.insert("x-empty", HeaderValue::from_static(""));
    stream.send.send_trailers(trailers).unwrap();
    let mut connection = worker.accept();
    let seen = connection.request();
    assert_eq!((seen.body.as_slice(), seen.trailers.as_str()), (&b"body"[..], "x-sum: 1\r\nx-empty: \r\n"));
    connection.send(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n\
         4\r\nbody\r\n0\r\ngrpc-status: 0\r\nGrpc-Message:\r\nConnection: x\r\n\r\n",
    );
    let answer = client.answer(&mut stream);
    assert_eq!((answer.text(), answer.field("trailer")), ("body", Some("grpc-status")));
    assert!(answer.field("transfer-encoding").is_none());
    let trailers = answer.trailers.unwrap();
    assert_eq!(trailers.len(), 2, "{trailers:?}");
    assert!(trailers["grpc-status"] == "0" && trailers["grpc-message"].is_empty(), "{trailers:?}");
}

// === what the client receives ===

#[test]
fn an_http_1_1_answer_becomes_an_http2_answer_without_its_connection_fields() {
    let (_sidecar, worker, mut client) = pair();
    let mut stream = client.open(request("GET", "/"), true);
    worker.accept().send(
        "HTTP/1.1 418 Teapot\r\nSet-Cookie: a\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive, x-hop\r\n\
         X-Hop: 1\r\nset-cookie: b\r\nDate: today\r\nContent-Length: 3\r\n\r\ntea",
    );
    let answer = client.answer(&mut stream);
    assert_eq!((answer.status, answer.text()), (418, "tea"));
    let fields: Vec<(&str, &[u8])> =
        answer.fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(
        fields,
        [("set-cookie", &b"a"[..]), ("set-cookie", b"b"), ("date", b"today"), ("content-length", b"3"),]
    );
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    let (_sidecar, worker, mut client) = pair();
    let mut connection: Option<Connection> = None;
    for (method, head, length) in [
        ("HEAD", "200 OK\r\nContent-Length: 5", Some("5")),
        ("GET", "204 No Content", None),
        ("GET", "304 Not Modified\r\nContent-Length: 7", Some("7")),
        ("GET", "200 OK\r\nContent-Length: 0", Some("0")),
    ] {
        let mut stream = client.open(request(method, "/"), true);
        let connection = connection.get_or_insert_with(|| worker.accept());
        connection.request();
        connection.send(format!("HTTP/1.1 {head}\r\n\r\n"));
        let answer = client.answer(&mut stream);
        assert_eq!((answer.field("content-length"), answer.text()), (length, ""), "{head}");
    }
}

#[test]
fn interim_answers_pass_to_http2_clients() {
    let (_sidecar, worker, mut client) = pair();
    let mut head = request("POST", "/");
    head.headers_mut().insert("expect", HeaderValue::from_static("100-continue"));
    let mut stream = client.open(head, false);
    let mut connection = worker.accept();
    assert!(connection.head().contains("\r\nexpect: 100-continue\r\n"));
    connection.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    assert_eq!(client.interim(&mut stream).status(), 100);
    let hints = client.interim(&mut stream);
    assert!(hints.status() == 103 && hints.headers()["link"] == "</a>", "{hints:?}");
    client.send(&mut stream, b"body", true);
    assert_eq!(connection.chunks().0, b"body");
    connection.send(ok("done"));
    assert_eq!(client.answer(&mut stream).text(), "done");
}

#[test]
fn an_answer_that_lasts_until_close_ends_its_stream() {
    let (_sidecar, worker, mut client) = pair();
    let mut stream = client.open(request("GET", "/"), true);
    let mut connection = worker.accept();
    connection.send("HTTP/1.1 200 OK\r\n\r\nall of it");
    drop(connection);
    assert_eq!(client.answer(&mut stream).text(), "all of it");
}

#[test]
fn a_cut_answer_is_a_reset_and_never_an_end() {
    let (sidecar, worker, mut client) = pair();
    for head in ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"] {
        let mut stream = client.open(request("GET", "/"), true);
        let mut connection = worker.accept();
        connection.send(format!("HTTP/1.1 200 OK\r\n{head}"));
        assert_eq!(client.head(&mut stream).unwrap().status(), 200);
        assert_eq!(client.data(&mut stream).unwrap().unwrap(), "half");
        drop(connection);
        let error = client.data(&mut stream).unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR));
    }
    sidecar.stdout.wait_for_count("outcome=aborted", 2);
    // The connection serves on.
    let mut stream = client.open(request("GET", "/"), true);
    worker.accept().send(ok("next"));
    assert_eq!(client.answer(&mut stream).text(), "next");
}

#[test]
fn a_worker_that_says_nothing_is_a_502_with_the_id() {
    let (_sidecar, worker, mut client) = pair();
    let mut stream = client.open(request("POST", "/"), true);
    drop(worker.accept());
    let answer = client.answer(&mut stream);
    assert_eq!((answer.status, answer.field("x-warmfront-reason")), (502, Some("worker-closed")));
    assert_eq!(answer.field("x-fc-request-id"), Some(ID));
    assert!(answer.field("connection").is_none());
}

// === both directions, and leaving ===

#[test]
fn a_blocked_answer_does_not_stall_the_upload_of_its_stream() {
    let (_sidecar, worker, mut client) = pair();
    let mut stream = client.open(request("POST", "/"), false);
    let mut connection = worker.accept();
    connection.head();
    // More than every buffer between worker and client holds; the client does not read it.
    let answer = noise(4 << 20);
    let chunk = [format!("{:x}\r\n", answer.len()).as_bytes(), &answer, b"\r\n0\r\n\r\n"].concat();
    let mut writer = connection.stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        use std::io::Write as _;
        writer.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        writer.write_all(&chunk).unwrap();
    });
    client.head(&mut stream).unwrap();
    let upload = noise(300_000);
    let mut received = Vec::new();
    for part in upload.chunks(10_000) {
        client.send(&mut stream, part, false);
        while received.len() < part.len() {
            received.extend(connection.chunk());
        }
        assert_eq!(received, part);
        received.clear();
    }
    assert!(!writing.is_finished(), "the answer was to be blocked");
    client.send(&mut stream, b"", true);
    let mut body = Vec::new();
    while let Some(data) = client.data(&mut stream) {
        body.extend_from_slice(&data.unwrap());
    }
    assert!(body == answer);
    writing.join().unwrap();
}

#[test]
fn an_upload_that_is_not_read_stops_its_client_and_no_other_stream() {
    let (_sidecar, worker, mut client) = pair_with(|setup| setup.flag("--concurrency", "2"));
    let mut stuck = client.open(request("POST", "/stuck"), false);
    let mut idle = worker.accept();
    idle.head();
    // The window and the buffers behind it are finite: what does not fit is not asked for.
    let room = settle(&mut stuck, &client);
    assert!(room < 4 << 20, "{room} bytes were taken that nobody reads");
    let mut other = client.open(request("POST", "/other"), false);
    let mut busy = worker.accept();
    busy.head();
    client.send(&mut other, &noise(1000), true);
    assert_eq!(busy.chunks().0, noise(1000));
    busy.send(ok("other"));
    assert_eq!(client.answer(&mut other).text(), "other");
    stuck.send.send_reset(h2::Reason::CANCEL);
}

/// Sends until the window stays closed for a while; how much was taken.
fn settle(stream: &mut crate::support::h2::Stream, client: &Http2) -> u64 {
    let mut taken = 0;
    let mut last = Instant::now();
    while last.elapsed() < Duration::from_millis(300) {
        stream.send.reserve_capacity(16 << 10);
        let room = stream.send.capacity();
        if room == 0 {
            std::thread::yield_now();
            continue;
        }
        client.send(stream, &vec![b'x'; room.min(16 << 10)], false);
        taken += room.min(16 << 10) as u64;
        last = Instant::now();
    }
    taken
}

#[test]
fn an_answer_before_the_end_of_the_request_ends_the_stream_without_an_error() {
    let (_sidecar, worker, mut client) = pair();
    let mut stream = client.open(request("POST", "/"), false);
    client.send(&mut stream, b"some", false);
    let mut connection = worker.accept();
    connection.send("HTTP/1.1 413 Too much\r\nContent-Length: 4\r\n\r\nstop");
    let answer = client.answer(&mut stream);
    assert_eq!((answer.status, answer.text()), (413, "stop"));
    assert_eq!(client.reset_of(&mut stream), h2::Reason::NO_ERROR);
}

#[test]
fn a_reset_reaches_the_worker_within_100_ms_and_frees_the_slot() {
    let (sidecar, worker, mut client) = pair();
    let open = ["GET /before", "GET /during", "POST /upload"];
    for (index, name) in open.iter().enumerate() {
        let (method, target) = name.split_once(' ').unwrap();
        let mut stream = client.open(request(method, target), method == "GET");
        let mut connection = worker.accept();
        connection.head();
        if *name == "GET /during" {
            connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n");
            client.head(&mut stream).unwrap();
            client.data(&mut stream).unwrap().unwrap();
        }
        let began = Instant::now();
        stream.send.send_reset(h2::Reason::CANCEL);
        connection.rest();
        assert!(began.elapsed() < Duration::from_millis(100), "{name}: {:?}", began.elapsed());
        // The only slot is free again: a request of another client gets it.
        let mut next = sidecar.client();
        next.send(get("/next"));
        let mut connection = worker.accept();
        connection.request();
        connection.send(ok("next"));
        assert_eq!(next.response().text(), "next");
        sidecar.stdout.wait_for_count("outcome=client_gone", index + 1);
    }
}

#[test]
fn a_lost_connection_takes_all_its_streams_along() {
    let (sidecar, worker, mut client) = pair_with(|setup| setup.flag("--concurrency", "3"));
    let mut streams: Vec<_> = (0..3).map(|_| client.open(request("GET", "/"), true)).collect();
    let mut connections: Vec<Connection> = streams.iter().map(|_| worker.accept()).collect();
    streams.clear();
    drop(client);
    let began = Instant::now();
    connections.iter_mut().for_each(|connection| drop(connection.rest()));
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    sidecar.stdout.wait_for_count("outcome=client_gone", 3);
}

#[test]
fn one_who_leaves_the_line_over_http2_leaves_its_place() {
    let (sidecar, worker, mut client) = pair_with(|setup| setup.set("queue.depth", "1"));
    let mut first = client.open(request("GET", "/first"), true);
    let mut connection = worker.accept();
    connection.request();
    let mut waiting = client.open(request("GET", "/waiting"), true);
    // Full: the line holds one.
    eventually("a refusal", || (client.ask(request("GET", "/full"), b"").status == 503).then_some(()));
    waiting.send.send_reset(h2::Reason::CANCEL);
    sidecar.stdout.wait_for("GET /waiting ");
    let mut next = client.open(request("GET", "/next"), true);
    connection.send(ok("first"));
    assert_eq!(client.answer(&mut first).text(), "first");
    assert_eq!(connection.request().target(), "/next");
    connection.send(ok("next"));
    assert_eq!(client.answer(&mut next).text(), "next");
}

// === many streams, and the end ===

#[test]
fn a_hundred_streams_run_at_once_on_one_connection() {
    let (_sidecar, worker, mut client) = pair_with(|setup| setup.flag("--concurrency", "100"));
    let mut streams: Vec<_> =
        (0..100).map(|number| client.open(request("GET", &format!("/{number}")), true)).collect();
    let mut connections: Vec<Connection> = streams.iter().map(|_| worker.accept()).collect();
    for connection in connections.iter_mut().rev() {
        let target = connection.request().target().to_owned();
        connection.send(ok(&target));
    }
    for (number, stream) in streams.iter_mut().enumerate() {
        assert_eq!(client.answer(stream).text(), format!("/{number}"));
    }
}

#[test]
fn a_drain_says_goaway_and_streams_in_flight_finish() {
    let (mut sidecar, worker, mut client) = pair();
    let mut stream = client.open(request("GET", "/slow"), true);
    let mut connection = worker.accept();
    connection.request();
    sidecar.signal("TERM");
    sidecar.stderr.wait_for("draining: 1 in flight");
    eventually("GOAWAY", || client.is_going_away().then_some(()));
    connection.send(ok("finished"));
    assert_eq!(client.answer(&mut stream).text(), "finished");
    assert!(client.end().is_ok(), "an orderly end");
    assert_eq!(sidecar.wait_exit(), 0);
}

#[test]
fn an_idle_http2_client_does_not_hold_up_a_drain() {
    let (mut sidecar, _worker, client) = pair();
    // Its preface was read: one that is still on its way meets a closed port.
    sidecar.fence(1);
    let began = Instant::now();
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait_exit(), 0);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(client.end().is_ok());
}

#[test]
fn the_access_line_of_a_stream_is_that_of_any_request() {
    let (sidecar, worker, mut client) = pair();
    let mut stream = client.open(request("GET", "/seen"), true);
    worker.accept().send(ok("x"));
    client.answer(&mut stream);
    let line = sidecar.stdout.wait_for("/seen");
    for part in [ID, "GET", "status=200", "outcome=served", "worker=1"] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

// === which protocol it is ===

#[test]
fn a_preface_in_any_pieces_is_http2_and_a_near_miss_is_not() {
    let (sidecar, worker, _client) = pair();
    let mut client = sidecar.client();
    client.send_singly("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.send([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    let frame = client.take(9);
    assert_eq!((frame[3], &frame[5..]), (4, &[0; 4][..]), "a SETTINGS frame");

    let mut client = sidecar.client();
    client.send_singly("P");
    client.send_singly("OST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    let mut connection = worker.accept();
    connection.request();
    connection.send(ok("a post"));
    assert_eq!(client.response().text(), "a post");
    // Only the first bytes of a connection choose its protocol.
    assert_eq!(client.ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").status(), 505);
    assert_eq!(sidecar.client().ask("PRI * HTTP/2.0\r\n\r\nSM\r\nx\r\n").status(), 505);
}
