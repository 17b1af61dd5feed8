//! What a script is told and what of its answer arrives.

use serde_json::Value;

use super::{fpm, fpm_with};
use crate::support::{ID, Sidecar, get, noise, post};

fn seen(sidecar: &Sidecar, request: &str) -> Value {
    let answer = sidecar.client().ask(request);
    assert_eq!(answer.status(), 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).expect("JSON")
}

#[test]
fn a_script_is_told_what_nginx_would_tell_it() {
    let sidecar = fpm().start();
    let root = crate::support::app("php").canonicalize().unwrap().display().to_string();
    let server = seen(
        &sidecar,
        &format!(
            "GET /server?a=b%20c HTTP/1.1\r\nHost: shop.example\r\nx-fc-request-id: {ID}\r\nX-Forwarded-Proto: https\r\n\
             X-Forwarded-For: 9.9.9.9, 203.0.113.7\r\nCookie: a=1\r\nCookie: b=2\r\nProxy: http://evil/\r\n\
             X_Forwarded_Host: evil\r\nAuthorization: Basic dTpw\r\n\r\n"
        ),
    );
    for (name, value) in [
        ("REQUEST_METHOD", "GET"),
        ("REQUEST_URI", "/server?a=b%20c"),
        ("QUERY_STRING", "a=b%20c"),
        ("SCRIPT_NAME", "/index.php"),
        ("SCRIPT_FILENAME", &format!("{root}/index.php")),
        ("DOCUMENT_ROOT", &root),
        ("PHP_SELF", "/index.php"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_NAME", "shop.example"),
        ("SERVER_PORT", "443"),
        ("HTTPS", "on"),
        ("REMOTE_ADDR", "203.0.113.7"),
        ("HTTP_X_FC_REQUEST_ID", ID),
        ("HTTP_COOKIE", "a=1; b=2"),
        ("PHP_AUTH_USER", "u"),
    ] {
        assert_eq!(server[name], *value, "{name}");
    }
    for name in ["HTTP_PROXY", "HTTP_X_FORWARDED_HOST", "PATH_INFO"] {
        assert_eq!(server.get(name), None, "{name}");
    }
    let answer = sidecar.client().ask(get("/a/../b"));
    assert_eq!(answer.text(), "front controller: /a/../b", "as it came");
}

#[test]
fn bodies_pass_both_ways_with_a_length_and_in_chunks() {
    let sidecar = fpm().start();
    let mut client = sidecar.client();
    for length in [0, 1, 5, 65_528, 65_529, 300_000] {
        let body = "x".repeat(length);
        let answer = client.ask(post("/echo", &body));
        assert_eq!((answer.status(), answer.body.len()), (200, length));
        assert!(answer.text() == body);
    }
    let chunked = |pieces: &[&str]| {
        let chunks: String = pieces.iter().map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len())).collect();
        format!(
            "POST /count HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {ID}\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
        )
    };
    let answer = client.ask(chunked(&["hello ", "world"]));
    assert!(answer.text().starts_with("11 ") && answer.text().ends_with(" 11"), "{}", answer.text());
    let large = "x".repeat(300_000);
    let answer = client.ask(chunked(&[&large, &large]));
    assert!(answer.text().starts_with("600000 "), "{}", answer.text());
}

