//! HTTP/2 clients that mean harm, in raw frames: the process survives, memory stays bounded, and
//! whoever comes next is served.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use h2::Reason;

use crate::support::h2::{Frame, PREFACE, block, flag, frame, get_block, kind};
use crate::support::worker::Served;
use crate::support::{Client, Setup, Sidecar, Worker, get, ok, settled};

const MIB: u64 = 1 << 20;

/// A sidecar in front of a worker that answers with the target, or, asked for `/N`, with N bytes.
fn served() -> (Sidecar, Served) {
    let worker = Worker::listen().serve(|connection| {
        while let Some(request) = connection.next_request() {
            let size: usize = request.target()[1..].parse().unwrap_or(0);
            let answer = if size == 0 { ok(request.target()) } else { ok(&"x".repeat(size)) };
            // It may be cut off in the middle of its answer.
            if connection.stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    });
    let sidecar = Setup::forward(&[worker.path()]).flag("--concurrency", "150").start();
    (sidecar, worker)
}

/// A connection whose preface and SETTINGS were exchanged.
fn greeted(sidecar: &Sidecar, settings: &[u8]) -> Client {
    let mut client = sidecar.client();
    client.send(PREFACE);
    client.send(frame(kind::SETTINGS, flag::NONE, 0, settings));
    let theirs = client.frame();
    assert_eq!((theirs.kind, theirs.flags), (kind::SETTINGS, flag::NONE));
    client.send(frame(kind::SETTINGS, flag::ACK, 0, b""));
    client
}

fn headers(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(kind::HEADERS, flags, stream, block)
}

/// A GET that opens and ends `stream`.
fn opening(stream: u32, path: &str) -> Vec<u8> {
    headers(stream, flag::END_HEADERS | flag::END_STREAM, &get_block(path))
}

/// Why the connection is closed.
fn farewell(client: &mut Client) -> Reason {
    client.frame_of(kind::GOAWAY).reason()
}

/// Sends as much of `bytes` as the other side takes; the rest once it has stopped for a while is left.
fn flood(client: &Client, bytes: &[u8]) -> usize {
    let mut stream: &TcpStream = &client.stream;
    stream.set_nonblocking(true).expect("non-blocking");
    let (mut sent, mut last) = (0, Instant::now());
    while sent < bytes.len() && last.elapsed() < Duration::from_millis(300) {
        match stream.write(&bytes[sent..]) {
            Ok(count) => (sent, last) = (sent + count, Instant::now()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            // It was cut off: as good.
            Err(_) => break,
        }
    }
    stream.set_nonblocking(false).expect("blocking");
    sent
}

/// The process lives, somebody new is served over both protocols, and memory has not grown by more.
fn unharmed(sidecar: &Sidecar, before: u64, growth: u64) {
    let mut client = greeted(sidecar, b"");
    client.send(opening(1, "/fresh"));
    assert_eq!(client.frame_of(kind::DATA).payload, b"/fresh");
    assert_eq!(sidecar.client().ask(get("/old")).text(), "/old");
    let now = settled("resident memory", || sidecar.rss());
    assert!(now < before + growth, "{} KiB more", (now - before) >> 10);
}

// === resets ===

#[test]
fn streams_that_are_reset_unseen_close_the_connection_and_reach_no_worker() {
    let (sidecar, worker) = served();
    let before = sidecar.rss();
    let mut client = greeted(&sidecar, b"");
    let mut burst = Vec::new();
    for number in 0..10_000 {
        burst.extend(opening(2 * number + 1, "/rapid"));
        burst.extend(frame(kind::RST_STREAM, flag::NONE, 2 * number + 1, &8_u32.to_be_bytes()));
    }
    flood(&client, &burst);
    assert_eq!(farewell(&mut client), Reason::ENHANCE_YOUR_CALM);
    assert!(worker.connections() < 10, "{} worker connections", worker.connections());
    unharmed(&sidecar, before, 16 * MIB);
}

#[test]
fn a_client_that_cancels_most_of_what_it_asks_for_is_sent_away() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).set("queue.depth", "4").start();
    // The only slot is taken: what follows waits in line until it is cancelled.
    let mut first = sidecar.client();
    first.send(get("/first"));
    let mut connection = worker.accept();
    connection.request();
    let mut client = greeted(&sidecar, b"");
    for number in 0..=500 {
        let stream = 2 * number + 1;
        client.send(opening(stream, "/cancelled"));
        // The answer to a PING tells that the stream was seen before it is reset.
        client.send(frame(kind::PING, flag::NONE, 0, &[0; 8]));
        if number == 500 {
            break;
        }
        while client.frame_of(kind::PING).flags != flag::ACK {}
        client.send(frame(kind::RST_STREAM, flag::NONE, stream, &8_u32.to_be_bytes()));
    }
    assert_eq!(farewell(&mut client), Reason::ENHANCE_YOUR_CALM);
    client.rest();
    let lines = sidecar.stderr.wait_for_count("closing an HTTP/2 connection", 1);
    assert!(lines[0].contains("cancelled more than half of 500 streams"), "{lines:?}");
    connection.send(ok("first"));
    assert_eq!(first.response().text(), "first");
    assert!(worker.is_untouched(), "a cancelled request reached the worker");
}

