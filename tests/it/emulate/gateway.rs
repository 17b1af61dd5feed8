//! What passes the gateway, what it adds, what it refuses.

use super::{INVOKE, Plan, id_of, platform_error, post};

/// Answers with what it got, raw.
const ECHO: &str = "
serve(async (q, s) => {
  const body = await text(q);
  s.setHeader('Content-Type', 'application/json');
  s.end(JSON.stringify({ method: q.method, url: q.url, headers: q.headers, raw: q.rawHeaders, length: body.length, body: body.slice(0, 100) }));
});";

fn json(body: &[u8]) -> serde_json::Value {
    serde_json::from_slice(body).expect("JSON")
}

#[test]
fn an_event_comes_as_post_invoke_by_both_apis_and_the_body_of_the_answer_is_the_result() {
    let emulation = Plan::node(ECHO).start();
    for api in [INVOKE, "/2016-08-15/services/s/functions/f/invocations"] {
        let answer = emulation.post(api, "{\"a\":1}");
        assert_eq!((answer.status(), answer.field("X-Fc-Error-Type")), (200, None));
        assert_eq!(answer.field("Content-Type"), None, "only the body survives");
        let got = json(&answer.body);
        assert_eq!(
            (&got["method"], &got["url"], &got["body"]),
            (&"POST".into(), &"/invoke".into(), &"{\"a\":1}".into())
        );
        let headers = &got["headers"];
        assert_eq!(headers["x-fc-control-path"], "/invoke");
        assert_eq!(headers["content-type"], "application/octet-stream");
        assert_eq!(headers["x-fc-request-id"], id_of(&answer));
        assert_eq!(headers["content-length"], "7");
        assert_eq!(headers["host"], format!("127.0.0.2:{}", emulation.port));
    }
    let id = id_of(&emulation.post(INVOKE, "")).to_owned();
    emulation.log.wait_for(&format!("Z FC Invoke Start RequestId: {id}"));
    emulation.log.wait_for(&format!("Z FC Invoke End RequestId: {id}"));
    let line = emulation.log.wait_for(&format!("Z Request {id} "));
    assert!(line.contains(" POST ") && line.contains(" 200 thawed ") && line.ends_with("MB"), "{line}");
}

#[test]
fn a_function_says_itself_that_its_event_failed() {
    let program = "
serve((q, s) => {
  const how = q.headers['x-fc-control-path'];
  if (process.env.REPORT) s.setHeader('x-fc-status', process.env.REPORT);
  s.statusCode = +process.env.STATUS;
  s.end('what went wrong');
});";
    for (report, status, has_failed) in
        [("404", "200", true), ("200", "404", false), ("", "404", true), ("", "500", false)]
    {
        let emulation = Plan::node(program)
            .flags(&["--env", &format!("REPORT={report}"), "--env", &format!("STATUS={status}")])
            .start();
        let answer = emulation.post(INVOKE, "x");
        let expected = has_failed.then_some("InvocationError");
        assert_eq!((answer.status(), answer.field("X-Fc-Error-Type")), (200, expected), "{report} {status}");
        assert_eq!((answer.text(), answer.field("x-fc-status")), ("what went wrong", None));
        if has_failed {
            emulation.log.wait_for(&format!(
                "FC Invoke End RequestId: {}, Error: Unhandled function error",
                id_of(&answer)
            ));
        }
    }
}

