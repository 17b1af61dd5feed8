//! Requests reach their functions whole, and so do their answers.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::planes::{Planes, front, front_of, setup};
use crate::support::{ID, get, noise, post};

fn first(answer: &[u8]) -> Value {
    serde_json::from_slice(answer).expect("JSON")
}

#[test]
fn the_first_message_is_the_request_as_workers_read_it() {
    let (_planes, sidecar) = front(|setup| setup.set("noslate.baggage", "x-tenant"));
    let head = "POST /invoke/mirror/a/b?c=d HTTP/1.1\r\nHost: h:1\r\nCookie: a=1\r\nX-Many: 1\r\ncookie: b=2\r\n\
                x-many: 2\r\nX-Tenant: t\r\nConnection: x-hop\r\nX-Hop: 1\r\nTransfer-Encoding: chunked\r\n\
                x-fc-request-id: 1-fc\r\nX-Latin: caf\u{e9}\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
    let answer = sidecar.client().ask(head);
    assert_eq!(answer.status(), 200);
    let message = first(&answer.body);
    let pairs = |pairs: &[(&str, &str)]| {
        Value::from(pairs.iter().map(|(key, value)| json!({"key": key, "value": value})).collect::<Vec<_>>())
    };
    assert_eq!(
        message["headers"],
        pairs(&[
            ("host", "h:1"),
            ("cookie", "a=1; b=2"),
            ("x-many", "1, 2"),
            ("x-tenant", "t"),
            ("x-fc-request-id", "1-fc"),
            ("x-latin", "café"),
        ])
    );
    assert_eq!(message["baggage"], pairs(&[("x-tenant", "t")]));
    assert_eq!((&message["method"], &message["url"]), (&json!("POST"), &json!("/a/b?c=d")));
    assert_eq!((&message["name"], &message["requestId"]), (&json!("mirror"), &json!("1-fc")));
}

#[test]
fn a_function_has_ten_seconds_unless_it_is_told_otherwise() {
    let now =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64() * 1e3;
    for (timeout, ms) in [(None, 10_000.0), (Some("90s"), 90_000.0)] {
        let (_planes, sidecar) = front(|setup| match timeout {
            Some(timeout) => setup.set("noslate.timeout", timeout),
            None => setup,
        });
        let before = now();
        let message = first(&sidecar.client().ask(get("/invoke/mirror")).body);
        let deadline = message["deadline"].as_f64().unwrap();
        // Whole milliseconds on their way.
        assert!((before + ms - 1.0..=now() + ms).contains(&deadline), "{deadline} after {before}");
    }
}

#[test]
fn the_id_of_noslates_own_gateways_wins() {
    let (_planes, sidecar) = front(|setup| setup);
    let request = format!(
        "GET /invoke/mirror HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {ID}\r\nX-Noslated-Request-Id: own\r\n\r\n"
    );
    assert_eq!(first(&sidecar.client().ask(request).body)["requestId"], "own");
    let message = first(&sidecar.client().ask("GET /invoke/mirror HTTP/1.1\r\nHost: a\r\n\r\n").body);
    assert!(message["requestId"].as_str().unwrap().starts_with("1-"), "{message}");
}

#[test]
fn a_function_is_named_by_field_path_or_configuration() {
    let (planes, sidecar) = front(|setup| setup);
    let mut client = sidecar.client();
    let named = |name: &str| format!("GET /x?y HTTP/1.1\r\nHost: a\r\nx-noslated-dispatch: {name}\r\n\r\n");
    for (request, name, url) in [
        (named("mirror"), "mirror", "/x?y"),
        (named("function:mirror"), "mirror", "/x?y"),
        (get("/invoke/mirror"), "mirror", "/"),
        (get("/invoke/mi%72ror/z"), "mirror", "/z"),
    ] {
        let message = first(&client.ask(request).body);
        assert_eq!((&message["name"], &message["url"]), (&json!(name), &json!(url)));
    }
    for request in [get("/x"), get("/invoke/"), get("/invoke//x"), named(""), named("service:")] {
        let answer = client.ask(&request);
        assert_eq!(
            (answer.status(), answer.field("x-warmfront-reason")),
            (404, Some("noslate-no-target")),
            "{request}"
        );
    }
    assert_eq!(planes.all("invoke").len(), 4, "what names nothing reaches no plane");

    let (_planes, sidecar) =
        front(|setup| setup.set("noslate.target", "function:mirror").set("noslate.url", "absolute"));
    let message = first(&sidecar.client().ask(get("/x?y")).body);
    assert_eq!((&message["name"], &message["url"]), (&json!("mirror"), &json!("http://a/x?y")));
}

