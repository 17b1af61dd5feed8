//! The steps of the hot path that only compute: cargo bench --bench http1
//!
//! Messages are what clients and workers really send. `-- --quick` takes
//! seconds and is enough to see a factor; for less, compare whole runs on a
//! quiet machine, and requests with `warmfront-bench`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use warmfront::config::Limits;
use warmfront::http1::Parsed;
use warmfront::http1::chunked::Scanner;
use warmfront::http1::request::Request;
use warmfront::http1::response::Response;
use warmfront::http1::rewrite::{HEADROOM, rewrite};

/// What curl sends through the platform.
const SMALL: &str = "GET /hello?name=x HTTP/1.1\r\nHost: example.com\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\
                     x-fc-request-id: 1-6b0071b6-a5b408cb-c55f264d8ccd\r\n\r\n";

/// What Express answers.
const NODE: &str = "HTTP/1.1 200 OK\r\nX-Powered-By: Express\r\nContent-Type: text/html; charset=utf-8\r\n\
                    Content-Length: 19\r\nETag: W/\"13-ZzHFrlVPdFdPT7b6qsGrA9mzNY8\"\r\n\
                    Date: Fri, 20 Nov 2026 16:09:35 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n";

/// A browser behind several proxies, at its worst.
fn request_of_96_fields() -> String {
    let fields: String =
        (0..95).map(|number| format!("X-Field-{number}: value of field {number}\r\n")).collect();
    format!("GET / HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n")
}

/// Chunks of 256 bytes, as servers make of many small writes; 64 KiB of data in all.
fn chunks_of_64_kib() -> Vec<u8> {
    let mut body = [b"100\r\n".as_slice(), &[b'x'; 256], b"\r\n"].concat().repeat(256);
    body.extend_from_slice(b"0\r\n\r\n");
    body
}

fn parsed<T>(parsed: Parsed<T>) -> T {
    match parsed {
        Parsed::Complete(head) => head,
        Parsed::Partial => panic!("the head is complete"),
    }
}

fn parse(c: &mut Criterion) {
    let limits = Limits::default();
    let mut group = c.benchmark_group("parse");
    for (name, text) in
        [("small request", SMALL.to_owned()), ("request of 96 fields", request_of_96_fields())]
    {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| b.iter(|| Request::parse(black_box(text.as_bytes()), &limits)));
    }
    group.throughput(Throughput::Bytes(NODE.len() as u64));
    group.bench_function("node response", |b| {
        b.iter(|| Response::parse(black_box(NODE.as_bytes()), &limits, false))
    });
    group.finish();
}

fn edit(c: &mut Criterion) {
    let response = parsed(Response::parse(NODE.as_bytes(), &Limits::default(), false).expect("sound"));
    assert_eq!(response.dropped().len(), 1, "one gap: Connection and Keep-Alive");
    let mut buffer = [&[0; HEADROOM], NODE.as_bytes()].concat();
    let end = buffer.len();
    // Rewriting consumes the head, so each round starts with a copy of it: a few ns of the figure.
    c.bench_function("rewrite with a dropped line", |b| {
        b.iter(|| {
            buffer[HEADROOM..].copy_from_slice(NODE.as_bytes());
            rewrite(&mut buffer, HEADROOM, NODE.len(), black_box(response.dropped()), b"", end)
        });
    });
}

fn scan(c: &mut Criterion) {
    let body = chunks_of_64_kib();
    let mut group = c.benchmark_group("chunks");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("scan of 64 KiB", |b| {
        b.iter(|| {
            let mut scanner = Scanner::new();
            let taken = scanner.scan(black_box(&body), |data| {
                black_box(data);
            });
            assert!(scanner.is_done());
            taken
        });
    });
    group.finish();
}

criterion_group!(benches, parse, edit, scan);
criterion_main!(benches);