#[test]
fn http_passes_with_its_target_and_the_platforms_headers() {
    let emulation = Plan::node(ECHO).start();
    let answer = emulation.ask(
        "PUT /a%20b/c?d=%2F&e HTTP/1.1\r\nHost: fn.example\r\nX-Own: 1\r\nx-own: 2\r\nx-fc-forged: 1\r\n\
         X-Forwarded-For: 9.9.9.9\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\nContent-Length: 4\r\n\r\nbody",
    );
    let got = json(&answer.body);
    assert_eq!(
        (&got["method"], &got["url"], &got["body"]),
        (&"PUT".into(), &"/a%20b/c?d=%2F&e".into(), &"body".into())
    );
    let headers = &got["headers"];
    for (name, value) in [
        ("host", "fn.example"),
        ("x-own", "1, 2"),
        ("te", "trailers"),
        ("x-fc-control-path", "/http-invoke"),
        ("x-fc-base-path", "/a%20b/c"),
        ("x-fc-client-ip", "127.0.0.1"),
        ("x-fc-service-name", ""),
        ("x-fc-function-timeout", "60"),
        ("x-forwarded-for", "9.9.9.9, 127.0.0.1, 100.117.33.1"),
        ("x-forwarded-proto", "http,http"),
    ] {
        assert_eq!(headers[name], value, "{name}");
    }
    assert_eq!(
        (&headers["x-fc-forged"], &headers["keep-alive"]),
        (&serde_json::Value::Null, &serde_json::Value::Null)
    );
    let raw = got["raw"].as_array().expect("a list");
    assert!(raw.contains(&"X-Fc-Request-Id".into()), "in the platform's case: {raw:?}");
    let legacy = json(&emulation.get("/2016-08-15/proxy/s/f/rest?q").body);
    assert_eq!(legacy["url"], "/2016-08-15/proxy/s/f/rest?q");
    assert_eq!(legacy["headers"]["x-fc-base-path"], "/2016-08-15/proxy/s/f");
}

#[test]
fn what_is_too_large_is_refused_before_the_instance_sees_it() {
    let emulation = Plan::node(ECHO).start();
    let long = emulation.get(&format!("/{}", "a".repeat(4096)));
    assert_eq!(long.status(), 400);
    assert_eq!(
        long.text(),
        platform_error(
            &long,
            "InvalidArgument",
            "request path and query size 4097 exceeds maximum allowed size (4096 bytes)"
        )
    );
    let fat = emulation.ask(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "b".repeat(8192)));
    assert_eq!(fat.status(), 400);
    assert!(fat.text().contains("\"Code\":\"InvalidArgument\""), "{}", fat.text());
    let body = emulation.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 33554433\r\n\r\n");
    assert_eq!(
        body.text(),
        platform_error(&body, "EntityTooLarge", "payload size exceeds maximum allowed size (33554432 bytes)")
    );
    let method = emulation.ask("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(method.status(), 403);
    emulation.log.wait_for(" TRACE / 403 none ");
    assert!(!emulation.log.all().iter().any(|line| line.contains("FC Invoke Start")));
    assert_eq!(emulation.get(&format!("/{}", "a".repeat(4095))).status(), 200);
}

#[test]
fn a_body_without_a_length_is_counted_as_it_comes() {
    let emulation = Plan::node(ECHO).start();
    let mut client = emulation.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = [b"100000\r\n".as_slice(), &vec![b'x'; 1 << 20], b"\r\n"].concat();
    // It answers, and closes, before the last of it.
    let mut stream = client.stream.try_clone().expect("a second handle");
    let sending = std::thread::spawn(move || {
        (0..40).take_while(|_| std::io::Write::write_all(&mut stream, &chunk).is_ok()).count()
    });
    let answer = client.response();
    assert_eq!(answer.status(), 400);
    assert!(answer.text().contains("\"Code\":\"EntityTooLarge\""), "{}", answer.text());
    drop(client);
    sending.join().expect("no panic");
    assert_eq!(json(&emulation.post("/", "x").body)["length"], 1, "the instance goes on");
}

#[test]
fn an_answer_loses_what_is_reserved_and_becomes_a_download_on_the_default_domain() {
    let program = "
serve((q, s) => {
  s.writeHead(201, { 'X-Fc-Own': 1, Server: 's', Date: 'then', 'Keep-Alive': 'timeout=1', 'Set-Cookie': ['a', 'b'], 'Content-Length': 5, 'X-Own': 'kept' });
  s.end('hello');
});";
    let ask = "GET / HTTP/1.1\r\nHost: a\r\nOrigin: http://o.example\r\n\r\n";
    let answer = Plan::node(program).start().ask(ask);
    assert_eq!((answer.status(), answer.text()), (201, "hello"));
    assert_eq!(
        (answer.field("X-Fc-Own"), answer.field("Server"), answer.field("Keep-Alive")),
        (None, None, None)
    );
    assert!(answer.field("Date").is_some_and(|date| date.ends_with("GMT")), "the gateway's own");
    assert_eq!((answer.field("X-Own"), answer.field("Content-Length")), (Some("kept"), Some("5")));
    assert_eq!(answer.head.matches("Set-Cookie").count(), 2);
    assert_eq!(answer.field("Content-Disposition"), Some("attachment"));
    assert_eq!(answer.field("Access-Control-Allow-Origin"), Some("http://o.example"));
    assert_eq!(answer.field("Access-Control-Allow-Credentials"), Some("true"));
    let answer = Plan::node(program).flags(&["--custom-domain"]).start().ask(ask);
    assert_eq!(answer.field("Content-Disposition"), None);
}