#[test]
fn a_service_is_invoked_as_one() {
    let (planes, sidecar) = front(|setup| setup.set("noslate.target", "service:shop"));
    // This plane knows no services.
    let answer = sidecar.client().ask(get("/x"));
    assert_eq!((answer.status(), answer.field("x-warmfront-reason")), (404, Some("noslate-unknown")));
    let invoked = planes.wait("invoke", 1);
    assert_eq!((&invoked[0]["name"], &invoked[0]["first"]["method"]), (&json!("shop"), &json!("GET")));
}

#[test]
fn status_and_fields_come_as_the_function_sent_them() {
    let (_planes, sidecar) = front(|setup| setup);
    let answer = sidecar.client().ask(get("/invoke/teapot"));
    assert_eq!((answer.status(), answer.text()), (418, "short and stout\n"));
    assert_eq!(answer.head.matches("set-cookie: ").count(), 2, "{}", answer.head);
    let answer = sidecar.client().ask(get("/invoke/hop-by-hop"));
    for gone in ["keep-alive", "proxy-connection", "upgrade"] {
        assert_eq!(answer.field(gone), None, "{}", answer.head);
    }
}

#[test]
fn answers_without_a_body_have_none() {
    let (planes, sidecar) = front(|setup| setup);
    let mut client = sidecar.client();
    for code in [204, 304] {
        let answer = client.ask(get(&format!("/invoke/status?code={code}")));
        assert_eq!((answer.status(), answer.body.len()), (code, 0));
    }
    client.send(get("/invoke/status?bytes=10").replace("GET", "HEAD"));
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    assert_eq!(client.ask(post("/invoke/echo", "behind it")).text(), "behind it");
    planes.wait_idle();
    let cancelled = planes.all("cancelled");
    assert!(cancelled.is_empty(), "each ended by itself: {cancelled:?}");
}

#[test]
fn large_bodies_travel_both_ways_in_messages_of_at_most_a_mebibyte() {
    let (planes, sidecar) = front(|setup| setup);
    let body = noise(50 << 20);
    let before = sidecar.rss();
    for framing in ["Content-Length: 52428800\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut client = sidecar.client();
        client.send(format!("POST /invoke/echo HTTP/1.1\r\nHost: a\r\n{framing}\r\n"));
        let mut writes = client.stream.try_clone().expect("a second handle");
        let sent = body.clone();
        let is_chunked = framing.contains("chunked");
        let sending = thread::spawn(move || {
            use std::io::Write as _;
            for piece in sent.chunks(300_001) {
                let (lead, tail) = match is_chunked {
                    true => (format!("{:x}\r\n", piece.len()), "\r\n"),
                    false => (String::new(), ""),
                };
                writes.write_all(&[lead.as_bytes(), piece, tail.as_bytes()].concat()).expect("taken");
            }
            writes.write_all(if is_chunked { b"0\r\n\r\n" } else { b"" }).expect("taken");
        });
        let answer = client.response();
        sending.join().unwrap();
        assert!(answer.body == body, "the body came back another");
    }
    for end in planes.wait("body-end", 2) {
        assert_eq!(end["bytes"], 50 << 20);
        assert!(end["largest"].as_u64().unwrap() <= 1 << 20, "{end}");
    }
    let grown = sidecar.rss().saturating_sub(before);
    assert!(grown < 16 << 20, "it holds {grown} bytes");
}

#[test]
fn a_message_of_eight_mebibytes_is_passed_on() {
    let (_planes, sidecar) = front(|setup| setup);
    let answer = sidecar.client().ask(get("/invoke/big-chunk?bytes=8388608"));
    assert!(answer.body.len() == 8 << 20 && answer.body.iter().all(|&byte| byte == b'x'));
}

#[test]
fn an_answer_may_take_longer_than_a_head_may() {
    let (_planes, sidecar) = front(|setup| setup.set("noslate.timeout", "1s"));
    let mut client = sidecar.client();
    let began = Instant::now();
    client.send(get("/invoke/trickle?n=14&ms=1000"));
    client.head();
    let chunks: Vec<Vec<u8>> =
        std::iter::repeat_with(|| client.chunk()).take_while(|chunk| !chunk.is_empty()).collect();
    assert_eq!(chunks.len(), 14);
    assert!(began.elapsed() >= Duration::from_secs(13));
}