#[test]
fn a_request_in_chunks_whose_length_cannot_be_told_in_time_is_asked_for_it() {
    let sidecar = fpm().set("php.chunked_bytes", "1000B").start();
    let body = "x".repeat(1001);
    let answer = sidecar.client().ask(format!(
        "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    ));
    assert_eq!(answer.status(), 411);
    assert_eq!(answer.field("x-warmfront-reason"), Some("php.chunked_bytes=1000B"));
    assert!(answer.text().contains("send Content-Length"), "{}", answer.text());
}

#[test]
fn an_upload_of_fifty_megabytes_passes_in_bounded_memory() {
    const BYTES: usize = 50 << 20;
    let sidecar = fpm_with(&["-d", "post_max_size=0"]).start();
    let mut client = sidecar.client();
    client.ask(post("/count", "warm"));
    let before = sidecar.rss();
    let block = noise(1 << 20);
    client.send(format!("PUT /count HTTP/1.1\r\nHost: a\r\nContent-Length: {BYTES}\r\n\r\n"));
    for _ in 0..BYTES / block.len() {
        client.send(&block);
    }
    let answer = client.response();
    let text = answer.text();
    assert!(text.starts_with(&format!("{BYTES} ")) && text.ends_with(&format!(" {BYTES}")), "{text}");
    let grown = sidecar.rss().saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes more");
}

#[test]
fn a_large_answer_arrives_whole_however_php_divides_it() {
    let sidecar = fpm().start();
    let mut client = sidecar.client();
    for bytes in [1, 4096, 8192, 65_535, 1_000_000, 20_000_000] {
        let answer = client.ask(get(&format!("/large?bytes={bytes}")));
        assert_eq!((answer.status(), answer.body.len()), (200, bytes));
        assert!(answer.body.iter().all(|byte| *byte == b'x'));
    }
}

#[test]
fn pieces_reach_the_client_when_the_script_flushes_them() {
    let sidecar = fpm().start();
    let sign = sidecar.dir().join("sign");
    let mut client = sidecar.client();
    client.send(get(&format!("/flush?sign={}", sign.display())));
    let head = client.head();
    assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{head}");
    assert_eq!(client.chunk(), b"first");
    assert!(client.is_silent());
    std::fs::write(sign, "").unwrap();
    assert_eq!(client.chunk(), b"second");
    assert_eq!(client.chunk(), b"");
}

#[test]
fn answers_without_a_body_have_none_and_their_connections_go_on() {
    let mut sidecar = fpm().start();
    let mut client = sidecar.client();
    let head = get("/length").replace("GET", "HEAD");
    client.send(&head);
    let length = client.head();
    assert!(length.contains("Content-Length: 5\r\n"), "{length}");
    for (target, status) in [("/empty", 204), ("/not-modified", 304)] {
        client.send(get(target));
        let head = client.head();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    }
    let moved = client.ask(get("/moved"));
    assert_eq!((moved.status(), moved.field("location")), (302, Some("/elsewhere")));
    assert_eq!(client.ask(get("/status?code=503")).status(), 503);
    assert_eq!(client.ask(get("/length")).text(), "hello");
    // All of it on one connection to php-fpm.
    drop(client);
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait_exit(), 0);
    let counted = sidecar.stderr.wait_for("counted:");
    assert!(counted.ends_with(" worker_connections=1"), "{counted}");
}

#[test]
fn an_answer_that_is_longer_than_it_says_is_none() {
    let sidecar = fpm().start();
    let answer = sidecar.client().ask(get("/lie"));
    assert_eq!((answer.status(), answer.field("x-warmfront-reason")), (502, Some("php-length")));
}

#[test]
fn what_php_complains_about_is_logged_once_with_the_id_of_its_request() {
    let mut sidecar = fpm().start();
    assert_eq!(sidecar.client().ask(get("/complain")).status(), 500);
    let line = sidecar.stderr.wait_for("RuntimeException: with a trace");
    assert!(line.contains(&format!("Z {ID} [w1] PHP message: ")), "{line}");
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait_exit(), 0);
    let lines = sidecar.stderr.until_closed();
    for part in ["a message of the script", "Undefined variable", "with a trace in", "#0 {main}"] {
        let found: Vec<_> = lines.iter().filter(|line| line.contains(part)).collect();
        assert_eq!(found.len(), 1, "{part}: {found:?}");
    }
    assert!(lines.iter().any(|line| line.starts_with(" #0 {main}")), "{lines:?}");
}

#[test]
fn a_client_that_waits_to_go_on_is_told_so() {
    let sidecar = fpm().start();
    let mut client = sidecar.client();
    client.send(post("/echo", "").replace("Content-Length: 0", "Content-Length: 4\r\nExpect: 100-continue"));
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    assert_eq!(client.response().text(), "body");
}

#[test]
fn a_client_that_leaves_frees_its_slot() {
    let sidecar = fpm().set("workers.concurrency", "1").start();
    let sign = sidecar.dir().join("sign");
    let mut client = sidecar.client();
    client.send(get(&format!("/flush?sign={}", sign.display())));
    client.head();
    drop(client);
    // The one child is still at it; its slot is not, and the next request waits for the child alone.
    sidecar.stdout.wait_for("outcome=client_gone");
    std::fs::write(sign, "").unwrap();
    assert_eq!(sidecar.client().ask(get("/length")).text(), "hello");
}