// === floods ===

#[test]
fn a_flood_of_continuations_closes_the_connection() {
    let (sidecar, _worker) = served();
    let before = sidecar.rss();
    for piece in [&b""[..], &[0; 1], &block(&[("x-flood", &"y".repeat(10_000))])] {
        let mut client = greeted(&sidecar, b"");
        client.send(headers(1, flag::END_STREAM, &get_block("/")));
        let flooding = frame(kind::CONTINUATION, flag::NONE, 1, piece).repeat(2000);
        flood(&client, &flooding);
        let end = last_frames(&mut client);
        let goaway = end.iter().find(|seen| seen.kind == kind::GOAWAY).expect("GOAWAY");
        assert_ne!(goaway.reason(), Reason::NO_ERROR, "{} bytes", piece.len());
    }
    unharmed(&sidecar, before, 16 * MIB);
}

/// Every whole frame that still comes before the end, however that looks: bytes that were not read make
/// it a reset.
fn last_frames(client: &mut Client) -> Vec<Frame> {
    let (mut rest, _) = client.rest();
    let mut frames = Vec::new();
    while rest.len() >= 9 {
        let length = u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize;
        if rest.len() < 9 + length {
            break;
        }
        let payload = rest[9..9 + length].to_vec();
        frames.push(Frame { kind: rest[3], flags: rest[4], stream: u32::from(rest[8]), payload });
        rest.drain(..9 + length);
    }
    frames
}

#[test]
fn floods_that_ask_for_replies_nobody_reads_cost_no_memory() {
    let (sidecar, _worker) = served();
    let before = sidecar.rss();
    let setting = [0, 4, 0, 1, 0, 0];
    let mut open = Vec::new();
    for flooding in [
        frame(kind::PING, flag::NONE, 0, &[7; 8]),
        frame(kind::SETTINGS, flag::NONE, 0, b""),
        frame(kind::SETTINGS, flag::NONE, 0, &setting),
        frame(2, flag::NONE, 1, &[0, 0, 0, 0, 1]), // PRIORITY
        frame(200, flag::NONE, 1, &[0; 100]),      // An unknown kind.
    ] {
        let client = greeted(&sidecar, b"");
        flood(&client, &flooding.repeat((32 << 20) / flooding.len()));
        open.push(client);
    }
    unharmed(&sidecar, before, 16 * MIB);
}