#[test]
fn headers_of_an_answer_over_8_kb_are_a_bad_response() {
    let emulation =
        Plan::node("serve((q, s) => { s.setHeader('X-Large', 'x'.repeat(9000)); s.end('hello'); });").start();
    let answer = emulation.get("/");
    assert_eq!(answer.status(), 502);
    assert!(answer.text().contains("\"Code\":\"BadResponse\""), "{}", answer.text());
    emulation.log.wait_for(" GET / 502 ");
}

#[test]
fn an_asynchronous_invocation_is_accepted_and_happens_behind_it() {
    let emulation = Plan::node(
        "serve(async (q, s) => { console.log('got', q.url, await text(q)); s.end('nobody reads this'); });",
    )
    .start();
    let with = |target: &str, body: &str| {
        post(target, body).replacen("\r\n\r\n", "\r\nX-Fc-Invocation-Type: Async\r\n\r\n", 1)
    };
    for (target, seen) in [(INVOKE, "/invoke"), ("/path", "/path")] {
        let answer = emulation.ask(with(target, "later"));
        assert_eq!((answer.status(), answer.text()), (202, ""));
        emulation.log.wait_for(&format!("out| got {seen} later"));
        emulation.log.wait_for(&format!("FC Invoke End RequestId: {}", id_of(&answer)));
    }
    let answer = emulation.ask(with(INVOKE, &"x".repeat((128 << 10) + 1)));
    assert_eq!(answer.status(), 400);
    assert!(answer.text().contains("(131072 bytes)"), "{}", answer.text());
}

#[test]
fn what_is_beyond_the_concurrency_is_told_that_there_is_one_instance_only() {
    let emulation =
        Plan::node("let first; serve((q, s) => { if (q.url === '/held') { first = s; console.log('held'); } else { first.end('free'); s.end(); } });")
            .flags(&["--concurrency", "1"])
            .start();
    let mut held = emulation.client();
    held.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    emulation.log.wait_for("out| held");
    let answer = emulation.get("/free");
    assert_eq!(answer.status(), 429);
    assert!(answer.text().contains("\"Code\":\"ResourceExhausted\""), "{}", answer.text());
}

#[test]
fn connections_are_kept_and_the_one_that_rested_last_is_used_first() {
    let emulation = Plan::node(
        "const held = [];
serve((q, s) => {
  const port = String(q.socket.remotePort);
  if (q.url !== '/held') return s.end(port);
  held.push(() => s.end(port));
  console.log('held', held.length);
  if (held.length === 2) { held[0](); setTimeout(held[1], 100); }
});",
    )
    .start();
    let (mut one, mut two) = (emulation.client(), emulation.client());
    one.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    emulation.log.wait_for("out| held 1");
    two.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    let (first, second) = (one.response(), two.response());
    assert_ne!(first.text(), second.text(), "one request at a time on each");
    for _ in 0..3 {
        assert_eq!(emulation.get("/").text(), second.text());
    }
}

#[test]
fn methods_without_a_body_pass_as_they_are() {
    let emulation = Plan::node(ECHO).start();
    let mut client = emulation.client();
    client.send("HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 200 "));
    let got = json(&client.ask("DELETE /d HTTP/1.1\r\nHost: a\r\n\r\n").body);
    assert_eq!(
        (&got["method"], &got["headers"]["content-length"]),
        (&"DELETE".into(), &serde_json::Value::Null)
    );
    let got = json(&client.ask(post("/p", "")).body);
    assert_eq!(got["headers"]["content-length"], "0");
}