#[test]
fn bytes_of_an_answer_are_passed_on_when_they_come() {
    let (_planes, sidecar) = front(|setup| setup);
    let mut client = sidecar.client();
    client.send(get("/invoke/stall?bytes=3"));
    client.head();
    assert_eq!(client.chunk(), b"xxx");
}

#[test]
fn a_client_that_does_not_read_costs_a_window() {
    let (planes, sidecar) = front(|setup| setup);
    let before = sidecar.rss();
    let mut client = sidecar.client();
    client.send(get("/invoke/download?bytes=300000000"));
    client.head();
    planes.wait("head-sent", 1);
    // The plane has made all of it by now, and nobody takes it.
    let held = crate::support::settled("its memory", || sidecar.rss());
    assert!(held.saturating_sub(before) < 8 << 20, "it holds {} bytes", held - before);
    // Others are served meanwhile, on the same connection to the plane.
    assert_eq!(sidecar.client().ask(post("/invoke/echo", "hi")).text(), "hi");
    drop(client);
    planes.wait("cancelled", 1);
    planes.wait_idle();
}

#[test]
fn whoever_waits_for_a_hundred_is_told_to_continue() {
    let (_planes, sidecar) = front(|setup| setup);
    let mut client = sidecar.client();
    client.send("POST /invoke/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hi");
    assert_eq!(client.response().text(), "hi");
}

#[test]
fn several_planes_share_the_requests() {
    let setup = setup().set("noslate.data_planes", "2");
    let planes = [Planes::numbered(&setup, 0, &[]), Planes::numbered(&setup, 1, &[])];
    let sidecar = setup.start_ready();
    sidecar.stderr.wait_for_count("is ready after", 2);
    let mut held: Vec<_> = (0..8).map(|_| sidecar.client()).collect();
    for client in &mut held {
        client.send(get("/invoke/stall"));
        client.head();
    }
    assert_eq!(planes.each_ref().map(|plane| plane.wait("head-sent", 4).len()), [4, 4]);
}

#[test]
fn a_plane_that_dies_fails_what_is_in_flight_and_nothing_behind_it() {
    let setup = setup();
    let mut plane = Planes::data(&setup, &[]);
    let dir = setup.dir().to_owned();
    let sidecar = setup.start_ready();
    let (mut begun, mut waiting) = (sidecar.client(), sidecar.client());
    begun.send(get("/invoke/stall"));
    begun.head();
    assert_eq!(begun.chunk(), b"xxxxx");
    waiting.send(post("/invoke/silent", "x"));
    plane.wait("dispatched", 2);
    plane.kill();
    assert_eq!(waiting.response().status(), 502);
    let (rest, _) = begun.rest();
    assert!(rest.is_empty(), "what was cut must not look like an end: {rest:?}");
    // Nobody is there; who comes now waits.
    let mut next = sidecar.client();
    next.send(post("/invoke/echo", "later"));
    sidecar.stderr.wait_for("is gone, no requests until it is back");
    let _plane = Planes::at(&dir.join("socks/dp-0.sock"));
    assert_eq!(next.response().text(), "later");
}

#[test]
fn a_plane_that_says_goodbye_finishes_what_it_has() {
    let (planes, sidecar) = front(|setup| setup);
    let mut client = sidecar.client();
    assert_eq!(client.ask(get("/invoke/goaway")).text(), "xxxxxrest");
    assert_eq!(client.ask(post("/invoke/echo", "on another")).text(), "on another");
    planes.wait("connections", 2);
}

#[test]
fn the_access_line_names_the_function() {
    let (_planes, sidecar) = front(|setup| setup);
    sidecar.client().ask(get("/invoke/teapot"));
    let line = sidecar.stdout.wait_for("status=418");
    assert!(line.contains(" worker=1 function=\"teapot\" start=warm "), "{line}");
}

#[test]
fn pre_freeze_waits_for_what_clients_have_left_in_the_plane() {
    let (planes, sidecar) = front_of(&["--slots", "1"], |setup| setup);
    let (mut first, mut second) = (sidecar.client(), sidecar.client());
    first.send(get("/invoke/slow?ms=700"));
    planes.wait("dispatched", 1);
    second.send(get("/invoke/slow?ms=1"));
    planes.wait("waiting", 1);
    drop(second);
    sidecar.stdout.wait_for("outcome=client_gone");
    let answer = sidecar.client().ask(format!(
        "GET /pre-freeze HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {ID}\r\nx-fc-control-path: /pre-freeze\r\n\r\n"
    ));
    assert_eq!(answer.status(), 200);
    assert_eq!(planes.all("head-sent").len(), 2, "the one that waited has ended before the answer");
}