#[test]
fn a_flood_of_tiny_data_that_no_worker_reads_costs_bounded_memory() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let before = sidecar.rss();
    let client = greeted(&sidecar, b"");
    let post = block(&[(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/")]);
    let mut flooding = Vec::new();
    for stream in (1..512).step_by(2) {
        flooding.extend(headers(stream, flag::END_HEADERS, &post));
    }
    for stream in (1..512).step_by(2) {
        flooding.extend(frame(kind::DATA, flag::NONE, stream, b"x").repeat(10_000));
    }
    // Two and a half million frames. They are taken, or it is too much at once; both are fine.
    flood(&client, &flooding);
    let now = settled("resident memory", || sidecar.rss());
    assert!(now < before + 64 * MIB, "{} KiB more", (now - before) >> 10);
    // Whether a part of it has reached the worker or not: somebody else is served.
    drop(client);
    let mut fresh = sidecar.client();
    fresh.send(get("/fresh"));
    let mut connection = loop {
        let mut connection = worker.accept();
        if connection.head().starts_with("GET /fresh ") {
            break connection;
        }
    };
    connection.send(ok("served"));
    assert_eq!(fresh.response().text(), "served");
}

#[test]
fn a_flood_of_empty_data_closes_the_connection() {
    let (sidecar, _worker) = served();
    let before = sidecar.rss();
    let mut client = greeted(&sidecar, b"");
    let post = block(&[(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/")]);
    client.send(headers(1, flag::END_HEADERS, &post));
    flood(&client, &frame(kind::DATA, flag::NONE, 1, b"").repeat(100_000));
    assert_eq!(farewell(&mut client), Reason::ENHANCE_YOUR_CALM);
    unharmed(&sidecar, before, 16 * MIB);
}

// === heads ===

#[test]
fn a_huge_header_list_is_a_431_and_the_connection_lives() {
    let (sidecar, _worker) = served();
    let before = sidecar.rss();
    let mut client = greeted(&sidecar, b"");
    let value = "v".repeat(8000);
    let huge = [get_block("/"), block(&[("x-huge", value.as_str()); 12])].concat();
    let (first, rest) = huge.split_at(16_000);
    client.send(headers(1, flag::END_STREAM, first));
    let pieces: Vec<&[u8]> = rest.chunks(16_000).collect();
    for (index, piece) in pieces.iter().enumerate() {
        let end = if index + 1 == pieces.len() { flag::END_HEADERS } else { flag::NONE };
        client.send(frame(kind::CONTINUATION, end, 1, piece));
    }
    let refused = client.frame_of(kind::HEADERS);
    assert!(refused.flags & flag::END_STREAM != 0, "a head without a body");
    client.send(opening(3, "/next"));
    assert_eq!(client.frame_of(kind::DATA).payload, b"/next");
    unharmed(&sidecar, before, 16 * MIB);
}

#[test]
fn a_small_block_that_decompresses_to_a_huge_list_costs_no_memory() {
    let (sidecar, _worker) = served();
    let before = sidecar.rss();
    // One large field enters the dynamic table (a literal with indexing), then is named 10,000 times:
    // 40 MiB in 14 KiB (RFC 7541 §6.1: 62 is the newest entry).
    let mut bomb = get_block("/");
    let mut large = block(&[("x-bomb", &"b".repeat(3900))]);
    large[0] = 0x40;
    bomb.extend(large);
    bomb.extend([0x80 | 62; 10_000]);
    for _ in 0..20 {
        let mut client = greeted(&sidecar, b"");
        client.send(headers(1, flag::END_HEADERS | flag::END_STREAM, &bomb));
        assert_eq!(farewell(&mut client), Reason::ENHANCE_YOUR_CALM);
    }
    unharmed(&sidecar, before, 16 * MIB);
}

#[test]
fn malformed_heads_end_their_stream_or_connection_and_reach_nobody() {
    let (sidecar, _worker) = served();
    let before = sidecar.rss();
    let base = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")];
    let with = |name: &'static str, value: &'static str| block(&[&base[..], &[(name, value)]].concat());
    let heads = [
        ("a name in capitals", with("X-Upper", "1")),
        ("a connection field", with("connection", "close")),
        ("a transfer coding", with("transfer-encoding", "chunked")),
        ("a te that is not trailers", with("te", "gzip")),
        ("a line end in a value", with("x", "a\r\nb: c")),
        ("a NUL in a value", with("x", "a\0b")),
        ("a line end in a name", with("x\r\nb", "c")),
        ("a space in a name", with("x y", "c")),
        ("a pseudo field behind others", block(&[&[("x", "1")], &base[..]].concat())),
        ("two paths", with(":path", "/b")),
        ("an unknown pseudo field", with(":other", "1")),
        ("a status", with(":status", "200")),
        ("no path", block(&base[..3])),
        ("no method", block(&base[1..])),
        ("a space in the path", block(&[&base[..3], &[(":path", "/a b")]].concat())),
        ("a line end in the path", block(&[&base[..3], &[(":path", "/a\r\nX: y")]].concat())),
        ("a length that is none", with("content-length", "one")),
        ("a body that was promised", with("content-length", "5")),
    ];
    for (what, head) in heads {
        let mut client = greeted(&sidecar, b"");
        client.send(headers(1, flag::END_HEADERS | flag::END_STREAM, &head));
        assert_ne!(refusal(&mut client), Reason::NO_ERROR, "{what}");
    }
    unharmed(&sidecar, before, 16 * MIB);
    // Whatever the head was like, it went no further than this.
    let lines = sidecar.stdout.wait_for_count("status=200", 2);
    assert_eq!(sidecar.stdout.all(), lines);
}

/// Why a stream or the connection is ended.
fn refusal(client: &mut Client) -> Reason {
    loop {
        let seen = client.frame();
        if [kind::RST_STREAM, kind::GOAWAY].contains(&seen.kind) {
            return seen.reason();
        }
    }
}

// === windows ===

#[test]
fn a_reader_without_a_window_costs_a_bounded_buffer_per_stream() {
    let (sidecar, _worker) = served();
    let before = sidecar.rss();
    // SETTINGS_INITIAL_WINDOW_SIZE = 0.
    let mut client = greeted(&sidecar, &[0, 4, 0, 0, 0, 0]);
    for number in 0..100 {
        client.send(opening(2 * number + 1, "/4000000"));
    }
    for _ in 0..100 {
        client.frame_of(kind::HEADERS);
    }
    // 400 MB were asked for. Each stream holds its two relay buffers of 128 KiB and a little.
    unharmed(&sidecar, before, 56 * MIB);
    // Who opens a window after all is served.
    client.send(frame(kind::WINDOW_UPDATE, flag::NONE, 1, &1000_u32.to_be_bytes()));
    assert_eq!(client.frame_of(kind::DATA).payload.len(), 1000);
}

#[test]
fn a_client_that_opens_its_windows_and_does_not_read_costs_a_bounded_buffer() {
    let (sidecar, _worker) = served();
    let before = sidecar.rss();
    // The largest windows there are.
    let mut client = greeted(&sidecar, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    client.send(frame(kind::WINDOW_UPDATE, flag::NONE, 0, &(0x7fff_ffff_u32 - 65_535).to_be_bytes()));
    for number in 0..100 {
        client.send(opening(2 * number + 1, "/4000000"));
    }
    client.frame_of(kind::HEADERS);
    // The same, and for each stream what the connection may hold for it: another 128 KiB.
    unharmed(&sidecar, before, 72 * MIB);
}

#[test]
fn windows_that_overflow_or_are_overrun_end_what_they_belong_to() {
    let (sidecar, _worker) = served();
    let before = sidecar.rss();
    let most = 0x7fff_ffff_u32.to_be_bytes();
    let mut client = greeted(&sidecar, b"");
    client.send(frame(kind::WINDOW_UPDATE, flag::NONE, 0, &most));
    assert_eq!(farewell(&mut client), Reason::FLOW_CONTROL_ERROR);

    let mut client = greeted(&sidecar, &[0, 4, 0, 0, 0, 1]);
    client.send(opening(1, "/1000"));
    client.frame_of(kind::HEADERS);
    // At once: between the two the answer could end, and with it what the second belongs to.
    client.send(frame(kind::WINDOW_UPDATE, flag::NONE, 1, &most).repeat(2));
    assert_eq!(client.frame_of(kind::RST_STREAM).reason(), Reason::FLOW_CONTROL_ERROR);

    // More than our window lets through, while a worker does not read.
    let stuck = Worker::listen();
    let other = Setup::forward(&[stuck.path()]).start();
    let mut client = greeted(&other, b"");
    let post = block(&[(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/")]);
    client.send(headers(1, flag::END_HEADERS, &post));
    flood(&client, &frame(kind::DATA, flag::NONE, 1, &[0; 16_384]).repeat(1000));
    assert_eq!(refusal(&mut client), Reason::FLOW_CONTROL_ERROR);
    unharmed(&sidecar, before, 16 * MIB);
}

// === frames ===

#[test]
fn frames_of_the_wrong_size_or_place_close_the_connection() {
    let (sidecar, _worker) = served();
    let before = sidecar.rss();
    let frames = [
        ("a short PING", frame(kind::PING, flag::NONE, 0, &[0; 7])),
        ("a PING on a stream", frame(kind::PING, flag::NONE, 1, &[0; 8])),
        ("half a setting", frame(kind::SETTINGS, flag::NONE, 0, &[0; 5])),
        ("SETTINGS on a stream", frame(kind::SETTINGS, flag::NONE, 1, b"")),
        ("a window too large", frame(kind::SETTINGS, flag::NONE, 0, &[0, 4, 255, 0, 0, 0])),
        ("a short WINDOW_UPDATE", frame(kind::WINDOW_UPDATE, flag::NONE, 0, &[0; 3])),
        ("no window at all", frame(kind::WINDOW_UPDATE, flag::NONE, 0, &[0; 4])),
        ("a long RST_STREAM", frame(kind::RST_STREAM, flag::NONE, 1, &[0; 5])),
        ("a reset of nothing", frame(kind::RST_STREAM, flag::NONE, 9, &[0; 4])),
        ("DATA on no stream", frame(kind::DATA, flag::NONE, 0, b"x")),
        ("DATA before HEADERS", frame(kind::DATA, flag::NONE, 5, b"x")),
        ("HEADERS on no stream", opening(0, "/")),
        ("HEADERS on a stream of ours", opening(2, "/")),
        ("a PUSH_PROMISE", frame(5, flag::END_HEADERS, 1, &[0, 0, 0, 2])),
        ("a CONTINUATION of nothing", frame(kind::CONTINUATION, flag::END_HEADERS, 1, b"")),
        ("a broken header block", headers(1, flag::END_HEADERS, &[0xff; 20])),
        ("a frame too large", frame(kind::DATA, flag::NONE, 1, &[0; 20_000])),
    ];
    for (what, bytes) in frames {
        let mut client = greeted(&sidecar, b"");
        client.send(&bytes);
        // Which error it is called is for whoever wrote the client.
        assert_ne!(farewell(&mut client), Reason::NO_ERROR, "{what}");
    }
    unharmed(&sidecar, before, 16 * MIB);
}

#[test]
fn no_bytes_behind_the_preface_end_the_process() {
    let (sidecar, _worker) = served();
    let before = sidecar.rss();
    let mut state = 1_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    for _ in 0..300 {
        let mut client = sidecar.client();
        client.send(PREFACE);
        let mut bytes = frame(kind::SETTINGS, flag::NONE, 0, b"");
        for _ in 0..random() % 20 {
            let payload: Vec<u8> = (0..random() % 40).map(|_| random() as u8).collect();
            let stream = if random() % 3 == 0 { 0 } else { random() % 6 };
            match random() % 4 {
                0 => bytes.extend(opening(random() % 8, "/")),
                1 => bytes.extend(payload),
                _ => bytes.extend(frame((random() % 11) as u8, random() as u8, stream, &payload)),
            }
        }
        client.send(&bytes);
        // Whatever it answers, it answers; a client that says nothing more sees an end or silence.
        let mut stream: &TcpStream = &client.stream;
        stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
        let _ = stream.read(&mut [0; 4096]);
    }
    unharmed(&sidecar, before, 16 * MIB);
}
